//! Secrets and `ConfigMaps`: those that platforms consume, and the operator's own among them.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use trading_api::labels;
use trading_core::{
    inputs::{Reference, ReferenceKind},
    kinds::KindInfo,
};

use super::{PAGE, drive, in_sync, name_of, untyped};
use crate::cache::{Caches, PlatformKey, child};

/// Watches everything that a platform may consume, which the operator's own of that kind are among.
pub fn watch(
    client: &Client,
    kind: ReferenceKind,
    info: &'static KindInfo,
    scope: Option<&str>,
    caches: &Arc<Caches>,
) {
    let stream = watcher(untyped(client, info, scope), watcher::Config::default().page_size(PAGE));
    let name = name_of(info.plural, scope);
    let report = in_sync(&name, caches);
    let caches = Arc::clone(caches);
    let scope = scope.map(str::to_owned);
    tokio::spawn(async move {
        let mut listed = HashSet::new();
        let mut listed_children = HashSet::new();
        let wake =
            |platforms: Vec<PlatformKey>| platforms.into_iter().for_each(|p| caches.triggers.wake(p, &name));
        let identify = |object: &PartialObjectMeta<DynamicObject>| Reference {
            kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        };
        let seen = |reference: &Reference, object: &PartialObjectMeta<DynamicObject>| {
            wake(caches.references.seen(reference, &object.resource_version().unwrap_or_default()));
            let ours = Some(&object.metadata).filter(|meta| is_managed(meta));
            let ours = ours.and_then(|meta| child(info.kind, meta));
            let is_child = ours.is_some();
            let woken = match ours {
                Some(entry) => caches.children.seen(entry),
                // Somebody took the labels off.
                None => caches.children.gone(info.kind, &object.metadata),
            };
            wake(woken.into_iter().collect());
            is_child
        };
        drive(stream.default_backoff(), report, |event| match event {
            Event::Init => {
                listed.clear();
                listed_children.clear();
            }
            Event::InitApply(object) => {
                let reference = identify(&object);
                let name = (reference.namespace.clone(), reference.name.clone());
                if seen(&reference, &object) {
                    listed_children.insert(name.clone());
                }
                listed.insert(name);
            }
            Event::Apply(object) => {
                seen(&identify(&object), &object);
            }
            Event::InitDone => {
                wake(caches.references.retain(kind, scope.as_deref(), &listed));
                wake(caches.children.retain(info.kind, scope.as_deref(), &listed_children));
                listed = HashSet::new();
                listed_children = HashSet::new();
            }
            Event::Delete(object) => {
                wake(caches.references.gone(&identify(&object)));
                wake(caches.children.gone(info.kind, &object.metadata).into_iter().collect());
            }
        })
        .await;
    });
}

/// It carries the label by which the other watches select.
fn is_managed(meta: &ObjectMeta) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get(labels::MANAGED_BY));
    label.is_some_and(|manager| manager == labels::OPERATOR)
}
