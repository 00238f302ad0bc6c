//! The flow matrix: every pair of pods, neighbours and addresses at every port, decided by an
//! evaluator of its own from the rendered policies. What is not written in a matrix is denied.

#![allow(clippy::unwrap_used)] // a test ends where its files can't be read

mod evaluator;
#[path = "../support/mod.rs"]
mod support;
mod world;

use support::{ENVIRONMENTS, example, rendered};
use world::{Flow, World};

/// Addresses outside: what TradeWizard's resource names, and what nobody should reach.
const OUTSIDE: [(&str, &str); 9] = [
    ("site one", "198.51.100.7"),
    ("site two", "203.0.113.200"),
    ("database", "192.0.2.1"),
    ("anywhere", "8.8.8.8"),
    ("anywhere in IPv6", "2001:db8::1"),
    ("cloud metadata", "169.254.169.254"),
    ("cloud metadata in IPv6", "fd00:ec2::254"),
    ("pod identity", "169.254.170.23"),
    ("node-local dns", "169.254.20.10"),
];

/// From the platform's file: frontend behind the ingress calls the backend; backend and scraper
/// use Redis and the database outside, by its address block; only the scraper reads sites; Redis
/// talks to itself; monitoring scrapes.
const TRADEWIZARD: &[Flow] = &[
    ("ingress controller", "frontend", 3000, "TCP"),
    ("frontend", "backend", 8080, "TCP"),
    ("backend", "redis", 6379, "TCP"),
    ("scraper", "redis", 6379, "TCP"),
    ("redis", "redis", 6379, "TCP"),
    ("redis", "redis", 16379, "TCP"),
    ("prometheus", "frontend", 3000, "TCP"),
    ("prometheus", "backend", 8080, "TCP"),
    ("prometheus", "scraper", 8080, "TCP"),
    ("prometheus", "redis", 9121, "TCP"),
    ("backend", "database", 5432, "TCP"),
    ("scraper", "database", 5432, "TCP"),
    ("scraper", "site one", 443, "TCP"),
    ("scraper", "site two", 443, "TCP"),
];

/// Every pod asks the cluster's DNS, and that on its node.
const RESOLVERS: [&str; 2] = ["cluster dns", "node-local dns"];

fn with_dns(matrix: &[Flow], pods: &[&'static str]) -> Vec<Flow> {
    let mut all = matrix.to_vec();
    for pod in pods {
        for resolver in RESOLVERS {
            all.extend([(*pod, resolver, 53, "UDP"), (*pod, resolver, 53, "TCP")]);
        }
    }
    all
}

#[test]
fn tradewizard_talks_as_its_matrix_says_and_not_otherwise() {
    let matrix = with_dns(TRADEWIZARD, &["frontend", "backend", "scraper", "redis"]);
    for environment in ENVIRONMENTS {
        let (_, objects) = rendered(&example(environment));
        let differences = World::of(&objects, &OUTSIDE).differences(&matrix);
        assert!(differences.is_empty(), "{environment}: {differences:#?}");
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
    let matrix = with_dns(TRADEWIZARD, &["frontend", "backend", "scraper", "redis"]);
    let missing = World::of(&objects, &OUTSIDE).differences(&matrix[1..]);
    assert!(
        missing.iter().any(|line| line.starts_with("ingress controller -> frontend 3000/TCP is admitted"))
    );

    let policy = objects
        .iter_mut()
        .find(|object| {
            object.name == "tradewizard-redis" && object.kind == trading_core::kinds::Kind::NetworkPolicy
        })
        .unwrap();
    policy.body["spec"]["ingress"] = serde_json::Value::Null;
    let denied = World::of(&objects, &OUTSIDE).differences(&matrix);
    assert!(denied.contains(&"backend -> redis 6379/TCP is denied".to_owned()), "{denied:#?}");
}
