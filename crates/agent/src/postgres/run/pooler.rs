//! Pooler stage, I/O: the primary makes the pooler's login where there is to be one, and takes it away when there
//! is none any more.

use std::time::Duration;

use super::agent::Agent;
use super::clock;
use super::keeper::Observed;
use super::login::{LOOK, LoginError, read};
use crate::postgres::pooler::{self, ROLE};
use crate::postgres::secret::Password;

/// What the operator's file is called, beside that of the login, and the file with the password.
const FILE: &str = "pooler";

/// What is remembered of the pooler.
#[derive(Default)]
pub struct Pooler {
    looked: Option<Duration>,
    /// Digest of the password that was made in this leadership.
    made: Option<String>,
    /// It was looked for in this leadership, and is not there.
    is_gone: bool,
}

impl Agent {
    /// Before clients are let in: a failover may have lost what was made a moment ago.
    pub(super) async fn restore_pooler(&mut self) -> Result<(), LoginError> {
        self.memory.pooler = Pooler::default();
        if self.is_pooled()? {
            self.make_pooler().await?;
        }
        Ok(())
    }

    pub(super) async fn keep_pooler(&mut self, observed: &Observed) -> Result<(), LoginError> {
        let now = clock::now();
        if self.memory.pooler.looked.is_some_and(|last| now.saturating_sub(last) < LOOK) {
            return Ok(());
        }
        self.memory.pooler.looked = Some(now);
        let told = observed.lease.record.pooler;
        let serves = if self.is_pooled()? {
            self.make_pooler().await?;
            // An earlier primary had the password before this one's kubelet has brought it.
            self.memory.pooler.made.is_some() || told == Some(true)
        } else {
            self.end_pooler().await?;
            false
        };
        if told != Some(serves) {
            self.keeper.change(&|lease| lease.pooled(serves)).await?;
        }
        Ok(())
    }

    fn is_pooled(&self) -> Result<bool, LoginError> {
        Ok(read(&self.settings.login.with_file_name(FILE))?.is_some())
    }

    async fn make_pooler(&mut self) -> Result<(), LoginError> {
        let Some(text) = read(&self.settings.passwords.join(FILE))? else {
            // The kubelet brings it.
            return Ok(());
        };
        let digest = trading_report::digest(text.as_bytes());
        if self.memory.pooler.made.as_ref() == Some(&digest) {
            return Ok(());
        }
        let password = Password::new(text).ok_or_else(|| LoginError::BadPassword(ROLE.to_owned()))?;
        let sensor = &self.local.sensor;
        let is_there = sensor.pooler().await?.is_some();
        sensor.run(&pooler::role(is_there, &password)).await?;
        sensor.run_in(&self.settings.database, &pooler::function()).await?;
        tracing::info!("the pooler's login is made");
        self.memory.pooler.made = Some(digest);
        self.memory.pooler.is_gone = false;
        Ok(())
    }

    /// As long as it is connected, it serves clients that are to be replaced.
    async fn end_pooler(&mut self) -> Result<(), LoginError> {
        self.memory.pooler.made = None;
        if self.memory.pooler.is_gone {
            return Ok(());
        }
        let sensor = &self.local.sensor;
        match sensor.pooler().await? {
            Some(0) => {
                sensor.run_in(&self.settings.database, &pooler::no_function()).await?;
                sensor.run(&pooler::no_role()).await?;
                tracing::info!("the pooler's login is gone");
            }
            Some(_) => return Ok(()),
            None => {}
        }
        self.memory.pooler.is_gone = true;
        Ok(())
    }
}
