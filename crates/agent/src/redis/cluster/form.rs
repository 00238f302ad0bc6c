//! Forms a cluster, once: pure. Every step can be lost or repeated.
//!
//! Servers get numbers, meet, replicas get their masters, and slots are given last: with the last of
//! them the cluster serves, and not before.

use super::nodes::{Node, NodeId};
use super::plan::{Action, Plan, Waiting};
use super::topology::Topology;
use super::view::{Member, View};

/// What server 0 does next, where no server sees a formed cluster.
pub(super) fn next(view: &View, topology: &Topology) -> Plan {
    if let Some(reason) = hindrance(view, topology) {
        return Plan::Wait(reason);
    }
    for step in [introductions, strikes, replicas] {
        let actions = step(view, topology);
        if !actions.is_empty() {
            return Plan::Act(actions);
        }
    }
    if !all_know_all(view) || knows_any_gone(view) {
        return Plan::Wait(Waiting::Gossip);
    }
    match slots(view, topology) {
        actions if actions.is_empty() => Plan::Wait(Waiting::Gossip),
        actions => Plan::Act(actions),
    }
}

/// All servers must answer, hold nothing, and know nobody but each other.
fn hindrance(view: &View, topology: &Topology) -> Option<Waiting> {
    let missing: Vec<usize> = (0..topology.servers()).filter(|it| !view.members.contains_key(it)).collect();
    if !missing.is_empty() {
        return Some(Waiting::Servers(missing));
    }
    for (on, member) in &view.members {
        if member.keys > 0 {
            return Some(Waiting::Keys { on: *on });
        }
        if member.nodes.iter().any(|node| node.handshake) {
            return Some(Waiting::Gossip);
        }
        let stranger = member.nodes.iter().find(|node| !view.has(&node.id) && !view.is_gone(node, topology));
        if let Some(node) = stranger {
            return Some(Waiting::Stranger { on: *on, node: node.id.clone() });
        }
    }
    let misfit = view.members.iter().find(|(on, member)| !fits(member.me(), **on, topology));
    misfit.map(|(on, _)| Waiting::Slots { on: *on })
}

/// It has no slots but those that it gets here.
fn fits(node: &Node, ordinal: usize, topology: &Topology) -> bool {
    if ordinal >= topology.shards {
        return node.slots.is_empty();
    }
    let planned = topology.first_slots(ordinal);
    node.slots.iter().all(|slots| planned.contains(slots.start()) && planned.contains(slots.end()))
}

/// Server 0 meets everybody whom it does not know where he is.
fn introductions(view: &View, topology: &Topology) -> Vec<Action> {
    let first = &view.members[&0];
    let mut actions = Vec::new();
    for (on, member) in &view.members {
        let known_at = first.line(member.id()).and_then(|node| node.ip);
        let is_known = known_at == Some(member.ip) && member.line(first.id()).is_some();
        // A server's own address may be unknown to it until it has met somebody.
        if *on > 0 && is_known {
            continue;
        }
        if *on < topology.shards && member.is_alone() && member.me().epoch == 0 {
            actions.push(Action::Epoch { on: *on, epoch: *on as u64 + 1 });
        }
        if *on > 0 {
            actions.push(Action::Meet { on: 0, ip: member.ip });
        }
    }
    // The number alone is no reason to act: it is refused once somebody was met.
    if view.members.len() > 1 && actions.iter().all(|action| matches!(action, Action::Epoch { .. })) {
        actions.clear();
    }
    actions
}

/// Nodes that were replaced by an empty server before the cluster was formed.
fn strikes(view: &View, topology: &Topology) -> Vec<Action> {
    let of = |(on, member): (&usize, &Member)| -> Vec<Action> {
        let gone = member
            .nodes
            .iter()
            .filter(|node| view.is_gone(node, topology) && member.me().master.as_ref() != Some(&node.id));
        gone.map(|node| Action::Forget { on: *on, node: node.id.clone() }).collect()
    };
    view.members.iter().flat_map(of).collect()
}

fn replicas(view: &View, topology: &Topology) -> Vec<Action> {
    let mut actions = Vec::new();
    for (on, member) in view.members.range(topology.shards..) {
        let Some(master) = view.members.get(&topology.first_shard(*on)).map(Member::id) else { continue };
        if member.me().master.as_ref() != Some(master) && member.line(master).is_some() {
            actions.push(Action::Replicate { on: *on, master: master.clone() });
        }
    }
    actions
}

fn all_know_all(view: &View) -> bool {
    let ids: Vec<&NodeId> = view.members.values().map(Member::id).collect();
    view.members.values().all(|member| ids.iter().all(|id| member.line(id).is_some_and(|it| it.connected)))
}

fn knows_any_gone(view: &View) -> bool {
    view.members.values().flat_map(|member| &member.nodes).any(|node| !view.has(&node.id))
}

/// What the masters still lack of their slots.
fn slots(view: &View, topology: &Topology) -> Vec<Action> {
    let mut actions = Vec::new();
    for shard in 0..topology.shards {
        let mut next = *topology.first_slots(shard).start();
        let last = *topology.first_slots(shard).end();
        let mut give = |first: u16, end: u16| {
            if first < end {
                actions.push(Action::AddSlots { on: shard, slots: first..=end - 1 });
            }
        };
        for has in &view.members[&shard].me().slots {
            give(next, *has.start());
            next = has.end() + 1;
        }
        give(next, last + 1);
    }
    actions
}
