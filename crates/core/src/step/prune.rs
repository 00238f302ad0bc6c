//! What is live and no longer wished.

use std::collections::BTreeSet;

use trading_api::deletion::{DataPolicy, Store};

use super::{Child, Observed, Steps, still_runs};
use crate::{
    kinds::Kind,
    object::{Key, Object},
    plan::{POOLER, Plan, STORES, store_of},
    problem::Problem,
    status::workload::Hibernation,
};

/// Live objects of this very platform that it no longer becomes.
pub(super) fn prune(
    plan: &Plan,
    desired: &[Object],
    observed: &Observed,
    blocked_stores: &[Store],
    leaves_pooler: bool,
    steps: &mut Steps,
) {
    let wished: BTreeSet<Key> = desired.iter().map(Object::key).collect();
    let surplus: Vec<&Child> = observed
        .values()
        .filter(|child| child.platform_uid == plan.identity.uid || is_forgotten(plan, child))
        .filter(|child| !child.deleting)
        .filter(|child| !wished.contains(&child.key()))
        .collect();
    let goes: Vec<Store> = removed_stores(plan, &surplus, steps);
    // A server stops as it should with its Lease, its account, its peers and its policy.
    let ends: BTreeSet<&str> = observed
        .values()
        .filter(|child| child.platform_uid == plan.identity.uid && child.kind.serves_data())
        .filter(|child| !wished.contains(&child.key()) && child.hibernation() != Hibernation::Done)
        .map(|child| child.component.as_str())
        .collect();
    for child in surplus {
        let store = store_of(&child.component).filter(|_| child.is_store && !child.is_copy);
        // What fetches the login of a store outside goes with it.
        let is_of_own = child.kind != Kind::ExternalSecret || still_runs(plan, observed, &child.component);
        let keeps_running =
            is_of_own && store.is_some_and(|store| !plan.runs(store) && !goes.contains(&store));
        // A password outlives its store as the volumes do.
        let is_kept_secret = store.is_some() && child.kind == Kind::Secret && plan.data == DataPolicy::Retain;
        // Data that components share goes with the platform, where `deletion.data` says so, or by hand.
        let is_data = child.kind == Kind::PersistentVolumeClaim;
        let is_blocked = store.is_some_and(|store| blocked_stores.contains(&store));
        let waits = child.is_store
            && !child.is_copy
            && !child.kind.serves_data()
            && ends.contains(child.component.as_str());
        if child.is_archived_to(observed.values()) {
            steps.goes_on |= steps.apply.iter().any(|apply| apply.object.kind == Kind::Cluster);
            continue;
        }
        let is_used = leaves_pooler && child.component == POOLER;
        if is_used || keeps_running || waits || is_blocked || is_kept_secret || is_data {
            continue;
        }
        if child.takes_volumes_along() && plan.data == DataPolicy::Retain {
            steps.hibernate.extend((child.hibernation() == Hibernation::None).then(|| child.into()));
        } else if child.kind.scales() {
            steps.prune_first.push(child.into());
        } else {
            steps.prune.push(child.into());
        }
    }
}

/// Stores that were removed from the resource and may go; the others are reported.
fn removed_stores(plan: &Plan, surplus: &[&Child], steps: &mut Steps) -> Vec<Store> {
    let mut goes = Vec::new();
    for (store, name, _) in STORES {
        let runs = |child: &&&Child| {
            child.kind.serves_data() && child.component == name && child.hibernation() == Hibernation::None
        };
        let running = surplus.iter().find(runs).filter(|_| !plan.runs(store));
        if plan.acknowledged.contains(&store) {
            goes.push(store);
            let ends = running.filter(|_| plan.data == DataPolicy::Delete);
            steps.delete_claims_of.extend(ends.map(|child| (child.namespace.clone(), name.to_owned())));
        } else if running.is_some() {
            steps.problems.push(Problem::of(
                name,
                "StoreRemovalNotAcknowledged",
                format!(
                    "{name} was removed from the resource but holds data, so it keeps running: put it back, or add {store:?} to deletion.acknowledgeStoreRemoval to take it down"
                ),
            ));
        }
    }
    goes
}

/// A bucket that stayed with the database of an earlier platform of this name.
fn is_forgotten(plan: &Plan, child: &Child) -> bool {
    child.kind == Kind::ObjectStore && child.is_of(&plan.identity)
}
