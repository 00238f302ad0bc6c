//! Tiers in other namespaces, and the container runtime: consent, logins, what stays, what goes.

#![allow(clippy::unwrap_used)] // a test ends where a resource can't be read

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::{child, observed, shop, then};
use trading_api::{TradingPlatform, deletion::DataPolicy, labels};
use trading_core::{
    inputs::{Inputs, Reference, ReferenceKind, ReferenceState},
    kinds::Kind,
    object::{Content, Key, Object},
    plan::Plan,
    render::render,
    resolve::resolve,
    status::status,
    step::{Child, Observed, Steps, steps},
    teardown::{Teardown, teardown},
};

const DATA: &str = "shop-data";
const CONTAINERS: &str = "shop-docker";

/// Backend at home, the stores and the runtime elsewhere.
fn tiers() -> TradingPlatform {
    shop(&json!({
        "backend": {"connectsTo": ["redis", "postgres", "runtime"]},
        "redis": {"mode": "Standalone"},
        "postgres": {"mode": "Managed", "version": 16},
        "containerRuntime": {"tls": {"serverSecretName": "docker-server", "clientSecretName": "docker-client"}},
        "placement": {"namespaces": {"redis": DATA, "postgres": DATA, "runtime": CONTAINERS}},
    }))
}

fn allowing(namespaces: &[&str]) -> Inputs {
    let all: BTreeSet<String> = namespaces.iter().map(|&name| name.to_owned()).collect();
    Inputs { allowing: Some(all), ..Inputs::offline(then()) }
}

fn planned(platform: &TradingPlatform, inputs: &Inputs) -> (Plan, Vec<Object>) {
    let plan = resolve(platform, inputs);
    let objects = render(&plan);
    (plan, objects)
}

fn next(platform: &TradingPlatform, inputs: &Inputs, live: &Observed) -> Steps {
    let (plan, objects) = planned(platform, inputs);
    steps(&plan, &objects, live)
}

fn namespaces<'a>(keys: impl Iterator<Item = &'a Key>) -> BTreeSet<&'a str> {
    keys.map(|key| key.namespace.as_str()).collect()
}

fn variable<'a>(objects: &'a [Object], name: &str) -> &'a Value {
    let backend =
        objects.iter().find(|object| object.key() == support::here(Kind::Deployment, "shop-backend"));
    let all = backend.unwrap().body["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    all.iter().find(|variable| variable["name"] == name).unwrap()
}

#[test]
fn without_consent_nothing_is_made_or_read_there_and_the_rest_comes_up() {
    let found = next(&tiers(), &allowing(&[DATA]), &Observed::new());
    assert_eq!(namespaces(found.held.iter()), BTreeSet::from([CONTAINERS, "trading"]));
    // The copy of the client's certificate would have to be read there.
    let held: Vec<&Key> = found.held.iter().filter(|key| key.namespace == "trading").collect();
    assert!(matches!(held.as_slice(), [Key { kind: Kind::Secret, .. }]), "{held:?}");
    let applied: Vec<Key> = found.apply.iter().map(|step| step.object.key()).collect();
    assert_eq!(namespaces(applied.iter()), BTreeSet::from([DATA, "trading"]));
    let [problem] = found.problems.as_slice() else { panic!("{:?}", found.problems) };
    assert_eq!((problem.reason, problem.component.as_deref()), ("TierNotAllowed", Some("runtime")));
    let remedy = "kubectl label namespace shop-docker platform.trading/allows=trading.shop";
    assert!(problem.message.contains(remedy), "{}", problem.message);
}

#[test]
fn consent_that_is_taken_back_deletes_nothing() {
    let platform = tiers();
    let live = observed(&planned(&platform, &allowing(&[DATA, CONTAINERS])).1);
    let found = next(&platform, &allowing(&[]), &live);
    assert!(found.apply.is_empty() && found.prune.is_empty() && found.prune_first.is_empty(), "{found:?}");
    let (plan, _) = planned(&platform, &allowing(&[]));
    let reported = status(&plan, &found, &live, None, then());
    let degraded = reported.conditions.iter().find(|condition| condition.type_ == "Degraded").unwrap();
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "TierNotAllowed"));
}

#[test]
fn whoever_consumes_a_login_gets_a_copy_where_it_is() {
    let (_, objects) = planned(&tiers(), &allowing(&[DATA, CONTAINERS]));
    assert_eq!(variable(&objects, "REDIS_HOST")["value"], "shop-redis.shop-data.svc");
    assert_eq!(variable(&objects, "PGHOST")["value"], "shop-postgres.shop-data.svc");
    assert_eq!(variable(&objects, "DOCKER_HOST")["value"], "tcp://shop-runtime.shop-docker.svc:2376");
    for (name, original) in [("REDIS_PASSWORD", "shop-redis-auth"), ("PGPASSWORD", "shop-postgres-app")] {
        let copy = variable(&objects, name)["valueFrom"]["secretKeyRef"]["name"].as_str().unwrap();
        let copy = objects.iter().find(|object| object.key() == support::here(Kind::Secret, copy)).unwrap();
        let Content::CopiedFrom { original: of, .. } = &copy.content else { panic!("{copy:?}") };
        assert_eq!((of.namespace.as_str(), of.name.as_str()), (DATA, original));
        assert!(
            copy.body["data"].as_object().unwrap().values().all(|value| value == ""),
            "no value is rendered"
        );
    }
}

#[test]
fn a_copy_waits_for_its_original_and_follows_it() {
    let with = |password: Option<&str>| {
        let original = Reference {
            kind: ReferenceKind::Secret,
            namespace: DATA.to_owned(),
            name: "shop-redis-auth".to_owned(),
        };
        let state = password.map_or(ReferenceState::Absent, |digest| {
            ReferenceState::Present(BTreeMap::from([("password".to_owned(), digest.to_owned())]))
        });
        Inputs { references: Some(BTreeMap::from([(original, state)])), ..allowing(&[DATA, CONTAINERS]) }
    };
    let copy = |inputs: &Inputs| {
        let (_, objects) = planned(&tiers(), inputs);
        objects.into_iter().find(|object| object.name.starts_with("shop-redis-copy-")).unwrap()
    };
    let found = next(&tiers(), &with(None), &Observed::new());
    assert!(found.held.contains(&copy(&with(None)).key()));
    assert_ne!(copy(&with(Some("old"))).digest, copy(&with(Some("new"))).digest);
}

#[test]
fn a_store_that_runs_elsewhere_is_left_alone() {
    let mut platform = tiers();
    let inputs = allowing(&[DATA, CONTAINERS]);
    let live = observed(&planned(&platform, &inputs).1);
    let placement = platform.spec.placement.as_mut().unwrap();
    placement.namespaces.remove("redis");
    let found = next(&platform, &inputs, &live);
    let touched = found.prune.iter().map(|prune| &prune.key);
    assert!(touched.into_iter().all(|key| key.namespace != DATA || !key.name.contains("redis")), "{found:?}");
    assert!(found.problems.iter().any(|problem| problem.reason == "StoreMoved"));
    assert!(found.held.contains(&support::here(Kind::StatefulSet, "shop-redis")));
}

#[test]
fn a_store_that_left_the_resource_is_shown_wherever_it_runs() {
    let mut platform = tiers();
    let inputs = allowing(&[DATA, CONTAINERS]);
    let live = observed(&planned(&platform, &inputs).1);
    platform.spec.redis = None;
    platform.spec.backend.as_mut().unwrap().connects_to = Some(vec!["postgres".to_owned()]);
    let found = next(&platform, &inputs, &live);
    assert!(found.problems.iter().any(|problem| problem.reason == "StoreRemovalNotAcknowledged"));
    assert!(found.prune.iter().all(|prune| !prune.key.name.starts_with("shop-redis-headless")), "{found:?}");
    let (plan, _) = planned(&platform, &inputs);
    let reported = status(&plan, &found, &live, None, then());
    let redis = reported.components.iter().find(|component| component.name == "redis").unwrap();
    assert_eq!(redis.ready, 1, "{redis:?}");
}

#[test]
fn an_application_moves_with_its_namespace() {
    let mut platform = tiers();
    let inputs = allowing(&[DATA, CONTAINERS, "shop-api"]);
    let live = observed(&planned(&platform, &inputs).1);
    let placement = platform.spec.placement.as_mut().unwrap();
    placement
        .namespaces
        .insert("backend".to_owned(), trading_api::names::NamespaceName("shop-api".to_owned()));
    let found = next(&platform, &inputs, &live);
    let made = found
        .apply
        .iter()
        .any(|step| step.object.key() == Key::new(Kind::Deployment, "shop-api", "shop-backend"));
    let gone = found.prune.iter().any(|prune| prune.key == support::here(Kind::Deployment, "shop-backend"));
    assert!(made && gone, "{found:?}");
    assert!(found.problems.is_empty(), "{:?}", found.problems);
}

#[test]
fn what_lives_elsewhere_has_no_owner_and_goes_with_the_platform() {
    let (_, objects) = planned(&tiers(), &allowing(&[DATA, CONTAINERS]));
    let children: Vec<Child> = objects.iter().map(child).collect();
    for object in objects.iter().filter(|object| object.namespace != "trading") {
        assert!(object.body.pointer("/metadata/ownerReferences").is_none(), "{}", object.key());
        assert_eq!(object.body["metadata"]["labels"][labels::HOME], "trading");
    }
    let Teardown::Delete { objects: first, .. } = teardown(&children, DataPolicy::Retain, false) else {
        panic!("nothing is deleted")
    };
    let runtime = Key::new(Kind::DaemonSet, CONTAINERS, "shop-runtime");
    assert!(first.iter().any(|prune| prune.key == runtime), "{first:?}");
    // To the end, whatever waits in between.
    let mut left = children;
    for _ in 0..20 {
        match teardown(&left, DataPolicy::Retain, false) {
            Teardown::Delete { objects, .. } => {
                left.retain(|child| !objects.iter().any(|prune| prune.key == child.key()));
            }
            _ => break,
        }
    }
    let kept: BTreeSet<(Kind, bool)> =
        left.iter().filter(|child| child.is_abroad()).map(|child| (child.kind, child.is_copy)).collect();
    assert_eq!(kept, BTreeSet::from([(Kind::Secret, false)]), "only the stores' own passwords stay");
}

#[test]
fn a_runtime_that_the_administrator_does_not_allow_waits_alone() {
    let mut inputs = allowing(&[DATA, CONTAINERS]);
    inputs.operator.allow_container_runtime = false;
    let found = next(&tiers(), &inputs, &Observed::new());
    assert_eq!(found.held, [Key::new(Kind::DaemonSet, CONTAINERS, "shop-runtime")]);
    let (plan, _) = planned(&tiers(), &inputs);
    let [problem] = plan.problems.as_slice() else { panic!("{:?}", plan.problems) };
    assert_eq!(problem.reason, "RuntimeNotAllowed");
    assert!(problem.message.contains("--allow-container-runtime"), "{}", problem.message);
}

#[test]
fn what_is_not_there_needs_no_consent() {
    let platform = shop(&json!({"placement": {"namespaces": {"runtime": "shop-sites", "redis": DATA}}}));
    let found = next(&platform, &allowing(&[]), &Observed::new());
    assert!(found.problems.is_empty() && found.held.is_empty(), "{found:?}");
    let applied: Vec<Key> = found.apply.iter().map(|step| step.object.key()).collect();
    assert_eq!(namespaces(applied.iter()), BTreeSet::from(["trading"]));
}

#[test]
fn a_shared_volume_is_not_mounted_from_another_namespace() {
    let platform = shop(&json!({
        "backend": {"volumes": [{"mountPath": "/logs", "sharedVolume": "logs"}]},
        "sharedVolumes": [{"name": "logs", "size": "1Gi"}],
        "placement": {"namespaces": {"backend": "shop-api"}},
    }));
    let found = next(&platform, &allowing(&["shop-api"]), &Observed::new());
    assert_eq!(found.held, [Key::new(Kind::Deployment, "shop-api", "shop-backend")]);
}
