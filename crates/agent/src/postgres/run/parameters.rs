//! Parameters stage, I/O: takes up a configuration that changed while the server runs. What the server refuses
//! is never put before it: it goes on, and starts, with what it had.

use std::fs;
use std::io;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::agent::{Agent, AgentError};
use super::clock;
use super::local::Look;
use crate::install;
use crate::postgres::prepare::PrepareError;
use crate::postgres::programs;

/// Note beside the data: the last configuration that the server started with.
const ACCEPTED: &str = ".parameters";
/// After which a server that was told of a configuration has read it.
const SETTLES: Duration = Duration::from_secs(1);
/// Starts in a row that fail with a new configuration before the last one that worked is taken.
const TRIES: u32 = 2;
/// Most characters that are told of what the server says.
const LONGEST: usize = 300;

/// What is remembered of configurations.
#[derive(Default)]
pub struct Parameters {
    /// Since when the server knows of the one in use, until it is known how it took it.
    told: Option<Duration>,
    refused: Option<Refused>,
}

struct Refused {
    template: String,
    reason: String,
}

impl Parameters {
    /// Why the newest configuration is not used.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_ref().map(|refused| refused.reason.as_str())
    }

    /// The server starts.
    pub fn begin(&mut self) {
        self.told = Some(clock::now());
    }
}

impl Agent {
    /// The operator may have written another configuration.
    pub(super) async fn take_in_parameters(&mut self) -> Result<(), AgentError> {
        let path = &self.settings.template_file;
        let found = fs::read_to_string(path)
            .map_err(|source| PrepareError::Template { path: path.clone(), source })?;
        if found == self.settings.template {
            self.refuse(None);
            return Ok(());
        }
        if self.memory.parameters.refused.as_ref().is_some_and(|refused| refused.template == found) {
            return Ok(());
        }
        if let Err(reason) = self.check(&found).await? {
            self.refuse(Some(Refused { template: found, reason }));
            return Ok(());
        }
        let changed = changed(&self.settings.template, &found);
        tracing::info!(?changed, "parameters have changed");
        self.settings.template = found;
        self.refuse(None);
        if self.memory.server.runs() {
            self.configure()?;
            self.memory.server.reload().map_err(AgentError::Process)?;
            self.memory.parameters.told = Some(clock::now());
        }
        Ok(())
    }

    fn refuse(&mut self, refused: Option<Refused>) {
        if let Some(Refused { reason, .. }) = &refused {
            tracing::warn!("the changed parameters are refused, and the earlier ones kept: {reason}");
        }
        self.local.parameters_refused.store(refused.is_some(), Ordering::Relaxed);
        self.memory.parameters.refused = refused;
    }

    /// Before a start: the newest configuration, or the last one that worked where it does not.
    pub(super) async fn choose_parameters(&mut self) -> Result<(), AgentError> {
        let accepted = self.local.place().note(ACCEPTED)?;
        if accepted.as_ref() == Some(&self.settings.template) {
            return Ok(());
        }
        let template = self.settings.template.clone();
        let verdict = if accepted.is_some() && self.memory.failed_starts >= TRIES {
            Err("the server does not start with them; its log says why".to_owned())
        } else {
            self.check(&template).await?
        };
        let Err(reason) = verdict else { return Ok(()) };
        self.refuse(Some(Refused { template, reason }));
        // Where there is none yet, the server says the same, and is started again when the file has changed.
        self.settings.template = accepted.unwrap_or_else(|| self.settings.template.clone());
        Ok(())
    }

    /// Whether the server would read this configuration; why not, in its own words.
    async fn check(&self, template: &str) -> Result<Result<(), String>, AgentError> {
        // A server without data says no to everything.
        if !self.local.data.join("PG_VERSION").exists() {
            return Ok(Ok(()));
        }
        let candidate = self.settings.output.with_file_name("candidate.conf");
        install::replace(&candidate, 0o600, &mut self.compose(template)?.as_bytes())?;
        let mut command = programs::program(&self.settings.folder, "postgres");
        command.arg("-D").arg(&self.local.data);
        command.arg("-c").arg(format!("config_file={}", candidate.display())).args(["-C", "port"]);
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.map_err(io::Error::other).and_then(|output| output);
        let output = output.map_err(AgentError::Process)?;
        Ok(if output.status.success() { Ok(()) } else { Err(said(&String::from_utf8_lossy(&output.stderr))) })
    }

    /// Finds out how the server took the configuration, once it has had the time for it.
    pub(super) async fn note_parameters(&mut self, look: &Look) -> Result<(), AgentError> {
        let settled = |told: Duration| clock::now().saturating_sub(told) >= SETTLES;
        if look.sensed.is_none() || !self.memory.parameters.told.is_some_and(settled) {
            return Ok(());
        }
        let waiting = self.local.sensor.waiting_for_restart().await?;
        self.local.parameters_pending.store(waiting.len(), Ordering::Relaxed);
        if waiting.is_empty() {
            let place = self.local.place();
            // It is on disk before a start relies on it.
            if place.note(ACCEPTED)?.as_ref() != Some(&self.settings.template) {
                place.set_note(ACCEPTED, Some(&self.settings.template))?;
            }
            tracing::info!("all parameters are in force");
        } else {
            tracing::info!(?waiting, "parameters are in force but for these, which wait for the next start");
        }
        self.memory.parameters.told = None;
        Ok(())
    }
}

/// Lines of the newer configuration that the older one has not, and names that only the older one has.
fn changed(old: &str, new: &str) -> Vec<String> {
    let name = |line: &str| line.split_once('=').map_or(line, |(name, _)| name).trim().to_owned();
    let added = new.lines().filter(|line| !old.lines().any(|other| other == *line)).map(str::to_owned);
    let is_gone = |line: &&str| !new.lines().any(|other| name(other) == name(line));
    let gone = old.lines().filter(is_gone).map(|line| format!("{} as by default", name(line)));
    added.chain(gone).collect()
}

/// What a server says of its configuration, without times and numbers of processes.
fn said(log: &str) -> String {
    let of_line = |line: &str| {
        let texts = ["LOG:  ", "ERROR:  ", "FATAL:  ", "HINT:  "];
        let text = texts.iter().find_map(|level| line.split_once(level))?.1;
        // The file is the agent's, and that it has errors is what the other lines say.
        (!text.ends_with("contains errors")).then(|| text.to_owned())
    };
    let all: Vec<String> = log.lines().filter_map(of_line).collect();
    let text = if all.is_empty() { log.trim().to_owned() } else { all.join("; ") };
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_told_in_short() {
        let log = "2026-11-29 20:36:23.733 GMT [5497] LOG:  invalid value for parameter \"work_mem\": \"lots\"\n\
                   2026-11-29 20:36:23.733 GMT [5497] HINT:  Valid units are \"kB\" and \"MB\".\n\
                   2026-11-29 20:36:23.733 GMT [5497] FATAL:  configuration file \"/tmp/c.conf\" contains errors\n";
        let short = "invalid value for parameter \"work_mem\": \"lots\"; Valid units are \"kB\" and \"MB\".";
        assert_eq!(said(log), short);
        assert_eq!(said("postgres: could not access directory\n"), "postgres: could not access directory");
        assert_eq!(said(&"x".repeat(1000)).len(), LONGEST);
    }

    #[test]
    fn changes_are_told_by_name() {
        let old = "work_mem = '4MB'\njit = 'off'\nport = '1'\n";
        assert_eq!(changed(old, "work_mem = '8MB'\nport = '1'\n"), ["work_mem = '8MB'", "jit as by default"]);
    }
}
