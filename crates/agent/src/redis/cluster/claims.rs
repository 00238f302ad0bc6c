//! Slots that nobody stands for, pure: two masters take each other for the owner, each sends clients to the
//! other, and no rule of Redis ends that, because servers tell each other only what is their own.
//!
//! It takes a word about an owner that comes late. Where nobody has keys of the slot any master can have it;
//! where one has some, it is that one.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::Node;
use super::plan::{Action, Waiting};
use super::view::{Member, View};

/// Slots that are taken up before the agent looks again.
const AT_A_TIME: usize = 64;
/// Slots that are looked at, of which some may be for a person to decide.
const CONSIDERED: usize = 1024;

/// Slots that masters believe to be each other's. What a view says of a slot that changes hands meanwhile may
/// be from before and after: only two views that agree are to be believed.
///
/// None where a master may know better than those that are asked, because it is not heard of, or because two claim
/// the same slot: who takes a slot up has the youngest claim from then on, also to what it should have lost.
pub(super) fn disowned(view: &View) -> BTreeSet<u16> {
    let masters = || view.members.values().map(Member::me).filter(|me| !me.replica);
    let known = || view.members.values().flat_map(|member| &member.nodes);
    let answers = |node: &Node| node.connected && masters().any(|me| me.id == node.id);
    let is_giving = |me: &Node| me.moving.iter().any(|moving| moving.outward);
    let claimed: BTreeSet<u16> = masters().flat_map(slots_of).collect();
    if claimed.len() != masters().map(Node::slot_count).sum::<usize>()
        || masters().any(is_giving)
        || !known().filter(|node| !node.replica).all(answers)
    {
        return BTreeSet::new();
    }
    let believed: BTreeSet<u16> = known().flat_map(slots_of).collect();
    believed.into_iter().filter(|slot| !claimed.contains(slot)).take(CONSIDERED).collect()
}

fn slots_of(node: &Node) -> impl Iterator<Item = u16> {
    node.slots.iter().cloned().flatten()
}

/// What the agent of `view.own` does about them, where it is its turn.
pub(super) fn next(view: &View) -> Option<Action> {
    let mine = view.disowned.iter().filter(|(_, keys)| {
        let mut holders = holders(keys);
        let holder = holders.next().or_else(|| first_shard(view, keys));
        holder == Some(view.own) && holders.next().is_none()
    });
    let slots: Vec<u16> = mine.map(|(slot, _)| *slot).take(AT_A_TIME).collect();
    (!slots.is_empty()).then_some(Action::Claim { on: view.own, slots })
}

/// The first slot of which two servers have keys: where one takes it up, the other's are out of reach.
pub(super) fn torn(view: &View) -> Option<Waiting> {
    view.disowned.iter().find_map(|(slot, keys)| {
        let mut holders = holders(keys);
        let servers = (holders.next()?, holders.next()?);
        Some(Waiting::Torn { slot: *slot, servers })
    })
}

fn holders(keys: &BTreeMap<usize, u64>) -> impl Iterator<Item = usize> {
    keys.iter().filter(|(_, keys)| **keys > 0).map(|(on, _)| *on)
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
            (on, Member::of(ip, nodes))
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
    fn nobody_takes_up_what_a_younger_claim_would_take_from_others() {
        let twice = ["1-5460", "0 5461-10922", "5460 10923-16383"];
        assert_eq!(disowned(&view(0, &[MISLED, HEALTHY, twice])), BTreeSet::new(), "two claim 5460");
        let giving = ["1-5460 [7->-b]", "0 5461-10922", "10923-16383"];
        assert_eq!(disowned(&view(0, &[giving, HEALTHY, HEALTHY])), BTreeSet::new(), "7 is on its way");
        let mut cut = view(0, &[MISLED, HEALTHY, HEALTHY]);
        let line = cut.members.get_mut(&0).and_then(|member| member.nodes.get_mut(2)).expect("it knows it");
        line.connected = false;
        assert_eq!(disowned(&cut), BTreeSet::new(), "server 0 hears nothing of server 2");
    }

    /// As Redis marks slots of which it finds keys when it starts.
    #[test]
    fn a_server_that_awaits_the_slot_of_its_own_keys_has_them() {
        let awaiting = ["1-5460 [0-<-b]", "0 5461-10922", "10923-16383"];
        assert_eq!(disowned(&view(0, &[awaiting, HEALTHY, HEALTHY])), BTreeSet::from([0]));
    }

    fn with(own: usize, keys: [u64; 3]) -> (Option<Action>, Option<Waiting>) {
        let mut view = view(own, &[MISLED, HEALTHY, HEALTHY]);
        view.disowned = BTreeMap::from([(0, keys.into_iter().enumerate().collect())]);
        (next(&view), torn(&view))
    }

    #[test]
    fn one_takes_it_up_and_who_has_its_keys_comes_first() {
        let claim = |on| (Some(Action::Claim { on, slots: vec![0] }), None);
        let nothing = (None, None);
        assert_eq!([0, 1, 2].map(|own| with(own, [0; 3])), [claim(0), nothing.clone(), nothing.clone()]);
        assert_eq!([0, 1, 2].map(|own| with(own, [0, 0, 7])), [nothing.clone(), nothing, claim(2)]);
    }

    #[test]
    fn of_two_that_have_keys_a_person_chooses() {
        let torn = Some(Waiting::Torn { slot: 0, servers: (0, 2) });
        for own in 0..3 {
            assert_eq!(with(own, [1, 0, 7]), (None, torn.clone()));
        }
    }

    #[test]
    fn what_a_person_has_to_choose_holds_nothing_up() {
        let mut view = view(0, &[MISLED, HEALTHY, HEALTHY]);
        view.disowned =
            (0..200).map(|slot| (slot, BTreeMap::from([(0, 1), (1, u64::from(slot < 100))]))).collect();
        assert_eq!(next(&view), Some(Action::Claim { on: 0, slots: (100..164).collect() }));
        assert_eq!(torn(&view), Some(Waiting::Torn { slot: 0, servers: (0, 1) }));
    }
}
