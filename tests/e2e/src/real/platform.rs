//! A platform whose images are there.

use serde_json::{Value, json};
use trading_testbed::real::{POSTGRES_IMAGE, REDIS_IMAGE, STANDIN_IMAGE};

use crate::sim::merge;

/// A frontend, a backend that uses both stores, one Postgres and one Redis server, all small. A merge patch
/// of the spec makes it what a test needs.
#[must_use]
pub fn platform(name: &str, patch: &Value) -> Value {
    let small = json!({
        "requests": { "cpu": "20m", "memory": "32Mi" },
        "limits": { "cpu": "500m", "memory": "64Mi" },
    });
    let store = json!({
        "requests": { "cpu": "50m", "memory": "64Mi" },
        "limits": { "cpu": "1", "memory": "256Mi" },
    });
    let component = json!({
        "image": { "repository": STANDIN_IMAGE },
        "replicas": 2,
        "resources": small,
        "probes": {
            "liveness": { "path": "/healthz" },
            "readiness": { "path": "/readyz", "periodSeconds": 2 },
        },
    });
    let mut spec = json!({
        "version": "1.0.0",
        "frontend": component,
        "backend": component,
        "redis": {
            "mode": "Standalone",
            "image": image(REDIS_IMAGE),
            "resources": store,
            "storage": { "size": "1Gi" },
            // What it has acknowledged must be there after any loss.
            "persistence": { "appendOnly": true, "appendFsync": "Always" },
        },
        "postgres": {
            "mode": "Managed",
            "version": 15,
            "image": image(POSTGRES_IMAGE),
            "resources": store,
            "storage": { "size": "1Gi" },
        },
    });
    merge(&mut spec, patch);
    json!({
        "apiVersion": "platform.trading/v1alpha1",
        "kind": "TradingPlatform",
        "metadata": { "name": name },
        "spec": spec,
    })
}

fn image(name: &str) -> Value {
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    json!({ "repository": repository, "tag": tag })
}
