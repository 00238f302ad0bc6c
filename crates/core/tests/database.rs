//! The database of the platform's own while it runs: what changes with its servers up.

#![allow(clippy::unwrap_used)] // a test ends where its resource can't be read

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{here, observed, rendered};
use trading_api::TradingPlatform;
use trading_core::{kinds::Kind, object::Object, step::steps, told::Told};

/// A shop with a database of its own, of which this is said.
fn with(postgres: &Value) -> TradingPlatform {
    let mut all = json!({"mode": "Managed", "version": 16, "instances": 2});
    for (key, value) in postgres.as_object().unwrap() {
        all[key] = value.clone();
    }
    let spec = json!({"version": "1.0.0", "postgres": all, "backend": {"image": {"repository": "shop/backend"},
        "connectsTo": ["postgres"]}});
    let metadata = json!({"name": "shop", "namespace": "trading", "uid": "1"});
    let platform = json!({"apiVersion": "platform.trading/v1alpha1", "kind": "TradingPlatform",
        "metadata": metadata, "spec": spec});
    serde_json::from_value(platform).unwrap()
}

/// Kinds and names of what differs.
fn changed(before: &TradingPlatform, after: &TradingPlatform) -> BTreeSet<String> {
    let (_, live) = rendered(before);
    let (plan, objects) = rendered(after);
    let next = steps(&plan, &objects, &observed(&live));
    next.apply.iter().map(|apply| apply.object.key().to_string()).collect()
}

fn file(objects: &[Object], name: &str) -> String {
    let map = objects.iter().find(|object| object.key() == here(Kind::ConfigMap, "shop-postgres")).unwrap();
    map.body["data"][name].as_str().unwrap().to_owned()
}

#[test]
fn parameters_restart_servers_only_where_postgres_needs_it() {
    let of = |parameters: Value, version: i32| with(&json!({"parameters": parameters, "version": version}));
    let map = "ConfigMap shop-postgres".to_owned();
    let both = [map.clone(), "StatefulSet shop-postgres".to_owned()];
    let live = json!({"work_mem": "16MB"});
    let cases = [
        (json!({"work_mem": "32MB"}), 16, false),
        (json!({}), 16, false),
        (json!({"work_mem": "16MB", "max_connections": "200"}), 16, true),
        (json!({"work_mem": "16MB", "shared_buffers": "1GB"}), 16, true),
        (json!({"work_mem": "16MB", "autovacuum_max_workers": "5"}), 17, true),
        (json!({"work_mem": "16MB", "autovacuum_max_workers": "5"}), 18, false),
    ];
    for (parameters, version, restarts) in cases {
        let expected = if restarts { both.as_slice() } else { std::slice::from_ref(&map) };
        let found = changed(&of(live.clone(), version), &of(parameters.clone(), version));
        assert_eq!(found, expected.iter().cloned().collect(), "{parameters} {version}");
    }
    let (_, objects) = rendered(&of(live, 16));
    assert!(file(&objects, "postgresql.conf").contains("work_mem = '16MB'\n"));
}

#[test]
fn parameters_that_postgres_refuses_are_told_and_stop_nothing() {
    let (plan, objects) = rendered(&with(&json!({})));
    let mut live = observed(&objects);
    let lease = live.get_mut(&here(Kind::Lease, "shop-postgres")).unwrap();
    lease.told = Told::parse(r#"{"refused": "invalid value for parameter \"work_mem\": \"lots\""}"#);
    let next = steps(&plan, &objects, &live);
    let problem = next.problems.iter().find(|problem| problem.reason == "ParametersRefused").unwrap();
    assert!(problem.warning && problem.message.contains("\"lots\": mend them"), "{}", problem.message);
    assert!(next.apply.is_empty() && next.held.is_empty());
}
