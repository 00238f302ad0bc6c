//! Which pods of a data store are replaced next, where they don't run by its newest template; pure. Kubernetes would
//! go by their numbers, and go on with those that a mended template is for last, so that it leaves them alone
//! (`OnDelete`).

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use crate::{
    kinds::Kind,
    members::{Answers, Members, Role},
    object::Key,
    plan::{POSTGRES, Plan, REDIS, SENTINEL},
    status::workload::Workload,
    step::Observed,
};

/// How long a pod may be unready before that counts: probes fail for a moment where a machine is busy.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// A set of which some pods are old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// Name of the store among components, or of its Sentinels.
    pub component: &'static str,
    /// The set.
    pub set: Key,
    /// Its UID.
    pub uid: String,
    /// Pods that it is to have.
    pub wished: i32,
    /// Pods that its controller counts as ready.
    pub ready: i32,
    /// The pod that leads by its own word, as the Lease of a database tells.
    pub holder: Option<String>,
}

/// A pod of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name, which ends in its number.
    pub name: String,
    /// UID.
    pub uid: String,
    /// It is of the set's newest template.
    pub is_new: bool,
    /// How it is.
    pub state: PodState,
}

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It serves.
    Ready,
    /// It does not, since then.
    Unready(Timestamp),
    /// It is going.
    Ending,
}

/// What is known of who leads and who keeps up.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// Servers have nothing to say of it, don't answer, or are not to be asked.
    Unknown,
    /// They are being asked.
    Awaited,
    /// This.
    Known(&'a Answers),
}

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// No pod is old, but for those that are going.
    Nothing,
    /// These do not serve, so that nobody misses them.
    Delete(Vec<&'a Pod>),
    /// This one serves, and what else disrupts the store is to be minded.
    Evict(&'a Pod),
    /// It waits until this is so.
    Wait(String),
}

/// The sets with old pods, among those that are as they should be.
#[must_use]
pub fn rolling(plan: &Plan, as_wished: &[Key], live: &Observed) -> Vec<Rolling> {
    let of = |component| -> Option<Rolling> {
        let set = plan.identity.key(Kind::StatefulSet, component);
        let child = live.get(&set).filter(|_| as_wished.contains(&set))?;
        let workload: &Workload = child.workload.as_ref()?;
        let is_rolling = child.is_of(&plan.identity) && workload.observed && workload.outdated > 0;
        let lease = live.get(&plan.identity.key(Kind::Lease, POSTGRES)).filter(|_| component == POSTGRES);
        let holder = lease.and_then(|lease| Some(lease.holder.as_ref()?.split_once('/')?.0.to_owned()));
        is_rolling.then(|| Rolling {
            component,
            set,
            uid: child.uid.clone(),
            wished: workload.desired,
            ready: workload.ready,
            holder,
        })
    };
    [REDIS, SENTINEL, POSTGRES].into_iter().filter_map(of).collect()
}

impl Rolling {
    /// What its servers say, `None` where nobody asks them.
    #[must_use]
    pub fn standing<'a>(&self, plan: &Plan, members: Option<&'a Members>) -> Standing<'a> {
        // Sentinels are alike.
        let Some(members) = members.filter(|_| plan.scope.agents && self.component != SENTINEL) else {
            return Standing::Unknown;
        };
        match members.of(self.component) {
            None => Standing::Awaited,
            // Who is out of reach is not waited for at each step.
            Some(answers) if !answers.is_heard() => Standing::Unknown,
            Some(answers) if !answers.current => Standing::Awaited,
            Some(answers) => Standing::Known(answers),
        }
    }

    /// Which pods are next: those that don't serve, then one at a time, while all others are ready: who is behind or
    /// silent, who follows, and who leads. Where nobody knows, the highest number goes first.
    #[must_use]
    pub fn next<'a>(&self, pods: &'a [Pod], standing: Standing<'_>, now: Timestamp) -> Next<'a> {
        let mut old: Vec<&Pod> =
            pods.iter().filter(|pod| !pod.is_new && pod.state != PodState::Ending).collect();
        let has_failed = |pod: &&Pod| match pod.state {
            PodState::Unready(since) => now.duration_since(since) >= PATIENCE,
            PodState::Ready | PodState::Ending => false,
        };
        let failed: Vec<&Pod> = old.iter().copied().filter(has_failed).collect();
        if !failed.is_empty() {
            return Next::Delete(failed);
        }
        if old.is_empty() {
            return Next::Nothing;
        }
        if let Some(down) = pods.iter().find(|pod| pod.state != PodState::Ready) {
            return Next::Wait(format!("{} is ready", down.name));
        }
        let counted = i32::try_from(pods.len()).unwrap_or(i32::MAX).min(self.ready);
        if counted < self.wished {
            return Next::Wait("its controller has made and counted all pods".to_owned());
        }
        let answers = match standing {
            Standing::Awaited if self.wished > 1 => {
                return Next::Wait("its servers have said how they are".to_owned());
            }
            Standing::Known(answers) => Some(answers),
            Standing::Awaited | Standing::Unknown => None,
        };
        let told = |pod: &Pod| answers.and_then(|answers| answers.servers.get(&pod.name));
        let is_lame = |pod: &Pod| match told(pod) {
            Some(Some(member)) => member.in_step == Some(false) || member.failure.is_some(),
            Some(None) => true,
            None => false,
        };
        let leads = |pod: &Pod| {
            let says_so = matches!(told(pod), Some(Some(member)) if member.role == Role::Primary);
            says_so || self.holder.as_ref() == Some(&pod.name)
        };
        old.sort_by_key(|pod| (leads(pod), !is_lame(pod), Reverse(number(&pod.name))));
        let first = old[0];
        if let Some(lame) = pods.iter().find(|pod| pod.name != first.name && is_lame(pod)) {
            return Next::Wait(format!("{} answers and keeps up", lame.name));
        }
        if leads(first) && answers.is_some_and(|answers| answers.unserved() > 0) {
            return Next::Wait("all slots have a server".to_owned());
        }
        Next::Evict(first)
    }
}

fn number(pod: &str) -> u32 {
    pod.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::members::{ClusterView, Member};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn set(wished: i32) -> Rolling {
        Rolling {
            component: REDIS,
            set: Key::new(Kind::StatefulSet, "shop".to_owned(), "shop-redis".to_owned()),
            uid: "u".to_owned(),
            wished,
            ready: wished,
            holder: None,
        }
    }

    /// Each with whether it is new.
    fn pods<const N: usize>(new: [bool; N]) -> Vec<Pod> {
        let pod = |(number, is_new)| Pod {
            name: format!("shop-redis-{number}"),
            uid: format!("u{number}"),
            is_new,
            state: PodState::Ready,
        };
        new.into_iter().enumerate().map(pod).collect()
    }

    fn answers<const N: usize>(roles: [Option<Role>; N]) -> Answers {
        let member =
            |role| Member { role, in_step: (role == Role::Replica).then_some(true), ..Member::default() };
        let servers = roles.into_iter().enumerate();
        Answers {
            servers: servers.map(|(it, role)| (format!("shop-redis-{it}"), role.map(member))).collect(),
            current: true,
        }
    }

    fn evicted(next: &Next) -> String {
        match next {
            Next::Evict(pod) => pod.name.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn unready(pod: &mut Pod, seconds: i64) {
        pod.state = PodState::Unready(NOW - SignedDuration::from_secs(seconds));
    }

    const LEADS: Option<Role> = Some(Role::Primary);
    const FOLLOWS: Option<Role> = Some(Role::Replica);

    #[test]
    fn who_leads_goes_last_and_the_highest_number_first() {
        let (set, told) = (set(4), answers([FOLLOWS, FOLLOWS, LEADS, LEADS]));
        let mut all = pods([false; 4]);
        for expected in [1, 0, 3, 2] {
            let next = evicted(&set.next(&all, Standing::Known(&told), NOW));
            assert_eq!(next, format!("shop-redis-{expected}"));
            all[expected].is_new = true;
        }
        assert_eq!(set.next(&all, Standing::Known(&told), NOW), Next::Nothing);
    }

    #[test]
    fn by_their_numbers_where_nobody_tells_and_by_the_lease_where_there_is_one() {
        let mut set = set(3);
        let all = pods([false; 3]);
        assert_eq!(evicted(&set.next(&all, Standing::Unknown, NOW)), "shop-redis-2");
        assert!(matches!(set.next(&all, Standing::Awaited, NOW), Next::Wait(_)));
        set.holder = Some("shop-redis-2".to_owned());
        assert_eq!(evicted(&set.next(&all, Standing::Unknown, NOW)), "shop-redis-1");
        assert_eq!(evicted(&self::set(1).next(&all[..1], Standing::Awaited, NOW)), "shop-redis-0");
    }

    #[test]
    fn one_at_a_time_while_all_others_are_ready_and_counted() {
        let set = set(3);
        for state in [PodState::Ending, PodState::Unready(NOW)] {
            let mut all = pods([false, false, true]);
            all[2].state = state;
            let waits = Next::Wait("shop-redis-2 is ready".to_owned());
            assert_eq!(set.next(&all, Standing::Unknown, NOW), waits);
        }
        let all = pods([false, true]);
        assert!(matches!(set.next(&all, Standing::Unknown, NOW), Next::Wait(_)), "one is missing");
        let late = Rolling { ready: 2, ..set };
        assert!(matches!(late.next(&pods([false; 3]), Standing::Unknown, NOW), Next::Wait(_)));
    }

    #[test]
    fn old_ones_that_do_not_serve_wait_for_nobody_but_new_ones_do() {
        let set = set(3);
        let mut all = pods([false, false, true]);
        unready(&mut all[1], 9);
        assert!(matches!(set.next(&all, Standing::Unknown, NOW), Next::Wait(_)), "that may pass");
        unready(&mut all[0], 10);
        unready(&mut all[1], 100);
        unready(&mut all[2], 100);
        assert_eq!(set.next(&all, Standing::Awaited, NOW), Next::Delete(vec![&all[0], &all[1]]));
    }

    #[test]
    fn who_is_behind_or_silent_goes_first_and_holds_up_all_others() {
        let set = set(3);
        let mut behind = answers([LEADS, FOLLOWS, FOLLOWS]);
        behind.servers.values_mut().nth(1).unwrap().as_mut().unwrap().in_step = Some(false);
        for told in [behind, answers([LEADS, None, FOLLOWS])] {
            let standing = Standing::Known(&told);
            assert_eq!(evicted(&set.next(&pods([false; 3]), standing, NOW)), "shop-redis-1");
            for new in [[false, true, false], [false, true, true]] {
                let waits = Next::Wait("shop-redis-1 answers and keeps up".to_owned());
                assert_eq!(set.next(&pods(new), standing, NOW), waits);
            }
        }
    }

    /// All sets of three pods in all states.
    #[test]
    fn whatever_the_pods_are_like_nobody_is_missed() {
        let states = [
            PodState::Ready,
            PodState::Ending,
            PodState::Unready(NOW),
            PodState::Unready(NOW - SignedDuration::from_mins(1)),
        ];
        let behind = Member { role: Role::Replica, in_step: Some(false), ..Member::default() };
        let leads = Member { role: Role::Primary, ..Member::default() };
        let follows = Member { role: Role::Replica, in_step: Some(true), ..Member::default() };
        let told = [Some(leads), Some(follows), Some(behind), None];
        let set = set(3);
        for case in 0..32_usize.pow(3) {
            let choice = |number: usize| case / 32_usize.pow(u32::try_from(number).unwrap()) % 32;
            let mut all = pods([false; 3]);
            let mut answers = Answers { current: true, ..Answers::default() };
            for (number, pod) in all.iter_mut().enumerate() {
                let choice = choice(number);
                (pod.is_new, pod.state) = (choice % 2 == 1, states[choice / 2 % 4]);
                answers.servers.insert(pod.name.clone(), told[choice / 8].clone());
            }
            let is_lame = |pod: &Pod| {
                answers.servers[&pod.name].as_ref().is_none_or(|member| member.in_step == Some(false))
            };
            let leads = |pod: &Pod| {
                answers.servers[&pod.name].as_ref().is_some_and(|member| member.role == Role::Primary)
            };
            let old: Vec<&Pod> =
                all.iter().filter(|pod| !pod.is_new && pod.state != PodState::Ending).collect();
            match set.next(&all, Standing::Known(&answers), NOW) {
                Next::Nothing => assert!(old.is_empty(), "{all:?}"),
                Next::Delete(failed) => {
                    assert!(failed.iter().all(|pod| !pod.is_new && pod.state == states[3]), "{all:?}");
                }
                Next::Evict(pod) => {
                    assert!(all.iter().all(|pod| pod.state == PodState::Ready) && !pod.is_new, "{all:?}");
                    let others_are_well = all.iter().all(|other| other == pod || !is_lame(other));
                    assert!(others_are_well, "{all:?}: {answers:?}");
                    assert!(!leads(pod) || old.iter().all(|old| leads(old)), "{all:?}: {answers:?}");
                }
                Next::Wait(_) => assert!(!old.is_empty(), "{all:?}"),
            }
        }
    }

    #[test]
    fn no_master_goes_while_slots_have_no_server() {
        let (set, mut told) = (set(2), answers([LEADS, FOLLOWS]));
        for member in told.servers.values_mut().flatten() {
            member.cluster = Some(ClusterView { unserved: 5, ..ClusterView::default() });
        }
        let standing = Standing::Known(&told);
        assert_eq!(evicted(&set.next(&pods([false, false]), standing, NOW)), "shop-redis-1");
        assert!(matches!(set.next(&pods([false, true]), standing, NOW), Next::Wait(_)));
    }
}
