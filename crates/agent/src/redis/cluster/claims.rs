//! Slots that nobody stands for, pure: two masters take each other for the owner, each sends clients to the
//! other, and no rule of Redis ends that, because servers tell each other only what is their own.
//!
//! It takes a word about an owner that comes late. Where nobody has keys of the slot any master can have it;
//! where one has some, it is that one.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::Node;
use super::plan::{Action, Plan, Waiting};
use super::view::{Member, View};

/// Slots that are taken up at a time.
const AT_A_TIME: usize = 64;

/// Slots that masters believe to be each other's. What a view says of a slot that changes hands meanwhile may
/// be from before and after: only two views that agree are to be believed.
pub(super) fn disowned(view: &View) -> BTreeSet<u16> {
    let masters = || view.members.values().map(Member::me).filter(|me| !me.replica);
    let known = || view.members.values().flat_map(|member| &member.nodes);
    // Who can't be asked may stand for them.
    let answers = |node: &Node| masters().any(|me| me.id == node.id);
    if !known().filter(|node| !node.replica).all(answers) {
        return BTreeSet::new();
    }
    let claimed: BTreeSet<u16> = masters().flat_map(slots_of).collect();
    let on_their_way: BTreeSet<u16> = masters().flat_map(|me| &me.moving).map(|moving| moving.slot).collect();
    let believed: BTreeSet<u16> = known().flat_map(slots_of).collect();
    let disowned =
        believed.into_iter().filter(|slot| !claimed.contains(slot) && !on_their_way.contains(slot));
    disowned.take(AT_A_TIME).collect()
}

fn slots_of(node: &Node) -> impl Iterator<Item = u16> {
    node.slots.iter().cloned().flatten()
}

/// What the agent of `view.own` does about them, where it is its turn.
pub(super) fn next(view: &View) -> Option<Plan> {
    let (mut mine, mut torn) = (Vec::new(), None);
    for (&slot, keys) in &view.disowned {
        let mut holders = keys.iter().filter(|(_, keys)| **keys > 0).map(|(on, _)| *on);
        match (holders.next(), holders.next()) {
            (Some(one), Some(other)) => torn = torn.or(Some(Waiting::Torn { slot, servers: (one, other) })),
            (holder, _) if holder.or_else(|| first_shard(view, keys)) == Some(view.own) => mine.push(slot),
            _ => {}
        }
    }
    if mine.is_empty() {
        return torn.map(Plan::Wait);
    }
    Some(Plan::Act(vec![Action::Claim { on: view.own, slots: mine }]))
}

/// All agents choose the same.
fn first_shard(view: &View, keys: &BTreeMap<usize, u64>) -> Option<usize> {
    let is_shard = |on: &&usize| view.members.get(on).is_some_and(|member| member.me().is_shard());
    keys.keys().find(is_shard).copied()
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::*;

    /// What each server says of masters `a`, `b` and `c`, which are servers 0, 1 and 2.
    fn view(own: usize, said: &[[&str; 3]]) -> View {
        let member = |(on, slots): (usize, &[&str; 3])| {
            let line = |(number, slots): (usize, &&str)| {
                let myself = if number == on { "myself,master" } else { "master" };
                let id = ["a", "b", "c"][number];
                format!(
                    "{id} 10.0.0.{number}:6379@16379,redis-{number}.h {myself} - 0 0 {number} connected {slots}\n"
                )
            };
            let text: String = slots.iter().enumerate().map(line).collect();
            let nodes = nodes::parse(&text).expect("valid");
            let ip = nodes[on].ip.expect("it has one");
            (on, Member { ip, keys: 0, offset: 0, in_step: false, nodes })
        };
        let members = said.iter().enumerate().map(member).collect();
        View { own, members, disowned: BTreeMap::new() }
    }

    const HEALTHY: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];
    /// As server 0 believes when it was told that slot 0 is server 1's.
    const MISLED: [&str; 3] = ["1-5460", "0 5461-10922", "10923-16383"];

    #[test]
    fn a_slot_is_disowned_when_nobody_that_answers_stands_for_it() {
        assert_eq!(disowned(&view(0, &[HEALTHY; 3])), BTreeSet::new());
        assert_eq!(disowned(&view(0, &[MISLED, HEALTHY, HEALTHY])), BTreeSet::from([0]));
        // The others have heard of it, or one of them stands for it.
        assert_eq!(disowned(&view(0, &[MISLED, MISLED, MISLED])), BTreeSet::new());
    }

    #[test]
    fn who_cannot_be_asked_may_stand_for_it() {
        for away in 0..3 {
            let mut without = view(0, &[MISLED, HEALTHY, HEALTHY]);
            without.members.remove(&away);
            assert_eq!(disowned(&without), BTreeSet::new(), "without {away}");
        }
    }

    #[test]
    fn a_slot_on_its_way_is_its_owners_matter() {
        let moving = ["1-5460 [0-<-b]", "0 5461-10922", "10923-16383"];
        assert_eq!(disowned(&view(0, &[moving, HEALTHY, HEALTHY])), BTreeSet::new());
    }

    fn with(own: usize, keys: [u64; 3]) -> Option<Plan> {
        let mut view = view(own, &[MISLED, HEALTHY, HEALTHY]);
        view.disowned = BTreeMap::from([(0, keys.into_iter().enumerate().collect())]);
        next(&view)
    }

    #[test]
    fn one_takes_it_up_and_who_has_its_keys_comes_first() {
        let claim = |on| Some(Plan::Act(vec![Action::Claim { on, slots: vec![0] }]));
        assert_eq!((0..3).map(|own| with(own, [0; 3])).collect::<Vec<_>>(), [claim(0), None, None]);
        assert_eq!((0..3).map(|own| with(own, [0, 0, 7])).collect::<Vec<_>>(), [None, None, claim(2)]);
    }

    #[test]
    fn of_two_that_have_keys_a_person_chooses() {
        let torn = Some(Plan::Wait(Waiting::Torn { slot: 0, servers: (0, 2) }));
        for own in 0..3 {
            assert_eq!(with(own, [1, 0, 7]), torn);
        }
    }
}
