//! A stand-in for CloudNativePG's operator: it makes the Secrets and claims of each `Cluster` of a namespace, and
//! tells of it what that operator does.

use std::time::Duration;

use anyhow::Result;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::space::Space;
use super::values::{at, text};

const PAUSE: Duration = Duration::from_millis(200);
/// When every backup ends: after whatever a test does.
const SOON: &str = "2100-01-01T03:00:12Z";
const HIBERNATION: &str = "cnpg.io/hibernation";

/// It works until it is dropped.
#[derive(Debug)]
pub struct CloudNative(JoinHandle<()>);

impl Drop for CloudNative {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl CloudNative {
    /// Begins to look after a namespace.
    #[must_use]
    pub fn start(space: &Space<'_>) -> Self {
        let space = space.unaudited_copy();
        Self(tokio::spawn(async move {
            loop {
                // The definition may be away, or a Cluster go at this moment.
                if let Err(error) = look_after(&space).await {
                    eprintln!("stand-in for CloudNativePG: {error:#}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

async fn look_after(space: &Space<'_>) -> Result<()> {
    if !space.serves("Cluster").await? {
        return Ok(());
    }
    for cluster in space.list("Cluster", "").await? {
        if at(&cluster, "/metadata/deletionTimestamp").is_null() {
            make(space, &cluster).await?;
            tell(space, &cluster).await?;
        }
    }
    for pooler in space.list("Pooler", "").await? {
        let told = json!({ "phase": "active", "instances": at(&pooler, "/spec/instances") });
        report(space, "Pooler", &pooler, &told).await?;
    }
    Ok(())
}

async fn make(space: &Space<'_>, cluster: &Value) -> Result<()> {
    let name = text(cluster, "/metadata/name");
    let owned = |name: &str| {
        json!({ "name": name, "ownerReferences": [{
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "controller": true,
            "name": text(cluster, "/metadata/name"), "uid": at(cluster, "/metadata/uid"),
        }] })
    };
    let authority = format!("{name}-ca");
    if space.find("Secret", &authority).await?.is_none() {
        let data = json!({ "ca.crt": "certificate", "ca.key": "key" });
        space
            .put(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": owned(&authority), "stringData": data,
            }))
            .await?;
    }
    for number in 1..=at(cluster, "/spec/instances").as_u64().unwrap_or(1) {
        let claim = format!("{name}-{number}");
        if space.find("PersistentVolumeClaim", &claim).await?.is_none() {
            let storage = at(cluster, "/spec/storage/size");
            space
                .put(&json!({
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": owned(&claim),
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": { "requests": { "storage": storage } },
                    },
                }))
                .await?;
        }
    }
    Ok(())
}

async fn tell(space: &Space<'_>, cluster: &Value) -> Result<()> {
    report(space, "Cluster", cluster, &status(cluster, at(cluster, "/status"))).await
}

async fn report(space: &Space<'_>, kind: &str, object: &Value, status: &Value) -> Result<()> {
    if at(object, "/status") != status {
        let name = text(object, "/metadata/name");
        let patch = json!([{ "op": "add", "path": "/status", "value": status }]);
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch)?);
        space.api(kind).patch_status(name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// What is said after a first backup. A test that sets other words finds them left alone.
fn backed_up() -> Value {
    let condition = |type_: &str, reason: &str| {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": SOON,
        })
    };
    json!([
        condition("ContinuousArchiving", "ContinuousArchivingSuccess"),
        condition("LastBackupSucceeded", "LastBackupSucceeded"),
    ])
}

/// Servers end before it is said that they have.
fn status(cluster: &Value, told: &Value) -> Value {
    let name = text(cluster, "/metadata/name");
    let asleep = cluster["metadata"]["annotations"][HIBERNATION] == "on";
    let mut conditions = told["conditions"].as_array().into_iter().flatten();
    let is_ending = conditions.any(|condition| condition["type"] == HIBERNATION);
    let hibernation = |status: &str, reason: &str| {
        json!([{
            "type": HIBERNATION, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }])
    };
    let mut status = json!({
        "phase": "Cluster in healthy state",
        "currentPrimary": format!("{name}-1"),
        "image": at(cluster, "/spec/imageName"),
        "readyInstances": at(cluster, "/spec/instances"),
    });
    // Without a plugin that archives, nothing is said of backups.
    if cluster["spec"]["plugins"].is_array() && !asleep {
        status["conditions"] = at(told, "/conditions").as_array().map_or_else(backed_up, |all| json!(all));
    }
    match (asleep, is_ending) {
        (false, _) => {}
        (true, false) => status["conditions"] = hibernation("False", "DeletingPods"),
        (true, true) => {
            status["readyInstances"] = json!(0);
            status["conditions"] = hibernation("True", "Hibernated");
        }
    }
    status
}
