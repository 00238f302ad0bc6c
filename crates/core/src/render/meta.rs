//! Names, labels and owners of objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use trading_api::{GROUP, labels};

use super::mesh;
use crate::{
    object::Lifetime,
    plan::{Identity, Plan},
};

/// Slot of the pods that serve; the other one is for a release that is tried beside it.
const ACTIVE_SLOT: &str = "blue";

/// Tiers, for people and dashboards.
pub(super) const APPLICATION: &str = "application";
pub(super) const CACHE: &str = "cache";
pub(super) const DATABASE: &str = "database";
pub(super) const RUNTIME: &str = "runtime";

/// Metadata of an object called `<platform>-<suffix>`, in the namespace of its component.
pub(super) fn object(
    plan: &Plan,
    suffix: &str,
    component: &str,
    tier: &str,
    lifetime: Lifetime,
) -> ObjectMeta {
    object_in(plan, plan.identity.namespace_of(component), suffix, component, tier, lifetime)
}

/// The same in a namespace that has more than one component.
pub(super) fn object_in(
    plan: &Plan,
    namespace: &str,
    suffix: &str,
    component: &str,
    tier: &str,
    lifetime: Lifetime,
) -> ObjectMeta {
    let identity = &plan.identity;
    let is_abroad = namespace != identity.namespace;
    let mut all = identity.labels.clone();
    all.extend(own_labels(identity, component, tier));
    if !identity.uid.is_empty() {
        all.insert(labels::PLATFORM_UID.to_owned(), identity.uid.clone());
    }
    if is_abroad {
        all.insert(labels::HOME.to_owned(), identity.namespace.clone());
    }
    ObjectMeta {
        name: Some(identity.child(suffix)),
        namespace: Some(namespace.to_owned()),
        labels: Some(all),
        annotations: Some(identity.annotations.clone()).filter(|map| !map.is_empty()),
        // Kubernetes deletes what has an owner in another namespace; the finalizer takes it down.
        owner_references: if is_abroad { None } else { owner(identity, lifetime) },
        ..ObjectMeta::default()
    }
}

fn owner(identity: &Identity, lifetime: Lifetime) -> Option<Vec<OwnerReference>> {
    if lifetime == Lifetime::Store || identity.uid.is_empty() {
        return None;
    }
    Some(vec![OwnerReference {
        api_version: format!("{GROUP}/v1alpha1"),
        kind: "TradingPlatform".to_owned(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }])
}

/// The recommended labels.
fn own_labels(identity: &Identity, component: &str, tier: &str) -> BTreeMap<String, String> {
    let mut all = selector(&identity.name, component);
    all.extend(
        [
            (labels::COMPONENT, tier),
            (labels::MANAGED_BY, labels::OPERATOR),
            (labels::PART_OF, labels::PART_OF_VALUE),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    all
}

/// Labels of pods, the release included.
pub(super) fn pod_labels(
    plan: &Plan,
    component: &str,
    tier: &str,
    version: &str,
) -> BTreeMap<String, String> {
    let mut all = own_labels(&plan.identity, component, tier);
    all.insert(labels::VERSION.to_owned(), version.to_owned());
    all.extend(mesh::labels(plan, tier));
    all
}

/// What selects all pods of a component, whatever their slot or release.
#[must_use]
pub fn selector(platform: &str, component: &str) -> BTreeMap<String, String> {
    [(labels::INSTANCE, platform), (labels::NAME, component)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// What selects the pods of a component that serve.
pub(super) fn active_selector(plan: &Plan, component: &str) -> BTreeMap<String, String> {
    let mut all = selector(&plan.identity.name, component);
    all.insert(labels::SLOT.to_owned(), ACTIVE_SLOT.to_owned());
    all
}

/// A label selector of these labels.
pub(super) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}
