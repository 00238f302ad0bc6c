//! What is live, reduced to what matters, and who is to be woken by a change.

mod add_ons;
mod children;
mod consents;
mod entry;
mod kept;
mod latest;
mod live;
mod references;
mod sync;
mod triggers;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, runtime::reflector::Store};
use tokio::sync::mpsc;
use trading_core::storage::StorageClasses;

use crate::{metrics::Metrics, packed::Packed, prices::Prices};
pub use add_ons::AddOns;
pub use children::Children;
pub use consents::Consents;
pub use entry::{Entry, child};
pub use kept::{Text, text};
pub use latest::Latest;
pub use live::{Live, answered, cluster, made, pooler, scaled_object, starts_blank};
pub use references::{Known, References};
pub use sync::Sync;
pub use triggers::Triggers;

/// A platform by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlatformKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl PlatformKey {
    /// The platform that this is the metadata of.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

/// All caches.
pub struct Caches {
    /// Objects that the operator made.
    pub children: Children,
    /// Secrets and `ConfigMaps` that pods consume.
    pub references: References,
    /// Kinds of add-ons.
    pub add_ons: AddOns,
    /// Namespaces that allow tiers.
    pub consents: Consents,
    /// Which watches have their first list.
    pub sync: Sync,
    /// What things cost.
    pub prices: Prices,
    /// Classes of volumes.
    pub storage_classes: Latest<StorageClasses>,
    /// Wakes platforms.
    pub triggers: Triggers,
    /// UIDs of platforms that were deleted with `--cascade=orphan`. Kubernetes' mark for it may be
    /// gone before the reconcile begins.
    orphaned: Mutex<HashSet<String>>,
}

impl Caches {
    /// Empty caches and the platforms to wake.
    pub fn new(metrics: &Arc<Metrics>) -> (Self, mpsc::UnboundedReceiver<PlatformKey>) {
        let (triggers, woken) = Triggers::new(Arc::clone(metrics));
        let caches = Self {
            children: Children::default(),
            references: References::default(),
            add_ons: AddOns::default(),
            consents: Consents::default(),
            sync: Sync::default(),
            prices: Prices::default(),
            storage_classes: Latest::default(),
            triggers,
            orphaned: Mutex::default(),
        };
        (caches, woken)
    }

    /// Something changed that concerns every platform.
    pub fn wake_all(&self, platforms: &[Store<Packed>], cause: &str) {
        for platform in platforms.iter().flat_map(Store::state) {
            self.triggers.wake(PlatformKey::of(platform.meta()), cause);
        }
    }

    /// A platform was seen with the mark.
    pub fn mark_orphaned(&self, uid: &str) {
        self.orphaned.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned());
    }

    /// Whether a platform was seen with the mark.
    pub fn is_orphaned(&self, uid: &str) -> bool {
        self.orphaned.lock().unwrap_or_else(PoisonError::into_inner).contains(uid)
    }

    /// A platform is gone.
    pub fn forget_orphaned(&self, uid: &str) {
        self.orphaned.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
