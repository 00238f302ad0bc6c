//! The platforms themselves.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{self, Event, watcher},
    },
};

use super::{PAGE, drive, in_sync, name_of, typed};
use crate::{
    cache::{Caches, PlatformKey},
    packed::Packed,
};

/// Kubernetes' own finalizer for `--cascade=orphan`.
const ORPHAN: &str = "orphan";

/// Keeps the platforms and wakes those that change.
pub fn watch(client: &Client, scope: Option<&str>, caches: &Arc<Caches>) -> Store<Packed> {
    let (reader, writer) = reflector::store();
    let stream = watcher(typed::<Packed>(client, scope), watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .modify(Packed::slim);
    let stream = reflector::reflector(writer, stream);
    let report = in_sync(&name_of("tradingplatforms (is the CRD installed?)", scope), caches);
    let caches = Arc::clone(caches);
    tokio::spawn(async move {
        let mut seen = HashMap::<PlatformKey, u64>::new();
        let mut listed = HashMap::new();
        let note = |platform: &Packed| {
            if platform.finalizers().iter().any(|finalizer| finalizer == ORPHAN) {
                caches.mark_orphaned(&platform.uid().unwrap_or_default());
            }
            (PlatformKey::of(platform.meta()), cause(platform.meta()))
        };
        let events = drive(stream, report, |event| match event {
            Event::Apply(platform) => {
                let (key, cause) = note(&platform);
                // Our own status patches change nothing of this.
                if seen.insert(key.clone(), cause) != Some(cause) {
                    caches.triggers.wake(key, "the resource changed");
                }
            }
            Event::Init => listed.clear(),
            // Nobody finds them before the list is complete.
            Event::InitApply(platform) => {
                let (key, cause) = note(&platform);
                listed.insert(key, cause);
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut seen, std::mem::take(&mut listed));
                for (key, cause) in &seen {
                    if before.get(key) != Some(cause) {
                        caches.triggers.wake(key.clone(), "the resource changed");
                    }
                }
                for key in before.into_keys().filter(|key| !seen.contains_key(key)) {
                    caches.triggers.wake(key, "the resource is gone");
                }
            }
            Event::Delete(platform) => {
                let key = PlatformKey::of(platform.meta());
                caches.forget_orphaned(&platform.uid().unwrap_or_default());
                seen.remove(&key);
                // The controller forgets what it knows of it.
                caches.triggers.wake(key, "the resource is gone");
            }
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
