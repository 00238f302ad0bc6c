//! A policy by which the apiserver itself puts the finalizer on a platform when it is made. It saves the
//! operator a write for each; where there is no such policy, the operator adds the finalizer.

use serde_json::{Value, json};
use trading_api::{GROUP, labels::FINALIZER};

/// Spec of the `MutatingAdmissionPolicy`, for all namespaces. Kubernetes 1.36 and later serve the kind
/// (`admissionregistration.k8s.io/v1`).
#[must_use]
pub fn spec() -> Value {
    let has = format!("has(object.metadata.finalizers) && '{FINALIZER}' in object.metadata.finalizers");
    let others = "has(object.metadata.finalizers) ? object.metadata.finalizers : []";
    let patch = format!(
        "[JSONPatch{{op: 'add', path: '/metadata/finalizers', value: ({others}) + ['{FINALIZER}']}}]"
    );
    json!({
        // Nobody is kept from making a platform: the operator adds what is missing.
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "resourceRules": [{
                "apiGroups": [GROUP],
                "apiVersions": ["*"],
                "operations": ["CREATE"],
                "resources": ["tradingplatforms"],
            }],
        },
        "matchConditions": [{ "name": "without-finalizer", "expression": format!("!({has})") }],
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": patch } }],
    })
}
