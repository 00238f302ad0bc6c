//! The finalizer. Both patches name the version that was read, so a resource that was deleted and
//! made again meanwhile is not touched.

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use trading_api::{TradingPlatform, labels::FINALIZER};

use super::{Context, ReconcileError};

/// Adds the finalizer where it is missing; says whether it did.
pub async fn ensure(platform: &TradingPlatform, context: &Context) -> Result<bool, ReconcileError> {
    if platform.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(false);
    }
    let mut finalizers = platform.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    write(platform, &finalizers, context).await?;
    Ok(true)
}

/// Lets the platform go.
pub async fn remove(platform: &TradingPlatform, context: &Context) -> Result<(), ReconcileError> {
    let finalizers: Vec<String> =
        platform.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
    match write(platform, &finalizers, context).await {
        // It is gone already.
        Err(ReconcileError::Write { source: kube::Error::Api(status), .. }) if status.code == 404 => Ok(()),
        result => result,
    }
}

async fn write(
    platform: &TradingPlatform,
    finalizers: &[String],
    context: &Context,
) -> Result<(), ReconcileError> {
    let api: Api<TradingPlatform> =
        Api::namespaced(context.client.clone(), &platform.namespace().unwrap_or_default());
    let patch = json!({"metadata": {
        "uid": platform.uid(),
        "resourceVersion": platform.resource_version(),
        "finalizers": finalizers,
    }});
    api.patch_metadata(&platform.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map_err(ReconcileError::writing("the finalizer"))?;
    Ok(())
}
