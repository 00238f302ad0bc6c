//! Deals slots evenly, pure: a master that has more than its share gives to those that have less, such
//! as the masters of new shards.
//!
//! Every slot has one owner, and only its agent decides about it.

use super::heal;
use super::nodes::{Node, NodeId, SLOTS};
use super::plan::Action;
use super::topology::Topology;
use super::view::{Member, View};

/// Slots that move before the agent looks again: a fraction of a second where they are small.
const AT_A_TIME: usize = 64;

/// Whether every shard has its share, and no slot is on its way from the server or to it.
pub(super) fn are_even(own: &Member, topology: &Topology) -> bool {
    let shards = own.shards();
    own.me().moving.is_empty()
        && shards.len() >= topology.shards
        && shards.iter().all(|shard| shard.slot_count() >= share(topology))
}

/// Slots that every shard has at least.
fn share(topology: &Topology) -> usize {
    usize::from(SLOTS) / topology.shards
}

/// What the agent of `own` does about its slots, where nothing else is to be done.
pub(super) fn next(view: &View, own: &Member, topology: &Topology) -> Vec<Action> {
    if own.me().replica || !is_whole(view, own, topology) {
        return Vec::new();
    }
    let begun = begun(view, own);
    if begun.is_empty() { gift(view, own, topology).into_iter().collect() } else { begun }
}

/// All servers are there and know each other, and replicas have copies: what moves is not the only one.
fn is_whole(view: &View, own: &Member, topology: &Topology) -> bool {
    let is_known = |node: &Node| node.connected && !node.handshake && !node.failed;
    own.sees_a_formed_cluster()
        && view.members.len() == topology.servers()
        && own.nodes.len() == topology.servers()
        && own.nodes.iter().all(is_known)
        && view.members.values().all(|member| !member.me().replica || member.in_step)
}

/// Slots that were on their way when an agent or a server ended.
fn begun(view: &View, own: &Member) -> Vec<Action> {
    let (on, me) = (view.own, own.me());
    let owns = |slot: u16| me.slots.iter().any(|slots| slots.contains(&slot));
    let mut actions = Vec::new();
    for moving in &me.moving {
        let to = master_of(own, &moving.other).and_then(|id| ordinal(view, id));
        match to {
            // Whoever owns it goes on.
            _ if !moving.outward && !owns(moving.slot) => {}
            Some(to) if moving.outward && owns(moving.slot) => {
                actions.push(Action::Give { on, to, slots: vec![moving.slot] });
            }
            _ => actions.push(Action::Keep { on, slot: moving.slot }),
        }
    }
    // The server took over from one that had begun.
    for (&to, other) in view.members.iter().filter(|(to, other)| **to != on && !other.me().replica) {
        let awaited = other.me().moving.iter().filter(|moving| !moving.outward).map(|moving| moving.slot);
        let begun_here = |slot: &u16| me.moving.iter().any(|moving| moving.slot == *slot);
        let slots: Vec<u16> = awaited.filter(|slot| owns(*slot) && !begun_here(slot)).collect();
        if !slots.is_empty() {
            actions.push(Action::Give { on, to, slots });
        }
    }
    actions
}

/// The node, or who took over from it.
fn master_of<'a>(own: &'a Member, id: &'a NodeId) -> Option<&'a NodeId> {
    let node = own.line(id)?;
    if node.replica { node.master.as_ref().filter(|master| **master != own.me().id) } else { Some(id) }
}

fn ordinal(view: &View, id: &NodeId) -> Option<usize> {
    view.members.iter().find(|(_, member)| member.id() == id).map(|(ordinal, _)| *ordinal)
}

/// What the server has too much of, to the first that has too little of it and is this one's to fill.
fn gift(view: &View, own: &Member, topology: &Topology) -> Option<Action> {
    let masters = heal::masters(own, topology);
    if masters.len() != topology.shards {
        return None;
    }
    let share = share(topology);
    let mut wanting: Vec<(&Node, usize)> = masters
        .iter()
        .map(|master| (*master, share.saturating_sub(master.slot_count())))
        .filter(|(_, lacks)| *lacks > 0)
        .collect();
    // All agents deal in the same order, so that together they give nobody too much.
    for giver in &masters {
        let mut surplus = giver.slot_count().saturating_sub(share);
        for (taker, lacks) in &mut wanting {
            let count = surplus.min(*lacks);
            if count > 0 && giver.myself {
                let is_safe = topology.replicas == 0 || own.replicas(&taker.id).next().is_some();
                let to = ordinal(view, &taker.id).filter(|_| is_safe)?;
                let slots = giver.slots.iter().rev().flat_map(|slots| slots.clone().rev());
                let slots = slots.take(count.min(AT_A_TIME)).collect();
                return Some(Action::Give { on: view.own, to, slots });
            }
            surplus -= count;
            *lacks -= count;
        }
    }
    None
}
