//! Forms a cluster, once: pure. Every step can be lost or repeated.
//!
//! Servers get numbers, meet, replicas get their masters, and slots are given last: with the last of
//! them the cluster serves, and not before.

use super::nodes::NodeId;
use super::plan::{Action, Plan, Waiting};
use super::topology::Topology;
use super::view::{Member, View};

/// What server 0 does next, where no server sees a formed cluster.
pub(super) fn next(view: &View, topology: &Topology) -> Plan {
    let mut view = view.clone();
    view.members.retain(|ordinal, _| *ordinal < topology.servers());
    let view = &view;
    if let Some(reason) = hindrance(view, topology) {
        return Plan::Wait(reason);
    }
    let masters = match masters(view, topology) {
        Ok(masters) => masters,
        Err(on) => return Plan::Wait(Waiting::Slots { on }),
    };
    for actions in [
        introductions(view, &masters),
        strikes(view, topology),
        resets(view, &masters),
        replicas(view, topology, &masters),
    ] {
        if !actions.is_empty() {
            return Plan::Act(actions);
        }
    }
    if !all_know_all(view) || knows_any_gone(view) {
        return Plan::Wait(Waiting::Gossip);
    }
    match slots(view, topology, &masters) {
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
    None
}

/// Which server is master of which shard: who has slots of it already, else the shard's first server.
/// An error is a server whose slots are none that it could have got here.
fn masters(view: &View, topology: &Topology) -> Result<Vec<usize>, usize> {
    let mut masters: Vec<Option<usize>> = vec![None; topology.shards];
    for (on, member) in view.members.iter().filter(|(_, member)| !member.me().slots.is_empty()) {
        let fits = |shard: &usize| {
            let planned = topology.first_slots(*shard);
            member.me().slots.iter().all(|it| planned.contains(it.start()) && planned.contains(it.end()))
        };
        match (0..topology.shards).find(fits).map(|shard| &mut masters[shard]) {
            Some(master @ None) => *master = Some(*on),
            _ => return Err(*on),
        }
    }
    for shard in 0..topology.shards {
        if masters[shard].is_none() {
            let is_free = |on: &usize| !masters.contains(&Some(*on));
            let of_shard = (0..topology.servers()).filter(|on| topology.first_shard(*on) == shard);
            // There are at least as many servers as shards.
            masters[shard] = of_shard.chain(0..topology.servers()).find(is_free);
        }
    }
    Ok(masters.into_iter().flatten().collect())
}

/// Server 0 meets everybody whom it does not know where he is.
fn introductions(view: &View, masters: &[usize]) -> Vec<Action> {
    let first = &view.members[&0];
    let mut actions = Vec::new();
    for (on, member) in &view.members {
        let known_at = first.line(member.id()).and_then(|node| node.ip);
        let is_known = known_at == Some(member.ip) && member.line(first.id()).is_some();
        // A server's own address may be unknown to it until it has met somebody.
        if *on > 0 && is_known {
            continue;
        }
        if masters.contains(on) && member.is_alone() && member.me().epoch == 0 {
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

/// A master to be that became a replica meanwhile. It is as empty as all others.
fn resets(view: &View, masters: &[usize]) -> Vec<Action> {
    let of_replica = masters.iter().filter(|on| view.members[on].me().replica);
    of_replica.map(|on| Action::Reset { on: *on }).collect()
}

fn replicas(view: &View, topology: &Topology, masters: &[usize]) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut room = vec![topology.replicas; masters.len()];
    for (on, member) in view.members.iter().filter(|(on, _)| !masters.contains(on)) {
        let first = topology.first_shard(*on);
        let mut shards = std::iter::once(first).chain(0..masters.len());
        let Some(shard) = shards.find(|shard| room[*shard] > 0) else { continue };
        room[shard] -= 1;
        let master = view.members[&masters[shard]].id();
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
fn slots(view: &View, topology: &Topology, masters: &[usize]) -> Vec<Action> {
    let mut actions = Vec::new();
    for (shard, &on) in masters.iter().enumerate() {
        let mut next = *topology.first_slots(shard).start();
        let last = *topology.first_slots(shard).end();
        let mut give = |first: u16, end: u16| {
            if first < end {
                actions.push(Action::AddSlots { on, slots: first..=end - 1 });
            }
        };
        for has in &view.members[&on].me().slots {
            give(next, *has.start());
            next = has.end() + 1;
        }
        give(next, last + 1);
    }
    actions
}
