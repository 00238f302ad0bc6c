//! What the servers of data stores said of themselves, and whom to ask. Pure: the operator asks, and hands in
//! what was answered as [`crate::inputs::Inputs::members`].
//!
//! Only what matters is kept of an answer, so that two that are equal need no other status.

mod intake;
mod outside;

use std::collections::{BTreeMap, BTreeSet};

pub use intake::take_in;
pub use outside::{NO_TLS, UNREACHABLE};
pub use trading_report::{Failure, PATH, Report, Role};

use crate::{
    plan::{POSTGRES, POSTGRES_AGENT_PORT, Plan, REDIS, REDIS_METRICS_PORT, SENTINEL},
    redis_password,
    step::{Observed, servers},
    tls,
};

/// What is known of the servers of a platform, by the names of their stores among components. A store that was
/// not asked yet is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(pub BTreeMap<String, Answers>);

/// What the servers of one store said last, by the names of their pods; `None` of who does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The answers.
    pub servers: BTreeMap<String, Option<Member>>,
    /// All of them were asked for after the latest edit of the resource was acted upon.
    pub current: bool,
}

/// One server, without what moves all the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// What it is among the servers.
    pub role: Role,
    /// Pod that it follows.
    pub follows: Option<String>,
    /// Whether a replica keeps up with whom it follows.
    pub in_step: Option<bool>,
    /// The Redis Cluster as it sees it.
    pub cluster: Option<ClusterView>,
    /// Digests of the files that it runs by, as [`crate::digest::of_bytes`] makes them, by their names.
    pub in_force: BTreeMap<String, String>,
    /// Parameters that a restart would change.
    pub pending_restart: BTreeSet<String>,
    /// Its fullest volume.
    pub volume: Option<Fullness>,
    /// Version of the server.
    pub version: Option<String>,
    /// Which of the declared databases, roles and extensions it can't make, and why.
    pub refused: BTreeSet<String>,
    /// What it waits for, or works on.
    pub waits_for: Option<String>,
    /// Why it can't run: a reason and a message.
    pub failure: Option<(&'static str, String)>,
}

/// A Redis Cluster as one server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// The server owns slots.
    pub owns_slots: bool,
    /// Slots that no server owns that is up.
    pub unserved: u16,
    /// Every server has its place and its share, and is reached.
    pub settled: bool,
    /// Pods of the servers that it knows.
    pub members: BTreeSet<String>,
    /// Those of them that own slots.
    pub owners: BTreeSet<String>,
}

/// How full a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fullness {
    /// `data` or `wal`.
    pub name: String,
    /// At least so many percent: one of [`LEVELS`].
    pub percent: u8,
}

/// Percents at which a volume is told of anew.
pub const LEVELS: [u8; 6] = [0, 80, 85, 90, 95, 98];

/// A store whose servers are to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name among components.
    pub store: &'static str,
    /// How they are asked.
    pub protocol: Protocol,
    /// Port at which they are asked.
    pub port: u16,
    /// Pods, or hosts outside, and where they are.
    pub servers: Vec<(String, String)>,
    /// All of its pods run and are ready.
    pub settled: bool,
    /// How many of its pods are ready, and how many are old: answers of before a change say nothing of what is so
    /// after it.
    pub pods: (i32, i32),
    /// A file by which all of them are to run, and its digest, where that is waited for.
    pub awaited: Option<(&'static str, String)>,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Its agent tells how it is.
    Agent,
    /// Somebody else runs it: whether it answers as Postgres does.
    Postgres {
        /// Its clients insist on TLS.
        tls: bool,
    },
    /// The same of Redis.
    Redis {
        /// Its clients use TLS.
        tls: bool,
    },
}

/// Whom the administrator lets be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The agents of stores.
    pub agents: bool,
    /// Ports of stores that somebody else runs: who writes a resource shall not have any port tried.
    pub outside_ports: Vec<u16>,
}

impl Default for Scope {
    fn default() -> Self {
        Self { agents: true, outside_ports: OUTSIDE_PORTS.into() }
    }
}

impl Scope {
    /// Whether anybody may be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.agents || !self.outside_ports.is_empty()
    }

    fn admits(&self, target: &Target) -> bool {
        if target.is_outside() { self.outside_ports.contains(&target.port) } else { self.agents }
    }
}

/// Ports of Postgres and Redis, as their projects and clouds have them.
const OUTSIDE_PORTS: [u16; 3] = [5432, 6379, 6380];

/// Whom to ask: the servers of the plan and nobody else, whatever they say of each other.
#[must_use]
pub fn targets(plan: &Plan, live: &Observed) -> Vec<Target> {
    let redis = plan.redis.as_ref().map(|redis| (REDIS, REDIS_METRICS_PORT, redis.servers));
    let database = plan.postgres.as_ref().and_then(|database| database.servers.as_ref());
    let postgres = database.map(|servers| (POSTGRES, POSTGRES_AGENT_PORT, servers.instances));
    // Sentinels have nothing to tell but which passwords they take.
    let (passwords, access) = (redis_password::awaited(plan), tls::awaited(plan));
    let sentinels = plan.redis.as_ref().filter(|_| passwords.is_some());
    let sentinels = sentinels.and_then(|redis| redis.sentinel.as_ref());
    let sentinels = sentinels.map(|it| (SENTINEL, REDIS_METRICS_PORT, it.instances));
    let stores = redis.into_iter().chain(sentinels).chain(postgres);
    let inside = stores.filter_map(|(store, port, count)| {
        let (set, domain) = (plan.identity.child(store), plan.identity.domain(store));
        let server = |number| (format!("{set}-{number}"), format!("{set}-{number}.{domain}"));
        let workload = servers(&plan.identity, live, store).and_then(|set| set.workload.as_ref());
        // There is nobody to ask before there is a set.
        let workload = workload?;
        Some(Target {
            store,
            protocol: Protocol::Agent,
            port: u16::try_from(port).ok()?,
            servers: (0..count).map(server).collect(),
            settled: workload.is_settled(),
            pods: (workload.ready, workload.outdated),
            awaited: if store == POSTGRES { access.clone() } else { passwords.clone() },
        })
    });
    inside.chain(outside::targets(plan)).filter(|target| plan.scope.admits(target)).collect()
}

impl Target {
    /// Whether it is waited for that all of its servers say so, and they don't yet.
    #[must_use]
    pub fn is_awaited(&self, answers: Option<&Answers>) -> bool {
        self.awaited
            .as_ref()
            .is_some_and(|(file, digest)| answers.is_none_or(|answers| !answers.all_run_by(file, digest)))
    }

    /// Whether somebody else runs it.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.protocol != Protocol::Agent
    }
}

impl Members {
    /// The answers of a store's servers; `None` where they were not asked yet.
    #[must_use]
    pub fn of(&self, store: &str) -> Option<&Answers> {
        self.0.get(store)
    }
}

impl Answers {
    /// Those who answer.
    pub fn heard(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.servers.iter().filter_map(|(name, told)| Some((name, told.as_ref()?)))
    }

    /// Whether anybody answers. Nobody does where the operator does not reach the pods, and then nothing is known.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.heard().next().is_some()
    }

    /// Whether every server says, asked since the latest edit, that it runs by this file.
    #[must_use]
    pub fn all_run_by(&self, file: &str, digest: &str) -> bool {
        let runs_by = |told: &Option<Member>| {
            told.as_ref().is_some_and(|member| member.in_force.get(file).is_some_and(|found| found == digest))
        };
        self.current && !self.servers.is_empty() && self.servers.values().all(runs_by)
    }

    /// Servers that don't say that they run by this file, whenever they were asked.
    #[must_use]
    pub fn not_run_by(&self, file: &str, digest: &str) -> Vec<String> {
        let servers = self.servers.iter().filter(|(_, told)| {
            let found = told.as_ref().and_then(|member| member.in_force.get(file));
            found.is_none_or(|found| found != digest)
        });
        servers.map(|(name, _)| name.clone()).collect()
    }

    /// Whether some server takes writes.
    #[must_use]
    pub fn has_primary(&self) -> bool {
        self.heard().any(|(_, member)| member.role == Role::Primary)
    }

    /// Slots that no server owns that is up, as the one sees it that sees most.
    #[must_use]
    pub fn unserved(&self) -> u16 {
        let views = self.heard().filter_map(|(_, member)| Some(member.cluster.as_ref()?.unserved));
        views.min().unwrap_or_default()
    }

    /// Whether there is trouble that was not there before. It may pass within seconds, as while another server
    /// takes over, and is not told before it has lasted.
    #[must_use]
    pub fn is_worse_than(&self, before: &Self) -> bool {
        !self.troubles().is_subset(&before.troubles())
    }

    /// Whether there is trouble at all.
    #[must_use]
    pub fn has_trouble(&self) -> bool {
        !self.troubles().is_empty()
    }

    /// Whether something is on its way, so that another answer is to be expected soon.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.heard().any(|(_, member)| {
            member.waits_for.is_some() || member.cluster.as_ref().is_some_and(|cluster| !cluster.settled)
        }) || self.has_trouble()
    }

    fn are_sentinels(&self) -> bool {
        self.is_heard() && self.heard().all(|(_, member)| member.role == Role::Sentinel)
    }

    fn troubles(&self) -> BTreeSet<Trouble<'_>> {
        let of_servers = self.servers.iter().filter_map(|(name, told)| match told {
            None => Some(Trouble::Silent(name)),
            Some(member) if member.in_step == Some(false) => Some(Trouble::OutOfStep(name)),
            Some(_) => None,
        });
        let no_primary = (!self.has_primary() && !self.are_sentinels()).then_some(Trouble::NoPrimary);
        let unserved = (self.unserved() > 0).then_some(Trouble::Unserved);
        of_servers.chain(no_primary).chain(unserved).collect()
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Trouble<'a> {
    Silent(&'a str),
    OutOfStep(&'a str),
    NoPrimary,
    Unserved,
}
