//! The finalizer. Both patches name the version that was read, so a resource that was deleted and
//! made again meanwhile is not touched.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use trading_api::{TradingPlatform, labels::FINALIZER};

use super::{Context, ReconcileError};

use crate::cache::PlatformKey;

/// Adds the finalizer where it is missing.
pub async fn ensure(platform: &TradingPlatform, context: &Context) -> Result<(), ReconcileError> {
    if platform.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let mut finalizers = platform.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    write(&platform.metadata, &finalizers, context).await
}

/// Lets the platform go.
pub async fn remove(platform: &TradingPlatform, context: &Context) -> Result<(), ReconcileError> {
    let without = |meta: &ObjectMeta| -> Vec<String> {
        let all = meta.finalizers.iter().flatten();
        all.filter(|finalizer| *finalizer != FINALIZER).cloned().collect()
    };
    match write(&platform.metadata, &without(&platform.metadata), context).await {
        // It is gone already.
        Err(ReconcileError::Write { source: kube::Error::Api(status), .. }) if status.code == 404 => Ok(()),
        // Our own status patch a moment ago made the version old; the platform is still the same.
        Err(ReconcileError::Write { source: kube::Error::Api(status), .. }) if status.code == 409 => {
            let key = PlatformKey::of(&platform.metadata);
            let api: Api<TradingPlatform> = Api::namespaced(context.client.clone(), &key.namespace);
            let fresh =
                api.get_metadata_opt(&key.name).await.map_err(ReconcileError::reading("the platform"))?;
            match fresh.filter(|fresh| fresh.metadata.uid == platform.metadata.uid) {
                Some(fresh) => write(&fresh.metadata, &without(&fresh.metadata), context).await,
                None => Ok(()),
            }
        }
        result => result,
    }
}

async fn write(meta: &ObjectMeta, finalizers: &[String], context: &Context) -> Result<(), ReconcileError> {
    let key = PlatformKey::of(meta);
    let api: Api<TradingPlatform> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch = json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "finalizers": finalizers,
    }});
    api.patch_metadata(&key.name, &PatchParams::default().validation_ignore(), &Patch::Merge(&patch))
        .await
        .map_err(ReconcileError::writing("the finalizer"))?;
    Ok(())
}
