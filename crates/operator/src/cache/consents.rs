//! Which namespaces allow a platform's tiers, as their labels say.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::PlatformKey;

/// The cache: the platform that a namespace allows.
#[derive(Default)]
pub struct Consents(Mutex<HashMap<String, PlatformKey>>);

/// `<namespace>.<name>`; a namespace has no dot.
fn platform(label: &str) -> Option<PlatformKey> {
    let (namespace, name) = label.split_once('.')?;
    Some(PlatformKey { namespace: namespace.to_owned(), name: name.to_owned() })
}

impl Consents {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, PlatformKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A namespace carries the label, or not any more. Returns who must look again.
    pub fn seen(&self, namespace: &str, label: Option<&str>) -> Vec<PlatformKey> {
        let mut inner = self.lock();
        let new = label.and_then(platform);
        let old = match &new {
            Some(platform) => inner.insert(namespace.to_owned(), platform.clone()),
            None => inner.remove(namespace),
        };
        if old == new { Vec::new() } else { old.into_iter().chain(new).collect() }
    }

    /// Forgets what a new list does not have. Returns who must look again.
    pub fn retain(&self, listed: &HashSet<String>) -> Vec<PlatformKey> {
        let gone: Vec<String> =
            self.lock().keys().filter(|namespace| !listed.contains(*namespace)).cloned().collect();
        gone.iter().flat_map(|namespace| self.seen(namespace, None)).collect()
    }

    /// Namespaces that allow the platform.
    pub fn allowing(&self, platform: &PlatformKey) -> BTreeSet<String> {
        let inner = self.lock();
        inner
            .iter()
            .filter(|(_, allowed)| *allowed == platform)
            .map(|(namespace, _)| namespace.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> PlatformKey {
        PlatformKey { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_namespace_allows_one_platform() {
        let consents = Consents::default();
        let (ours, theirs) = (key("trading", "shop"), key("other", "shop"));
        assert_eq!(consents.seen("shop-data", Some("trading.shop")), vec![ours.clone()]);
        assert!(consents.seen("shop-data", Some("trading.shop")).is_empty());
        assert_eq!(consents.allowing(&ours), BTreeSet::from(["shop-data".to_owned()]));
        assert!(consents.allowing(&theirs).is_empty());
        assert_eq!(consents.seen("shop-data", Some("other.shop")), vec![ours.clone(), theirs.clone()]);
        assert!(consents.seen("elsewhere", Some("nobody")).is_empty());
        assert_eq!(consents.retain(&HashSet::new()), [theirs]);
        assert!(consents.allowing(&ours).is_empty());
    }
}
