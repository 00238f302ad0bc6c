//! Stops databases of CloudNativePG around their volumes, which would go with the `Cluster` if that were
//! deleted.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use trading_api::{TradingPlatform, labels::FIELD_MANAGER};
use trading_core::{cnpg, kinds::Kind, object::Key, step::Prune};

use super::{Context, ReconcileError, prune};
use crate::cache::PlatformKey;

/// Stops what a platform that lives on no longer has.
pub async fn hibernate(
    databases: &[Prune],
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<(), ReconcileError> {
    if databases.is_empty() || !prune::is_current(platform, key, context).await? {
        return Ok(());
    }
    for database in databases {
        stop(database, platform, context).await?;
    }
    Ok(())
}

/// Asks CloudNativePG to stop a database, if it is still the one that was seen, and still this platform's.
pub async fn stop(
    database: &Prune,
    platform: &TradingPlatform,
    context: &Context,
) -> Result<(), ReconcileError> {
    let Some(version) = prune::found(database, platform, context).await? else { return Ok(()) };
    let Key { kind, name, .. } = &database.key;
    // UID and version keep it from stopping one that was made or woken meanwhile.
    let mut body = json!({ "metadata": {
        "uid": database.uid,
        "resourceVersion": version,
        "annotations": { cnpg::HIBERNATION: cnpg::ASLEEP },
    } });
    if !context.caches.add_ons.capabilities().serves(Kind::ObjectStore) {
        // It would not be stopped either by CloudNativePG without the plugin that it names.
        body["spec"] = json!({ "plugins": null });
    }
    let params = PatchParams::apply(FIELD_MANAGER);
    let written = prune::api_of(database, context).patch(name, &params, &Patch::Merge(&body)).await;
    match written {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop).map_err(ReconcileError::writing(format!("{kind} {name:?}"))),
    }
}
