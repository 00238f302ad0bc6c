//! Leading stage, I/O: what the primary does, and keeps, for its replicas.

use std::collections::BTreeSet;
use std::time::Duration;

use super::agent::{Agent, AgentError};
use super::clock;
use super::keeper::Observed;
use super::lease::{Lease, Name};
use super::local::{Look, PROMOTING};
use super::sense::{Replica, Sensed};
use super::server::reap_orphans;
use super::synchronous::{self, Commits, Step};
use crate::postgres::config;

/// Between looks at slots and orphans.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How long a replica that stopped streaming still counts.
const GRACE: Duration = Duration::from_secs(5);
/// After which a configuration that every sender shows is in force for every commit.
const SETTLES: Duration = Duration::from_secs(2);

/// What a replica needs to rewind itself by this server.
const RIGHTS: &str = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean), \
pg_catalog.pg_stat_file(text, boolean), pg_catalog.pg_read_binary_file(text), \
pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO streaming_replica";

impl Agent {
    /// Clients come in only after the Lease says that this server leads.
    pub(super) async fn confirm(&mut self, mut look: Look) -> Result<(), AgentError> {
        let others = self.others();
        self.memory.kept_house = None;
        let system = look.status.system;
        let Some((system, position)) = system.zip(look.sensed.as_ref().map(|sensed| sensed.position)) else {
            return Ok(());
        };
        self.keep_house(look.sensed.take(), &others).await?;
        self.local.sensor.run(RIGHTS).await?;
        if let Err(error) = self.restore_login().await {
            tracing::warn!("a login is not as it should be yet: {error}");
        }
        if let Err(error) = self.restore_pooler().await {
            tracing::warn!("the pooler's login is not as it should be yet: {error}");
        }
        let promised = if self.settings.synchronous { others } else { BTreeSet::new() };
        self.keeper.change(&|lease| lease.confirmed(system, position, promised.clone())).await?;
        let local = self.local.clone();
        tokio::spawn(async move {
            if let Err(error) = local.sensor.checkpoint().await {
                tracing::warn!("no checkpoint yet, which the old primary waits for: {error}");
            }
        });
        self.enter()
    }

    /// The Lease says that this server leads.
    fn enter(&self) -> Result<(), AgentError> {
        self.local.place().set_note(PROMOTING, None)?;
        self.keeper.raise();
        Ok(())
    }

    pub(super) async fn lead(&mut self, observed: &Observed, look: Look) -> Result<(), AgentError> {
        if look.unconfirmed.is_some() || !self.gate.is_open_for_writes() {
            self.enter()?;
        }
        let Some(mut sensed) = look.sensed else { return Ok(()) };
        self.keeper.report(sensed.position.lsn);
        if self.settings.synchronous {
            self.local.sensor.sense_replicas(&mut sensed).await?;
            self.keep_promise(observed, &sensed).await?;
        }
        self.keep_house(Some(sensed), &self.others()).await
    }

    /// Lets commits wait for the replicas that stream.
    async fn keep_promise(&mut self, observed: &Observed, sensed: &Sensed) -> Result<(), AgentError> {
        let now = clock::now();
        let others = self.others();
        for (name, _) in
            sensed.replicas.iter().filter(|(name, replica)| replica.streams && others.contains(*name))
        {
            self.memory.streamed.insert(name.clone(), now);
        }
        self.memory.streamed.retain(|_, last| now.saturating_sub(*last) < GRACE);
        let shows =
            |(name, replica): (&Name, &Replica)| replica.counts == self.memory.configured.contains(name);
        let settled =
            now.saturating_sub(self.memory.configured_at) >= SETTLES && sensed.replicas.iter().all(shows);
        if settled && self.memory.in_force_since.is_none() {
            self.memory.in_force_since = Some(sensed.position.lsn);
        }
        let commits = Commits {
            configured: self.memory.configured.clone(),
            promised: observed.lease.record.synchronous.clone(),
            streaming: self.memory.streamed.keys().cloned().collect(),
            flushed: sensed.replicas.iter().map(|(name, replica)| (name.clone(), replica.flushed)).collect(),
            in_force_since: self.memory.in_force_since,
        };
        match synchronous::step(&commits) {
            Step::Keep => Ok(()),
            Step::Configure(names) => {
                tracing::info!(?names, "commits wait for one of these");
                (self.memory.configured, self.memory.in_force_since) = (names, None);
                self.memory.configured_at = now;
                self.configure()?;
                self.memory.server.reload().map_err(AgentError::Process)
            }
            Step::Promise(names) => {
                tracing::info!(?names, "acknowledged commits are on one of these");
                let change = |lease: &Lease| {
                    let mut lease = lease.clone();
                    lease.record.synchronous.clone_from(&names);
                    lease
                };
                Ok(self.keeper.change(&change).await?)
            }
        }
    }

    /// A slot for each of those that may follow, none for others; and the ends of orphans.
    pub(super) async fn keep_house(
        &mut self,
        sensed: Option<Sensed>,
        wanted: &BTreeSet<Name>,
    ) -> Result<(), AgentError> {
        let now = clock::now();
        if self.memory.kept_house.is_some_and(|last| now.saturating_sub(last) < HOUSEKEEPING) {
            return Ok(());
        }
        self.memory.kept_house = Some(now);
        reap_orphans().map_err(AgentError::Process)?;
        let Some(mut sensed) = sensed else { return Ok(()) };
        if let Err(error) = self.end_refused().await {
            tracing::warn!("connections of old logins are left: {error}");
        }
        if let Err(error) = self.local.sensor.end_removed_roles().await {
            tracing::warn!("connections of removed roles are left: {error}");
        }
        self.local.sensor.sense_replicas(&mut sensed).await?;
        let wanted: BTreeSet<String> = wanted.iter().map(|name| config::slot(name)).collect();
        let own = config::slot(&self.settings.rules.me.name);
        let family = own.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_ours = |name: &str| {
            name.strip_prefix(family)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        for name in wanted.iter().filter(|name| !sensed.slots.contains_key(*name)) {
            let statement = format!("SELECT pg_create_physical_replication_slot('{name}', true)");
            self.local.sensor.run(&statement).await?;
        }
        let unused = sensed
            .slots
            .iter()
            .filter(|(name, slot)| !slot.active && is_ours(name) && !wanted.contains(*name));
        for (name, _) in unused {
            self.local.sensor.run(&format!("SELECT pg_drop_replication_slot('{name}')")).await?;
        }
        Ok(())
    }
}
