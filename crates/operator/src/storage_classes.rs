//! The `StorageClasses` of the cluster, for platforms to be told what is wrong with those that they ask for.
//! An operator of a few namespaces has no right to look, and says nothing of them.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::Store,
        watcher::{self, Event, watcher},
    },
};
use trading_core::storage::{self, StorageClasses};

use crate::{cache::Caches, packed::Packed};

/// By which a class is the default.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

fn reduced(class: &StorageClass) -> storage::StorageClass {
    storage::StorageClass {
        expands: class.allow_volume_expansion == Some(true),
        is_default: class.annotations().get(DEFAULT).is_some_and(|value| value == "true"),
    }
}

/// Follows them, and wakes every platform when one changes. Nothing waits for it.
pub fn watch(client: Client, platforms: Vec<Store<Packed>>, caches: &Arc<Caches>) {
    let caches = Arc::clone(caches);
    tokio::spawn(async move {
        let api = Api::<StorageClass>::all(client);
        let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        let mut classes = StorageClasses::new();
        let mut listed = StorageClasses::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(class)) => {
                    listed.insert(class.name_any(), reduced(&class));
                    continue;
                }
                Ok(Event::InitDone) => classes = std::mem::take(&mut listed),
                Ok(Event::Apply(class)) => {
                    classes.insert(class.name_any(), reduced(&class));
                }
                Ok(Event::Delete(class)) => {
                    classes.remove(&class.name_any());
                }
                Err(error) => {
                    tracing::warn!(watch = "storageclasses", %error, "a watch failed and is tried again");
                    continue;
                }
            }
            if caches.storage_classes.set(classes.clone()) {
                caches.wake_all(&platforms, "the classes of volumes changed");
            }
        }
    });
}
