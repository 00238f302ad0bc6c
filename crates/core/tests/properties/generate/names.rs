//! Names, labels and texts at their limits.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kube::core::ObjectMeta;
use trading_api::{component::AnnotationValue, scheduling::LabelValue};

use super::ROLES;
use crate::tape::Tape;

pub(super) const LABEL_KEYS: [&str; 6] =
    ["team", "app", "example.com/tier", "a.b-c_d", "topology.kubernetes.io/zone", "x"];
pub(super) const ANNOTATION_KEYS: [&str; 4] = ["note", "example.com/owner", "prometheus.io/port", "a.b-c_d"];

pub const NAMES: [&str; 4] = ["db", "a", "registry.example.com", "s-1"];

/// Keys of Secrets and `ConfigMaps`.
pub const KEYS: [&str; 4] = ["password", "k", ".dotted_Key-1", "tls.crt"];

pub(super) const TEXTS: [&str; 6] = ["", "a", "'\"$();\\\n{}", "$(REDIS_PASSWORD)", "é ✓", "- yes: no #"];

pub(super) fn is_ours(key: &str) -> bool {
    key.starts_with("app.kubernetes.io/") || key.starts_with("platform.trading/")
}

pub(super) fn metadata(tape: &mut Tape) -> ObjectMeta {
    ObjectMeta {
        name: Some(dns_label(tape, 40)),
        namespace: Some(tape.pick(&["default", "trading", "ns"]).to_owned()),
        uid: tape.maybe(80, |_| "0b5e5c1e-5f0e-4b0e-9a5f-0123456789ab".to_owned()),
        generation: tape.maybe(80, |tape| i64::from(tape.between(1, 9))),
        labels: tape.maybe(50, |tape| plain(labels(tape, 4))),
        annotations: tape.maybe(50, |tape| {
            unique(tape, 4, &ANNOTATION_KEYS)
                .into_iter()
                .map(|key| (key, tape.pick(&TEXTS).to_owned()))
                .collect()
        }),
        ..ObjectMeta::default()
    }
}

fn plain(labels: BTreeMap<String, LabelValue>) -> BTreeMap<String, String> {
    labels.into_iter().map(|(key, value)| (key, value.0)).collect()
}

/// Between one character and `longest`, the first a letter.
fn dns_label(tape: &mut Tape, longest: usize) -> String {
    const MIDDLE: &str = "hop-eu--west-1a-0-x9-production-7--z-b-c-d-e";
    let length = if tape.chance(20) { longest } else { 1 + tape.below(longest) };
    let first = tape.pick(&["s", "a", "z"]);
    if length == 1 {
        return first.to_owned();
    }
    format!("{first}{}{}", &MIDDLE[..length - 2], tape.pick(&["a", "0", "9"]))
}

/// Up to 24 names; at least one where there is no role.
pub(super) fn service_names(tape: &mut Tape, wanted: bool) -> Vec<String> {
    let count = match tape.below(20) {
        0..=10 => 0,
        11..=18 => 1 + tape.below(3),
        _ => 5 + tape.below(20),
    };
    let count = if wanted { count.max(1) } else { count };
    let mut names = BTreeSet::new();
    for index in 0..count {
        let odd = [
            "tls",
            "headless",
            "auth",
            "api",
            "frontend-2",
            "redis2",
            "rediscache",
            "ingress-2",
            "quota-2",
            "config",
            "data",
            "tmp",
            "agent",
            "postgres2",
            "default",
            "a",
        ];
        let name = if tape.chance(30) { tape.pick(&odd).to_owned() } else { dns_label(tape, 20) };
        // The number keeps them apart; it makes the longest 22 characters long.
        let name = if names.contains(&name) || tape.chance(50) { format!("{name}{index}") } else { name };
        names.insert(name);
    }
    names.into_iter().filter(|name| name.len() <= 22 && !is_reserved(name)).collect()
}

fn is_reserved(name: &str) -> bool {
    ROLES.contains(&name)
        || ["redis", "postgres", "runtime", "ingress", "quota", "sentinel", "default-deny"].contains(&name)
        || name.starts_with("redis-")
        || name.starts_with("postgres-")
        || name.starts_with("sentinel-")
}

pub(super) fn version(tape: &mut Tape) -> String {
    let long = "1.".repeat(31) + "1";
    tape.pick(&["1", "2.0.0", "v1.0-rc.1_x", &long]).to_owned()
}

/// Some of the items, each once.
pub(super) fn unique(tape: &mut Tape, most: usize, items: &[&str]) -> Vec<String> {
    let chosen: BTreeSet<&str> = tape.list(most, |tape, _| tape.pick(items)).into_iter().collect();
    chosen.into_iter().map(str::to_owned).collect()
}

pub(super) fn label_value(tape: &mut Tape) -> LabelValue {
    let long = "x".repeat(63);
    LabelValue(tape.pick(&["a", "", "A.b_c-9", "true", &long]).to_owned())
}

pub(super) fn labels(tape: &mut Tape, most: usize) -> BTreeMap<String, LabelValue> {
    unique(tape, most, &LABEL_KEYS).into_iter().map(|key| (key, label_value(tape))).collect()
}

pub(super) fn annotations(tape: &mut Tape) -> BTreeMap<String, AnnotationValue> {
    unique(tape, 3, &ANNOTATION_KEYS)
        .into_iter()
        .map(|key| (key, AnnotationValue(tape.pick(&TEXTS).to_owned())))
        .collect()
}
