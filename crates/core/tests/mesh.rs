//! What Istio is told, and what takes part in the mesh.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{documents, merged, rendered, repository, shop};
use trading_core::{
    kinds::{AddOn, Kind},
    object::Object,
};

fn objects(mesh: &Value) -> Vec<Object> {
    rendered(&shop(&json!({
        "mesh": mesh,
        "worker": {"image": {"repository": "shop/worker"}},
        "redis": {"mode": "Standalone"},
        "postgres": {"mode": "Managed", "version": 16, "instances": 2},
    })))
    .1
}

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Value {
    let is_it = |object: &&Object| object.kind == kind && object.name == name;
    &objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}")).body
}

fn of_istio(objects: &[Object]) -> Vec<String> {
    let is_it = |object: &&Object| object.kind.info().add_on == Some(AddOn::Istio);
    objects.iter().filter(is_it).map(|object| object.key().to_string()).collect()
}

#[test]
fn components_get_a_sidecar_and_stores_none() {
    let objects = objects(&json!({"revision": "canary"}));
    let metadata =
        |kind: Kind, name: &str| find(&objects, kind, name)["spec"]["template"]["metadata"].clone();
    let backend = metadata(Kind::Deployment, "shop-backend");
    assert_eq!(backend["labels"]["sidecar.istio.io/inject"], "true");
    assert_eq!(backend["labels"]["istio.io/rev"], "canary");
    assert_eq!(
        backend["annotations"]["proxy.istio.io/config"],
        r#"{"holdApplicationUntilProxyStarts":true}"#
    );
    for store in ["shop-redis", "shop-postgres"] {
        let store = metadata(Kind::StatefulSet, store);
        assert_eq!(store["labels"]["sidecar.istio.io/inject"], "false");
        assert!(store["labels"].get("istio.io/rev").is_none());
    }
    let selector = &find(&objects, Kind::Deployment, "shop-backend")["spec"]["selector"]["matchLabels"];
    assert!(selector.get("sidecar.istio.io/inject").is_none(), "selectors can't change");
}

#[test]
fn mutual_tls_is_of_the_platform_s_pods_alone() {
    for (given, mode) in [(json!({}), "PERMISSIVE"), (json!({"mtls": "Strict"}), "STRICT")] {
        let objects = objects(&given);
        assert_eq!(of_istio(&objects), ["PeerAuthentication shop-mesh"]);
        assert_eq!(
            find(&objects, Kind::PeerAuthentication, "shop-mesh")["spec"],
            json!({
                "selector": {"matchLabels": {"app.kubernetes.io/instance": "shop"}},
                "mtls": {"mode": mode},
            })
        );
    }
}

#[test]
fn requests_are_repeated_only_where_no_pod_has_seen_them() {
    let objects = objects(&json!({"retries": {"attempts": 3, "perTryTimeoutSeconds": 2}}));
    // The worker has no port.
    assert_eq!(of_istio(&objects), ["PeerAuthentication shop-mesh", "VirtualService shop-backend"]);
    assert_eq!(
        find(&objects, Kind::VirtualService, "shop-backend")["spec"],
        json!({
            "hosts": ["shop-backend"],
            "http": [{
                "match": [{"port": 8080}],
                "route": [{"destination": {"host": "shop-backend", "port": {"number": 8080}}}],
                "retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "connect-failure,refused-stream"},
            }],
        })
    );
}

#[test]
fn circuits_break_before_components_and_the_database() {
    let objects = objects(&json!({"circuitBreaker": {
        "maxConnections": 100, "maxPendingRequests": 50, "consecutiveErrors": 5, "maxDatabaseConnections": 20}}));
    assert_eq!(
        of_istio(&objects),
        [
            "PeerAuthentication shop-mesh",
            "DestinationRule shop-backend",
            "DestinationRule shop-postgres",
            "DestinationRule shop-postgres-ro",
        ]
    );
    assert_eq!(
        find(&objects, Kind::DestinationRule, "shop-backend")["spec"],
        json!({
            "host": "shop-backend",
            "trafficPolicy": {
                "connectionPool": {"tcp": {"maxConnections": 100}, "http": {"http1MaxPendingRequests": 50}},
                "outlierDetection": {
                    "consecutive5xxErrors": 5, "baseEjectionTime": "30s", "maxEjectionPercent": 50,
                },
            },
        })
    );
    assert_eq!(
        find(&objects, Kind::DestinationRule, "shop-postgres")["spec"],
        json!({"host": "shop-postgres", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 20}}}})
    );
}

#[test]
fn sidecars_reach_their_control_plane_and_stores_do_not() {
    let reaches = |objects: &[Object], name: &str| {
        let egress = find(objects, Kind::NetworkPolicy, name)["spec"]["egress"].as_array().cloned().unwrap();
        egress.contains(&json!({
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}}],
            "ports": [{"port": 15012, "protocol": "TCP"}],
        }))
    };
    let with = objects(&json!({}));
    assert!(reaches(&with, "shop-backend") && reaches(&with, "shop-worker"));
    assert!(!reaches(&with, "shop-redis") && !reaches(&with, "shop-postgres"));
    let without = rendered(&shop(&json!({}))).1;
    assert!(!reaches(&without, "shop-backend") && of_istio(&without).is_empty());
    let pod = &find(&without, Kind::Deployment, "shop-backend")["spec"]["template"]["metadata"];
    assert!(pod["labels"].get("sidecar.istio.io/inject").is_none());
}

/// `examples/*/components/mesh` is for those who run Istio.
#[test]
fn examples_with_a_mesh_are_admitted_and_become_its_objects() {
    let wanted = [
        ("tradewise", vec![Kind::PeerAuthentication, Kind::DestinationRule]),
        ("vibebox", vec![Kind::PeerAuthentication, Kind::DestinationRule, Kind::VirtualService]),
    ];
    for (example, kinds) in wanted {
        let read = |path: String| {
            let all = documents(&fs::read_to_string(repository(&path)).unwrap());
            all.into_iter().find(|document| document["kind"] == "TradingPlatform").unwrap()
        };
        let base = read(format!("tests/golden/{example}/production/input.yaml"));
        let mesh = read(format!("examples/{example}/components/mesh/platform.yaml"));
        assert_eq!(mesh["metadata"]["name"], base["metadata"]["name"], "the patch would find nothing");
        let platform = merged(&base, &json!({"spec": mesh["spec"]}));
        assert_eq!(trading_core::admission::check(&platform, None), [], "{example}");
        let (_, objects) = rendered(&serde_json::from_value(platform).unwrap());
        for kind in kinds {
            assert!(objects.iter().any(|object| object.kind == kind), "{example} has no {kind}");
        }
    }
}
