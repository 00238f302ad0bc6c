//! The flow matrix: every pair of pods, neighbours and addresses at every port, decided by an
//! evaluator of its own from the rendered policies. What is not written in a matrix is denied.

#![allow(clippy::unwrap_used)] // a test ends where its files can't be read

mod evaluator;
mod matrices;
#[path = "../support/mod.rs"]
mod support;
mod world;

use matrices::{ALL, TRADEWIZARD};
use support::{example, platform_of, rendered};
use world::World;

#[test]
fn every_platform_talks_as_its_matrix_says_and_not_otherwise() {
    for matrix in ALL {
        for folder in matrix.examples {
            let (_, objects) = rendered(&platform_of(folder));
            let world = World::of(&objects, matrix.outside);
            assert_eq!(world.own(), matrix.pods.iter().copied().collect(), "{folder}: pods of the papers");
            let differences = world.differences(&matrix.flows());
            assert!(differences.is_empty(), "{folder}: {differences:#?}");
        }
    }
}

#[test]
fn names_outside_are_cilium_s_and_open_nothing_else() {
    use serde_json::json;
    use trading_core::kinds::Kind;
    let mut platform = example("production");
    let before = rendered(&platform).1;
    let egress = &mut platform.spec.scraper.as_mut().unwrap().egress;
    egress.extend(["api.example.com", "*.example.org"].map(|name| trading_api::network::EgressRule {
        fqdn: Some(name.to_owned()),
        ports: vec![trading_api::network::EgressPort { port: 443, protocol: None }],
        ..Default::default()
    }));
    let (_, objects) = rendered(&platform);
    let of = |objects: &[trading_core::object::Object], kind: Kind| {
        objects
            .iter()
            .filter(|object| object.kind == kind)
            .map(|object| object.body.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&objects, Kind::NetworkPolicy), of(&before, Kind::NetworkPolicy));
    let [policy] = of(&objects, Kind::CiliumNetworkPolicy).try_into().unwrap();
    assert_eq!(policy["metadata"]["name"], "tradewizard-scraper");
    let ports = json!([{ "ports": [{ "port": "443", "protocol": "TCP" }] }]);
    assert_eq!(
        policy["spec"]["egress"].as_array().unwrap()[1..],
        [
            json!({ "toFQDNs": [{ "matchName": "api.example.com" }], "toPorts": ports }),
            json!({ "toFQDNs": [{ "matchPattern": "*.example.org" }], "toPorts": ports }),
        ]
    );
    let labels = &policy["spec"]["endpointSelector"]["matchLabels"];
    assert_eq!(labels["app.kubernetes.io/name"], "scraper");
    assert_eq!(labels["app.kubernetes.io/instance"], "tradewizard");
}

/// A matrix that could not fail would prove nothing.
#[test]
fn what_is_too_much_and_what_is_missing_is_found() {
    let (_, mut objects) = rendered(&example("production"));
    let matrix = TRADEWIZARD.flows();
    let missing = World::of(&objects, TRADEWIZARD.outside).differences(&matrix[1..]);
    assert!(
        missing.iter().any(|line| line.starts_with("ingress controller -> frontend 3000/TCP is admitted"))
    );

    let policy = objects
        .iter_mut()
        .find(|object| {
            object.name == "tradewizard-redis" && object.kind == trading_core::kinds::Kind::NetworkPolicy
        })
        .unwrap();
    policy.body_mut()["spec"]["ingress"] = serde_json::Value::Null;
    let denied = World::of(&objects, TRADEWIZARD.outside).differences(&matrix);
    assert!(denied.contains(&"backend -> redis 6379/TCP is denied".to_owned()), "{denied:#?}");
}
