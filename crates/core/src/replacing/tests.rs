//! Sets of all kinds, and who goes next.

use crate::members::ClusterView;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn set(wished: i32) -> Rolling {
    Rolling {
        component: REDIS,
        set: Key::new(Kind::StatefulSet, "shop".to_owned(), "shop-redis".to_owned()),
        uid: "u".to_owned(),
        wished,
        ready: wished,
        outdated: 1,
        holder: None,
        has_replicas: true,
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

fn leads() -> Member {
    Member { role: Role::Primary, ..Member::default() }
}

fn follows(leader: usize) -> Member {
    let follows = Some(format!("shop-redis-{leader}"));
    Member { role: Role::Replica, in_step: Some(true), follows, ..Member::default() }
}

fn lags(leader: usize) -> Member {
    Member { in_step: Some(false), ..follows(leader) }
}

fn answers<const N: usize>(members: [impl Into<Option<Member>>; N]) -> Answers {
    let servers = members.into_iter().enumerate();
    let servers = servers.map(|(it, member)| (format!("shop-redis-{it}"), member.into())).collect();
    Answers { servers, current: true }
}

fn evicted(next: &Next) -> String {
    match next {
        Next::Evict(pod) => pod.name.clone(),
        other => panic!("{other:?}"),
    }
}

fn ago(seconds: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(seconds)
}

fn waits(words: &str) -> Next<'static> {
    Next::Wait(words.to_owned())
}

#[test]
fn who_leads_goes_last_and_the_highest_number_first() {
    let (set, told) = (set(4), answers([follows(2), follows(3), leads(), leads()]));
    let mut all = pods([false; 4]);
    for expected in [1, 0, 3, 2] {
        let next = evicted(&set.next(&all, Standing::Known(&told), NOW));
        assert_eq!(next, format!("shop-redis-{expected}"));
        all[expected].is_new = true;
    }
    assert_eq!(set.next(&all, Standing::Known(&told), NOW), Next::Nothing);
}

#[test]
fn a_master_that_says_nothing_is_known_by_who_follows_it() {
    let busy = Some(Member { role: Role::Unknown, ..Member::default() });
    for silent in [busy, None] {
        let told = answers([Some(follows(2)), Some(follows(2)), silent]);
        let all = pods([false; 3]);
        let next = set(3).next(&all, Standing::Known(&told), NOW);
        assert_eq!(next, waits("shop-redis-2 answers and keeps up"));
    }
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
    for (state, words) in [
        (PodState::Ending, "shop-redis-2 has ended"),
        (PodState::Away, "the node of shop-redis-2 is heard of"),
        (PodState::Unready(ago(99)), "shop-redis-2 is ready"),
        (PodState::Down(ago(99)), "shop-redis-2 is ready"),
    ] {
        let mut all = pods([false, false, true]);
        all[2].state = state;
        assert_eq!(set.next(&all, Standing::Unknown, NOW), waits(words));
    }
    let all = pods([false, true]);
    assert!(matches!(set.next(&all, Standing::Unknown, NOW), Next::Wait(_)), "one is missing");
    let late = Rolling { ready: 2, ..set };
    assert!(matches!(late.next(&pods([false; 3]), Standing::Unknown, NOW), Next::Wait(_)));
}

#[test]
fn old_ones_that_do_not_run_go_together_unless_the_newest_does_not_run_either() {
    let set = Rolling { ready: 1, ..set(3) };
    let mut all = pods([false; 3]);
    all[1].state = PodState::Down(ago(9));
    all[2].state = PodState::Down(ago(100));
    assert_eq!(set.next(&all, Standing::Unknown, NOW), waits("shop-redis-1 is ready"), "that may pass");
    all[1].state = PodState::Down(ago(10));
    assert_eq!(set.next(&all, Standing::Awaited, NOW), Next::Delete(vec![&all[1], &all[2]]));
    all[2].is_new = true;
    assert_eq!(set.next(&all, Standing::Awaited, NOW), waits("shop-redis-2 is ready"));
}

#[test]
fn replicas_that_lag_go_one_by_one_and_the_primary_stays() {
    let set = Rolling { ready: 1, ..set(3) };
    let mut all = pods([false; 3]);
    for pod in &mut all[1..] {
        pod.state = PodState::Unready(ago(60));
    }
    let told = answers([leads(), lags(0), lags(0)]);
    assert_eq!(set.next(&all, Standing::Known(&told), NOW), Next::Delete(vec![&all[2]]));
    all[2].is_new = true;
    assert_eq!(set.next(&all, Standing::Known(&told), NOW), waits("shop-redis-2 is ready"));
    (all[2].is_new, all[2].state) = (false, PodState::Unready(ago(5)));
    assert_eq!(set.next(&all, Standing::Known(&told), NOW), waits("shop-redis-2 is ready"));
}

#[test]
fn who_is_behind_or_silent_goes_first_and_holds_up_all_others() {
    let set = set(3);
    for told in [answers([leads(), lags(0), follows(0)]), answers([Some(leads()), None, Some(follows(0))])] {
        let standing = Standing::Known(&told);
        assert_eq!(evicted(&set.next(&pods([false; 3]), standing, NOW)), "shop-redis-1");
        for new in [[false, true, false], [false, true, true]] {
            let words = "shop-redis-1 answers and keeps up";
            assert_eq!(set.next(&pods(new), standing, NOW), waits(words));
        }
    }
    // The mend of both is the template.
    let both = answers([leads(), lags(0), lags(0)]);
    assert_eq!(evicted(&set.next(&pods([false; 3]), Standing::Known(&both), NOW)), "shop-redis-2");
}

#[test]
fn who_leads_goes_when_there_is_an_heir() {
    let (set, all) = (set(2), pods([false, true]));
    let next = |told: &Answers| set.next(&all, Standing::Known(told), NOW);
    assert_eq!(evicted(&next(&answers([leads(), follows(0)]))), "shop-redis-0");
    assert_eq!(next(&answers([leads(), leads()])), waits("a replica of shop-redis-0 keeps up"));
    assert_eq!(next(&answers([leads(), follows(7)])), waits("a replica of shop-redis-0 keeps up"));
    let alone = Rolling { has_replicas: false, ..set.clone() };
    let told = answers([leads(), leads()]);
    assert_eq!(evicted(&alone.next(&all, Standing::Known(&told), NOW)), "shop-redis-0");

    let mut gap = answers([leads(), follows(0)]);
    for member in gap.servers.values_mut().flatten() {
        member.cluster = Some(ClusterView { unserved: 5, owns_slots: true, ..ClusterView::default() });
    }
    assert_eq!(next(&gap), waits("all slots have a server"));
}

/// All sets of three pods in all states.
#[test]
fn whatever_the_pods_are_like_nobody_is_missed() {
    let states = [
        PodState::Ready,
        PodState::Ending,
        PodState::Away,
        PodState::Unready(NOW),
        PodState::Unready(ago(60)),
        PodState::Down(ago(60)),
    ];
    let told = [Some(leads()), Some(follows(0)), Some(lags(0)), None];
    let choices: usize = 2 * states.len() * told.len();
    let (mut evictions, mut deletions) = (0, 0);
    for case in 0..choices.pow(3) {
        let mut all = pods([false; 3]);
        let mut answers = Answers { current: true, ..Answers::default() };
        let mut rest = case;
        for pod in &mut all {
            let choice = rest % choices;
            rest /= choices;
            (pod.is_new, pod.state) = (choice % 2 == 1, states[choice / 2 % states.len()]);
            answers.servers.insert(pod.name.clone(), told[choice / 2 / states.len()].clone());
        }
        let ready = all.iter().filter(|pod| pod.state == PodState::Ready).count();
        let set = Rolling { ready: i32::try_from(ready).unwrap(), ..set(3) };
        let view = View { rolling: &set, answers: Some(&answers) };
        let is_well = |pod: &Pod| !view.is_lame(pod);
        let next = set.next(&all, Standing::Known(&answers), NOW);
        let goes: Vec<&Pod> = match &next {
            Next::Nothing => {
                assert!(all.iter().all(|pod| pod.is_new), "{all:?}");
                continue;
            }
            Next::Wait(_) => {
                assert!(all.iter().any(|pod| !pod.is_new), "{all:?}");
                continue;
            }
            Next::Delete(gone) => gone.clone(),
            Next::Evict(pod) => vec![pod],
        };
        let what = format!("{next:?} of {all:?}: {answers:?}");
        assert!(goes.iter().all(|pod| !pod.is_new), "{what}");
        assert!(all.iter().all(|pod| !pod.is_new || pod.state == PodState::Ready), "{what}");
        let run = goes.iter().filter(|pod| !matches!(pod.state, PodState::Down(_)));
        assert!(run.count() <= 1, "{what}");
        let stay = all.iter().filter(|pod| goes.iter().all(|goes| goes.name != pod.name));
        for pod in goes.iter().filter(|pod| !matches!(pod.state, PodState::Down(_))) {
            assert_ne!((pod.state, &next), (PodState::Ready, &Next::Delete(goes.clone())), "{what}");
            // Whoever serves goes only while all that stay do.
            if is_well(pod) || view.leads(pod) {
                assert!(stay.clone().all(is_well), "{what}");
            }
            if view.leads(pod) {
                assert!(stay.clone().all(|stay| stay.is_new || view.leads(stay)), "{what}");
            }
            evictions += 1;
        }
        deletions += usize::from(matches!(next, Next::Delete(_)));
    }
    assert!(evictions > 100 && deletions > 100, "{evictions} and {deletions}");
}
