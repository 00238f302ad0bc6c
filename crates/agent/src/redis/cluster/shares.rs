//! Deals slots evenly, pure: a master that has more than its share gives to those that have less, such
//! as the masters of new shards; one that is too many gives all of them.
//!
//! Every slot has one owner, and only its agent decides about it.

use super::heal;
use super::nodes::{Node, NodeId, SLOTS};
use super::plan::Action;
use super::topology::Topology;
use super::view::{Member, View};

/// Slots that move before the agent looks again: a fraction of a second where they are small.
const AT_A_TIME: usize = 64;

/// Whether every shard has its share, and no slot is on its way from the server. That a server waits for a
/// slot says nothing: Redis claims so, too, of keys that it had before it lost their slot.
pub(super) fn are_even(own: &Member, topology: &Topology) -> bool {
    let shards = own.shards();
    let has_share = |shard: &&Node| topology.keeps(shard) && shard.slot_count() >= share(topology);
    !own.me().moving.iter().any(|moving| moving.outward)
        && shards.len() == topology.shards
        && shards.iter().all(has_share)
}

/// Slots that every shard has at least.
fn share(topology: &Topology) -> usize {
    usize::from(SLOTS) / topology.shards
}

/// What the agent of `own` does about its slots, where nothing else is to be done.
pub(super) fn next(view: &View, own: &Member, topology: &Topology) -> Vec<Action> {
    let begun = begun(view, own);
    if !begun.is_empty() {
        return begun;
    }
    if !is_whole(view, own, topology) {
        return Vec::new();
    }
    let (on, me) = (view.own, own.me());
    let next = if !me.is_shard() && !topology.keeps(me) {
        (is_complete(own, topology) && (me.replica || own.keys == 0)).then_some(Action::Leave { on })
    } else if me.replica {
        is_to_be_a_master(own, topology).then_some(Action::Reset { on })
    } else {
        gift(view, own, topology)
    };
    next.into_iter().collect()
}

/// All servers are there and know each other, and replicas have copies: what moves is not the only one.
fn is_whole(view: &View, own: &Member, topology: &Topology) -> bool {
    let is_known = |node: &Node| node.connected && !node.handshake && !node.failed && view.has(&node.id);
    let is_member = |ordinal| view.members.get(&ordinal).is_some_and(|it| own.line(it.id()).is_some());
    own.sees_a_formed_cluster()
        && (0..topology.servers()).all(is_member)
        && own.nodes.iter().all(is_known)
        && view.members.values().all(|member| !member.me().replica || member.is_in_step())
}

/// Without those that are to go, the cluster has all that it is to have.
fn is_complete(own: &Member, topology: &Topology) -> bool {
    let has_replicas = |shard: &&Node| {
        own.replicas(&shard.id).filter(|replica| topology.keeps(replica)).count() >= topology.replicas
    };
    are_even(own, topology) && own.shards().iter().all(has_replicas)
}

/// The server's master is to go and one of those that the cluster goes on with, and of its replicas that stay
/// this is the first.
pub(super) fn is_to_succeed(view: &View, own: &Member, topology: &Topology) -> bool {
    let me = own.me();
    let Some(master) = me.master.as_ref().and_then(|id| own.line(id)) else { return false };
    let goes_on = heal::masters(own, topology).iter().any(|other| other.id == master.id);
    let moves = |member: &Member| !member.me().moving.is_empty();
    let stays = own.replicas(&master.id).filter(|replica| topology.keeps(replica));
    !topology.keeps(master)
        && goes_on
        && topology.keeps(me)
        && is_whole(view, own, topology)
        && !view.members.values().any(moves)
        && stays.min_by_key(|replica| topology.ordinal(&replica.host)).is_some_and(|first| first.myself)
}

/// A shard has no master yet, because all servers became replicas while others were away; and of those
/// that a shard has too many of, this is the last.
fn is_to_be_a_master(own: &Member, topology: &Topology) -> bool {
    let masters = heal::masters(own, topology);
    let too_many = |master: &&&Node| own.replicas(&master.id).count() > topology.replicas;
    let surplus = masters.iter().filter(too_many).flat_map(|master| own.replicas(&master.id));
    masters.len() < topology.shards
        && surplus.max_by_key(|node| topology.ordinal(&node.host)).is_some_and(|last| last.myself)
}

/// Slots that were on their way when an agent or a server ended. Until they have arrived, clients find
/// some of their keys nowhere: nobody but the two servers is waited for.
fn begun(view: &View, own: &Member) -> Vec<Action> {
    let (on, me) = (view.own, own.me());
    if me.replica || !own.sees_a_formed_cluster() {
        return Vec::new();
    }
    let owns = |slot: u16| me.slots.iter().any(|slots| slots.contains(&slot));
    let mut actions = Vec::new();
    for moving in me.moving.iter().filter(|moving| moving.outward) {
        match master_of(own, &moving.other).filter(|_| owns(moving.slot)) {
            // Where it is away, its keys that have arrived are as well.
            Some(master) => {
                let to = ordinal(view, master).filter(|_| master.connected);
                let slots = vec![moving.slot];
                actions.extend(to.map(|to| Action::Give { on, to, slots, begun: true }));
            }
            None => actions.push(Action::Keep { on, slot: moving.slot }),
        }
    }
    // The server took over from one that had begun. What others await from this one itself are keys that
    // they had before they lost the slot, older than what is here.
    for (&to, other) in view.members.iter().filter(|(to, other)| **to != on && !other.me().replica) {
        let awaited = other.me().moving.iter().filter(|moving| !moving.outward && moving.other != me.id);
        let begun_here = |slot: u16| me.moving.iter().any(|moving| moving.slot == slot);
        let slots = awaited.map(|moving| moving.slot).filter(|slot| owns(*slot) && !begun_here(*slot));
        let slots: Vec<u16> = slots.take(AT_A_TIME).collect();
        if !slots.is_empty() && own.line(other.id()).is_some_and(|node| node.connected) {
            actions.push(Action::Give { on, to, slots, begun: true });
        }
    }
    actions
}

/// The node, or who took over from it; `None` where it was struck off.
fn master_of<'a>(own: &'a Member, id: &NodeId) -> Option<&'a Node> {
    let node = own.line(id)?;
    if !node.replica {
        return Some(node);
    }
    node.master.as_ref().filter(|master| **master != own.me().id).and_then(|master| own.line(master))
}

fn ordinal(view: &View, node: &Node) -> Option<usize> {
    view.members.iter().find(|(_, member)| member.id() == &node.id).map(|(ordinal, _)| *ordinal)
}

/// What the server has too much of, to the first that has too little of it and is this one's to fill.
fn gift(view: &View, own: &Member, topology: &Topology) -> Option<Action> {
    let masters = heal::masters(own, topology);
    if masters.len() != topology.shards {
        return None;
    }
    let is_one = |node: &&Node| masters.iter().any(|master| master.id == node.id);
    let many: Vec<&Node> = own.shards().into_iter().filter(|shard| !is_one(shard)).collect();
    // Those that are too many give what does not divide evenly, too.
    let share = if many.is_empty() { share(topology) } else { usize::from(SLOTS).div_ceil(topology.shards) };
    let mut wanting: Vec<(&Node, usize)> = masters
        .iter()
        .map(|master| (*master, share.saturating_sub(master.slot_count())))
        .filter(|(_, lacks)| *lacks > 0)
        .collect();
    // All agents deal in the same order, so that together they give nobody too much.
    for giver in many.iter().chain(&masters) {
        let keeps = if is_one(giver) { share } else { 0 };
        let mut surplus = giver.slot_count().saturating_sub(keeps);
        for (taker, lacks) in &mut wanting {
            let count = surplus.min(*lacks);
            if count > 0 && giver.myself {
                let is_safe = topology.replicas == 0 || own.replicas(&taker.id).next().is_some();
                // Whoever is to go is succeeded first.
                let to = ordinal(view, taker).filter(|_| is_safe && topology.keeps(taker))?;
                let slots = giver.slots.iter().rev().flat_map(|slots| slots.clone().rev());
                let slots = slots.take(count.min(AT_A_TIME)).collect();
                return Some(Action::Give { on: view.own, to, slots, begun: false });
            }
            surplus -= count;
            *lacks -= count;
        }
    }
    None
}
