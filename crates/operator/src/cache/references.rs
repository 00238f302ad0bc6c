//! Secrets and `ConfigMaps` that pods consume: their versions from a watch of metadata, digests of
//! their values where they are needed. Values are never kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use trading_core::inputs::{Reference, ReferenceKind, ReferenceState};

use super::{
    PlatformKey,
    kept::{Owner, Text, text},
};

/// A [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeptReference {
    kind: ReferenceKind,
    namespace: Text,
    name: Text,
}

impl From<&Reference> for KeptReference {
    fn from(reference: &Reference) -> Self {
        Self { kind: reference.kind, namespace: text(&reference.namespace), name: text(&reference.name) }
    }
}

#[derive(Default)]
struct State {
    /// Resource version, where it exists.
    version: Option<Box<str>>,
    digests: Option<Digests>,
    /// The operator is making it for this platform, at which it looks again afterwards.
    maker: Option<Owner>,
    /// Which platforms consume it.
    consumers: Vec<Owner>,
}

impl State {
    fn consumers(&self) -> Vec<PlatformKey> {
        self.consumers.iter().map(PlatformKey::from).collect()
    }

    /// Those who don't look anyway.
    fn others(&self) -> Vec<PlatformKey> {
        let others = self.consumers.iter().filter(|consumer| Some(*consumer) != self.maker.as_ref());
        others.map(PlatformKey::from).collect()
    }

    fn is_of_interest(&self) -> bool {
        self.version.is_some() || !self.consumers.is_empty()
    }
}

/// Digests of the values at a resource version.
struct Digests {
    version: Box<str>,
    by_key: Vec<(Text, Text)>,
}

#[derive(Default)]
struct Inner {
    states: HashMap<KeptReference, State>,
    /// What a platform consumes.
    consumed: HashMap<Owner, Vec<KeptReference>>,
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
    pub fn seen(&self, reference: &Reference, version: &str) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        let state = inner.states.entry(reference.into()).or_default();
        if state.version.replace(version.into()).as_deref() == Some(version) {
            return Vec::new();
        }
        state.others()
    }

    /// The operator makes it for a platform as long as what is returned lives, and looks at it afterwards: that one
    /// need not be woken for it.
    pub fn making<'a>(&'a self, reference: &'a Reference, platform: &PlatformKey) -> Making<'a> {
        self.set_maker(reference, Some(platform.into()));
        Making { references: self, reference }
    }

    fn set_maker(&self, reference: &Reference, maker: Option<Owner>) {
        if let Some(state) = self.lock().states.get_mut(&reference.into()) {
            state.maker = maker;
        }
    }

    /// It is gone. Returns who must look again.
    pub fn gone(&self, reference: &Reference) -> Vec<PlatformKey> {
        self.lock().forget(&reference.into())
    }

    /// Forgets what a new list of a kind does not have. Returns who must look again.
    pub fn retain(
        &self,
        kind: ReferenceKind,
        scope: Option<&str>,
        listed: &HashSet<(String, String)>,
    ) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        let is_gone = |reference: &KeptReference| {
            reference.kind == kind
                && scope.is_none_or(|scope| scope == &*reference.namespace)
                && !listed.contains(&(reference.namespace.to_string(), reference.name.to_string()))
        };
        let existing = inner.states.iter().filter(|(_, state)| state.version.is_some());
        let gone: Vec<_> =
            existing.map(|(reference, _)| reference).filter(|it| is_gone(it)).cloned().collect();
        gone.iter().flat_map(|reference| inner.forget(reference)).collect()
    }

    /// The platform consumes exactly these from now on.
    pub fn consumed_by(&self, platform: &PlatformKey, references: &[Reference]) {
        let owner = Owner::from(platform);
        let now: Vec<KeptReference> = references.iter().map(KeptReference::from).collect();
        let mut inner = self.lock();
        let before = inner.consumed.remove(&owner).unwrap_or_default();
        for reference in before.iter().filter(|reference| !now.contains(reference)) {
            let Some(state) = inner.states.get_mut(reference) else { continue };
            state.consumers.retain(|consumer| *consumer != owner);
            if !state.is_of_interest() {
                inner.states.remove(reference);
            }
        }
        for reference in now.iter().filter(|reference| !before.contains(reference)) {
            inner.states.entry(reference.clone()).or_default().consumers.push(owner.clone());
        }
        if !now.is_empty() {
            inner.consumed.insert(owner, now);
        }
    }

    /// What is known without a request.
    pub fn known(&self, reference: &Reference) -> Known {
        let inner = self.lock();
        let state = inner.states.get(&reference.into());
        let Some((state, version)) = state.and_then(|state| Some((state, state.version.as_ref()?))) else {
            return Known::State(ReferenceState::Absent);
        };
        match &state.digests {
            Some(digests) if digests.version == *version => {
                let texts = digests.by_key.iter().map(|(key, digest)| (key.to_string(), digest.to_string()));
                Known::State(ReferenceState::Present(texts.collect()))
            }
            _ => Known::Unread,
        }
    }

    /// Its values were read, or made. Returns who must look again, where nobody knew that it exists.
    #[must_use]
    pub fn read(
        &self,
        reference: &Reference,
        version: &str,
        digests: &BTreeMap<String, String>,
    ) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        let state = inner.states.entry(reference.into()).or_default();
        let is_new = state.version.is_none();
        state.version.get_or_insert_with(|| version.into());
        let by_key = digests.iter().map(|(key, digest)| (text(key), text(digest))).collect();
        state.digests = Some(Digests { version: version.into(), by_key });
        if is_new { state.others() } else { Vec::new() }
    }
}

/// See [`References::making`].
pub struct Making<'a> {
    references: &'a References,
    reference: &'a Reference,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.references.set_maker(self.reference, None);
    }
}

impl Inner {
    fn forget(&mut self, reference: &KeptReference) -> Vec<PlatformKey> {
        let Some(state) = self.states.get_mut(reference) else { return Vec::new() };
        (state.version, state.digests) = (None, None);
        let consumers = state.consumers();
        if consumers.is_empty() {
            self.states.remove(reference);
        }
        consumers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_a_secret_is_not_woken_for_it_and_others_are() {
        let references = References::default();
        let platform = |name: &str| PlatformKey { namespace: "trading".to_owned(), name: name.to_owned() };
        let [maker, other] = ["maker", "other"].map(platform);
        let secret = Reference {
            kind: ReferenceKind::Secret,
            namespace: "trading".to_owned(),
            name: "maker-redis-auth".to_owned(),
        };
        for platform in [&maker, &other] {
            references.consumed_by(platform, std::slice::from_ref(&secret));
        }
        let making = references.making(&secret, &maker);
        // The answer comes before the watch tells of it.
        assert_eq!(references.read(&secret, "1", &BTreeMap::new()), std::slice::from_ref(&other));
        assert_eq!(references.seen(&secret, "1"), []);
        assert_eq!(references.seen(&secret, "2"), std::slice::from_ref(&other));
        drop(making);
        assert_eq!(references.seen(&secret, "3"), [maker.clone(), other.clone()]);
        // One that goes while it is made is made again.
        let making = references.making(&secret, &maker);
        assert_eq!(references.gone(&secret), [maker.clone(), other.clone()]);
        drop(making);
        assert_eq!(references.seen(&secret, "4"), [maker, other]);
    }
}
