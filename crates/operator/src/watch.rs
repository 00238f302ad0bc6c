//! Watches: feed the caches and wake the platforms that a change concerns. Each watch backs off
//! on its own, so that one forbidden kind does not stall the others.

use std::{
    collections::HashSet,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        coordination::v1::Lease,
        core::v1::Namespace,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, DynamicObject, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use trading_api::labels;
use trading_core::{
    inputs::{Reference, ReferenceKind},
    kinds::{Kind, KindInfo, Watch, built_in, of_add_ons},
    status::workload::{Autoscaler, Workload},
};

use crate::{
    add_ons,
    cache::{Caches, PlatformKey, child},
    objects::resource,
    packed::Packed,
};

/// Objects in one page of a list. Small pages keep the peak of memory after a start low.
const PAGE: u32 = 50;

/// Kubernetes' own finalizer for `--cascade=orphan`.
const ORPHAN: &str = "orphan";

/// Starts all watches and returns the platforms as they are.
pub fn start(client: &Client, namespaces: &[String], caches: &Arc<Caches>) -> Vec<Store<Packed>> {
    let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|name| Some(name.as_str())).collect()
    };
    let mut stores = Vec::new();
    for info in of_add_ons() {
        add_ons::follow(client, info, namespaces, caches);
    }
    if namespaces.is_empty() {
        consents(client, caches);
    }
    for scope in scopes {
        for info in built_in() {
            match info.kind {
                Kind::Secret => references(client, ReferenceKind::Secret, info, scope, caches),
                Kind::ConfigMap => references(client, ReferenceKind::ConfigMap, info, scope, caches),
                _ => {
                    let report = in_sync(&name_of(info.plural, scope), caches);
                    children(client, info, scope, caches, report);
                }
            }
        }
        stores.push(roots(client, scope, caches));
    }
    stores
}

fn typed<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn metadata(
    client: &Client,
    resource: &ApiResource,
    scope: Option<&str>,
) -> Api<PartialObjectMeta<DynamicObject>> {
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn name_of(what: &str, scope: Option<&str>) -> String {
    scope.map_or_else(|| what.to_owned(), |namespace| format!("{what} in {namespace}"))
}

fn roots(client: &Client, scope: Option<&str>, caches: &Arc<Caches>) -> Store<Packed> {
    let (reader, writer) = reflector::store();
    let stream = watcher(typed::<Packed>(client, scope), watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .modify(Packed::slim);
    let stream = reflector::reflector(writer, stream);
    let report = in_sync(&name_of("tradingplatforms (is the CRD installed?)", scope), caches);
    let caches = Arc::clone(caches);
    tokio::spawn(async move {
        let mut seen = std::collections::HashMap::<PlatformKey, u64>::new();
        let events = drive(stream, report, |event| match event {
            Event::Apply(platform) | Event::InitApply(platform) => {
                let key = PlatformKey::of(platform.meta());
                if platform.finalizers().iter().any(|finalizer| finalizer == ORPHAN) {
                    caches.mark_orphaned(&platform.uid().unwrap_or_default());
                }
                let cause = cause(platform.meta());
                // Our own status patches change nothing of this.
                if seen.insert(key.clone(), cause) != Some(cause) {
                    caches.triggers.wake(key, "the resource changed");
                }
            }
            Event::Delete(platform) => {
                let key = PlatformKey::of(platform.meta());
                caches.forget_orphaned(&platform.uid().unwrap_or_default());
                seen.remove(&key);
                // The controller forgets what it knows of it.
                caches.triggers.wake(key, "the resource is gone");
            }
            Event::Init | Event::InitDone => {}
        });
        // A platform is large; its future lives on the heap.
        Box::pin(events).await;
    });
    reader
}

/// Digest of what a reconcile depends on, status excepted.
fn cause(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.labels.hash(&mut hasher);
    meta.annotations.hash(&mut hasher);
    meta.finalizers.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

/// Watches the operator's objects of a kind until the handle is aborted.
pub fn children(
    client: &Client,
    info: &'static KindInfo,
    scope: Option<&str>,
    caches: &Arc<Caches>,
    report: Report,
) -> JoinHandle<()> {
    let config = watcher::Config::default().page_size(PAGE).labels(&format!(
        "{}={}",
        labels::MANAGED_BY,
        labels::OPERATOR
    ));
    let kind = info.kind;
    match info.watch {
        Watch::Metadata => {
            let stream = watcher(metadata(client, &resource(info), scope), config);
            spawn_children(
                stream,
                kind,
                scope,
                caches,
                report,
                move |meta: &PartialObjectMeta<DynamicObject>| child(kind, &meta.metadata, None, None),
            )
        }
        Watch::Status => match kind {
            Kind::Deployment => {
                whole(client, config, kind, scope, caches, report, move |live: &Deployment| {
                    child(kind, &live.metadata, Some(Workload::from(live)), None)
                })
            }
            Kind::DaemonSet => whole(client, config, kind, scope, caches, report, move |live: &DaemonSet| {
                child(kind, &live.metadata, Some(Workload::from(live)), None)
            }),
            Kind::StatefulSet => {
                whole(client, config, kind, scope, caches, report, move |live: &StatefulSet| {
                    child(kind, &live.metadata, Some(Workload::from(live)), None)
                })
            }
            Kind::Lease => whole(client, config, kind, scope, caches, report, move |live: &Lease| {
                Some(child(kind, &live.metadata, None, None)?.held_by(live))
            }),
            _ => whole(client, config, kind, scope, caches, report, move |live: &HorizontalPodAutoscaler| {
                child(kind, &live.metadata, None, Some(Autoscaler::from(live)))
            }),
        },
    }
}

/// Watches whole objects, of which more than the metadata matters.
fn whole<K>(
    client: &Client,
    config: watcher::Config,
    kind: Kind,
    scope: Option<&str>,
    caches: &Arc<Caches>,
    report: Report,
    reduce: impl Fn(&K) -> Option<crate::cache::Entry> + Send + Sync + 'static,
) -> JoinHandle<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    spawn_children(watcher(typed::<K>(client, scope), config), kind, scope, caches, report, reduce)
}

fn spawn_children<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    kind: Kind,
    scope: Option<&str>,
    caches: &Arc<Caches>,
    report: Report,
    reduce: impl Fn(&K) -> Option<crate::cache::Entry> + Send + Sync + 'static,
) -> JoinHandle<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let name = name_of(kind.info().plural, scope);
    let caches = Arc::clone(caches);
    let scope = scope.map(str::to_owned);
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

/// Namespaces that say which platform may put tiers into them. An operator of a few namespaces has
/// no right to look, and serves no tiers.
fn consents(client: &Client, caches: &Arc<Caches>) {
    const NAME: &str = "namespaces";
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let stream = watcher(api, watcher::Config::default().page_size(PAGE).labels(labels::ALLOWS));
    let report = in_sync(NAME, caches);
    let caches = Arc::clone(caches);
    tokio::spawn(async move {
        let mut listed = HashSet::new();
        let wake =
            |platforms: Vec<PlatformKey>| platforms.into_iter().for_each(|p| caches.triggers.wake(p, NAME));
        let seen = |namespace: &PartialObjectMeta<Namespace>| {
            let label = namespace.labels().get(labels::ALLOWS).map(String::as_str);
            caches.consents.seen(&namespace.name_any(), label)
        };
        drive(stream.default_backoff(), report, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(namespace) => {
                wake(seen(&namespace));
                listed.insert(namespace.name_any());
            }
            Event::InitDone => {
                wake(caches.consents.retain(&listed));
                listed = HashSet::new();
            }
            Event::Apply(namespace) => wake(seen(&namespace)),
            Event::Delete(namespace) => wake(caches.consents.seen(&namespace.name_any(), None)),
        })
        .await;
    });
}

/// Watches everything that a platform may consume, which the operator's own of that kind are among.
fn references(
    client: &Client,
    kind: ReferenceKind,
    info: &'static KindInfo,
    scope: Option<&str>,
    caches: &Arc<Caches>,
) {
    let stream =
        watcher(metadata(client, &resource(info), scope), watcher::Config::default().page_size(PAGE));
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
            let ours = ours.and_then(|meta| child(info.kind, meta, None, None));
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

/// Who hears that a watch has its list, and what went wrong.
pub type Report = Box<dyn Fn(Result<(), &watcher::Error>) + Send>;

/// Keeps the record of what has its first list: nothing is reconciled before.
fn in_sync(name: &str, caches: &Arc<Caches>) -> Report {
    caches.sync.expect(name);
    let (name, caches) = (name.to_owned(), Arc::clone(caches));
    Box::new(move |result| match result {
        Ok(()) => caches.sync.listed(&name),
        Err(error) => {
            tracing::warn!(watch = name, %error, "a watch failed and is tried again");
            caches.sync.failed(&name, error.to_string());
        }
    })
}

/// Hands every event on.
async fn drive<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    report: Report,
    mut handle: impl FnMut(Event<K>),
) {
    let mut stream = Box::pin(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                handle(event);
                if is_complete {
                    report(Ok(()));
                }
            }
            Err(error) => report(Err(&error)),
        }
    }
}
