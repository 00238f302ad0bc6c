//! Which kinds of add-ons are served, and which platforms want them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use trading_core::{add_ons::Capabilities, kinds::Kind};

use super::PlatformKey;

#[derive(Default)]
struct Inner {
    served: BTreeSet<Kind>,
    wanted: BTreeMap<PlatformKey, BTreeSet<Kind>>,
}

/// The cache.
#[derive(Default)]
pub struct AddOns(Mutex<Inner>);

impl AddOns {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be made now.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::Only(self.lock().served.clone())
    }

    /// A kind is served, and its objects are in the cache; or it no longer is. Returns the
    /// platforms that want it.
    pub fn set(&self, kind: Kind, served: bool) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        let changed = if served { inner.served.insert(kind) } else { inner.served.remove(&kind) };
        if !changed {
            return Vec::new();
        }
        let wants = inner.wanted.iter().filter(|(_, kinds)| kinds.contains(&kind));
        wants.map(|(platform, _)| platform.clone()).collect()
    }

    /// The platform wants exactly these from now on. False where what is served has changed since
    /// `known` was read, so that it must look again.
    pub fn wanted_by(&self, platform: &PlatformKey, kinds: BTreeSet<Kind>, known: &Capabilities) -> bool {
        let mut inner = self.lock();
        let is_current = kinds.iter().all(|kind| inner.served.contains(kind) == known.serves(*kind));
        if kinds.is_empty() {
            inner.wanted.remove(platform);
        } else {
            inner.wanted.insert(platform.clone(), kinds);
        }
        is_current
    }

    /// A platform is gone.
    pub fn forget(&self, platform: &PlatformKey) {
        self.lock().wanted.remove(platform);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_platforms_that_want_a_kind_are_woken_and_only_by_a_change() {
        let add_ons = AddOns::default();
        let key = |name: &str| PlatformKey { namespace: "shop".to_owned(), name: name.to_owned() };
        let before = add_ons.capabilities();
        assert!(add_ons.wanted_by(&key("a"), BTreeSet::from([Kind::ServiceMonitor]), &before));
        assert!(add_ons.wanted_by(&key("b"), BTreeSet::from([Kind::ExternalSecret]), &before));

        assert_eq!(add_ons.set(Kind::ServiceMonitor, true), [key("a")]);
        assert!(add_ons.set(Kind::ServiceMonitor, true).is_empty());
        assert!(add_ons.capabilities().serves(Kind::ServiceMonitor));
        assert!(!add_ons.wanted_by(&key("c"), BTreeSet::from([Kind::ServiceMonitor]), &before));

        add_ons.forget(&key("a"));
        assert_eq!(add_ons.set(Kind::ServiceMonitor, false), [key("c")]);
    }
}
