//! Replaces pods of data stores that don't run by the newest template of their set, in the order that the core
//! decides on. Pods and their set are read afresh: nothing goes because a cache says so.

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::Pod as LivePod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, Preconditions},
    runtime::events::{Event, EventType},
};
use trading_api::{
    TradingPlatform,
    labels::{INSTANCE, NAME},
};
use trading_core::{
    members::Members,
    plan::Plan,
    replacing::{Next, Pod, PodState, Rolling, rolling},
    step::{Observed, Steps},
};

use super::{Context, ReconcileError, report};

/// Goes one step further with each set that has old pods, and notes what it waits for.
pub async fn replace(
    platform: &TradingPlatform,
    plan: &Plan,
    steps: &mut Steps,
    live: &Observed,
    members: Option<&Members>,
    context: &Context,
) -> Result<(), ReconcileError> {
    for rolling in &rolling(plan, &steps.unchanged, live) {
        let api: Api<LivePod> = Api::namespaced(context.client.clone(), &rolling.set.namespace);
        let Some(revision) = revision(rolling, context).await? else { continue };
        let selector = format!("{INSTANCE}={},{NAME}={}", plan.identity.name, rolling.component);
        let live = api.list(&ListParams::default().labels(&selector)).await;
        let live = live.map_err(ReconcileError::reading(format!("pods of {:?}", rolling.set.name)))?;
        let pods: Vec<Pod> = live.iter().filter_map(|pod| of_set(pod, rolling, &revision)).collect();
        let words = match rolling.next(&pods, rolling.standing(plan, members), Timestamp::now()) {
            Next::Nothing => continue,
            Next::Delete(failed) => {
                for pod in &failed {
                    delete(&api, pod).await?;
                }
                let names: Vec<&str> = failed.iter().map(|pod| pod.name.as_str()).collect();
                let names = names.join(", ");
                tell(&names, "deleted, as they don't serve", rolling, platform, context).await;
                format!("{names} came back")
            }
            Next::Evict(pod) => match evict(&api, pod).await? {
                Eviction::Granted => {
                    tell(&pod.name, "evicted", rolling, platform, context).await;
                    format!("{} came back", pod.name)
                }
                Eviction::NotNow => format!("a PodDisruptionBudget allows the eviction of {}", pod.name),
                Eviction::Never => {
                    format!("no more than one PodDisruptionBudget is for {}", pod.name)
                }
            },
            Next::Wait(words) => words,
        };
        steps.replacing.insert(rolling.component, words);
    }
    Ok(())
}

/// So that nobody who wonders why a server was started again has to search.
async fn tell(pods: &str, what: &str, rolling: &Rolling, platform: &TradingPlatform, context: &Context) {
    let set = &rolling.set.name;
    tracing::info!(pods, set, "old pods of a store are {what}");
    let event = Event {
        type_: EventType::Normal,
        reason: "ServerReplaced".to_owned(),
        note: Some(format!("{pods}: {what}, to run by the newest template of StatefulSet {set:?}")),
        action: "Replace".to_owned(),
        secondary: None,
    };
    report::publish(platform, context, &event).await;
}

/// The newest revision of the set, if it still is the one that was seen and its controller knows of its last edit.
async fn revision(rolling: &Rolling, context: &Context) -> Result<Option<String>, ReconcileError> {
    let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &rolling.set.namespace);
    let live = api.get_opt(&rolling.set.name).await;
    let live = live.map_err(ReconcileError::reading(format!("StatefulSet {:?}", rolling.set.name)))?;
    let Some(set) = live.filter(|set| set.uid().as_ref() == Some(&rolling.uid)) else { return Ok(None) };
    let generation = set.metadata.generation;
    Ok(set
        .status
        .filter(|status| status.observed_generation >= generation)
        .and_then(|status| status.update_revision))
}

/// What matters of a pod that the set controls.
fn of_set(pod: &LivePod, rolling: &Rolling, revision: &str) -> Option<Pod> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    if owner.uid != rolling.uid {
        return None;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let state = match ready {
        _ if pod.metadata.deletion_timestamp.is_some() => PodState::Ending,
        Some(ready) if ready.status == "True" => PodState::Ready,
        Some(ready) => PodState::Unready(since(ready.last_transition_time.as_ref(), pod)),
        None => PodState::Unready(since(None, pod)),
    };
    Some(Pod {
        name: pod.name_any(),
        uid: pod.uid()?,
        is_new: pod.labels().get(REVISION).is_some_and(|found| found == revision),
        state,
    })
}

/// Label by which the controller of sets tells the revision of a pod.
const REVISION: &str = "controller-revision-hash";

fn since(transition: Option<&Time>, pod: &LivePod) -> Timestamp {
    let made = pod.metadata.creation_timestamp.as_ref();
    transition.or(made).map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// Deletes it, if it is still the one that was seen.
async fn delete(api: &Api<LivePod>, pod: &Pod) -> Result<(), ReconcileError> {
    match api.delete(&pod.name, &the_same(pod)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(drop).map_err(ReconcileError::writing(format!("Pod {:?}", pod.name))),
    }
}

enum Eviction {
    /// It goes, or another one is there already.
    Granted,
    /// Its budget is used up.
    NotNow,
    /// Kubernetes evicts nobody for whom there are two budgets, and calls that an internal error.
    Never,
}

/// Asks for it to be evicted, if it is still the one that was seen.
async fn evict(api: &Api<LivePod>, pod: &Pod) -> Result<Eviction, ReconcileError> {
    let params = EvictParams { delete_options: Some(the_same(pod)), ..EvictParams::default() };
    match api.evict(&pod.name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 429 => Ok(Eviction::NotNow),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Eviction::Granted),
        Err(kube::Error::Api(status))
            if status.code == 500 && status.message.contains("more than one PodDisruptionBudget") =>
        {
            Ok(Eviction::Never)
        }
        result => result
            .map(|_| Eviction::Granted)
            .map_err(ReconcileError::writing(format!("eviction of Pod {:?}", pod.name))),
    }
}

fn the_same(pod: &Pod) -> DeleteParams {
    let preconditions = Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None });
    DeleteParams { preconditions, ..DeleteParams::default() }
}
