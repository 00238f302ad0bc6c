//! Takes a platform down in an order that is safe for its data.

use std::collections::BTreeSet;

use kube::{
    Api, ResourceExt,
    api::{ListParams, PropagationPolicy},
    core::DynamicObject,
    runtime::{
        controller::Action,
        events::{Event, EventType},
    },
};
use trading_api::{TradingPlatform, deletion::DataPolicy, labels};
use trading_core::{
    kinds::{KINDS, KindInfo},
    step::Child,
    teardown::{Teardown, teardown},
};

use super::{Context, ReconcileError, claims, finalizer, hibernate, prune, report};
use crate::{
    cache::{Entry, PlatformKey, child},
    objects::resource,
};

/// One step of the way down. Every step can be lost and repeated.
pub async fn tear_down(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<Action, ReconcileError> {
    if !platform.finalizers().iter().any(|finalizer| finalizer == labels::FINALIZER) {
        return Ok(Action::await_change());
    }
    let orphan = context.caches.is_orphaned(&platform.uid().unwrap_or_default());
    let deletion = platform.spec.deletion.clone().unwrap_or_default();
    let data = deletion.data.unwrap_or_default();
    let observed = context.caches.children.observed(key, std::iter::empty()).observed;
    let is_own = |child: &Child| Some(&child.platform_uid) == platform.metadata.uid.as_ref();
    // A database of an earlier platform, which this one has not taken up yet, keeps its bucket.
    let stays = |child: &Child| child.is_archived_to(observed.values().filter(|other| !is_own(other)));
    let mine = |child: &Child| is_own(child) && !stays(child);
    let cached: Vec<Child> = observed.values().filter(|child| mine(child)).cloned().collect();
    let namespaces = namespaces(key, &cached, context);
    let mut next = teardown(&cached, data, orphan);
    if matches!(next, Teardown::Done { .. }) {
        // A cache may lag behind what we made a moment ago: look before letting go.
        let mut live = live(platform, &namespaces, context).await?;
        live.retain(|child| !stays(child));
        for child in live.iter_mut().filter(|child| child.takes_volumes_along()) {
            // How far it is with stopping is no metadata.
            let known = cached.iter().find(|known| known.uid == child.uid);
            child.workload = known.and_then(|known| known.workload.clone());
        }
        next = teardown(&live, data, orphan);
    }
    match next {
        Teardown::Delete { objects, waiting_for } => {
            for object in &objects {
                prune::delete(object, platform, PropagationPolicy::Foreground, context).await?;
            }
            say(platform, key, context, waiting_for).await?;
            Ok(Action::requeue(std::time::Duration::from_secs(10)))
        }
        Teardown::Hibernate { objects, waiting_for } => {
            for object in &objects {
                hibernate::stop(object, platform, context).await?;
            }
            say(platform, key, context, waiting_for).await?;
            Ok(Action::requeue(std::time::Duration::from_secs(10)))
        }
        Teardown::Wait(waiting_for) => {
            say(platform, key, context, waiting_for).await?;
            Ok(Action::requeue(std::time::Duration::from_secs(10)))
        }
        Teardown::Done { delete_claims } => {
            if delete_claims {
                for namespace in &namespaces {
                    claims::delete(key, namespace, None, context).await?;
                }
            }
            let_go(platform, key, context, "Deleted", &left(&cached, data)).await
        }
        Teardown::Release => {
            let what = "everything is left running, as --cascade=orphan asks";
            let_go(platform, key, context, "Released", what).await
        }
    }
}

/// What is left of the platform.
fn left(cached: &[Child], data: DataPolicy) -> String {
    if data == DataPolicy::Delete {
        return "volumes and passwords were deleted, as deletion.data asks".to_owned();
    }
    let kept = "volumes and passwords are kept; a platform of the same name takes them up again".to_owned();
    let asleep = cached.iter().filter(|child| child.takes_volumes_along()).map(|child| {
        let Child { namespace, name, .. } = child;
        let bucket = cached.iter().find(|other| other.is_archived_to([child]));
        let bucket = bucket.map(|bucket| format!(" objectstore.barmancloud.cnpg.io/{}", bucket.name));
        format!(
            "CloudNativePG keeps Cluster {name:?} without servers, and with its volumes (kubectl -n {namespace} delete cluster.postgresql.cnpg.io/{name}{} deletes all of it)",
            bucket.unwrap_or_default()
        )
    });
    std::iter::once(kept).chain(asleep).collect::<Vec<_>>().join("; ")
}

/// Takes the finalizer off and tells what became of the platform, or why it can't go.
async fn let_go(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
    reason: &str,
    what: &str,
) -> Result<Action, ReconcileError> {
    let removed = finalizer::remove(platform, context).await;
    match &removed {
        Ok(()) => publish(platform, context, EventType::Normal, reason, what).await,
        // An older definition let it in: nobody can write to it now but who mends it.
        Err(ReconcileError::Write { source: kube::Error::Api(status), .. }) if status.code == 422 => {
            let note = format!(
                "its spec breaks the rules of the kind, so the apiserver does not let it go: mend what is wrong with `kubectl -n {} edit tradingplatform {}`: {}",
                key.namespace, key.name, status.message
            );
            publish(platform, context, EventType::Warning, "InvalidResource", &note).await;
        }
        Err(_) => {}
    }
    removed.map(|()| Action::await_change())
}

/// Where the platform may have objects: its own namespace, those that allow it, and those that did
/// when something was made there.
fn namespaces(key: &PlatformKey, cached: &[Child], context: &Context) -> BTreeSet<String> {
    let mut all = context.caches.consents.allowing(key);
    all.extend(cached.iter().map(|child| child.namespace.clone()));
    all.insert(key.namespace.clone());
    all
}

/// The platform's objects, read afresh.
async fn live(
    platform: &TradingPlatform,
    namespaces: &BTreeSet<String>,
    context: &Context,
) -> Result<Vec<Child>, ReconcileError> {
    let uid = platform.uid().unwrap_or_default();
    let selector = ListParams::default().labels(&format!("{}={uid}", labels::PLATFORM_UID));
    let mut children = Vec::new();
    let capabilities = context.caches.add_ons.capabilities();
    for namespace in namespaces {
        for info in KINDS.iter().filter(|info| capabilities.serves(info.kind)) {
            children.extend(listed(namespace, info, &selector, context).await?);
        }
    }
    Ok(children)
}

/// The objects of one kind in one namespace.
async fn listed(
    namespace: &str,
    info: &KindInfo,
    selector: &ListParams,
    context: &Context,
) -> Result<Vec<Child>, ReconcileError> {
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource(info));
    let list = match api.list_metadata(selector).await {
        // The add-on went a moment ago, and its objects with it.
        Err(kube::Error::Api(status)) if info.add_on.is_some() && status.code == 404 => return Ok(Vec::new()),
        result => result.map_err(ReconcileError::reading(info.plural))?,
    };
    let entries = list.items.iter().filter_map(|object| child(info.kind, &object.metadata));
    Ok(entries.map(Entry::into_child).collect())
}

/// Tells what is waited for, once for each phase.
async fn say(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
    waiting_for: &'static str,
) -> Result<(), ReconcileError> {
    let this = (platform.uid().unwrap_or_default(), waiting_for);
    if context.memories.update(key, |memory| memory.teardown.replace(this.clone()) == Some(this)) {
        return Ok(());
    }
    let note = format!("waiting for {waiting_for}");
    publish(platform, context, EventType::Normal, "Deleting", &note).await;
    report::deleting(platform, context, waiting_for).await
}

async fn publish(platform: &TradingPlatform, context: &Context, type_: EventType, reason: &str, note: &str) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.to_owned()),
        action: "Delete".to_owned(),
        secondary: None,
    };
    report::publish(platform, context, &event).await;
}
