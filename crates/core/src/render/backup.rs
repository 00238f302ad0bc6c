//! Backups of a database that CloudNativePG runs: where its Barman Cloud plugin keeps them, and when they are made.

use serde_json::{Value, json};

use super::{pod, store::Store};
use crate::{
    cnpg::PLUGIN,
    kinds::Kind,
    object::Object,
    plan::{BACKUPS, BackupPlan, POSTGRES, Plan},
};

/// What there is beside the `Cluster`. Nothing is scheduled before the plugin is there to do it.
pub(super) fn render(store: &Store, backup: &BackupPlan) -> Vec<Object> {
    let schedule = plugins(store.plan, backup).map(|_| schedule(store, backup));
    [bucket(store, backup)].into_iter().chain(schedule).collect()
}

fn bucket(store: &Store, backup: &BackupPlan) -> Object {
    let key = |(secret, key): &(String, String)| json!({ "name": secret, "key": key });
    let mut spec = json!({
        "configuration": {
            "destinationPath": backup.destination,
            "s3Credentials": {
                "accessKeyId": key(&backup.access_key_id),
                "secretAccessKey": key(&backup.secret_access_key),
            },
            "wal": { "compression": "gzip" },
            "data": { "compression": "gzip" },
        },
        "instanceSidecarConfiguration": { "resources": pod::resources(&backup.resources) },
    });
    if let Some(endpoint) = &backup.endpoint {
        spec["configuration"]["endpointURL"] = json!(endpoint);
    }
    if let Some(days) = backup.retention_days {
        spec["retentionPolicy"] = json!(format!("{days}d"));
    }
    store.object(Kind::ObjectStore, &json!({ "metadata": store.metadata(&backup.bucket), "spec": spec }))
}

/// What the `Cluster` is told. With a plugin that is not there CloudNativePG would leave the whole database alone.
pub(super) fn plugins(plan: &Plan, backup: &BackupPlan) -> Option<Value> {
    plan.capabilities.serves(Kind::ObjectStore).then(|| {
        json!([{
            "name": PLUGIN,
            "isWALArchiver": true,
            "parameters": { "barmanObjectName": plan.identity.child(&backup.bucket) },
        }])
    })
}

/// Backups outlive it, and the database.
fn schedule(store: &Store, backup: &BackupPlan) -> Object {
    let spec = json!({
        "cluster": { "name": store.plan.identity.child(POSTGRES) },
        "schedule": backup.schedule,
        "suspend": backup.suspend,
        // One that is asked for while servers are started again with the plugin fails, and is not repeated.
        "immediate": false,
        "backupOwnerReference": "none",
        "method": "plugin",
        "pluginConfiguration": { "name": PLUGIN },
    });
    store.object(Kind::ScheduledBackup, &json!({ "metadata": store.metadata(BACKUPS), "spec": spec }))
}
