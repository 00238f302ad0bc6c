//! Mends a formed cluster: pure. Each agent acts on its own server only.

use std::cmp::Reverse;

use super::nodes::{Node, NodeId, SLOTS};
use super::plan::{Action, Plan, Waiting, is_settled};
use super::topology::Topology;
use super::view::{Member, View};
use super::{claims, shares};

/// What the agent of `own` does next.
pub(super) fn next(view: &View, own: &Member, topology: &Topology) -> Plan {
    if own.is_alone() {
        return join(view, own, topology);
    }
    let on = view.own;
    let mut actions = lost_sight_of(view, own);
    actions.extend(strikes(view, own, topology));
    let another = new_master(own, topology).map(|master| Action::Replicate { on, master });
    let follow = || moved_master(own).map(|master| Action::Follow { on, master });
    actions.extend(another.or_else(follow));
    if must_take_over(view, own, topology) {
        actions.push(Action::TakeOver { on });
    }
    if actions.is_empty() && shares::is_to_succeed(view, own, topology) {
        actions.push(Action::Succeed { on });
    }
    if !actions.is_empty() {
        return Plan::Act(actions);
    }
    if let Some(claim) = claims::next(view) {
        return Plan::Act(vec![claim]);
    }
    let gifts = shares::next(view, own, topology);
    if !gifts.is_empty() {
        return Plan::Act(gifts);
    }
    if let Some(torn) = claims::torn(view) {
        return Plan::Wait(torn);
    }
    if is_settled(own, topology) {
        return Plan::Settled;
    }
    if own.copies_another() && !own.master().is_some_and(|master| view.is_gone(master, topology)) {
        return Plan::Wait(Waiting::Astray);
    }
    match slots_lost(view, own, topology) {
        0 if own.sees_a_formed_cluster() && !shares::are_even(own, topology) => Plan::Wait(Waiting::Shares),
        0 => Plan::Wait(Waiting::Gossip),
        slots => Plan::Wait(Waiting::SlotsLost(slots)),
    }
}

/// An empty server joins the cluster that the others formed.
fn join(view: &View, own: &Member, topology: &Topology) -> Plan {
    if own.keys > 0 {
        return Plan::Wait(Waiting::Keys { on: view.own });
    }
    if !topology.keeps(own.me()) {
        // It has left once nobody knows it any more; before that it may have been interrupted.
        let is_known = view.members.iter().any(|(on, it)| *on != view.own && it.line(own.id()).is_some());
        return if is_known { Plan::Act(vec![Action::Leave { on: view.own }]) } else { Plan::Settled };
    }
    let formed: Vec<&Member> = view.members.values().filter(|it| it.sees_a_formed_cluster()).collect();
    let Some(first) = formed.first() else { return Plan::Wait(Waiting::Leader) };
    // All of them tell a newcomer about the others.
    if formed.iter().all(|member| has_everybody_in_sight(view, member)) {
        return Plan::Act(vec![Action::Meet { on: view.own, ip: first.ip }]);
    }
    match slots_lost(view, own, topology) {
        0 => Plan::Wait(Waiting::Members),
        slots => Plan::Wait(Waiting::SlotsLost(slots)),
    }
}

/// What it tells a newcomer about the others leads nowhere else.
fn has_everybody_in_sight(view: &View, member: &Member) -> bool {
    let is_where_it_says =
        |node: &Node| view.members.values().any(|other| other.id() == &node.id && Some(other.ip) == node.ip);
    member.nodes.iter().all(|node| node.myself || (node.connected && is_where_it_says(node)))
}

/// Members of the same cluster that are elsewhere than the server believes, or unknown to it.
pub(super) fn lost_sight_of(view: &View, own: &Member) -> Vec<Action> {
    let others = view.members.iter().filter(|(on, _)| **on != view.own);
    let lost = others.filter(|(_, other)| match own.line(other.id()) {
        Some(node) => node.ip != Some(other.ip),
        None => other.line(own.id()).is_some(),
    });
    lost.map(|(_, other)| Action::Meet { on: view.own, ip: other.ip }).collect()
}

/// Nodes that will never come back, unless they still stand for slots or are the server's master.
fn strikes(view: &View, own: &Member, topology: &Topology) -> Vec<Action> {
    let stands_for_slots =
        |id: &NodeId| view.members.values().filter_map(|it| it.line(id)).any(|node| !node.slots.is_empty());
    let gone = own.nodes.iter().filter(|node| {
        view.is_gone(node, topology)
            && !stands_for_slots(&node.id)
            && own.me().master.as_ref() != Some(&node.id)
    });
    gone.map(|node| Action::Forget { on: view.own, node: node.id.clone() }).collect()
}

/// The server's master, where it is elsewhere than where the server copies from.
fn moved_master(own: &Member) -> Option<NodeId> {
    let is_there = |master: &&Node| !master.replica && master.connected && master.ip.is_some();
    own.master().filter(|_| own.is_astray()).filter(is_there).map(|master| master.id.clone())
}

/// The master that a server without slots should follow, where it is another than now.
///
/// All agents count the same nodes in the same order, so that two servers in search of a master
/// don't choose the same.
pub(super) fn new_master(own: &Member, topology: &Topology) -> Option<NodeId> {
    let me = own.me();
    if me.is_shard() || !me.moving.is_empty() || !own.sees_a_formed_cluster() {
        return None;
    }
    // Before it has heard from all that are not lost, and who they are, it would miscount.
    if own.nodes.iter().any(|node| !node.failed && (!node.connected || node.host.is_empty())) {
        return None;
    }
    let masters = masters(own, topology);
    if masters.iter().any(|node| node.myself) {
        return None;
    }
    if let Some((replica, master)) = lent(own, &masters, topology) {
        return replica.myself.then(|| master.id.clone());
    }
    // Otherwise who is to go stays where it is until it leaves.
    if !topology.keeps(me) {
        return None;
    }
    let kept = |node: &&Node| topology.keeps(node);
    let shards = own.shards();
    let is_free = |node: &&Node| is_free(node, &masters) && is_free(node, &shards) && topology.keeps(node);
    let mut free: Vec<&Node> = own.nodes.iter().filter(is_free).collect();
    free.sort_by_key(|node| (topology.ordinal(&node.host), &node.id));
    // A master that is to go needs one more, which takes over from it.
    let has = |master: &Node| -> usize { 1 + own.replicas(&master.id).filter(kept).count() };
    let counted = |master: &Node| has(master) - usize::from(!topology.keeps(master));
    let mut wanting: Vec<(usize, &Node)> =
        masters.iter().filter(|master| master.connected).map(|master| (counted(master), *master)).collect();
    for node in &free {
        let (count, master) = wanting.iter_mut().min_by_key(|(count, _)| *count)?;
        if node.myself {
            return Some(master.id.clone());
        }
        *count += 1;
    }
    if !free.is_empty() {
        return None;
    }
    let (fewest, poorest) = wanting.iter().min_by_key(|(count, _)| *count)?;
    // Who follows a master that gives all of its slots away goes where they go.
    let master = masters.iter().find(|master| Some(&master.id) == me.master.as_ref())?;
    let mine = own.replicas(&master.id).filter(kept).max_by_key(|node| topology.ordinal(&node.host))?;
    (mine.myself && counted(master) >= fewest + 2).then(|| poorest.id.clone())
}

/// While a shard gives all of its slots away: a replica of a master that has another one, and a master of those
/// that the cluster goes on with that lacks one. Slots move only to a master that has a copy, and who is to go
/// is succeeded only by a replica that stays.
fn lent<'a>(own: &'a Member, masters: &[&'a Node], topology: &Topology) -> Option<(&'a Node, &'a Node)> {
    let goes_on = |node: &Node| masters.iter().any(|master| master.id == node.id);
    let staying = |master: &Node| own.replicas(&master.id).filter(|node| topology.keeps(node)).count();
    let lacks = |master: &&&Node| {
        if topology.keeps(master) {
            topology.replicas > 0 && own.replicas(&master.id).next().is_none()
        } else {
            staying(master) == 0
        }
    };
    let shards = own.shards();
    if shards.iter().all(|shard| goes_on(shard)) {
        return None;
    }
    let needy = *masters.iter().filter(|master| master.connected).find(lacks)?;
    let lenders = shards.into_iter().filter(|shard| shard.id != needy.id);
    let spare = lenders.filter(|shard| own.replicas(&shard.id).count() > 1).flat_map(|shard| {
        // Its only heir stays with a master that is to go.
        let is_heir = goes_on(shard) && !topology.keeps(shard) && staying(shard) == 1;
        let replicas = own.replicas(&shard.id).filter(move |it| !(is_heir && topology.keeps(it)));
        replicas.map(move |replica| (!goes_on(shard), replica))
    });
    let fits = |replica: &Node| topology.keeps(replica) || topology.keeps(needy);
    let best = spare.filter(|(_, replica)| fits(replica)).max_by_key(|(of_giver, replica)| {
        (topology.keeps(replica), *of_giver, topology.ordinal(&replica.host), &replica.id)
    });
    best.map(|(_, replica)| (replica, needy))
}

/// The masters that serve slots, and those that shards yet to come are going to have. Of more than there are
/// to be, those that are to go are left out first, and of these the ones without a replica that stays.
pub(super) fn masters<'a>(own: &'a Member, topology: &Topology) -> Vec<&'a Node> {
    let mut masters = own.shards();
    let is_free = |node: &&Node| is_free(node, &masters) && topology.keeps(node);
    let mut free: Vec<&Node> = own.nodes.iter().filter(is_free).collect();
    free.sort_by_key(|node| (node.replica, topology.ordinal(&node.host), &node.id));
    free.truncate(topology.shards.saturating_sub(masters.len()));
    let has_heir = |node: &Node| own.replicas(&node.id).any(|replica| topology.keeps(replica));
    masters.sort_by_key(|node| {
        let stays = topology.keeps(node);
        (!stays, !stays && !has_heir(node), topology.ordinal(&node.host), &node.id)
    });
    masters.truncate(topology.shards);
    masters.extend(free);
    masters
}

/// A node that is there and is neither one of the masters nor follows one.
fn is_free(node: &Node, masters: &[&Node]) -> bool {
    let is_or_follows =
        |master: &&Node| master.id == node.id || (node.replica && Some(&master.id) == node.master.as_ref());
    node.connected && !node.handshake && !masters.iter().any(is_or_follows)
}

/// The master's volume is lost, and this replica has the most of its data.
///
/// A replica that was restarted is never elected by Redis itself, because it can't tell how old its
/// copy is. Here no newer one is left.
fn must_take_over(view: &View, own: &Member, topology: &Topology) -> bool {
    let Some(master) = own.master() else { return false };
    if !master.is_shard() || !master.failed || !view.is_gone(master, topology) {
        return false;
    }
    let mut rivals = Vec::new();
    for replica in own.replicas(&master.id) {
        match view.members.iter().find(|(_, member)| member.id() == &replica.id) {
            Some((_, member)) if view.has_anothers_data(member) => {}
            Some((on, member)) => rivals.push((member.offset, member.keys, Reverse(*on))),
            // It may have more.
            None => return false,
        }
    }
    rivals.into_iter().max().is_some_and(|(_, _, Reverse(on))| on == view.own)
}

/// Slots of masters that are gone without any replica that has their data.
fn slots_lost(view: &View, own: &Member, topology: &Topology) -> usize {
    let Some(witness) = view
        .members
        .values()
        .find(|member| member.sees_a_formed_cluster())
        .or_else(|| (!own.is_alone()).then_some(own))
    else {
        return 0;
    };
    let has_nothing = |replica: &Node| {
        let member = view.members.values().find(|member| member.id() == &replica.id);
        view.is_gone(replica, topology) || member.is_some_and(|member| view.has_anothers_data(member))
    };
    let lost = witness.nodes.iter().filter(|node| {
        node.is_shard() && view.is_gone(node, topology) && witness.replicas(&node.id).all(has_nothing)
    });
    let unowned = usize::from(SLOTS) - witness.assigned().min(usize::from(SLOTS));
    lost.map(Node::slot_count).sum::<usize>() + unowned
}
