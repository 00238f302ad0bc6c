//! Login stage, I/O: the primary makes the login that is wanted, says when every server accepts it, and refuses
//! the others when nobody has them any more.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, mem};

use thiserror::Error;

use super::agent::Agent;
use super::clock;
use super::keeper::{KeeperError, Observed};
use super::position::Lsn;
use super::sense::{SenseError, Sensed};
use crate::postgres::logins::{self, Found, NotUnderstood, Step, Wanted};
use crate::postgres::secret::Password;

/// Between looks.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// Why a login is not as it should be yet.
#[derive(Debug, Error)]
pub enum LoginError {
    /// A file of the operator's.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the operator's.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The password is no password.
    #[error("the password of login {0} is empty or has control characters")]
    BadPassword(String),
    /// Somebody else's role is in the way.
    #[error("there is a role {0} that is no login of the owner: rename it, so that one can be made")]
    Taken(String),
    /// The server.
    #[error(transparent)]
    Sense(#[from] SenseError),
    /// The Lease.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}

/// What is remembered of logins.
#[derive(Default)]
pub struct Logins {
    looked: Option<Duration>,
    accepted: BTreeSet<u32>,
    /// Where the log was when these were first seen: who has replayed so much accepts them.
    since: Lsn,
}

impl Agent {
    /// Before clients are let in: a failover may have lost a login that was made a moment ago.
    pub(super) async fn restore_login(&mut self) -> Result<(), LoginError> {
        self.memory.logins = Logins::default();
        let Some(wanted) = self.wanted_login()? else { return Ok(()) };
        let (found, _) = self.local.sensor.logins(&self.settings.owner).await?;
        match logins::step(&self.settings.owner, wanted, &found, &BTreeSet::new()) {
            Step::Make(role) => self.make_login(wanted, &role, &found).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn keep_logins(&mut self, observed: &Observed) -> Result<(), LoginError> {
        let now = clock::now();
        if self.memory.logins.looked.is_some_and(|last| now.saturating_sub(last) < LOOK) {
            return Ok(());
        }
        self.memory.logins.looked = Some(now);
        let Some(wanted) = self.wanted_login()? else { return Ok(()) };
        let (found, flushed) = self.local.sensor.logins(&self.settings.owner).await?;
        let known = self.tell_logins(observed, &found, flushed).await?;
        match logins::step(&self.settings.owner, wanted, &found, &known) {
            Step::Keep => Ok(()),
            Step::Make(role) => self.make_login(wanted, &role, &found).await,
            Step::Refuse(roles) => {
                for role in roles {
                    tracing::info!(role, "an old login is refused from now on");
                    self.local.sensor.run(&logins::refuse(&role)).await?;
                }
                Ok(())
            }
            Step::Taken(role) => Err(LoginError::Taken(role)),
        }
    }

    /// Whoever logged in with what is refused now is cut off, on replicas too.
    pub(super) async fn end_refused(&self) -> Result<(), LoginError> {
        if self.wanted_login()?.is_some_and(|wanted| wanted.only) {
            self.local.sensor.end_refused(&self.settings.owner).await?;
        }
        Ok(())
    }

    fn wanted_login(&self) -> Result<Option<Wanted>, LoginError> {
        let Some(text) = read(&self.settings.login)? else { return Ok(None) };
        Ok(Some(Wanted::parse(&text)?))
    }

    async fn make_login(&self, wanted: Wanted, role: &str, found: &[Found]) -> Result<(), LoginError> {
        let file = self.settings.passwords.join(wanted.generation.to_string());
        let Some(text) = read(&file)? else {
            tracing::info!(role, "waits for the password of a login");
            return Ok(());
        };
        let password = Password::new(text).ok_or_else(|| LoginError::BadPassword(role.to_owned()))?;
        let is_there = found.iter().any(|other| other.name == role);
        self.local.sensor.run(&logins::make(&self.settings.owner, role, is_there, &password)).await?;
        tracing::info!(role, "a login is made");
        Ok(())
    }

    /// Says in the Lease which generations every server accepts, and returns them. A new one counts once the
    /// replicas have it, for clients log in there too; one that is refused counts no more at once.
    async fn tell_logins(
        &mut self,
        observed: &Observed,
        found: &[Found],
        flushed: Lsn,
    ) -> Result<BTreeSet<u32>, LoginError> {
        let accepted = logins::accepted(&self.settings.owner, found);
        if mem::replace(&mut self.memory.logins.accepted, accepted.clone()) != accepted {
            self.memory.logins.since = flushed;
        }
        let told = &observed.lease.record.logins;
        let mut known: BTreeSet<u32> = accepted.intersection(told).copied().collect();
        if known != accepted {
            let mut sensed = Sensed::default();
            self.local.sensor.sense_replicas(&mut sensed).await?;
            if sensed.replicas.values().all(|replica| replica.replayed >= self.memory.logins.since) {
                known = accepted;
            }
        }
        if known != *told {
            self.keeper.change(&|lease| lease.accepting(known.clone())).await?;
        }
        Ok(known)
    }
}

/// `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, LoginError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoginError::File { path: path.to_owned(), source }),
    }
}
