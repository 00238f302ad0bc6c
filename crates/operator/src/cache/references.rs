//! Secrets and `ConfigMaps` that pods consume: their versions from a watch of metadata, digests of
//! their values where they are needed. Values are never kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use trading_core::inputs::{Reference, ReferenceState};

use super::PlatformKey;

#[derive(Default)]
struct Inner {
    /// Resource version of everything that exists.
    versions: HashMap<Reference, String>,
    /// Digests of the values at a resource version.
    digests: HashMap<Reference, (String, BTreeMap<String, String>)>,
    /// Which platforms consume it.
    consumers: HashMap<Reference, HashSet<PlatformKey>>,
}

/// The cache.
#[derive(Default)]
pub struct References(Mutex<Inner>);

/// What is known of a reference.
pub enum Known {
    /// Its state.
    State(ReferenceState),
    /// It exists, but its values must be read.
    Unread,
}

impl References {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It exists at a version. Returns who must look again.
    pub fn seen(&self, key: &Reference, version: &str) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        if inner.versions.insert(key.clone(), version.to_owned()).as_deref() == Some(version) {
            return Vec::new();
        }
        consumers(&inner, key)
    }

    /// It is gone. Returns who must look again.
    pub fn gone(&self, key: &Reference) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        inner.versions.remove(key);
        inner.digests.remove(key);
        consumers(&inner, key)
    }

    /// Forgets what a new list of a kind does not have. Returns who must look again.
    pub fn retain(
        &self,
        listed: &HashSet<Reference>,
        is_of_list: impl Fn(&Reference) -> bool,
    ) -> Vec<PlatformKey> {
        let gone: Vec<Reference> = self
            .lock()
            .versions
            .keys()
            .filter(|key| is_of_list(key) && !listed.contains(*key))
            .cloned()
            .collect();
        gone.iter().flat_map(|reference| self.gone(reference)).collect()
    }

    /// The platform consumes exactly these from now on.
    pub fn consumed_by(&self, platform: &PlatformKey, references: &[Reference]) {
        let mut inner = self.lock();
        inner.consumers.retain(|reference, platforms| {
            if !references.contains(reference) {
                platforms.remove(platform);
            }
            !platforms.is_empty()
        });
        for reference in references {
            inner.consumers.entry(reference.clone()).or_default().insert(platform.clone());
        }
    }

    /// What is known without a request.
    pub fn known(&self, key: &Reference) -> Known {
        let inner = self.lock();
        let Some(version) = inner.versions.get(key) else {
            return Known::State(ReferenceState::Absent);
        };
        match inner.digests.get(key) {
            Some((at, digests)) if at == version => Known::State(ReferenceState::Present(digests.clone())),
            _ => Known::Unread,
        }
    }

    /// Its values were read.
    pub fn read(&self, key: &Reference, version: String, digests: BTreeMap<String, String>) {
        let mut inner = self.lock();
        inner.versions.entry(key.clone()).or_insert_with(|| version.clone());
        inner.digests.insert(key.clone(), (version, digests));
    }
}

fn consumers(inner: &Inner, key: &Reference) -> Vec<PlatformKey> {
    inner.consumers.get(key).into_iter().flatten().cloned().collect()
}
