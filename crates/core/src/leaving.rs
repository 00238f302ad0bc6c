//! Servers of a Redis Cluster that are to go. They stay until they have given everything away, which they say
//! themselves and the others confirm; pure.

use std::collections::BTreeSet;

use trading_report::REDIS_TOPOLOGY;

use crate::{
    members::Answers,
    plan::{Plan, REDIS},
    problem::Problem,
    render::topology_digest,
    step::{Observed, servers},
};

/// Reason: a smaller cluster was asked for, and the servers that go still have something to do.
const LEAVING: &str = "ServersLeaving";

/// Plans with as many servers as there are, while those that are too many have not left their cluster.
pub fn hold_back(plan: &mut Plan, live: &Observed) {
    let Some(digest) = topology_digest(plan) else { return };
    let running = servers(&plan.identity, live, REDIS).and_then(|set| set.workload.as_ref());
    let running = running.map_or(0, |workload| workload.desired);
    let set = plan.identity.child(REDIS);
    let names =
        |from: i32, to: i32| -> BTreeSet<String> { (from..to).map(|it| format!("{set}-{it}")).collect() };
    let Some(redis) = plan.redis.as_mut().filter(|redis| redis.servers < running) else { return };
    let (stay, go) = (names(0, redis.servers), names(redis.servers, running));
    let answers = plan.members.of(REDIS);
    if answers.is_some_and(|answers| have_left(answers, &stay, &go, &digest)) {
        return;
    }
    redis.servers = running;
    let go: Vec<&str> = go.iter().map(String::as_str).collect();
    let waits = if answers.is_some_and(Answers::is_heard) {
        "until the others have their slots, and they have left the cluster"
    } else {
        "until they tell the operator that they have left the cluster; none of its servers answers: \
         is it kept away from their port 9121?"
    };
    let message = format!("Redis is made smaller: {} stay {waits}", go.join(", "));
    plan.problems.push(Problem::of(REDIS, LEAVING, message).as_warning());
}

/// All go by the smaller topology. Those that stay have all slots and know nobody else; those that go know
/// nobody, and have none.
fn have_left(answers: &Answers, stay: &BTreeSet<String>, go: &BTreeSet<String>, digest: &str) -> bool {
    let all = stay.union(go);
    let has_its_place = |name: &String| {
        let view = answers.servers.get(name).and_then(|told| told.as_ref()?.cluster.as_ref());
        view.is_some_and(|view| {
            if stay.contains(name) {
                view.settled && view.members == *stay && view.unserved == 0 && view.owners.is_subset(stay)
            } else {
                !view.owns_slots && view.members.iter().eq([name])
            }
        })
    };
    answers.all_run_by(REDIS_TOPOLOGY, digest) && all.into_iter().all(has_its_place)
}
