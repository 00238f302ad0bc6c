//! Deletes objects that are no longer wished. Nothing is deleted because a cache says so: the
//! platform and the object are read afresh, and the delete names the object's UID and version.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions, PropagationPolicy},
    core::{DynamicObject, PartialObjectMeta},
};
use trading_api::{TradingPlatform, labels};
use trading_core::{kinds::Kind, object::Key, step::Prune};

use super::{Context, ReconcileError};
use crate::{cache::PlatformKey, objects::resource};

/// Deletes what is surplus of a platform that lives on.
pub async fn prune(
    surplus: &[Prune],
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<(), ReconcileError> {
    if surplus.is_empty() {
        return Ok(());
    }
    if !is_current(platform, key, context).await? {
        // What we decided on is old; the newer one wakes us.
        return Ok(());
    }
    for object in surplus {
        // What belongs to servers goes when their pods are gone, not before.
        let propagation = if object.key.kind.serves_data() {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        delete(object, platform, propagation, context).await?;
    }
    Ok(())
}

/// Whether the platform is still the one that was looked at, and stays.
pub async fn is_current(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<bool, ReconcileError> {
    let api: Api<TradingPlatform> = Api::namespaced(context.client.clone(), &key.namespace);
    let fresh = api.get_metadata_opt(&key.name).await.map_err(ReconcileError::reading("the platform"))?;
    Ok(fresh.is_some_and(|fresh| {
        fresh.metadata.uid == platform.metadata.uid
            && fresh.metadata.generation == platform.metadata.generation
            && fresh.metadata.deletion_timestamp.is_none()
    }))
}

/// Deletes one object if it is still the one that was seen, and still this platform's; whether it was.
pub async fn delete(
    object: &Prune,
    platform: &TradingPlatform,
    propagation: PropagationPolicy,
    context: &Context,
) -> Result<bool, ReconcileError> {
    let Some(version) = found(object, platform, context).await? else { return Ok(false) };
    let Key { kind, name, .. } = &object.key;
    let params = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(Preconditions { uid: Some(object.uid.clone()), resource_version: Some(version) }),
        ..DeleteParams::default()
    };
    match api_of(object, context).delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(source) => Err(ReconcileError::Write { what: format!("{kind} {name:?}"), source }),
    }
}

/// The version of an object that is still the one that was seen, still this platform's, and stays.
pub async fn found(
    object: &Prune,
    platform: &TradingPlatform,
    context: &Context,
) -> Result<Option<String>, ReconcileError> {
    let Key { kind, name, .. } = &object.key;
    let read = ReconcileError::reading(format!("{kind} {name:?}"));
    let live = api_of(object, context).get_metadata_opt(name).await.map_err(read)?;
    Ok(live.filter(|live| is_the_one(live, object, platform)).and_then(|live| live.resource_version()))
}

/// Where the object is.
pub fn api_of(object: &Prune, context: &Context) -> Api<DynamicObject> {
    let Key { kind, namespace, .. } = &object.key;
    Api::namespaced_with(context.client.clone(), namespace, &resource(kind.info()))
}

fn is_the_one(live: &PartialObjectMeta<DynamicObject>, object: &Prune, platform: &TradingPlatform) -> bool {
    live.metadata.uid.as_ref() == Some(&object.uid)
        && live.metadata.deletion_timestamp.is_none()
        && is_its(live, object.key.kind, platform)
        && live.labels().get(labels::MANAGED_BY).map(String::as_str) == Some(labels::OPERATOR)
}

/// Of a bucket also what stayed of an earlier platform of this name: no data goes with it.
fn is_its(live: &PartialObjectMeta<DynamicObject>, kind: Kind, platform: &TradingPlatform) -> bool {
    let label = |key: &str| live.labels().get(key);
    let home = label(labels::HOME).or(live.metadata.namespace.as_ref());
    label(labels::PLATFORM_UID) == platform.metadata.uid.as_ref()
        || kind == Kind::ObjectStore
            && label(labels::INSTANCE) == platform.metadata.name.as_ref()
            && home == platform.metadata.namespace.as_ref()
}
