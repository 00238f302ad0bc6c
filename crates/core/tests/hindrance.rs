//! Why pods are not ready is told with what to do, once for all pods of a component, and beside what is known already.

#![allow(clippy::unwrap_used)] // a test ends where its resource can't be read

mod support;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use support::{example, observed, rendered, then};
use trading_core::{
    hindrance::{lacking, problem},
    kinds::Kind,
    object::Key,
    plan::Plan,
    problem::Problem,
    render::render,
    status::{state, status},
    step::steps,
};

fn plan() -> Plan {
    let mut platform = example("production");
    platform.metadata.name = Some("shop".to_owned());
    rendered(&platform).0
}

fn pod(number: usize, status: &Value) -> Pod {
    let metadata = json!({ "name": format!("shop-redis-{number}") });
    serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap()
}

fn unscheduled(message: &str) -> Value {
    json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }] })
}

fn container(state: &Value, last: &Value) -> Value {
    json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": [{
        "name": "redis", "image": "redis:8", "imageID": "", "ready": false, "restartCount": 3,
        "state": state, "lastState": last }] })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn told(statuses: &[Value]) -> Option<Problem> {
    let pods: Vec<Pod> = statuses.iter().enumerate().map(|(number, status)| pod(number, status)).collect();
    problem(&plan(), "redis", &pods)
}

#[test]
fn a_cluster_with_fewer_nodes_than_servers_is_told_of() {
    let apart = "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. no new claims to \
                 deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found.";
    let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let found = told(&[ready.clone(), unscheduled(apart), unscheduled(apart)]).unwrap();
    assert_eq!((found.reason, found.warning), ("PodsUnschedulable", true));
    assert_eq!(
        found.message,
        "no node for shop-redis-1, shop-redis-2: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity \
         rules: add nodes, or let its pods share nodes (redis.antiAffinity.mode: Preferred)"
    );
    assert!(told(&[ready]).is_none());
    assert!(told(&[json!({ "phase": "Pending" })]).is_none(), "it is on its way");

    let both =
        "0/9 nodes are available: 3 Insufficient cpu, 6 node(s) didn't match Pod's node affinity/selector.";
    let message = told(&[unscheduled(both)]).unwrap().message;
    assert!(
        message.ends_with("ask for less (redis.resources.requests), or ask less of nodes (redis.nodeSelector, redis.affinity)"),
        "{message}"
    );
}

#[test]
fn what_a_container_waits_for_is_told_with_the_remedy() {
    let nothing = json!({});
    let ended = |reason: &str| json!({ "terminated": { "exitCode": 1, "reason": reason } });
    for (status, reason, words) in [
        (
            // Says something else at every look.
            container(&waiting("ImagePullBackOff", "Back-off pulling image"), &nothing),
            "ImageUnavailable",
            "can't pull image redis:8 for shop-redis-0: see that it exists (redis.image), and",
        ),
        (
            container(&waiting("CreateContainerConfigError", "secret \"broker\" not found"), &nothing),
            "ContainerRefused",
            "can't be started: secret \"broker\" not found: mend what it names (kubectl -n",
        ),
        (
            container(&waiting("CrashLoopBackOff", "back-off 40s"), &ended("OOMKilled")),
            "OutOfMemory",
            "raise redis.resources.limits.memory",
        ),
        (
            container(
                &waiting("CrashLoopBackOff", "back-off 40s"),
                &json!({ "terminated": { "exitCode": 128, "reason": "StartError", "message": "exec: \"/app\": no such file" } }),
            ),
            "ContainerRefused",
            "can't be started: exec: \"/app\": no such file: mend what it names (kubectl -n",
        ),
        (
            container(&waiting("CrashLoopBackOff", "back-off 40s"), &ended("Error")),
            "ContainerCrashes",
            "logs shop-redis-0 -c redis --previous",
        ),
    ] {
        let found = told(std::slice::from_ref(&status)).unwrap_or_else(|| panic!("nothing of {status}"));
        assert_eq!(found.reason, reason);
        assert!(found.message.contains(words), "{}", found.message);
    }
    for state in [json!({ "running": {} }), waiting("PodInitializing", ""), waiting("ContainerCreating", "")]
    {
        assert!(told(&[container(&state, &nothing)]).is_none(), "{state}");
    }
}

#[test]
fn it_is_told_beside_what_is_known_and_instead_of_nothing() {
    let platform = example("production");
    let (mut plan, objects) = rendered(&platform);
    let mut live = observed(&objects);
    let name = plan.identity.child("redis");
    let namespace = plan.identity.namespace.clone();
    let set = live.get_mut(&Key::new(Kind::StatefulSet, namespace, name)).unwrap();
    set.workload.as_mut().unwrap().ready = 5;
    assert_eq!(lacking(&plan, &live).into_iter().collect::<Vec<_>>(), ["redis"]);
    // Pods of before serve, and those of the last edit may not come.
    let mut rolling = live.clone();
    let (namespace, name) = (plan.identity.namespace.clone(), plan.identity.child("frontend"));
    let deployment = rolling.get_mut(&Key::new(Kind::Deployment, namespace, name)).unwrap();
    let workload = deployment.workload.as_mut().unwrap();
    assert_eq!((workload.ready, workload.rolled_out), (workload.desired, true));
    workload.rolled_out = false;
    assert_eq!(lacking(&plan, &rolling).into_iter().collect::<Vec<_>>(), ["frontend", "redis"]);

    let mut next = steps(&plan, &render(&plan), &live);
    next.hindered = vec![Problem::of("redis", "PodsUnschedulable", "no node".to_owned()).as_warning()];
    let told = status(&plan, &next, &live, None, then());
    let condition = |type_: &str| told.conditions.iter().find(|it| it.type_ == type_).unwrap().clone();
    assert_eq!(condition("Degraded").reason, "PodsUnschedulable");
    assert_eq!(
        (condition("Ready").reason.as_str(), condition("Stalled").status.as_str()),
        ("Progressing", "False")
    );
    let redis = told.components.iter().find(|it| it.name == "redis").unwrap();
    assert_eq!(redis.state, state::PROGRESSING);
    assert_eq!(redis.message.as_deref(), Some("5 of 6 pods ready; no node"));

    plan.problems.push(Problem::of("redis", "ImageWithoutServer", "use another".to_owned()));
    let told = status(&plan, &next, &live, None, then());
    let degraded = told.conditions.iter().find(|it| it.type_ == "Degraded").unwrap();
    assert_eq!((degraded.reason.as_str(), degraded.message.as_str()), ("ImageWithoutServer", "use another"));
}

#[test]
fn no_field_is_named_that_the_resource_does_not_have() {
    let why = "0/3 nodes are available: 3 Insufficient cpu, 3 node(s) didn't match pod anti-affinity rules.";
    let memory = container(
        &waiting("CrashLoopBackOff", ""),
        &json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
    );
    for component in ["sentinel", "postgres-pooler", "runtime"] {
        for status in [unscheduled(why), memory.clone(), container(&waiting("ErrImagePull", ""), &json!({}))]
        {
            let message = problem(&plan(), component, &[pod(0, &status)]).unwrap().message;
            let names_a_field =
                [".resources", ".antiAffinity", ".image"].iter().any(|it| message.contains(it));
            assert!(!names_a_field || message.contains("image.pullSecrets"), "{component}: {message}");
            assert!(!message.contains(&format!("{component}.")), "{message}");
        }
    }
}
