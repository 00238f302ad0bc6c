//! Platforms to test with.

use serde_json::{Value, json};

use super::values::merge;

/// A small platform: a frontend, a backend that scales, one Redis server and a database outside, which
/// needs [`database_secret`]. A merge patch of the spec makes it what a test needs.
#[must_use]
pub fn platform(name: &str, patch: &Value) -> Value {
    let mut spec = json!({
        "version": "1.0.0",
        "frontend": {
            "image": { "repository": "shop/frontend" },
            "replicas": 2,
        },
        "backend": {
            "image": { "repository": "shop/backend" },
            "autoscaling": { "minReplicas": 2, "maxReplicas": 10, "cpu": 70 },
        },
        "redis": { "mode": "Standalone" },
        "postgres": {
            "mode": "External",
            "external": {
                "host": "db.example.com",
                "database": "shop",
                "credentialsSecretRef": { "name": "database" },
            },
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

/// The patch with which [`platform`] becomes at least one object of every kind that the operator owns,
/// but for those of [`own_database`].
#[must_use]
pub fn every_kind() -> Value {
    json!({
        "frontend": {
            "config": {
                "mountPath": "/etc/shop",
                "files": [{ "name": "shop.toml", "content": "colour = \"red\"\n" }],
            },
        },
        // An address takes an EndpointSlice of ours.
        "postgres": { "external": { "host": "203.0.113.7" } },
        "redis": { "mode": "Cluster" },
        "ingress": { "hosts": [{ "host": "shop.example.com" }] },
        "quota": { "hard": { "pods": "100" }, "container": { "max": { "cpu": "16", "memory": "32Gi" } } },
        // Pods of a runtime are privileged, which the namespaces here refuse: it has no node.
        "containerRuntime": { "nodeSelector": { "runtime": "nowhere" } },
        "sharedVolumes": [{ "name": "logs", "size": "1Gi" }],
    })
}

/// The patch with which [`platform`] runs a primary and a replica of its own.
#[must_use]
pub fn own_database() -> Value {
    json!({ "postgres": { "mode": "Managed", "external": null, "version": 16, "instances": 2 } })
}

/// The patch with which [`platform`] has `CloudNativePG` run a primary and a replica.
#[must_use]
pub fn cloudnative_database() -> Value {
    json!({ "postgres": { "mode": "CloudNativePG", "external": null, "version": 16, "instances": 2 } })
}

/// The patch with which the database of [`cloudnative_database`] is backed up, with [`bucket_secret`].
#[must_use]
pub fn backup() -> Value {
    let key = |key: &str| json!({ "name": "bucket", "key": key });
    json!({ "backup": {
        "schedule": "0 3 * * *",
        "retention": { "days": 30 },
        "destination": { "s3": {
            "bucket": "shop-backups",
            "endpoint": "https://minio.example.com:9000",
            "accessKeyIdSecretRef": key("id"),
            "secretAccessKeySecretRef": key("secret"),
        } },
    } })
}

/// The login to the bucket of [`backup`].
#[must_use]
pub fn bucket_secret() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "bucket" },
        "stringData": { "id": "shop", "secret": "hush" },
    })
}

/// The login that [`platform`] refers to.
#[must_use]
pub fn database_secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "database" },
        "stringData": { "username": "shop", "password": password },
    })
}
