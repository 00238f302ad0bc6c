//! Live stage, I/O: what changes in the mounted template changes in the server while it runs.
//!
//! The template is compared with what the server was started with or has taken since. What it refuses
//! stays as it was, is told, and is tried again: memory may be freed, and what can't change while the
//! server runs changes with the pod, which the operator replaces.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use trading_report::REDIS_CONFIG;

use super::link::{Link, LinkError, field};
use super::log::Log;
use super::password::Passwords;
use super::program::Program;
use super::settings::{self, Change, Settings};
use crate::install::InstallError;
use crate::said::Said;
use crate::with_causes;

/// Time between two looks at the template.
const PAUSE: Duration = Duration::from_secs(1);
/// Time after which what was refused is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Time for one conversation.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the kernel tells the bytes of the container, in the two versions of control groups.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
const APPEND_ONLY: &str = "appendonly";

/// Why a change is not in force.
#[derive(Debug, Error)]
enum ChangeError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{0}")]
    Starves(String),
    #[error("the server's own default can't be found")]
    NoDefault(#[source] io::Error),
    #[error("the snapshot that has to be there first could not be written")]
    NoSnapshot,
    #[error("the log can't be marked as switched off")]
    Mark(#[from] InstallError),
}

/// What a server runs with, and what it should.
#[derive(Clone)]
pub struct Live {
    /// The mounted template.
    pub template: PathBuf,
    /// Where the server is reached.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its passwords.
    pub passwords: Passwords,
    /// The image's server.
    pub program: Program,
    /// A folder of this user alone, in memory.
    pub folder: PathBuf,
    /// What the server runs with of the template.
    pub in_force: Settings,
    /// What is not in force, and why.
    pub pending: Shared,
    /// Digests of the files that the server runs by.
    pub told: Shared,
}

/// The server runs by the whole of this template.
pub fn tell(told: &Shared, template: &str) {
    let digest = trading_report::digest(template.as_bytes());
    told.lock().unwrap_or_else(PoisonError::into_inner).insert(REDIS_CONFIG.to_owned(), digest);
}

/// What a thread tells to whoever answers scrapers: what is not in force, and why.
pub type Shared = Arc<Mutex<BTreeMap<String, String>>>;

impl Live {
    /// Keeps the server as the template has it, for as long as it runs.
    pub fn tend(mut self) {
        let mut tried: Option<(String, Instant)> = None;
        let mut unread = Said::default();
        loop {
            match fs::read_to_string(&self.template) {
                Ok(template) => {
                    unread.once("config", "");
                    let is_due = tried.as_ref().is_none_or(|(before, at)| {
                        *before != template || at.elapsed() > AGAIN && !self.pending().is_empty()
                    });
                    if is_due && self.apply(&settings::parse(&template)) {
                        if self.pending().is_empty() {
                            tell(&self.told, &template);
                        }
                        tried = Some((template, Instant::now()));
                    }
                }
                Err(error) => unread
                    .once("config", format!("all stays as it was until the template can be read: {error}")),
            }
            thread::sleep(PAUSE);
        }
    }

    fn pending(&self) -> BTreeMap<String, String> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server answers.
    fn apply(&mut self, wished: &Settings) -> bool {
        let before = self.pending();
        let mut pending = BTreeMap::new();
        // Switching the log may take long: the rest does not wait for it.
        let (log, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            settings::changes(&self.in_force, wished).into_iter().partition(|(name, _)| name == APPEND_ONLY);
        for (name, change) in rest.into_iter().chain(log) {
            match self.change(&name, &change, wished) {
                Ok(()) => {
                    println!("config: {name} is in force");
                    match change {
                        Change::Set(value) => self.in_force.insert(name, value),
                        Change::Unset => self.in_force.remove(&name),
                    };
                }
                Err(ChangeError::Link(LinkError::Silent(_))) => return false,
                Err(error) => {
                    let reason = with_causes(&error);
                    if before.get(&name) != Some(&reason) {
                        eprintln!("config: {name} stays as it was: {reason}");
                    }
                    pending.insert(name, reason);
                }
            }
        }
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = pending;
        true
    }

    fn change(&self, name: &str, change: &Change, wished: &Settings) -> Result<(), ChangeError> {
        let value = match change {
            Change::Set(value) => settings::argument(value).to_owned(),
            Change::Unset => self.program.default_of(name, &self.folder).map_err(ChangeError::NoDefault)?,
        };
        match (name, value.parse()) {
            ("maxmemory", Ok(bytes)) => self.spare(bytes, wished)?,
            (APPEND_ONLY, _) if value == "no" => return self.switch_log_off(),
            _ => {}
        }
        Ok(self.set(name, &value)?)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), LinkError> {
        self.link()?.order("CONFIG SET", &["CONFIG", "SET", name, value])
    }

    /// Redis would take any number.
    fn spare(&self, bytes: u64, wished: &Settings) -> Result<(), ChangeError> {
        let mut link = self.link()?;
        let mut info = link.text("INFO", &["INFO", "memory"])?;
        info.push_str(&link.text("INFO", &["INFO", "keyspace"])?);
        let policy = wished.get("maxmemory-policy").map_or("noeviction", String::as_str);
        settings::starves(bytes, policy, &info, limit()).map_or(Ok(()), |why| Err(ChangeError::Starves(why)))
    }

    /// A snapshot comes first: without the log it is all that a server starts from.
    fn switch_log_off(&self) -> Result<(), ChangeError> {
        self.link()?.order("BGSAVE", &["BGSAVE"])?;
        loop {
            let info = self.link()?.text("INFO", &["INFO", "persistence"])?;
            let is = |name: &str, value: &str| field(&info, name) == Some(value);
            if is("rdb_bgsave_in_progress", "0") {
                if !is("rdb_last_bgsave_status", "ok") {
                    return Err(ChangeError::NoSnapshot);
                }
                break;
            }
            thread::sleep(PAUSE);
        }
        self.set(APPEND_ONLY, "no")?;
        Ok(Log::of(&self.in_force).switched_off()?)
    }

    fn link(&self) -> Result<Link, LinkError> {
        Link::open(self.ip, self.port, &self.passwords, PATIENCE)
    }
}

/// Bytes of the container, where it has a limit.
fn limit() -> Option<u64> {
    LIMITS.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}
