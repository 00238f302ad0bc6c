//! PgBouncer in front of a database: when clients are led to it, and that it goes only when none is left.

#![allow(clippy::unwrap_used)] // a test ends where a resource can't be read

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::{child, here, observed, rendered, shop, then};
use trading_api::{TradingPlatform, deletion::DataPolicy};
use trading_core::{
    inputs::{Inputs, Reference, ReferenceState},
    kinds::Kind,
    object::{Content, Object},
    render::render,
    resolve::{references, resolve},
    status::{status, workload::Workload},
    step::{Child, steps},
    teardown::{Teardown, teardown},
    told::Told,
};

const POOLER: &str = "shop-postgres-pooler";

fn of(mode: &str, pooler: &Value) -> TradingPlatform {
    shop(&json!({"postgres": {"mode": mode, "version": 16, "instances": 2, "pooler": pooler}}))
}

fn managed(pooler: &Value) -> TradingPlatform {
    of("Managed", pooler)
}

fn find(objects: &[Object], kind: Kind, name: &str) -> Object {
    objects.iter().find(|object| object.key() == here(kind, name)).unwrap().clone()
}

/// Variables of the backend that have a value.
fn variables(objects: &[Object]) -> BTreeMap<String, String> {
    let backend = find(objects, Kind::Deployment, "shop-backend");
    let all = backend.body.pointer("/spec/template/spec/containers/0/env").unwrap().clone();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    all.as_array()
        .unwrap()
        .iter()
        .filter_map(|variable| Some((text(&variable["name"])?, text(&variable["value"])?)))
        .collect()
}

fn hosts(objects: &[Object]) -> (String, Option<String>) {
    let mut all = variables(objects);
    (all.remove("PGHOST").unwrap(), all.remove("PGHOST_DIRECT"))
}

/// With what the primary says, and with the pooler's password or not.
fn told(platform: &TradingPlatform, pooler: Option<bool>, is_made: bool) -> Vec<Object> {
    let consumed = references::all(&resolve(platform, &Inputs::offline(then())));
    let state = |reference: &Reference| {
        let keys: &[&str] = match reference.name.as_str() {
            "shop-postgres-logins" => {
                if is_made {
                    &["pooler"]
                } else {
                    &[]
                }
            }
            _ => &["username", "password"],
        };
        ReferenceState::Present(keys.iter().map(|key| ((*key).to_owned(), "digest".to_owned())).collect())
    };
    let inputs = Inputs {
        references: Some(consumed.iter().map(|it| (it.clone(), state(it))).collect()),
        told: Some(Told { logins: BTreeSet::from([1]), pooler, ..Told::default() }),
        ..Inputs::offline(then())
    };
    render(&resolve(platform, &inputs))
}

#[test]
fn clients_are_led_to_a_pooler_that_the_servers_know() {
    let (before, after) = (managed(&Value::Null), managed(&json!({})));
    let direct = ("shop-postgres".to_owned(), None);
    assert_eq!(hosts(&told(&before, Some(false), false)), direct);
    // The database runs, and its servers don't know the pooler yet.
    for is_made in [false, true] {
        let objects = told(&after, Some(false), is_made);
        assert_eq!(hosts(&objects), direct);
        let logins = find(&objects, Kind::Secret, "shop-postgres-logins");
        assert_eq!(logins.content, Content::AddedOnce([("pooler".to_owned(), is_made)].into()));
        let users = find(&objects, Kind::Secret, POOLER);
        let Content::FilledFrom { is_there, key, texts, .. } = users.content else {
            panic!("it is rendered")
        };
        assert_eq!((is_there, key.as_str()), (is_made, "pooler"));
        assert_eq!(texts["users.txt"], "\"trading_pooler\" \"{password}\"\n");
    }
    let pooled = (POOLER.to_owned(), Some("shop-postgres".to_owned()));
    assert_eq!(hosts(&told(&after, Some(true), true)), pooled);
    // Nothing is said of it: the database is being made.
    assert_eq!(hosts(&told(&after, None, true)), pooled);
}

#[test]
fn a_pooler_restarts_no_server() {
    let set =
        |platform: &TradingPlatform| find(&rendered(platform).1, Kind::StatefulSet, "shop-postgres").digest;
    assert_eq!(set(&managed(&Value::Null)), set(&managed(&json!({"poolMode": "Session"}))));
}

#[test]
fn an_edit_rolls_the_pooler_and_no_client() {
    let (_, live) = rendered(&managed(&json!({})));
    let (plan, objects) = rendered(&managed(&json!({"defaultPoolSize": 30})));
    let next = steps(&plan, &objects, &observed(&live));
    let changed: BTreeSet<String> = next.apply.iter().map(|it| it.object.key().to_string()).collect();
    let expected = ["ConfigMap", "Deployment"].map(|kind| format!("{kind} {POOLER}"));
    assert_eq!(changed, expected.into());
    let config = find(&objects, Kind::ConfigMap, POOLER).body["data"]["pgbouncer.ini"].clone();
    let config = config.as_str().unwrap();
    for line in ["default_pool_size = 30", "max_db_connections = 31", "pool_mode = transaction"] {
        assert!(config.lines().any(|found| found == line), "{line}: {config}");
    }
}

#[test]
fn a_pod_has_memory_for_its_clients() {
    let memory = |pooler: Value| {
        let pods = find(&rendered(&managed(&pooler)).1, Kind::Deployment, POOLER);
        let amounts = pods.body.pointer("/spec/template/spec/containers/0/resources").unwrap().clone();
        assert_eq!(amounts["requests"]["memory"], amounts["limits"]["memory"]);
        amounts["limits"]["memory"].as_str().unwrap().to_owned()
    };
    assert_eq!(memory(json!({})), "79Mi");
    assert_eq!(memory(json!({"maxClientConnections": 20000})), "376Mi");
}

#[test]
fn a_pooler_goes_when_no_client_is_left() {
    for (mode, its_own) in [("Managed", Kind::Deployment), ("CloudNativePG", Kind::Pooler)] {
        let (_, live) = rendered(&of(mode, &json!({})));
        let (plan, objects) = rendered(&of(mode, &Value::Null));
        let mut observed = observed(&live);
        let next = steps(&plan, &objects, &observed);
        assert!(next.prune.is_empty(), "{mode}: {:?}", next.prune);
        let applied: Vec<_> = next.apply.iter().map(|it| it.object.key()).collect();
        assert!(applied.contains(&here(Kind::Deployment, "shop-backend")), "{mode}: {applied:?}");
        assert!(!applied.iter().any(|key| key.kind == Kind::NetworkPolicy), "{mode}: {applied:?}");

        // The new pods come.
        let backend = find(&objects, Kind::Deployment, "shop-backend");
        let rolling = Workload { rolled_out: false, ..child(&backend).workload.unwrap() };
        observed.insert(backend.key(), Child { workload: Some(rolling), ..child(&backend) });
        let next = steps(&plan, &objects, &observed);
        assert!(next.prune.is_empty(), "{mode}: {:?}", next.prune);

        observed.insert(backend.key(), child(&backend));
        let next = steps(&plan, &objects, &observed);
        let gone: BTreeSet<_> = next.prune.iter().map(|it| it.key.clone()).collect();
        let of_pooler = live.iter().filter(|object| object.component == "postgres-pooler");
        let all: BTreeSet<_> = of_pooler.map(Object::key).collect();
        assert!(gone.is_superset(&all) && all.contains(&here(its_own, POOLER)), "{mode}: {gone:?} {all:?}");
        let applied =
            next.apply.iter().any(|it| it.object.key() == here(Kind::NetworkPolicy, "shop-postgres"));
        assert_eq!(applied, mode == "Managed", "its policy no longer has the pooler");
    }
}

#[test]
fn its_state_is_told_whoever_runs_it() {
    for (mode, kind) in [("Managed", "Deployment"), ("CloudNativePG", "Pooler")] {
        let platform = of(mode, &json!({"instances": 3}));
        let (plan, objects) = rendered(&platform);
        let mut observed = observed(&objects);
        let told = |observed: &_| {
            let next = steps(&plan, &objects, observed);
            let all = status(&plan, &next, observed, None, then()).components;
            let found = all.into_iter().find(|it| it.name == "postgres-pooler").unwrap();
            assert_eq!((found.kind.as_str(), found.desired), (kind, 3));
            (found.state, found.message)
        };
        assert_eq!(told(&observed).0, "Ready", "{mode}");
        let pooler = observed.values_mut().find(|it| it.name == POOLER && it.workload.is_some()).unwrap();
        pooler.workload.as_mut().unwrap().ready = 2;
        assert_eq!(
            told(&observed),
            ("Progressing".to_owned(), Some("2 of 3 pods ready".to_owned())),
            "{mode}"
        );
    }
}

#[test]
fn cloudnativepg_tells_how_many_pods_there_are_and_why_there_are_none() {
    let of = |status: Value| Workload::of_pooler(&json!({"spec": {"instances": 2}, "status": status}));
    assert!(!of(Value::Null).is_settled());
    assert!(of(json!({"instances": 2})).is_settled(), "before 1.30 it tells no phase");
    assert!(!of(json!({"instances": 1, "phase": "active"})).is_settled());
    let told = of(json!({"instances": 2, "phase": "active", "image": "ghcr.io/x/pgbouncer:1.25.1"}));
    assert!(told.is_settled());
    assert_eq!(told.version.as_deref(), Some("1.25.1"));
    let failed = of(json!({"instances": 2, "phase": "failed", "phaseReason": "no such image"}));
    assert_eq!(failed.failure.as_deref(), Some("no such image"));
}

#[test]
fn clients_of_cloudnativepg_check_who_signed_the_certificate_of_its_pooler() {
    let all = variables(&rendered(&of("CloudNativePG", &json!({}))).1);
    assert_eq!((all["PGHOST"].as_str(), all["PGSSLMODE"].as_str()), (POOLER, "verify-ca"));
    assert_eq!(all["PGHOST_DIRECT"], "shop-postgres-rw");
    let all = variables(&rendered(&of("CloudNativePG", &Value::Null)).1);
    assert_eq!((all["PGHOST"].as_str(), all["PGSSLMODE"].as_str()), ("shop-postgres-rw", "verify-full"));
}

#[test]
fn it_ends_with_the_applications() {
    for mode in ["Managed", "CloudNativePG"] {
        let (_, objects) = rendered(&of(mode, &json!({})));
        let children: Vec<Child> = objects.iter().map(child).collect();
        let Teardown::Delete { objects, .. } = teardown(&children, DataPolicy::Retain, false) else {
            panic!("nothing is deleted");
        };
        assert!(objects.iter().any(|it| it.key.name == POOLER), "{mode}: {objects:?}");
        assert!(!objects.iter().any(|it| it.key.name == "shop-postgres"), "{mode}: {objects:?}");
    }
}

#[test]
fn somebody_is_called_when_it_has_no_pod() {
    let watched = |pooler: Value| {
        let postgres = json!({"mode": "Managed", "version": 16, "pooler": pooler});
        let objects = rendered(&shop(&json!({"postgres": postgres, "monitoring": {}}))).1;
        let rules = find(&objects, Kind::PrometheusRule, "shop-alerts").body.to_string();
        rules.contains("deployment=~\\\"shop-(backend|postgres-pooler)\\\"")
    };
    assert!(watched(json!({})) && !watched(Value::Null));
}
