//! Comparing objects of two namespaces.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trading_api::labels;

use super::space::Children;
use super::values::at;

/// What of an object two platforms of the same resource have in common: not its identity, what the
/// apiserver assigns, random passwords and what depends on them.
#[must_use]
pub fn essence(object: &Value, namespace: &str) -> Value {
    let mut this = object.clone();
    let metadata = json!({
        "name": at(object, "/metadata/name"),
        "labels": without(at(object, "/metadata/labels"), &[labels::PLATFORM_UID]),
        "annotations": without(
            at(object, "/metadata/annotations"),
            // Controllers write theirs when they come to it.
            &[
                labels::APPLIED,
                "deployment.kubernetes.io/revision",
                "deprecated.daemonset.template.generation",
                "pv.kubernetes.io/bind-completed",
                "pv.kubernetes.io/bound-by-controller",
                "volume.beta.kubernetes.io/storage-provisioner",
                "volume.kubernetes.io/storage-provisioner",
            ],
        ),
        "owned": !at(object, "/metadata/ownerReferences").is_null(),
    });
    if let Some(fields) = this.as_object_mut() {
        fields.remove("status");
        fields.insert("metadata".to_owned(), metadata);
        if let Some(data) = fields.get_mut("data").and_then(Value::as_object_mut)
            && object["kind"] == "Secret"
        {
            data.values_mut().for_each(|value| *value = json!("secret"));
        }
    }
    if let Some(spec) = this.get_mut("spec").and_then(Value::as_object_mut) {
        for assigned in ["clusterIP", "clusterIPs", "volumeName"] {
            spec.remove(assigned);
        }
    }
    if let Some(annotations) = this.pointer_mut("/spec/template/metadata/annotations") {
        *annotations = without(annotations, &[labels::CONFIG_CHECKSUM]);
    }
    let text = this.to_string().replace(namespace, "NAMESPACE");
    serde_json::from_str(&text).unwrap_or(this)
}

fn without(map: &Value, keys: &[&str]) -> Value {
    let mut map = map.as_object().cloned().unwrap_or_default();
    map.retain(|key, _| !keys.contains(&key.as_str()));
    Value::Object(map)
}

/// In words, where the children of two platforms differ; empty where they don't.
#[must_use]
pub fn differences(a: &Children, namespace_a: &str, b: &Children, namespace_b: &str) -> Vec<String> {
    let reduce = |children: &Children, namespace: &str| -> BTreeMap<String, Value> {
        children
            .iter()
            .map(|((kind, name), object)| (format!("{kind} {name}"), essence(object, namespace)))
            .collect()
    };
    let (a, b) = (reduce(a, namespace_a), reduce(b, namespace_b));
    let mut found = Vec::new();
    for (key, one) in &a {
        match b.get(key) {
            None => found.push(format!("{key} is only in {namespace_a}")),
            Some(other) => compare(key, one, other, &mut found),
        }
    }
    found.extend(
        b.keys().filter(|key| !a.contains_key(*key)).map(|k| format!("{k} is only in {namespace_b}")),
    );
    found
}

fn compare(path: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (a, b) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}.{key}"), a, b, found);
            }
        }
        _ if a == b => {}
        _ => found.push(format!("{path}: {a} differs from {b}")),
    }
}
