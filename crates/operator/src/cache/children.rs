//! The operator's own objects, reduced to [`Child`].

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use trading_api::labels::{self, FIELD_MANAGER};
use trading_core::{
    kinds::Kind,
    object::Key,
    status::workload::{Autoscaler, Workload},
    step::{Child, Observed, Ownership, ReplicasOwnership},
};

use super::PlatformKey;

/// A child as the cache keeps it.
#[derive(Clone, Debug)]
pub struct Entry {
    child: Child,
    /// Resource version, to know older events from newer ones.
    version: u64,
    /// Digest of our managed fields, to know whether anybody touched them.
    fields: u64,
}

impl Entry {
    /// The Lease of a database, with its holder: all that matters of what the agents write there.
    pub fn held_by(mut self, lease: &Lease) -> Self {
        self.child.holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        self
    }

    /// What the core needs of it.
    pub fn into_child(self) -> Child {
        self.child
    }
}

/// The cache.
#[derive(Default)]
pub struct Children(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_platform: HashMap<PlatformKey, BTreeMap<Key, Entry>>,
    /// Platform of each object.
    owners: HashMap<Key, PlatformKey>,
}

/// Whether the operator wrote the object. Labels don't tell: Kubernetes copies those of a Service
/// to the `EndpointSlices` that it makes for it.
fn is_written_by_us(meta: &ObjectMeta) -> bool {
    meta.managed_fields
        .iter()
        .flatten()
        .any(|entry| entry.manager.as_deref().is_some_and(|manager| manager.starts_with(FIELD_MANAGER)))
}

/// Reduces an object. `None` where it is not the operator's.
pub fn child(
    kind: Kind,
    meta: &ObjectMeta,
    workload: Option<Workload>,
    autoscaler: Option<Autoscaler>,
) -> Option<Entry> {
    if !is_written_by_us(meta) {
        return None;
    }
    let label = |key: &str| meta.labels.as_ref().and_then(|all| all.get(key)).cloned();
    let fields = our_fields(meta);
    let mut hasher = DefaultHasher::new();
    fields.hash(&mut hasher);
    let namespace = meta.namespace.clone()?;
    let child = Child {
        kind,
        name: meta.name.clone()?,
        home: label(labels::HOME).unwrap_or_else(|| namespace.clone()),
        namespace,
        is_copy: meta.annotations.as_ref().is_some_and(|all| all.contains_key(labels::COPIED_FROM)),
        uid: meta.uid.clone()?,
        platform: label(labels::INSTANCE)?,
        platform_uid: label(labels::PLATFORM_UID).unwrap_or_default(),
        component: label(labels::NAME).unwrap_or_default(),
        is_store: meta.owner_references.as_ref().is_none_or(Vec::is_empty),
        store_mode: label(labels::STORE_MODE),
        digest: meta.annotations.as_ref().and_then(|all| all.get(labels::APPLIED)).cloned(),
        replicas: replicas(meta),
        ownership: Ownership::Fields(fields),
        deleting: meta.deletion_timestamp.is_some(),
        workload,
        autoscaler,
        holder: None,
    };
    let version = meta.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default();
    Some(Entry { child, version, fields: hasher.finish() })
}

fn our_fields(meta: &ObjectMeta) -> Arc<str> {
    let fields = meta
        .managed_fields
        .iter()
        .flatten()
        .find(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        })
        .and_then(|entry| entry.fields_v1.as_ref());
    fields.map(|fields| fields.0.to_string()).unwrap_or_default().into()
}

fn replicas(meta: &ObjectMeta) -> ReplicasOwnership {
    let mut ownership = ReplicasOwnership::default();
    for entry in meta.managed_fields.iter().flatten() {
        let has =
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some());
        if !has {
            continue;
        }
        if entry.manager.as_deref() == Some(FIELD_MANAGER) {
            ownership.ours = true;
        } else {
            ownership.others = true;
        }
    }
    ownership
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A watch event or the answer to a write. Returns the platform to wake, if anything that
    /// matters to it changed.
    pub fn seen(&self, entry: Entry) -> Option<PlatformKey> {
        self.put(entry, None)
    }

    /// The answer to our own apply: every field of the document with this digest is ours.
    pub fn applied(&self, entry: Entry, digest: &str) {
        self.put(entry, Some(digest));
    }

    fn put(&self, mut entry: Entry, verified: Option<&str>) -> Option<PlatformKey> {
        let key = entry.child.key();
        let platform =
            PlatformKey { namespace: entry.child.home.clone(), name: entry.child.platform.clone() };
        let mut inner = self.lock();
        let previous_owner = inner.owners.insert(key.clone(), platform.clone());
        if let Some(other) = previous_owner.filter(|owner| *owner != platform) {
            inner.by_platform.get_mut(&other).map(|children| children.remove(&key));
        }
        let children = inner.by_platform.entry(platform.clone()).or_default();
        let known = children.get(&key);
        if known.is_some_and(|known| known.child.uid == entry.child.uid && known.version > entry.version) {
            return None;
        }
        if let Some(digest) = verified {
            entry.child.ownership = Ownership::Verified(digest.to_owned());
        } else if let Some(known) = known
            && known.child.uid == entry.child.uid
            && known.fields == entry.fields
            // Of another document, even one with the same fields, nothing was verified.
            && known.child.digest == entry.child.digest
        {
            entry.child.ownership = known.child.ownership.clone();
        }
        let matters = known.is_none_or(|known| differs(known, &entry));
        children.insert(key, entry);
        matters.then_some(platform)
    }

    /// It is gone. Returns the platform to wake.
    pub fn gone(&self, kind: Kind, meta: &ObjectMeta) -> Option<PlatformKey> {
        let key = Key::new(kind, meta.namespace.clone()?, meta.name.clone()?);
        let mut inner = self.lock();
        let platform = inner.owners.get(&key).cloned()?;
        let children = inner.by_platform.get_mut(&platform)?;
        // The one that we know may have been made after the one that went.
        if children.get(&key).is_some_and(|known| meta.uid.as_ref() != Some(&known.child.uid)) {
            return None;
        }
        children.remove(&key)?;
        if children.is_empty() {
            inner.by_platform.remove(&platform);
        }
        inner.owners.remove(&key);
        Some(platform)
    }

    /// Forgets objects of a kind that a new list does not have. Returns the platforms to wake.
    pub fn retain(
        &self,
        kind: Kind,
        namespaces: Option<&str>,
        listed: &HashSet<(String, String)>,
    ) -> Vec<PlatformKey> {
        let mut woken = Vec::new();
        let mut gone = Vec::new();
        let mut inner = self.lock();
        for (platform, children) in &mut inner.by_platform {
            let before = children.len();
            children.retain(|key, _| {
                let is_of_list =
                    key.kind == kind && namespaces.is_none_or(|namespace| namespace == key.namespace);
                let keep = !is_of_list || listed.contains(&(key.namespace.clone(), key.name.clone()));
                if !keep {
                    gone.push(key.clone());
                }
                keep
            });
            if children.len() != before {
                woken.push(platform.clone());
            }
        }
        for key in gone {
            inner.owners.remove(&key);
        }
        woken
    }

    /// What is live of a platform, and of the objects that it wishes whoever has them.
    pub fn observed<'a>(&self, platform: &PlatformKey, wished: impl Iterator<Item = &'a Key>) -> Snapshot {
        let inner = self.lock();
        let mut snapshot = Snapshot::default();
        for (key, entry) in inner.by_platform.get(platform).into_iter().flatten() {
            snapshot.versions.insert(key.clone(), entry.version);
            snapshot.observed.insert(key.clone(), entry.child.clone());
        }
        for key in wished {
            if snapshot.observed.contains_key(key) {
                continue;
            }
            let Some(owner) = inner.owners.get(key) else { continue };
            if let Some(entry) = inner.by_platform.get(owner).and_then(|children| children.get(key)) {
                snapshot.observed.insert(key.clone(), entry.child.clone());
            }
        }
        snapshot
    }

    /// Remembers that these objects were found as they should be in a snapshot, and drops what
    /// that was concluded from. One that changed since then keeps its evidence.
    pub fn verified<'a>(
        &self,
        platform: &PlatformKey,
        unchanged: impl Iterator<Item = &'a Key>,
        snapshot: &Snapshot,
    ) {
        let mut inner = self.lock();
        let Some(children) = inner.by_platform.get_mut(platform) else { return };
        for key in unchanged {
            if let Some(entry) = children.get_mut(key)
                && snapshot.versions.get(key) == Some(&entry.version)
                && let Some(digest) = entry.child.digest.clone()
            {
                entry.child.ownership = Ownership::Verified(digest);
            }
        }
    }
}

/// The children at one moment.
#[derive(Default)]
pub struct Snapshot {
    /// As the core needs them.
    pub observed: Observed,
    versions: BTreeMap<Key, u64>,
}

fn differs(known: &Entry, new: &Entry) -> bool {
    let (a, b) = (&known.child, &new.child);
    known.fields != new.fields
        || a.uid != b.uid
        || a.digest != b.digest
        || a.platform_uid != b.platform_uid
        || a.store_mode != b.store_mode
        || a.replicas != b.replicas
        || a.deleting != b.deleting
        || a.workload != b.workload
        || a.autoscaler != b.autoscaler
        || a.holder != b.holder
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use serde_json::json;

    use super::*;

    fn budget(version: u64, digest: &str) -> Entry {
        let labels = [(labels::INSTANCE, "shop"), (labels::NAME, "backend")];
        let meta = ObjectMeta {
            name: Some("shop-backend".to_owned()),
            namespace: Some("trading".to_owned()),
            uid: Some("a-budget".to_owned()),
            resource_version: Some(version.to_string()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some([(labels::APPLIED.to_owned(), digest.to_owned())].into()),
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some(FIELD_MANAGER.to_owned()),
                operation: Some("Apply".to_owned()),
                fields_v1: Some(FieldsV1(json!({"f:spec": {"f:maxUnavailable": {}}}))),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        };
        child(Kind::PodDisruptionBudget, &meta, None, None).expect("it is the operator's")
    }

    #[test]
    fn what_was_verified_of_the_last_document_says_nothing_of_the_next() {
        let children = Children::default();
        children.applied(budget(1, "old"), "old");
        // The answer to the next apply comes after the event of a controller's status update.
        children.seen(budget(3, "new"));
        children.applied(budget(2, "new"), "new");
        let key = Key::new(Kind::PodDisruptionBudget, "trading", "shop-backend");
        let platform = PlatformKey { namespace: "trading".to_owned(), name: "shop".to_owned() };
        let live = children.observed(&platform, [&key].into_iter()).observed;
        let ownership = &live[&key].ownership;
        assert!(matches!(ownership, Ownership::Fields(_)), "{ownership:?}");
    }
}
