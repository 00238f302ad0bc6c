//! Replaces pods of data stores that don't run by the newest template of their set, in the order that the core
//! decides on. Pods and their set are read afresh: nothing goes because a cache says so.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ContainerStatus, Pod as LivePod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, Preconditions},
    core::Status,
    runtime::events::{Event, EventType},
};
use trading_api::TradingPlatform;
use trading_core::{
    members::Members,
    plan::Plan,
    replacing::{Next, Pod, PodState, Rolling, Standing, rolling},
    status::workload::Workload,
    step::{Observed, Steps},
};

use super::{Context, ReconcileError, report};
use crate::objects::pods_of;

/// What servers say.
pub struct Heard {
    /// As far as they were asked.
    pub members: Arc<Members>,
    /// Nobody answers, time and again.
    pub is_out_of_reach: bool,
}

/// Goes one step further with each set that has old pods, and notes what it waits for. One that fails holds up no
/// other.
pub async fn replace(
    platform: &TradingPlatform,
    plan: &Plan,
    steps: &mut Steps,
    live: &Observed,
    heard: Option<&Heard>,
    context: &Context,
) -> Result<(), ReconcileError> {
    let mut first = Ok(());
    for rolling in &rolling(plan, &steps.unchanged, live) {
        let members = heard.map(|heard| heard.members.as_ref());
        let is_out_of_reach = heard.is_some_and(|heard| heard.is_out_of_reach);
        let standing = rolling.standing(plan, members, is_out_of_reach);
        let words = match one(rolling, standing, platform, context).await {
            Ok(Some(words)) => words,
            Ok(None) => continue,
            Err(error) => {
                let words = format!("this is mended: {error}");
                first = first.and(Err(error));
                words
            }
        };
        steps.replacing.insert(rolling.component, words);
    }
    first
}

/// What the set waits for, if it does.
async fn one(
    rolling: &Rolling,
    standing: Standing<'_>,
    platform: &TradingPlatform,
    context: &Context,
) -> Result<Option<String>, ReconcileError> {
    let api: Api<LivePod> = Api::namespaced(context.client.clone(), &rolling.set.namespace);
    let Some(revision) = revision(rolling, context).await? else { return Ok(None) };
    let live = api.list(&pods_of(&platform.name_any(), rolling.component)).await;
    let live = live.map_err(ReconcileError::reading(format!("pods of {:?}", rolling.set.name)))?;
    let pods: Vec<Pod> = live.iter().filter_map(|pod| of_set(pod, rolling, &revision)).collect();
    Ok(Some(match rolling.next(&pods, standing, Timestamp::now()) {
        Next::Nothing => return Ok(None),
        Next::Wait(words) => words,
        Next::Delete(useless) => {
            for pod in &useless {
                if delete(&api, pod).await? {
                    tell(pod, "deleted, as it does not serve", rolling, platform, context).await;
                }
            }
            let names: Vec<&str> = useless.iter().map(|pod| pod.name.as_str()).collect();
            format!("{} came back", names.join(", "))
        }
        Next::Evict(pod) => match evict(&api, pod).await? {
            Eviction::Granted => {
                tell(pod, "evicted", rolling, platform, context).await;
                format!("{} came back", pod.name)
            }
            Eviction::Gone => format!("{} came back", pod.name),
            Eviction::NotNow => format!("a PodDisruptionBudget allows the eviction of {}", pod.name),
            Eviction::Never => format!("no more than one PodDisruptionBudget is for {}", pod.name),
        },
    }))
}

/// So that nobody who wonders why a server was started again has to search.
async fn tell(pod: &Pod, what: &str, rolling: &Rolling, platform: &TradingPlatform, context: &Context) {
    let (pod, set) = (&pod.name, &rolling.set.name);
    tracing::info!(pod, set, "an old pod of a store is {what}");
    let event = Event {
        type_: EventType::Normal,
        reason: "ServerReplaced".to_owned(),
        note: Some(format!("{pod} is {what}, to run by the newest template of StatefulSet {set:?}")),
        action: "Replace".to_owned(),
        secondary: None,
    };
    report::publish(platform, context, &event).await;
}

/// The newest revision of the set, if it still is the one that was seen, and its controller has counted since its last
/// edit what is counted here. What is newer wakes us.
async fn revision(rolling: &Rolling, context: &Context) -> Result<Option<String>, ReconcileError> {
    let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &rolling.set.namespace);
    let live = api.get_opt(&rolling.set.name).await;
    let live = live.map_err(ReconcileError::reading(format!("StatefulSet {:?}", rolling.set.name)))?;
    let Some(set) = live.filter(|set| set.uid().as_ref() == Some(&rolling.uid)) else { return Ok(None) };
    let counted = Workload::from(&set);
    let seen = (counted.observed, counted.desired, counted.ready, counted.outdated);
    let is_same = seen == (true, rolling.wished, rolling.ready, rolling.outdated);
    Ok(set.status.filter(|_| is_same).and_then(|status| status.update_revision))
}

/// What matters of a pod that the set controls.
fn of_set(pod: &LivePod, rolling: &Rolling, revision: &str) -> Option<Pod> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    (owner.uid == rolling.uid).then(|| {
        Some(Pod {
            name: pod.name_any(),
            uid: pod.uid()?,
            is_new: pod.labels().get(REVISION).is_some_and(|found| found == revision),
            state: state(pod),
        })
    })?
}

fn state(pod: &LivePod) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |type_: &str| status.conditions.iter().flatten().find(|it| it.type_ == type_);
    let is = |type_: &str| condition(type_).is_some_and(|it| it.status == "True");
    let changed = condition("Ready").and_then(|ready| ready.last_transition_time.as_ref());
    let since = changed.or(pod.metadata.creation_timestamp.as_ref());
    let since = since.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let runs =
        |container: &ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        PodState::Ending
    } else if is("Ready") {
        PodState::Ready
    } else if is("ContainersReady") {
        // Kubernetes says so of all pods of a node that it does not hear of.
        PodState::Away
    } else if !containers.is_empty() && containers.iter().all(runs) {
        PodState::Unready(since)
    } else {
        PodState::Down(since)
    }
}

/// Label by which the controller of sets tells the revision of a pod.
const REVISION: &str = "controller-revision-hash";

/// Deletes it, if it is still the one that was seen; whether it was.
async fn delete(api: &Api<LivePod>, pod: &Pod) -> Result<bool, ReconcileError> {
    match api.delete(&pod.name, &the_same(pod)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        result => result.map(|_| true).map_err(ReconcileError::writing(format!("Pod {:?}", pod.name))),
    }
}

enum Eviction {
    /// It goes.
    Granted,
    /// It went by itself.
    Gone,
    /// Its budget is used up.
    NotNow,
    /// Kubernetes evicts nobody for whom there are two budgets, and calls that an internal error.
    Never,
}

/// Asks for it to be evicted, if it is still the one that was seen.
async fn evict(api: &Api<LivePod>, pod: &Pod) -> Result<Eviction, ReconcileError> {
    let params = EvictParams { delete_options: Some(the_same(pod)), ..EvictParams::default() };
    match api.evict(&pod.name, &params).await {
        // A busy apiserver says the same without this cause.
        Err(kube::Error::Api(status)) if status.code == 429 && names_a_budget(&status) => {
            Ok(Eviction::NotNow)
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Eviction::Gone),
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

fn names_a_budget(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "DisruptionBudget")
}

fn the_same(pod: &Pod) -> DeleteParams {
    let preconditions = Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None });
    DeleteParams { preconditions, ..DeleteParams::default() }
}
