//! Start stage, I/O: what of the template a server starts with.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use thiserror::Error;

use super::log::Log;
use super::program::Program;
use super::settings::{self, Settings};
use super::users::Users;

/// Why it is not known how to start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The server's program does not say what it takes.
    #[error("cannot have the server read its configuration")]
    Program(#[source] io::Error),
    /// The volume can't be read.
    #[error("cannot tell whether the data is in the log or in the snapshot")]
    Volume(#[source] io::Error),
}

/// What a server starts with.
pub struct Start {
    /// The template, without what the server does not take.
    pub template: String,
    /// What it sets.
    pub settings: Settings,
    /// Those of the further users whom it takes.
    pub users: Users,
    /// What was left out, and why.
    pub left_out: BTreeMap<String, String>,
    /// Who was left out, and why.
    pub users_left_out: BTreeMap<String, String>,
}

impl Start {
    /// A directive that is none, or a value that it can't have, does not keep a server from its data:
    /// it is left out and told. The log is on where the data on the volume is in it.
    pub fn of(
        template: &str,
        mut users: Users,
        program: &Program,
        folder: &Path,
    ) -> Result<Self, StartError> {
        let mut lines = Vec::new();
        let mut left_out = BTreeMap::new();
        for refusal in program.refusals(template).map_err(StartError::Program)? {
            let line = template.lines().nth(refusal.line - 1).unwrap_or_default();
            let Some(name) = settings::parse(line).into_keys().next() else { continue };
            if settings::is_indispensable(&name) {
                continue;
            }
            eprintln!("config: {name} is left out: {}", refusal.reason);
            lines.push(refusal.line);
            left_out.insert(name, refusal.reason);
        }
        let users_left_out = program.refused_users(&users, folder).map_err(StartError::Program)?;
        for (name, reason) in &users_left_out {
            eprintln!("users: {name} is left out: {reason}");
            users.remove(name);
        }
        let mut template = settings::without(template, &lines);
        let log = Log::of(&settings::parse(&template));
        if let Some(is_current) = log.is_current().map_err(StartError::Volume)? {
            template.push_str(if is_current { "appendonly yes\n" } else { "appendonly no\n" });
        }
        Ok(Self { settings: settings::parse(&template), template, users, left_out, users_left_out })
    }
}
