//! What several test crates share: the example's resources, and a cluster in which everything
//! is as it was applied.

#![allow(dead_code)] // each test crate takes what it needs

use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use trading_api::{Quantity, TradingPlatform, labels};
use trading_core::{
    certificate::{Certificate, digest_of},
    inputs::Inputs,
    kinds::Kind,
    object::{Content, Key, Object},
    plan::Plan,
    render::render,
    resolve::resolve,
    status::workload::{Autoscaler, Workload},
    step::{Child, Observed, Ownership, ReplicasOwnership},
    tls::Level,
};

/// Environments of the example.
pub const ENVIRONMENTS: [&str; 3] = ["production", "staging", "development"];

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Every document of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

/// TradeWizard's resource in an environment, as written.
pub fn resource(environment: &str) -> Value {
    resource_of(&format!("tradewizard/{environment}"))
}

/// The platform whose objects are in a folder of `tests/golden`.
pub fn platform_of(folder: &str) -> TradingPlatform {
    serde_json::from_value(resource_of(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"))
}

fn resource_of(folder: &str) -> Value {
    let path = repository(&format!("tests/golden/{folder}/input.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents(&text).into_iter().find(|document| document["kind"] == "TradingPlatform").unwrap()
}

/// TradeWizard in an environment.
pub fn example(environment: &str) -> TradingPlatform {
    serde_json::from_value(resource(environment)).unwrap()
}

/// A time that never changes.
pub fn then() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// The plan and the objects of a platform, with everything that it consumes there.
pub fn rendered(platform: &TradingPlatform) -> (Plan, Vec<Object>) {
    let plan = resolve(platform, &Inputs::offline(then()));
    let objects = render(&plan);
    (plan, objects)
}

/// An object of the shop's namespace.
pub fn here(kind: Kind, name: &str) -> Key {
    Key::new(kind, "trading", name)
}

/// A cluster in which these objects were applied and every pod is ready.
pub fn observed(objects: &[Object]) -> Observed {
    objects.iter().map(|object| (object.key(), child(object))).collect()
}

/// An object as it is live after it was applied: what the operator's cache makes of it.
pub fn child(object: &Object) -> Child {
    let label = |key: &str| {
        let labels = object.body.pointer("/metadata/labels")?;
        labels[key].as_str().map(str::to_owned)
    };
    let annotations = &object.body["metadata"]["annotations"];
    let is_copy = matches!(object.content, Content::CopiedFrom { .. });
    Child {
        kind: object.kind,
        home: label(labels::HOME).unwrap_or_else(|| object.namespace.clone()),
        namespace: object.namespace.clone(),
        is_copy,
        name: object.name.clone(),
        uid: format!("uid of {} {}", object.kind, object.name),
        platform: label(labels::INSTANCE).unwrap(),
        platform_uid: label(labels::PLATFORM_UID).unwrap_or_default(),
        component: label(labels::NAME).unwrap(),
        is_store: object.body.pointer("/metadata/ownerReferences").is_none(),
        store_mode: label(labels::STORE_MODE),
        digest: annotations[labels::APPLIED].as_str().map(str::to_owned),
        ownership: Ownership::Verified(object.digest.clone()),
        replicas: ReplicasOwnership {
            ours: object.body.pointer("/spec/replicas").is_some(),
            others: object.seed_replicas.is_some(),
        },
        deleting: false,
        workload: workload(object),
        autoscaler: (object.kind == Kind::HorizontalPodAutoscaler).then(Autoscaler::default),
        holder: None,
        told: None,
        tls: annotations[labels::TLS].as_str().and_then(Level::parse),
        made: (object.kind == Kind::ObjectStore).then(then),
        certificate: match &object.content {
            Content::Certified { names, now, .. } => {
                Some(Certificate { renew: *now + SignedDuration::from_hours(24), names: digest_of(names) })
            }
            _ => None,
        },
    }
}

fn workload(object: &Object) -> Option<Workload> {
    if object.kind == Kind::Cluster {
        let instances = &object.body["spec"]["instances"];
        let status = json!({
            "phase": "Cluster in healthy state",
            "readyInstances": instances,
            "currentPrimary": format!("{}-1", object.name),
            "image": object.body["spec"]["imageName"],
        });
        return Some(Workload::of_cluster(&json!({"spec": object.body["spec"], "status": status}), false));
    }
    if object.kind == Kind::Pooler {
        let instances = &object.body["spec"]["instances"];
        let status = json!({"phase": "active", "instances": instances});
        return Some(Workload::of_pooler(&json!({"spec": object.body["spec"], "status": status})));
    }
    if !matches!(object.kind, Kind::Deployment | Kind::DaemonSet | Kind::StatefulSet) {
        return None;
    }
    let replicas = object.body.pointer("/spec/replicas").and_then(Value::as_i64);
    let replicas = replicas.map(|count| i32::try_from(count).unwrap()).or(object.seed_replicas);
    // A DaemonSet has as many pods as there are nodes.
    let desired = if object.kind == Kind::DaemonSet { 3 } else { replicas.unwrap() };
    let version = object.body.pointer("/spec/template/metadata/labels").map(|all| &all[labels::VERSION]);
    Some(Workload {
        observed: true,
        desired,
        ready: desired,
        rolled_out: true,
        version: version.and_then(Value::as_str).map(str::to_owned),
        volumes: volumes(object),
        ..Workload::default()
    })
}

fn volumes(object: &Object) -> BTreeMap<String, Quantity> {
    let templates = object.body["spec"]["volumeClaimTemplates"].as_array();
    let one = |claim: &Value| {
        let size = claim.pointer("/spec/resources/requests/storage").unwrap().as_str().unwrap();
        (claim["metadata"]["name"].as_str().unwrap().to_owned(), Quantity::from(size))
    };
    templates.into_iter().flatten().map(one).collect()
}

/// A platform called `shop` with a backend, and what `spec` says beside that.
pub fn shop(spec: &Value) -> TradingPlatform {
    let base =
        json!({"version": "1.0.0", "backend": {"image": {"repository": "shop/backend"}, "replicas": 1}});
    let mut spec = merged(&base, spec);
    if spec.pointer("/backend/autoscaling").is_some() {
        spec["backend"].as_object_mut().unwrap().remove("replicas");
    }
    let platform = json!({
        "apiVersion": "platform.trading/v1alpha1",
        "kind": "TradingPlatform",
        "metadata": {"name": "shop", "namespace": "trading", "uid": "uid of the shop", "generation": 1},
        "spec": spec,
    });
    assert_eq!(trading_core::admission::check(&platform, None), [], "{platform}");
    serde_json::from_value(platform).unwrap()
}

/// `base` with the fields of `over`.
pub fn merged(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut all = base.clone();
            for (key, value) in over {
                let value = merged(base.get(key).unwrap_or(&Value::Null), value);
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (_, over) => over.clone(),
    }
}
