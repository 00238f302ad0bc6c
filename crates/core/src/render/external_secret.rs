//! `ExternalSecrets`: what External Secrets fetches into Secrets that pods consume.

use serde_json::{Value, json};
use trading_api::secrets::ExternalKey;

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ExternalSecretPlan, POSTGRES, Plan},
};

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let all = plan.external_secrets.iter();
    all.flat_map(|secret| secret.namespaces.iter().map(|namespace| one(plan, namespace, secret))).collect()
}

fn one(plan: &Plan, namespace: &str, secret: &ExternalSecretPlan) -> Object {
    // What a store logs in with outlives a foreground deletion, as the store does.
    let (label, tier, lifetime) = match secret.store {
        Some(POSTGRES) => (POSTGRES, meta::DATABASE, Lifetime::Store),
        Some(store) => (store, meta::CACHE, Lifetime::Store),
        None => ("external-secrets", meta::APPLICATION, Lifetime::Platform),
    };
    let name = &secret.spec.name;
    let mut metadata = meta::object_in(plan, namespace, name, label, tier, lifetime);
    // The Secret's own name: it is one for the namespace, whoever asks for it.
    metadata.name = Some(name.clone());
    let store = &secret.spec.store_ref;
    let object = json!({
        "metadata": metadata,
        "spec": {
            "refreshInterval": secret.refresh_interval,
            "secretStoreRef": {
                "name": store.name,
                "kind": store.kind.unwrap_or_default().as_str(),
            },
            "target": {
                "name": name,
                "creationPolicy": "Owner",
            },
            "data": secret.spec.data.iter().map(entry).collect::<Vec<_>>(),
        },
    });
    Object::new(Kind::ExternalSecret, secret.store.unwrap_or_default(), lifetime, &object)
}

fn entry(key: &ExternalKey) -> Value {
    let mut remote = json!({ "key": key.remote_ref.key });
    if let Some(property) = &key.remote_ref.property {
        remote["property"] = json!(property);
    }
    if let Some(version) = &key.remote_ref.version {
        remote["version"] = json!(version);
    }
    json!({ "secretKey": key.secret_key, "remoteRef": remote })
}
