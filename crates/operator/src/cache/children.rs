//! The operator's own objects.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use trading_core::{kinds::Kind, object::Key, plan::POSTGRES, step::Observed, tls::Level, told::Told};

use super::{
    Entry, PlatformKey,
    kept::{Kept, KeptKey, Owner, Text, Uid, text},
};

/// The cache.
#[derive(Default)]
pub struct Children(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_platform: HashMap<PlatformKey, BTreeMap<KeptKey, Kept>>,
    /// Platform of each object.
    owners: HashMap<KeptKey, Owner>,
    /// Digests of documents that are being applied. The watch may tell of one before the answer comes.
    underway: HashMap<KeptKey, Text>,
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

    /// A document with this digest is being applied as long as what is returned lives. What the watch says of it is
    /// no news: whoever applies it looks again afterwards.
    pub fn applying(&self, key: &Key, digest: &str) -> Applying<'_> {
        let key = KeptKey::from(key);
        self.lock().underway.insert(key.clone(), text(digest));
        Applying { children: self, key }
    }

    /// The answer to our own apply: every field of the document with this digest is ours. Returns the platform to
    /// wake, if somebody else has changed the object meanwhile.
    pub fn applied(&self, entry: Entry, digest: &str) -> Option<PlatformKey> {
        self.put(entry, Some(digest))
    }

    fn put(&self, entry: Entry, verified: Option<&str>) -> Option<PlatformKey> {
        let key = KeptKey::from(&entry.child.key());
        let mut new = Kept::from(entry);
        let owner = new.owner();
        let platform = PlatformKey::from(&owner);
        let mut inner = self.lock();
        let inner = &mut *inner;
        let previous_owner = inner.owners.insert(key.clone(), owner.clone());
        if let Some(other) = previous_owner.filter(|previous| *previous != owner) {
            inner.by_platform.get_mut(&PlatformKey::from(&other)).map(|children| children.remove(&key));
        }
        let children = inner.by_platform.entry(platform.clone()).or_default();
        let known = children.get(&key);
        // Of what was made anew the watch may still tell how the earlier one went.
        if known.is_some_and(|known| known.version > new.version) {
            return verified.and(Some(platform));
        }
        if let Some(digest) = verified {
            new.verify(digest);
        } else if let Some(known) = known {
            new.learn_from(known);
        }
        let is_news = verified.is_none() && new.digest.as_ref() != inner.underway.get(&key);
        let matters = is_news && known.is_none_or(|known| known.differs(&new));
        children.insert(key, new);
        matters.then_some(platform)
    }

    /// It is gone. Returns the platform to wake.
    pub fn gone(&self, kind: Kind, meta: &ObjectMeta) -> Option<PlatformKey> {
        let key = KeptKey::from(&Key::new(kind, meta.namespace.clone()?, meta.name.clone()?));
        let mut inner = self.lock();
        let platform = inner.owners.get(&key).map(PlatformKey::from)?;
        let children = inner.by_platform.get_mut(&platform)?;
        // The one that we know may have been made after the one that went.
        let uid = meta.uid.as_deref().map(Uid::from);
        if children.get(&key).is_some_and(|known| uid.as_ref() != Some(&known.uid)) {
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
                    key.kind == kind && namespaces.is_none_or(|namespace| namespace == &*key.namespace);
                let keep = !is_of_list || listed.contains(&(key.namespace.to_string(), key.name.to_string()));
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
        for (kept_key, kept) in inner.by_platform.get(platform).into_iter().flatten() {
            let key = Key::from(kept_key);
            snapshot.versions.insert(key.clone(), kept.version);
            snapshot.observed.insert(key, kept.child(kept_key));
        }
        for key in wished {
            if snapshot.observed.contains_key(key) {
                continue;
            }
            let kept_key = KeptKey::from(key);
            let Some(owner) = inner.owners.get(&kept_key) else { continue };
            let children = inner.by_platform.get(&PlatformKey::from(owner));
            if let Some(kept) = children.and_then(|children| children.get(&kept_key)) {
                snapshot.observed.insert(key.clone(), kept.child(&kept_key));
            }
        }
        snapshot
    }

    /// What the primary of the platform's database says.
    pub fn told(&self, platform: &PlatformKey) -> Option<Told> {
        let inner = self.lock();
        let mut leases = inner.by_platform.get(platform)?.iter().filter(|(key, _)| key.kind == Kind::Lease);
        leases.find_map(|(key, kept)| kept.child(key).told)
    }

    /// How far TLS to the platform's database was when its servers were applied last.
    pub fn tls(&self, platform: &PlatformKey) -> Option<Level> {
        let inner = self.lock();
        let all = inner.by_platform.get(platform)?.iter();
        let servers = |key: &KeptKey, kept: &Kept| key.kind == Kind::StatefulSet && kept.is_of(POSTGRES);
        all.filter(|(key, kept)| servers(key, kept)).find_map(|(_, kept)| kept.tls)
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
            if let Some(kept) = children.get_mut(&KeptKey::from(key))
                && snapshot.versions.get(key) == Some(&kept.version)
                && let Some(digest) = kept.digest.clone()
            {
                kept.verify(&digest);
            }
        }
    }
}

/// See [`Children::applying`].
pub struct Applying<'a> {
    children: &'a Children,
    key: KeptKey,
}

impl Drop for Applying<'_> {
    fn drop(&mut self) {
        self.children.lock().underway.remove(&self.key);
    }
}

/// The children at one moment.
#[derive(Default)]
pub struct Snapshot {
    /// As the core needs them.
    pub observed: Observed,
    versions: BTreeMap<Key, u64>,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use serde_json::json;
    use trading_api::labels::{self, FIELD_MANAGER};
    use trading_core::step::Ownership;

    use super::{super::child, *};

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
        child(Kind::PodDisruptionBudget, &meta).expect("it is the operator's")
    }

    #[test]
    fn what_is_being_applied_is_no_news_unless_somebody_else_comes_between() {
        let children = Children::default();
        let key = Key::new(Kind::PodDisruptionBudget, "trading", "shop-backend");
        let applying = children.applying(&key, "new");
        assert!(children.seen(budget(2, "new")).is_none());
        assert!(children.applied(budget(2, "new"), "new").is_none());
        assert!(children.seen(budget(3, "other")).is_some());

        assert!(children.seen(budget(5, "new")).is_none());
        assert!(children.applied(budget(4, "new"), "new").is_some(), "what came after it was swallowed");
        drop(applying);
        assert!(children.seen(budget(6, "other")).is_some());
        assert!(children.seen(budget(7, "new")).is_some());
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
