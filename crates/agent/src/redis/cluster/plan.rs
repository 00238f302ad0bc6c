//! Plan stage, pure: what the servers answered and how the cluster should be → what to do next.
//!
//! A cluster is formed by the agent of server 0 (see [`form`]); afterwards every agent mends its own
//! server only (see [`heal`]), so no two of them ever pull at the same one.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::nodes::NodeId;
use super::topology::Topology;
use super::view::{Member, View};
use super::{claims, form, heal, shares};

/// One command for one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Number a server that has met nobody, so that no two claims to a slot are equally old.
    Epoch { on: usize, epoch: u64 },
    /// Make two servers known to each other.
    Meet { on: usize, ip: IpAddr },
    /// Give a master of a new cluster its slots.
    AddSlots { on: usize, slots: RangeInclusive<u16> },
    /// Make it a replica.
    Replicate { on: usize, master: NodeId },
    /// Have a replica copy from where its master is now.
    Follow { on: usize, master: NodeId },
    /// Strike a node off that will never come back.
    Forget { on: usize, node: NodeId },
    /// Have a server that is empty, or one replica too many, forget all of its cluster.
    Reset { on: usize },
    /// Have a server that is to go forget all of its cluster, its own data and its name.
    Leave { on: usize },
    /// Make a replica the master, because its master is to go; that has it take over nothing half done.
    Succeed { on: usize },
    /// Make a replica the master although its master can't be asked.
    TakeOver { on: usize },
    /// Move slots and their keys to another server while both serve. With `begun` some of the keys may be
    /// there already.
    Give { on: usize, to: usize, slots: Vec<u16>, begun: bool },
    /// A slot that was on its way stays where it is.
    Keep { on: usize, slot: u16 },
    /// Stand for slots that nobody stands for.
    Claim { on: usize, slots: Vec<u16> },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { on, epoch } => write!(f, "server {on} gets epoch {epoch}"),
            Self::Meet { on, ip } => write!(f, "server {on} meets {ip}"),
            Self::AddSlots { on, slots } => {
                write!(f, "server {on} gets slots {}-{}", slots.start(), slots.end())
            }
            Self::Replicate { on, master } => write!(f, "server {on} becomes a replica of {master}"),
            Self::Follow { on, master } => {
                write!(f, "server {on} copies from where its master {master} is now")
            }
            Self::Forget { on, node } => write!(f, "server {on} forgets {node}, whose volume is lost"),
            Self::Reset { on } => write!(f, "server {on} starts anew as an empty one"),
            Self::Leave { on } => write!(f, "server {on} leaves the cluster, which has its data elsewhere"),
            Self::Succeed { on } => write!(f, "server {on} takes over from its master, which is to go"),
            Self::TakeOver { on } => {
                write!(f, "server {on} takes over from its master, whose volume is lost")
            }
            Self::Give { on, to, slots, .. } => {
                write!(f, "server {on} gives {} slots to server {to}", slots.len())
            }
            Self::Keep { on, slot } => write!(f, "server {on} no longer moves slot {slot}"),
            Self::Claim { on, slots } => {
                write!(f, "server {on} takes up {} slots that nobody stood for", slots.len())
            }
        }
    }
}

/// Why nothing can be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The agent's own server does not answer: it starts, or loads its data.
    OwnServer,
    /// A cluster is formed only when all servers answer.
    Servers(Vec<usize>),
    /// A cluster is never formed over data.
    Keys { on: usize },
    /// A server knows a node that is none of the servers.
    Stranger { on: usize, node: NodeId },
    /// A server has slots that it would not get here.
    Slots { on: usize },
    /// Server 0 has yet to form the cluster.
    Leader,
    /// What was done spreads among the servers.
    Gossip,
    /// This server is new, and joins when all members are there: until then a member could send it
    /// to an address that is somebody else's by now.
    Members,
    /// What this replica has is another shard's, and its master is away.
    Astray,
    /// This replica may not be elected yet.
    Copy,
    /// Other masters have yet to give slots to those that lack some.
    Shares,
    /// Slots whose only copy is lost.
    SlotsLost(usize),
    /// Nobody stands for the slot, and these have keys of it: where one takes it up, the other's are out of reach.
    Torn { slot: u16, servers: (usize, usize) },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnServer => f.write_str("the server does not answer yet"),
            Self::Servers(missing) => {
                write!(f, "the cluster is formed when all servers answer; missing are {missing:?}")
            }
            Self::Keys { on } => write!(
                f,
                "server {on} belongs to no cluster but holds keys, and a cluster is never formed over data: move them away"
            ),
            Self::Stranger { on, node } => {
                write!(
                    f,
                    "server {on} knows node {node}, which is none of the servers: reset it if it has no data"
                )
            }
            Self::Slots { on } => {
                write!(f, "server {on} has slots that it would not get here: reset it if it has no data")
            }
            Self::Leader => f.write_str("server 0 has yet to form the cluster"),
            Self::Gossip => f.write_str("the servers tell each other what changed"),
            Self::Members => f.write_str("this server joins when all members of the cluster answer"),
            Self::Astray => f.write_str(
                "the replica copied another shard's data, because that one's server is where its master was: it stands for nothing until its master answers at its new address",
            ),
            Self::Copy => f.write_str("the replica has yet to show that it has its master's data; until then it is not elected"),
            Self::Shares => f.write_str("slots move to the masters that have too few of them"),
            Self::SlotsLost(slots) => write!(
                f,
                "{slots} slots have no server: the volumes of their master and of all its replicas are lost, or have another shard's data; restore a backup"
            ),
            Self::Torn { slot, servers: (one, other) } => write!(
                f,
                "servers {one} and {other} both have keys of slot {slot}, and each says that it is another's, so that nobody serves it: choose one, and say there CLUSTER SETSLOT {slot} IMPORTING with the other's id, then CLUSTER SETSLOT {slot} NODE with its own; the other's keys are out of reach then"
            ),
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The cluster is as it should be.
    Settled,
    /// To be done in this order; what fails is planned again.
    Act(Vec<Action>),
    /// Look again later.
    Wait(Waiting),
}

impl Plan {
    /// What a person is told of it: neither which step it is nor how far it has come, which changes all the time.
    pub fn in_words(&self) -> Option<String> {
        match self {
            Self::Settled => None,
            Self::Wait(reason) => Some(reason.to_string()),
            Self::Act(actions) if actions.iter().any(|action| matches!(action, Action::Give { .. })) => {
                Some(Waiting::Shares.to_string())
            }
            Self::Act(_) => Some("the cluster is formed or mended".to_owned()),
        }
    }
}

/// What the agent of `view.own` does where its server sees the whole cluster as it should be, which says nothing
/// of what the others see.
pub fn next_of_settled(view: &View) -> Plan {
    match (claims::next(view), claims::torn(view)) {
        (Some(claim), _) => Plan::Act(vec![claim]),
        (None, Some(torn)) => Plan::Wait(torn),
        (None, None) => Plan::Settled,
    }
}

/// What the agent of `view.own` does next.
pub fn next(view: &View, topology: &Topology) -> Plan {
    let Some(own) = view.members.get(&view.own) else {
        return Plan::Wait(Waiting::OwnServer);
    };
    if view.members.values().any(Member::sees_a_formed_cluster) || was_formed(view) {
        return heal::next(view, own, topology);
    }
    if view.own == 0 {
        return form::next(view, topology);
    }
    // Until the cluster is formed the others only keep sight of each other.
    match heal::lost_sight_of(view, own) {
        meetings if meetings.is_empty() => Plan::Wait(Waiting::Leader),
        meetings => Plan::Act(meetings),
    }
}

/// Somebody holds keys as a member of a cluster: whatever slots are missing now, it was formed once.
fn was_formed(view: &View) -> bool {
    view.members.values().any(|member| member.keys > 0 && !member.is_alone())
}

/// Whether the server sees the whole cluster as it should be; then nobody else needs to be asked.
pub fn is_settled(own: &Member, topology: &Topology) -> bool {
    // Of one that is to go the others have to be asked.
    if !topology.keeps(own.me()) {
        return false;
    }
    let mut ordinals: Vec<usize> = own.nodes.iter().filter_map(|node| topology.ordinal(&node.host)).collect();
    ordinals.sort_unstable();
    own.sees_a_formed_cluster()
        && own.nodes.len() == topology.servers()
        && ordinals.into_iter().eq(0..topology.servers())
        && own.nodes.iter().all(|node| node.connected && node.ip.is_some() && !node.handshake)
        && !own.is_astray()
        && heal::new_master(own, topology).is_none()
        && shares::are_even(own, topology)
}
