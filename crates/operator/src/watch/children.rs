//! The operator's objects.

use std::{collections::HashSet, sync::Arc};

use futures::Stream;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    coordination::v1::Lease,
};
use kube::{
    Client, Resource, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::task::JoinHandle;
use trading_api::labels;
use trading_core::kinds::{Kind, KindInfo, Watch};

use super::{PAGE, Report, drive, name_of, typed, untyped};
use crate::cache::{Caches, Entry, Live, PlatformKey, child, cluster, pooler, scaled_object};

/// Watches the operator's objects of a kind until the handle is aborted.
pub fn children(
    client: &Client,
    info: &'static KindInfo,
    scope: Option<&str>,
    caches: &Arc<Caches>,
    report: Report,
) -> JoinHandle<()> {
    let kind = info.kind;
    let target = Target { kind, scope: scope.map(str::to_owned), caches: Arc::clone(caches), report };
    match (info.watch, kind) {
        (Watch::Metadata, _) => {
            let stream = watcher(untyped(client, info, scope), ours());
            let reduce = move |live: &PartialObjectMeta<DynamicObject>| child(kind, &live.metadata);
            spawn(stream, reduce, target)
        }
        (Watch::Status, Kind::Deployment) => whole::<Deployment>(client, target),
        (Watch::Status, Kind::DaemonSet) => whole::<DaemonSet>(client, target),
        (Watch::Status, Kind::StatefulSet) => whole::<StatefulSet>(client, target),
        (Watch::Status, Kind::Lease) => whole::<Lease>(client, target),
        (Watch::Status, Kind::ScaledObject) => {
            spawn(watcher(untyped(client, info, scope), ours()), scaled_object, target)
        }
        (Watch::Status, Kind::Cluster) => {
            spawn(watcher(untyped(client, info, scope), ours()), cluster, target)
        }
        (Watch::Status, Kind::Pooler) => spawn(watcher(untyped(client, info, scope), ours()), pooler, target),
        (Watch::Status, _) => whole::<HorizontalPodAutoscaler>(client, target),
    }
}

fn ours() -> watcher::Config {
    let selector = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
    watcher::Config::default().page_size(PAGE).labels(&selector)
}

/// Where what is seen goes.
struct Target {
    kind: Kind,
    scope: Option<String>,
    caches: Arc<Caches>,
    report: Report,
}

/// Watches whole objects, of which more than the metadata matters.
fn whole<K: Live>(client: &Client, target: Target) -> JoinHandle<()> {
    let stream = watcher(typed::<K>(client, target.scope.as_deref()), ours());
    spawn(stream, K::entry, target)
}

fn spawn<K: Resource + Send + 'static>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    reduce: impl Fn(&K) -> Option<Entry> + Send + Sync + 'static,
    target: Target,
) -> JoinHandle<()> {
    let Target { kind, scope, caches, report } = target;
    let name = name_of(kind.info().plural, scope.as_deref());
    tokio::spawn(async move {
        let mut listed = HashSet::new();
        let wake =
            |platform: Option<PlatformKey>| platform.into_iter().for_each(|p| caches.triggers.wake(p, &name));
        drive(stream.default_backoff(), report, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                listed.insert((object.namespace().unwrap_or_default(), object.name_any()));
                wake(reduce(&object).and_then(|entry| caches.children.seen(entry)));
            }
            Event::InitDone => {
                let woken = caches.children.retain(kind, scope.as_deref(), &listed);
                listed = HashSet::new();
                for platform in woken {
                    wake(Some(platform));
                }
            }
            Event::Apply(object) => {
                wake(reduce(&object).and_then(|entry| caches.children.seen(entry)));
            }
            Event::Delete(object) => wake(caches.children.gone(kind, object.meta())),
        })
        .await;
    })
}
