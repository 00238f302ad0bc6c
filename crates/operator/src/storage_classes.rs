//! The `StorageClasses` of the cluster, for platforms to be told what is wrong with those that they ask for.
//! An operator of a few namespaces has no right to look, and says nothing of them.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::Store,
        watcher::{self, Event, watcher},
    },
};
use trading_core::storage::{self, StorageClasses};

use crate::{
    cache::{Caches, PlatformKey},
    packed::Packed,
};

/// By which a class is the default.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The classes as they are now.
#[derive(Default)]
pub struct KnownClasses(Mutex<Option<Arc<StorageClasses>>>);

impl KnownClasses {
    /// `None` until they are known.
    pub fn known(&self) -> Option<Arc<StorageClasses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether they are other than before.
    fn set(&self, classes: StorageClasses) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_deref() == Some(&classes) {
            return false;
        }
        *held = Some(Arc::new(classes));
        true
    }

    fn changed(&self, change: impl FnOnce(&mut StorageClasses)) -> bool {
        let mut classes = self.known().as_deref().cloned().unwrap_or_default();
        change(&mut classes);
        self.set(classes)
    }
}

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
        let classes = &caches.storage_classes;
        let api = Api::<StorageClass>::all(client);
        let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = StorageClasses::new();
        while let Some(event) = events.next().await {
            let changed = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    false
                }
                Ok(Event::InitApply(class)) => {
                    listed.insert(class.name_any(), reduced(&class));
                    false
                }
                Ok(Event::InitDone) => classes.set(std::mem::take(&mut listed)),
                Ok(Event::Apply(class)) => classes.changed(|all| {
                    all.insert(class.name_any(), reduced(&class));
                }),
                Ok(Event::Delete(class)) => classes.changed(|all| {
                    all.remove(&class.name_any());
                }),
                Err(error) => {
                    tracing::warn!(watch = "storageclasses", %error, "a watch failed and is tried again");
                    false
                }
            };
            if changed {
                for platform in platforms.iter().flat_map(Store::state) {
                    let key = PlatformKey::of(platform.meta());
                    caches.triggers.wake(key, "the classes of volumes changed");
                }
            }
        }
    });
}
