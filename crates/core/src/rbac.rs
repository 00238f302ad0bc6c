//! The rights of the operator, made from the table of kinds.

use k8s_openapi::api::rbac::v1::PolicyRule;
use trading_api::GROUP;

use crate::kinds::{KINDS, KindInfo, of_add_ons};

/// Rules of the operator's role: what it watches, owns and reports on, and nothing else. They are
/// enough for one namespace, but for [`cluster_rules`].
#[must_use]
pub fn rules() -> Vec<PolicyRule> {
    let mut groups: Vec<&str> = KINDS.iter().map(|info| info.group).collect();
    groups.sort_unstable();
    groups.dedup();

    let mut rules: Vec<PolicyRule> = groups
        .into_iter()
        .map(|group| {
            let mut plurals: Vec<&str> =
                KINDS.iter().filter(|info| info.group == group).map(|info| info.plural).collect();
            plurals.sort_unstable();
            rule(group, &plurals, &["create", "delete", "get", "list", "patch", "watch"])
        })
        .collect();
    rules.extend([
        rule(GROUP, &["tradingplatforms"], &["get", "list", "patch", "watch"]),
        rule(GROUP, &["tradingplatforms/status"], &["patch"]),
        // Needed to set `blockOwnerDeletion` where the apiserver enforces it.
        rule(GROUP, &["tradingplatforms/finalizers"], &["update"]),
        // To mark the primary of a database, for the Services of its servers; and to see, while its login changes,
        // whether a pod has the old one. Servers of stores are replaced by evicting them, and where they don't serve
        // by deleting them.
        rule("", &["pods"], &["delete", "get", "list", "patch"]),
        rule("", &["pods/eviction"], &["create"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]);
    rules
}

/// Rules for what is no namespace's, where the operator works for the whole cluster: the definitions
/// of add-ons, which namespaces allow a platform's tiers, and the classes of volumes.
#[must_use]
pub fn cluster_rules() -> Vec<PolicyRule> {
    let namespaces = rule("", &["namespaces"], &["list", "watch"]);
    let classes = rule("storage.k8s.io", &["storageclasses"], &["list", "watch"]);
    definition_rules().into_iter().chain([namespaces, classes]).collect()
}

/// Rules for what is no namespace's, where the operator works for some: whether the definitions of
/// add-ons are there.
#[must_use]
pub fn definition_rules() -> Vec<PolicyRule> {
    let names = of_add_ons().map(KindInfo::definition);
    vec![PolicyRule {
        resource_names: Some(names.collect()),
        ..rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["list", "watch"])
    }]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}
