//! Redis Cluster, I/O: the agent's loop beside its server, and what it does before the server stops.
//!
//! Looking ([`servers`]) and deciding ([`plan`]) are apart, so that decisions are tested without
//! servers.

mod candidacy;
mod claims;
mod form;
mod give;
mod heal;
#[cfg(test)]
mod model;
pub mod nodes;
mod plan;
mod servers;
mod shares;
mod topology;
mod view;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use candidacy::Candidacy;
use plan::{Action, Plan, Waiting};
use servers::{ServerError, Servers};
use topology::{Topology, TopologyError};
use view::Member;

use super::hosts::Hosts;
use super::password::Passwords;
use crate::said::Said;

/// Time between two looks while something is to be done.
const BUSY: Duration = Duration::from_millis(250);
/// Time between two looks at a cluster that is as it should be.
const CALM: Duration = Duration::from_secs(1);
/// Time between two looks at what all servers of such a cluster say, which masters take.
const ROUND: Duration = Duration::from_secs(30);
/// Time between two looks while this server is stopping.
const STOPPING: Duration = Duration::from_millis(100);
/// Time after which a replica that was asked to take over is asked again.
const SECOND_REQUEST: Duration = Duration::from_secs(6);

/// Why the server can't be a cluster's.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The file can't be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not say how the cluster should be.
    #[error("cannot use {}", path.display())]
    Topology {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TopologyError,
    },
    /// The server does not know its place.
    #[error("POD_HOST {0:?} is none of the hosts that the topology names")]
    NotAMember(String),
}

/// One server of a cluster, as its agent has to do with it.
#[derive(Clone)]
pub struct Cluster {
    ordinal: usize,
    file: PathBuf,
    servers: Servers,
    settled: Arc<AtomicBool>,
    looked: Arc<Mutex<Looked>>,
    /// Held while the agent acts.
    acting: Arc<Mutex<()>>,
}

/// What the last look found.
#[derive(Clone, Default)]
pub struct Looked {
    /// What the agent does, or waits for; nothing where all is as it should be.
    pub work: Option<String>,
    /// Digest of the topology that it goes by.
    pub topology: Option<String>,
}

/// What is remembered from look to look.
struct Memory {
    /// When all servers were asked last.
    round: Instant,
    candidacy: Candidacy,
    /// Why the candidacy could not be told to the server.
    refused: Said,
}

impl Cluster {
    /// Reads how the cluster should be, and which server of it this is.
    pub fn new(
        file: &Path,
        host: &str,
        own: IpAddr,
        port: u16,
        passwords: Passwords,
        hosts: Hosts,
    ) -> Result<Self, ClusterError> {
        let ordinal =
            topology(file)?.ordinal(host).ok_or_else(|| ClusterError::NotAMember(host.to_owned()))?;
        Ok(Self {
            ordinal,
            file: file.to_owned(),
            servers: Servers { own, port, passwords, hosts, stopping: Arc::default() },
            settled: Arc::default(),
            looked: Arc::default(),
            acting: Arc::default(),
        })
    }

    /// What the server starts with besides, so that it is not elected before its agent has seen whose data it has.
    pub fn first_lines() -> String {
        format!("{} yes\n", candidacy::DIRECTIVE)
    }

    /// Whether the last look found the cluster as it should be.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// What the last look found.
    pub fn looked(&self) -> Looked {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn looks(&self, change: impl FnOnce(&mut Looked)) {
        change(&mut self.looked.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Forms the cluster or mends it, until the server is stopped.
    pub fn tend(&self) {
        let mut said = Said::default();
        let mut memory =
            Memory { round: Instant::now(), candidacy: Candidacy::default(), refused: Said::default() };
        while !self.servers.stopping.load(Ordering::Relaxed) {
            let (plan, news) = self.look_and_act(&mut memory);
            self.settled.store(plan == Plan::Settled, Ordering::Relaxed);
            self.looks(|looked| looked.work = plan.in_words());
            said.once("cluster", news);
            thread::sleep(if plan == Plan::Settled { CALM } else { BUSY });
        }
    }

    fn look_and_act(&self, memory: &mut Memory) -> (Plan, String) {
        let topology = match read(&self.file) {
            Ok((topology, digest)) => {
                self.looks(|looked| looked.topology = Some(digest));
                topology
            }
            Err(error) => return (Plan::Wait(Waiting::OwnServer), crate::with_causes(&error)),
        };
        // A cluster as it should be costs its servers one question each, most of the time.
        let (is_settled, is_shard) = match self.servers.own() {
            Ok(own) => {
                let refused = self.allow(&mut memory.candidacy, &own).err();
                let refused = refused.map(|error| crate::with_causes(&error)).unwrap_or_default();
                memory.refused.once(candidacy::DIRECTIVE, refused);
                let is_settled = plan::is_settled(&own, &topology);
                if is_settled && own.me().replica && !memory.candidacy.is_allowed() {
                    return (Plan::Wait(Waiting::Copy), Waiting::Copy.to_string());
                }
                (is_settled, own.me().is_shard())
            }
            Err(error) => {
                let news = format!("{}: {}", Waiting::OwnServer, crate::with_causes(&error));
                return (Plan::Wait(Waiting::OwnServer), news);
            }
        };
        if is_settled && !(is_shard && memory.round.elapsed() >= ROUND) {
            return (Plan::Settled, "as it should be".to_owned());
        }
        let view = self.servers.view(self.ordinal, &topology);
        let plan = if is_settled { plan::next_of_settled(&view) } else { plan::next(&view, &topology) };
        if plan == Plan::Settled {
            memory.round = Instant::now();
        }
        let news = match &plan {
            Plan::Settled => "as it should be".to_owned(),
            Plan::Wait(reason) => reason.to_string(),
            Plan::Act(actions) => {
                let _acting = self.acting.lock();
                let mut done = Vec::new();
                for action in actions {
                    match self.servers.carry_out(&view, action) {
                        Ok(()) => done.push(action.to_string()),
                        // Planned again from what is there by then.
                        Err(error) => {
                            done.push(format!("{action} in vain: {}", crate::with_causes(&error)));
                            // Each attempt stops both servers for a while.
                            if matches!(action, Action::Give { .. }) {
                                thread::sleep(CALM);
                            }
                            break;
                        }
                    }
                }
                done.join("; ")
            }
        };
        (plan, news)
    }

    /// Has the server stand for election, or not. What can't be set now is tried again with the next look.
    fn allow(&self, candidacy: &mut Candidacy, own: &Member) -> Result<(), ServerError> {
        let master = candidacy.needs_proof(own).then(|| self.servers.master_of(own)).flatten();
        let next = candidacy.after(own, master.as_ref());
        if next.is_allowed() != candidacy.is_allowed() {
            let value = if next.is_allowed() { "no" } else { "yes" };
            self.servers.set(candidacy::DIRECTIVE, value)?;
        }
        *candidacy = next;
        Ok(())
    }

    /// Before the server stops: a replica takes over, where there is one and within `patience`.
    pub fn leave(&self, patience: Duration) {
        self.servers.stopping.store(true, Ordering::Relaxed);
        let end = Instant::now() + patience;
        // A slot that is on its way arrives first: who takes over would not know of it.
        // Half of the time is for the one that takes over.
        let arrival = Instant::now() + patience / 2;
        while matches!(self.acting.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < arrival {
            thread::sleep(STOPPING);
        }
        let mut asked: Option<Instant> = None;
        while Instant::now() < end {
            match self.servers.own() {
                Ok(own) if !own.me().is_shard() => return,
                Ok(_) => {}
                Err(error) => return eprintln!("stops without handing over: {}", crate::with_causes(&error)),
            }
            if asked.is_none_or(|at| at.elapsed() > SECOND_REQUEST) {
                match self.request() {
                    Ok(true) => asked = Some(Instant::now()),
                    Ok(false) => return eprintln!("stops without handing over: no replica is in step"),
                    Err(error) => {
                        return eprintln!("stops without handing over: {}", crate::with_causes(&error));
                    }
                }
            }
            thread::sleep(STOPPING);
        }
        eprintln!("stops without having handed over in {} s", patience.as_secs());
    }

    fn request(&self) -> Result<bool, LeaveError> {
        Ok(self.servers.hand_over(self.ordinal, &topology(&self.file)?)?)
    }
}

#[derive(Debug, Error)]
enum LeaveError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

fn topology(file: &Path) -> Result<Topology, ClusterError> {
    Ok(read(file)?.0)
}

/// The topology, and the digest of its file.
fn read(file: &Path) -> Result<(Topology, String), ClusterError> {
    let text =
        fs::read_to_string(file).map_err(|source| ClusterError::File { path: file.to_owned(), source })?;
    let topology =
        Topology::parse(&text).map_err(|source| ClusterError::Topology { path: file.to_owned(), source })?;
    Ok((topology, trading_report::digest(text.as_bytes())))
}
