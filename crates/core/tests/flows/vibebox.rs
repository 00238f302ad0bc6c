//! VibeBox: tiers in namespaces of their own. From its file: the ingress leads to frontend and backend,
//! the frontend reaches the backend and nothing else, the backend reaches both stores and the
//! runtime, anything else is denied the database tier.

use crate::{
    support::{platform_of, rendered},
    with_dns,
    world::{Flow, World},
};

const OUTSIDE: [(&str, &str); 3] =
    [("anywhere", "8.8.8.8"), ("cloud metadata", "169.254.169.254"), ("node-local dns", "169.254.20.10")];

const PODS: [&str; 5] = ["frontend", "backend", "postgres", "redis", "runtime"];

const MATRIX: &[Flow] = &[
    ("ingress controller", "frontend", 80, "TCP"),
    ("ingress controller", "backend", 3000, "TCP"),
    ("frontend", "backend", 3000, "TCP"),
    ("backend", "postgres", 5432, "TCP"),
    ("backend", "redis", 6379, "TCP"),
    ("backend", "runtime", 2375, "TCP"),
    ("runtime", "anywhere", 443, "TCP"),
    ("prometheus", "frontend", 80, "TCP"),
    ("prometheus", "backend", 3000, "TCP"),
    ("prometheus", "postgres", 5432, "TCP"),
    ("prometheus", "redis", 6379, "TCP"),
];

/// Traces go to whatever collects them in that namespace.
const TRACES: [(&str, &str); 2] = [("frontend", "prometheus"), ("backend", "prometheus")];

#[test]
fn vibebox_talks_as_its_matrix_says_and_not_otherwise() {
    let (_, objects) = rendered(&platform_of("vibebox/production"));
    let differences = World::of(&objects, &OUTSIDE).differences(&with_dns(MATRIX, &PODS));
    let expected: Vec<String> = TRACES
        .iter()
        .map(|(from, to)| format!("{from} -> {to} 4317/TCP is admitted, and is not in the matrix"))
        .collect();
    assert!(differences.iter().all(|line| expected.contains(line)), "{differences:#?}");
}
