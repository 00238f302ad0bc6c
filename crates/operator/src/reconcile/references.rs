//! Reads the Secrets and `ConfigMaps` that pods consume, only where they changed, and keeps
//! digests of their values, never the values.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, ResourceExt};
use trading_api::TradingPlatform;
use trading_core::{
    digest,
    inputs::{Inputs, Reference, ReferenceKind, ReferenceState},
    resolve::{
        references::{all, awaited},
        resolve,
    },
};

use super::{Context, ReconcileError};
use crate::cache::{Known, PlatformKey};

/// State of everything that the platform consumes.
pub async fn dereference(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<BTreeMap<Reference, ReferenceState>, ReconcileError> {
    // What is consumed does not depend on the state of it.
    let plan = resolve(platform, &Inputs::offline(Timestamp::UNIX_EPOCH));
    // What a resource says may not make us look into a namespace that does not allow it.
    let allowing = context.caches.consents.allowing(key);
    let may_be_seen = |reference: &Reference| {
        reference.namespace == key.namespace || allowing.contains(&reference.namespace)
    };
    let mut consumed = all(&plan);
    let mut awaited = awaited(&plan, &consumed);
    consumed.retain(may_be_seen);
    awaited.retain(may_be_seen);
    let references = &context.caches.references;
    references.consumed_by(key, &[&consumed[..], &awaited[..]].concat());
    let mut states = BTreeMap::new();
    for reference in consumed {
        let state = match references.known(&reference) {
            Known::State(state) => state,
            Known::Unread => read(&reference, context).await?,
        };
        states.insert(reference, state);
    }
    for reference in awaited {
        let state = match references.known(&reference) {
            Known::State(state) => state,
            Known::Unread => ReferenceState::Present(BTreeMap::new()),
        };
        states.insert(reference, state);
    }
    Ok(states)
}

async fn read(reference: &Reference, context: &Context) -> Result<ReferenceState, ReconcileError> {
    let what = || format!("{} {:?}", reference.kind.as_str(), reference.name);
    let (client, namespace) = (context.client.clone(), &reference.namespace);
    let found = match reference.kind {
        ReferenceKind::Secret => Api::<Secret>::namespaced(client, namespace)
            .get_opt(&reference.name)
            .await
            .map_err(ReconcileError::reading(what()))?
            .map(|secret| (secret.resource_version(), digests(secret.data))),
        ReferenceKind::ConfigMap => Api::<ConfigMap>::namespaced(client, namespace)
            .get_opt(&reference.name)
            .await
            .map_err(ReconcileError::reading(what()))?
            .map(|map| {
                let binary = map.binary_data.clone().unwrap_or_default();
                let text = map.data.clone().unwrap_or_default();
                let all =
                    binary.into_iter().chain(text.into_iter().map(|(k, v)| (k, ByteString(v.into_bytes()))));
                (map.resource_version(), digests(Some(all.collect())))
            }),
    };
    let Some((version, digests)) = found else { return Ok(ReferenceState::Absent) };
    context.has_read(reference, &version.unwrap_or_default(), &digests);
    Ok(ReferenceState::Present(digests))
}

/// A digest of each value.
pub fn digests(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, String> {
    data.unwrap_or_default().into_iter().map(|(key, value)| (key, digest::of_bytes(&value.0))).collect()
}

/// Conditions carry whole seconds, so that what is read back equals what was written.
pub fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
