//! The servers of a cluster, I/O: asks them, and carries actions out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use thiserror::Error;

use super::nodes::{self, Node, NodesError};
use super::plan::Action;
use super::topology::Topology;
use super::view::{Member, View};
use super::{claims, give};
use crate::redis::hosts::Hosts;
use crate::redis::link::{Link, LinkError, field};
use crate::redis::password::Passwords;

/// Time for one server to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time after which a slot that nobody stands for is looked at again.
const SECOND_GLANCE: Duration = Duration::from_secs(1);
/// Servers that are asked at once.
const AT_ONCE: usize = 16;

/// Why a server's answer is of no use.
#[derive(Debug, Error)]
pub enum ServerError {
    /// It did not do what it was asked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What it knows of its cluster can't be read.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// It holds what it should not, and it is not known which of both is right.
    #[error(
        "server {host} has {keys} keys of slot {slot}, which is not its own: look at them, and delete them there"
    )]
    Leftover {
        /// Who.
        host: String,
        /// Which slot.
        slot: u16,
        /// How many.
        keys: u64,
    },
    /// The action is for a server that is not in view.
    #[error("server {0} is not in view")]
    NotInView(usize),
}

/// How to reach the servers.
#[derive(Clone)]
pub struct Servers {
    /// Address of the agent's own.
    pub own: IpAddr,
    /// Port of all.
    pub port: u16,
    /// Passwords of all.
    pub passwords: Passwords,
    /// Where their names are looked up.
    pub hosts: Hosts,
    /// The agent's own is to end: nothing more is begun.
    pub stopping: Arc<AtomicBool>,
}

impl Servers {
    /// What the agent's own server says.
    pub fn own(&self) -> Result<Member, ServerError> {
        self.ask(self.own)
    }

    /// What answers where a replica believes its master to be.
    pub fn master_of(&self, replica: &Member) -> Option<Member> {
        replica.master().and_then(|master| master.ip).and_then(|ip| self.ask(ip).ok())
    }

    /// Sets something of the agent's own server.
    pub fn set(&self, directive: &str, value: &str) -> Result<(), ServerError> {
        Ok(self.link(self.own)?.order("CONFIG SET", &["CONFIG", "SET", directive, value])?)
    }

    /// What all servers say that can be asked now, and prove to be who was looked for.
    pub fn view(&self, own: usize, topology: &Topology) -> View {
        let mut view = self.glance(own, topology);
        let doubtful = claims::disowned(&view);
        if !doubtful.is_empty() {
            thread::sleep(SECOND_GLANCE);
            view = self.glance(own, topology);
            let disowned: Vec<u16> = claims::disowned(&view).intersection(&doubtful).copied().collect();
            // Of what can't be counted nothing is concluded.
            view.disowned = self.holders(&view, &disowned).unwrap_or_default();
        }
        view
    }

    /// How many keys of these slots each master holds.
    fn holders(
        &self,
        view: &View,
        slots: &[u16],
    ) -> Result<BTreeMap<u16, BTreeMap<usize, u64>>, ServerError> {
        let mut holders: BTreeMap<u16, BTreeMap<usize, u64>> = BTreeMap::new();
        let masters = view.members.iter().filter(|(_, member)| !member.me().replica && !member.is_alone());
        for (on, member) in masters {
            let mut link = self.link(member.ip)?;
            for slot in slots {
                link.go_on(PATIENCE);
                holders.entry(*slot).or_default().insert(*on, give::keys_in(&mut link, *slot)?);
            }
        }
        Ok(holders)
    }

    fn glance(&self, own: usize, topology: &Topology) -> View {
        let mut view = View { own, members: BTreeMap::new(), disowned: BTreeMap::new() };
        let ordinals: BTreeSet<usize> = (0..topology.servers()).chain([own]).collect();
        self.look_at(&ordinals, topology, &mut view);
        // Those that are to go are members until they have left.
        let known = view.members.values().flat_map(|member| &member.nodes);
        let further = known.filter_map(|node| topology.ordinal(&node.host));
        let further: BTreeSet<usize> = further.filter(|ordinal| !ordinals.contains(ordinal)).collect();
        self.look_at(&further, topology, &mut view);
        view
    }

    fn look_at(&self, ordinals: &BTreeSet<usize>, topology: &Topology, view: &mut View) {
        let ordinals: Vec<usize> = ordinals.iter().copied().collect();
        let own = view.own;
        for some in ordinals.chunks(AT_ONCE) {
            thread::scope(|scope| {
                let asked: Vec<_> = some
                    .iter()
                    .map(|&it| (it, scope.spawn(move || self.member(it, it == own, topology))))
                    .collect();
                // A thread that panicked has no answer.
                let answers = asked.into_iter().filter_map(|(it, thread)| Some((it, thread.join().ok()??)));
                view.members.extend(answers);
            });
        }
    }

    fn member(&self, ordinal: usize, is_own: bool, topology: &Topology) -> Option<Member> {
        let host = topology.host(ordinal);
        let ip = if is_own { self.own } else { self.hosts.find(&host)? };
        // Names are known to be late: the address may be another cluster's by now. Nothing is done
        // about a server that does not announce the name that was looked up.
        self.ask(ip).ok().filter(|member| member.me().host == host)
    }

    fn ask(&self, ip: IpAddr) -> Result<Member, ServerError> {
        let mut link = self.link(ip)?;
        let nodes = nodes::parse(&link.text("CLUSTER NODES", &["CLUSTER", "NODES"])?)?;
        // Not DBSIZE: a replica without its master need not answer that.
        let info = link.text("INFO", &["INFO", "replication", "keyspace"])?;
        let number = |name| field(&info, name).and_then(|digits| digits.parse().ok());
        Ok(Member {
            ip,
            keys: keys(&info),
            offset: number("slave_repl_offset").or_else(|| number("master_repl_offset")).unwrap_or(0),
            source: field(&info, "master_host").map(str::to_owned),
            linked: field(&info, "master_link_status") == Some("up"),
            replication_id: field(&info, "master_replid").map(str::to_owned),
            former_replication_id: field(&info, "master_replid2").map(str::to_owned),
            nodes,
        })
    }

    fn link(&self, ip: IpAddr) -> Result<Link, LinkError> {
        Link::open(ip, self.port, &self.passwords, PATIENCE)
    }

    /// Does one thing that was planned on this view.
    pub fn carry_out(&self, view: &View, action: &Action) -> Result<(), ServerError> {
        let member = |ordinal: usize| view.members.get(&ordinal).ok_or(ServerError::NotInView(ordinal));
        let on = |ordinal: usize| Ok::<_, ServerError>(self.link(member(ordinal)?.ip)?);
        match action {
            Action::Give { on, to, slots, begun } => {
                return self.give(member(*on)?, member(*to)?, slots, *begun);
            }
            Action::Epoch { on: ordinal, epoch } => on(*ordinal)?
                .order("CLUSTER SET-CONFIG-EPOCH", &["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()]),
            Action::Meet { on: ordinal, ip } => on(*ordinal)?
                .order("CLUSTER MEET", &["CLUSTER", "MEET", &ip.to_string(), &self.port.to_string()]),
            Action::AddSlots { on: ordinal, slots } => on(*ordinal)?.order(
                "CLUSTER ADDSLOTSRANGE",
                &["CLUSTER", "ADDSLOTSRANGE", &slots.start().to_string(), &slots.end().to_string()],
            ),
            Action::Replicate { on: ordinal, master } | Action::Follow { on: ordinal, master } => {
                on(*ordinal)?.order("CLUSTER REPLICATE", &["CLUSTER", "REPLICATE", &master.0])
            }
            Action::Forget { on: ordinal, node } => {
                on(*ordinal)?.order("CLUSTER FORGET", &["CLUSTER", "FORGET", &node.0])
            }
            Action::Reset { on: ordinal } => {
                on(*ordinal)?.order("CLUSTER RESET", &["CLUSTER", "RESET", "SOFT"])
            }
            Action::Claim { on: ordinal, slots } => {
                return Self::claim(on(*ordinal)?, member(*ordinal)?, slots);
            }
            Action::Leave { on: ordinal } => return Self::leave(on(*ordinal)?),
            Action::Succeed { on: ordinal } => {
                on(*ordinal)?.order("CLUSTER FAILOVER", &["CLUSTER", "FAILOVER"])
            }
            Action::TakeOver { on: ordinal } => {
                on(*ordinal)?.order("CLUSTER FAILOVER", &["CLUSTER", "FAILOVER", "FORCE"])
            }
            Action::Keep { on: ordinal, slot } => on(*ordinal)?
                .order("CLUSTER SETSLOT STABLE", &["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]),
        }?;
        Ok(())
    }

    /// Of two claims the younger one wins. As if it had come from who is believed to own it: then Redis takes the slot
    /// and renews its claim at once. With an old claim, a third server's word would have it delete its keys.
    fn claim(mut link: Link, member: &Member, slots: &[u16]) -> Result<(), ServerError> {
        for slot in slots {
            let owns = |node: &&Node| node.slots.iter().any(|slots| slots.contains(slot));
            let Some(owner) = member.nodes.iter().find(owns).filter(|node| !node.myself) else { continue };
            let slot = slot.to_string();
            link.order(
                "CLUSTER SETSLOT IMPORTING",
                &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &owner.id.0],
            )?;
            link.order("CLUSTER SETSLOT NODE", &["CLUSTER", "SETSLOT", &slot, "NODE", &member.id().0])?;
        }
        Ok(())
    }

    /// The new id comes last: while the others know the old one, all of it is done again. Nothing of the data may
    /// come back with the volume.
    fn leave(mut link: Link) -> Result<(), ServerError> {
        link.order("CLUSTER RESET", &["CLUSTER", "RESET", "SOFT"])?;
        link.order("FLUSHALL", &["FLUSHALL"])?;
        link.order("SAVE", &["SAVE"])?;
        Ok(link.order("CLUSTER RESET", &["CLUSTER", "RESET", "HARD"])?)
    }

    /// Has the best replica of the agent's own server take over from it; `true` once it has.
    ///
    /// Redis stops the clients for that moment, so that nothing that was acknowledged is lost.
    pub fn hand_over(&self, ordinal: usize, topology: &Topology) -> Result<bool, ServerError> {
        let own = self.own()?;
        if own.replicas(own.id()).next().is_none() {
            return Ok(false);
        }
        let view = self.glance(ordinal, topology);
        let heirs = view.members.values().filter(|member| {
            member.is_in_step()
                && member.replication_id == own.replication_id
                && member.me().replica
                && member.me().master.as_ref() == Some(own.id())
        });
        let Some(heir) = heirs.max_by_key(|member| member.offset) else { return Ok(false) };
        self.link(heir.ip)?.order("CLUSTER FAILOVER", &["CLUSTER", "FAILOVER"])?;
        Ok(true)
    }
}

/// Keys of all databases, of which a cluster has one.
fn keys(info: &str) -> u64 {
    let of_database =
        |line: &str| line.strip_prefix("db")?.split_once(":keys=")?.1.split(',').next()?.parse::<u64>().ok();
    info.lines().filter_map(of_database).sum()
}
