//! Writes status and Events, only when there is something new to say.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{
    Api, Resource, ResourceExt,
    api::Patch,
    core::{ApiResource, DynamicObject},
    runtime::events::{Event, EventType},
};
use serde_json::json;
use trading_api::{TradingPlatform, labels::FIELD_MANAGER, status::TradingPlatformStatus};
use trading_core::{
    problem::Problem,
    status::conditions::{BACKUP_HEALTHY, TLS_REQUIRED, Verdict, timed},
};

use super::{Context, ReconcileError, context::Reported, references::whole_seconds};
use crate::{cache::PlatformKey, objects::apply_as, packed::Unreadable};

/// Progress that changes no verdict (one more pod ready) is written at most this often.
const PROGRESS: Duration = Duration::from_secs(10);

/// While other platforms wait for their objects, the first word on one that has all of its own waits
/// too, but not longer than this.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Writes the status where it differs from the previous one, and an Event for each transition. Returns
/// when it is to be tried again, where it has something to say that can wait.
pub async fn report(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
    wished: TradingPlatformStatus,
    previous: Option<TradingPlatformStatus>,
) -> Result<Option<Duration>, ReconcileError> {
    let is_ready = has(&wished.conditions, "Ready", "True");
    context.metrics.platform(&key.namespace, &key.name, is_ready);
    if previous.as_ref() == Some(&wished) {
        return Ok(None);
    }
    let uid = platform.uid().unwrap_or_default();
    let last = context.memories.update(key, |memory| memory.reported.as_ref().map(|reported| reported.at));
    let is_urgent = previous.as_ref().is_none_or(|previous| is_transition(previous, &wished));
    if let Some(wait) = last.filter(|_| !is_urgent).and_then(|at| PROGRESS.checked_sub(at.elapsed())) {
        return Ok(Some(wait));
    }
    if previous.is_none() && wished.conditions.iter().any(is_on_its_way) {
        let since =
            context.memories.update(key, |memory| *memory.silent_since.get_or_insert_with(Instant::now));
        let left = FIRST_WORD.checked_sub(since.elapsed()).filter(|left| !left.is_zero());
        if let Some(left) = left.filter(|_| context.caches.triggers.keeps_silent(key)) {
            return Ok(Some(left));
        }
    }
    write(&platform.metadata, context, &wished).await?;
    let before = previous.map(|status| status.conditions).unwrap_or_default();
    for event in transitions(&before, &wished.conditions) {
        publish(platform, context, &event).await;
    }
    context.memories.update(key, |memory| memory.reported = Reported::now(uid, &wished).ok());
    // Only now: others who may speak must not take this one for one that makes objects.
    context.caches.triggers.spoke(key);
    Ok(None)
}

/// Says that the resource breaks rules; everything that runs is left alone.
pub async fn invalid(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
    problem: &Problem,
) -> Result<Option<Duration>, ReconcileError> {
    let previous = context.memories.status_of(platform, key);
    let now = whole_seconds(Timestamp::now());
    let generation = platform.metadata.generation.unwrap_or_default();
    let mut wished = previous.clone().unwrap_or_default();
    let before = std::mem::take(&mut wished.conditions);
    wished.observed_generation = Some(generation);
    wished.conditions = vec![
        timed(
            "Ready",
            Verdict::new(false, problem.reason, problem.message.clone()),
            generation,
            &before,
            now,
        ),
        timed("Reconciling", Verdict::new(false, problem.reason, String::new()), generation, &before, now),
        timed(
            "Stalled",
            Verdict::new(true, problem.reason, problem.message.clone()),
            generation,
            &before,
            now,
        ),
    ];
    report(platform, key, context, wished, previous).await
}

/// Says what deletion waits for.
pub async fn deleting(
    platform: &TradingPlatform,
    context: &Context,
    waiting_for: &str,
) -> Result<(), ReconcileError> {
    is_not_ready(&platform.metadata, context);
    let now = whole_seconds(Timestamp::now());
    let generation = platform.metadata.generation.unwrap_or_default();
    let mut status = platform.status.clone().unwrap_or_default();
    let before = std::mem::take(&mut status.conditions);
    let message = format!("deletion waits for {waiting_for}");
    status.observed_generation = Some(generation);
    status.conditions = vec![
        timed("Ready", Verdict::new(false, "Deleting", message.clone()), generation, &before, now),
        timed("Reconciling", Verdict::new(true, "Deleting", message), generation, &before, now),
        timed("Stalled", Verdict::new(false, "Deleting", String::new()), generation, &before, now),
    ];
    match write(&platform.metadata, context, &status).await {
        // It may be gone by now.
        Err(ReconcileError::Write { source: kube::Error::Api(status), .. }) if status.code == 404 => Ok(()),
        result => result,
    }
}

/// Says that the resource does not even have the right shape; nothing of it is changed.
pub async fn unreadable(invalid: &Unreadable, context: &Context) -> Result<(), ReconcileError> {
    let message = format!("nothing is changed until this is mended: {}", invalid.error);
    tracing::warn!(error = %invalid.error, "the resource can't be read; nothing of it is changed");
    is_not_ready(&invalid.metadata, context);
    let generation = invalid.metadata.generation.unwrap_or_default();
    let now = whole_seconds(Timestamp::now());
    let conditions = vec![
        timed("Ready", Verdict::new(false, "InvalidResource", message.clone()), generation, &[], now),
        timed("Stalled", Verdict::new(true, "InvalidResource", message), generation, &[], now),
    ];
    let status = TradingPlatformStatus {
        observed_generation: Some(generation),
        conditions,
        ..TradingPlatformStatus::default()
    };
    write(&invalid.metadata, context, &status).await
}

fn is_not_ready(platform: &ObjectMeta, context: &Context) {
    let key = PlatformKey::of(platform);
    context.metrics.platform(&key.namespace, &key.name, false);
}

async fn write(
    platform: &ObjectMeta,
    context: &Context,
    status: &TradingPlatformStatus,
) -> Result<(), ReconcileError> {
    let name = platform.name.as_deref().unwrap_or_default();
    let namespace = platform.namespace.as_deref().unwrap_or_default();
    // Untyped, because the answer may be a resource that can't be read.
    let resource = ApiResource::erase::<TradingPlatform>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let patch = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        // The UID keeps it from another resource that took the name.
        "metadata": {"name": name, "uid": platform.uid},
        "status": status,
    });
    api.patch_status(name, &apply_as(FIELD_MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(ReconcileError::writing("status"))?;
    Ok(())
}

/// Publishes an Event. Events inform; one that is lost must not repeat a reconcile.
pub async fn publish(platform: &TradingPlatform, context: &Context, event: &Event) {
    let note = event.note.clone().map(|note| note.chars().take(1000).collect());
    let event = Event {
        note,
        reason: event.reason.clone(),
        action: event.action.clone(),
        secondary: None,
        type_: event.type_,
    };
    if let Err(error) = context.recorder.publish(&event, &platform.object_ref(&())).await {
        if super::context::is_namespace_terminating(&error) {
            tracing::debug!(reason = event.reason, "no Event: the namespace is being deleted");
        } else {
            tracing::warn!(
                error = super::context::brief(&error),
                reason = event.reason,
                "an Event could not be written"
            );
        }
    }
}

fn has(conditions: &[Condition], type_: &str, status: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == status)
}

/// Nothing is wrong; it only isn't ready yet.
fn is_on_its_way(condition: &Condition) -> bool {
    condition.type_ == "Ready" && condition.reason == "Progressing"
}

/// What somebody who looks at the platform must know at once.
fn is_transition(before: &TradingPlatformStatus, now: &TradingPlatformStatus) -> bool {
    let verdict = |status: &TradingPlatformStatus, type_: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_)
            .map(|condition| (condition.status.clone(), condition.reason.clone()))
    };
    before.observed_generation != now.observed_generation
        || [
            "Ready",
            "Stalled",
            "Degraded",
            "AddOnsAvailable",
            "CredentialsRotated",
            TLS_REQUIRED,
            BACKUP_HEALTHY,
        ]
        .iter()
        .any(|type_| verdict(before, type_) != verdict(now, type_))
}

/// An Event where `Ready` changed its reason, `Degraded` began, or the change of a login or of TLS went on.
fn transitions(before: &[Condition], now: &[Condition]) -> Vec<Event> {
    let changed = |type_: &str| {
        let find =
            |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == type_).cloned();
        let (was, is) = (find(before), find(now)?);
        let differs =
            was.is_none_or(|was| (was.status, was.reason) != (is.status.clone(), is.reason.clone()));
        differs.then_some(is)
    };
    let event = |condition: Condition, is_good: bool| Event {
        type_: if is_good { EventType::Normal } else { EventType::Warning },
        reason: condition.reason,
        note: Some(condition.message),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let ready = changed("Ready").map(|condition| {
        let is_good = condition.status == "True" || is_on_its_way(&condition);
        event(condition, is_good)
    });
    let degraded = changed("Degraded")
        .filter(|condition| condition.status == "True")
        // Ready says the same already.
        .filter(|condition| ready.as_ref().is_none_or(|ready| ready.reason != condition.reason))
        .map(|condition| event(condition, false));
    let add_ons = changed("AddOnsAvailable")
        .filter(|condition| condition.status == "False")
        .map(|condition| event(condition, false));
    // What it says of add-ons alone is said already.
    let degraded =
        degraded.filter(|degraded| add_ons.as_ref().is_none_or(|add_ons| add_ons.reason != degraded.reason));
    let login = changed("CredentialsRotated").map(|condition| event(condition, true));
    let tls = changed(TLS_REQUIRED).map(|condition| event(condition, true));
    ready.into_iter().chain(degraded).chain(add_ons).chain(login).chain(tls).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: reason.to_lowercase(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn reasons(before: &[Condition], now: &[Condition]) -> Vec<(String, bool)> {
        let is_normal = |event: &Event| matches!(event.type_, EventType::Normal);
        transitions(before, now).into_iter().map(|event| (event.reason.clone(), is_normal(&event))).collect()
    }

    #[test]
    fn events_tell_of_transitions_only() {
        let coming = [condition("Ready", "False", "Progressing"), condition("Degraded", "False", "AsWished")];
        let ready = [condition("Ready", "True", "Ready"), condition("Degraded", "False", "AsWished")];
        let missing = [
            condition("Ready", "False", "ReferenceMissing"),
            condition("Degraded", "True", "ReferenceMissing"),
        ];
        let risky = [condition("Ready", "True", "Ready"), condition("Degraded", "True", "EvictionRisk")];
        assert_eq!(reasons(&[], &coming), [("Progressing".to_owned(), true)]);
        assert_eq!(reasons(&coming, &coming), []);
        assert_eq!(reasons(&coming, &ready), [("Ready".to_owned(), true)]);
        assert_eq!(reasons(&ready, &missing), [("ReferenceMissing".to_owned(), false)], "once, not for both");
        assert_eq!(reasons(&ready, &risky), [("EvictionRisk".to_owned(), false)]);
        assert_eq!(reasons(&risky, &ready), [], "its end is in the status");
    }
}
