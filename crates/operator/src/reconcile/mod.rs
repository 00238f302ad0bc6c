//! One reconcile: dereference → resolve → render → step → apply → observe → status. This file only
//! sequences; what is decided is decided in the core.

mod apply;
mod certify;
mod claims;
mod context;
mod cost;
mod finalizer;
mod generate;
mod growth;
mod hibernate;
mod hindered;
mod logins;
mod passwords;
mod prune;
mod references;
mod repair;
mod replace;
mod report;
mod roles;
#[cfg(test)]
mod scenario;
mod teardown;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, runtime::controller::Action};
use trading_api::TradingPlatform;
use trading_core::{
    add_ons, admission,
    credentials::{Stage, consumers},
    inputs::Inputs,
    leaving,
    members::{Members, Target, targets},
    object::{Key, Object},
    plan::Plan,
    problem::Problem,
    render::render,
    resolve::resolve,
    status::status,
    step::{Observed, Steps, steps, waits_for},
    tls,
};

use crate::{cache::PlatformKey, packed::Packed};
use apply::Failure;
pub use context::{Context, Memories, ReconcileError, reporter};
use replace::Heard;

/// When objects of a kind that is seen as served, but isn't, are tried again.
const UNSERVED: Duration = Duration::from_secs(30);

/// A certificate that is due is not made again in a hurry where that fails.
const SOONEST_RENEWAL: Duration = Duration::from_mins(1);
/// Timers are not set further ahead.
const LATEST_LOOK: Duration = Duration::from_hours(24 * 30);

/// Between looks how far a change of login or TLS is: an edit of labels can end what it waits for, and is no news.
const ROLLS: Duration = Duration::from_secs(30);

/// Between looks whether pods with an old login are gone.
const PODS_END: Duration = Duration::from_secs(10);

/// Makes the cluster match one platform.
///
/// # Errors
/// Where the apiserver refuses or fails; it is repeated with backoff.
pub async fn reconcile(platform: Arc<Packed>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let key = PlatformKey::of(platform.meta());
    let is_going = platform.meta().deletion_timestamp.is_some();
    let unpacked = if is_going { platform.unpack_for_deletion() } else { platform.unpack() };
    let platform = match unpacked {
        Ok(platform) => platform,
        Err(unreadable) => {
            let told = report::unreadable(&unreadable, &context).await;
            return keep_up(told.map(|()| None), &key, &context).await;
        }
    };
    let platform = platform.as_ref();
    if is_going {
        return teardown::tear_down(platform, &key, &context).await;
    }
    if let Some(invalid) = invalid(platform, &key, &context) {
        let told = report::invalid(platform, &key, &context, &invalid).await;
        return keep_up(told, &key, &context).await;
    }
    finalizer::ensure(platform, &context).await?;
    keep(platform, &key, &context).await
}

/// What is not to end although the resource can't be acted upon, and whether or not that could be told: the apiserver
/// takes no status of what has the wrong types.
async fn keep_up(
    told: Result<Option<Duration>, ReconcileError>,
    key: &PlatformKey,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let now = Timestamp::now();
    let renewal = certify::renew(key, now, context).await;
    let next = [told?, renewal?.map(|at| until(at, now))].into_iter().flatten().min();
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}

/// Rules that the resource breaks although it got past admission: an older schema let it in.
fn invalid(platform: &TradingPlatform, key: &PlatformKey, context: &Context) -> Option<Problem> {
    let this = platform.metadata.uid.clone().zip(platform.metadata.generation);
    if this.is_some() && context.memories.update(key, |memory| memory.valid == this) {
        return None;
    }
    let object = serde_json::to_value(platform).unwrap_or_default();
    let refusal = admission::refusal(&admission::check(&object, None));
    if refusal.is_none() {
        context.memories.update(key, |memory| memory.valid = this);
    }
    refusal
}

/// Notes which kinds of add-ons the platform wants, to be woken when they come or go.
fn want(desired: &[Object], inputs: &Inputs, key: &PlatformKey, context: &Context) {
    let kinds = desired.iter().map(|object| object.kind).filter(|kind| kind.info().add_on.is_some());
    if !context.caches.add_ons.wanted_by(key, kinds.collect(), &inputs.capabilities) {
        context.caches.triggers.wake(key.clone(), "an add-on came or went meanwhile");
    }
}

/// What the servers of its stores said last.
fn known(platform: &TradingPlatform, key: &PlatformKey, context: &Context) -> Arc<Members> {
    let generation = platform.metadata.generation.unwrap_or_default();
    context.members.as_ref().map(|book| book.known(key, generation)).unwrap_or_default()
}

/// Has these servers asked. Returns what they said since anything came or went; `None` where nobody asks.
fn ask(
    platform: &TradingPlatform,
    key: &PlatformKey,
    targets: Vec<Target>,
    context: &Context,
) -> Option<Heard> {
    let book = context.members.as_ref()?;
    book.watch(key, targets);
    Some(Heard { members: known(platform, key, context), is_out_of_reach: book.is_out_of_reach(key) })
}

/// Looks after the pods of what was applied: who of them leads, who is replaced next, and what hinders them. Returns
/// when to look again.
async fn look_after(
    platform: &TradingPlatform,
    key: &PlatformKey,
    plan: &Plan,
    next: &mut Steps,
    live: &Observed,
    context: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    let marked = roles::mark(plan, live, context).await;
    let heard = ask(platform, key, targets(plan, live), context);
    let replaced = replace::replace(platform, plan, next, live, heard.as_ref(), context).await;
    let hindered = hindered::look(key, plan, live, context).await;
    if let Ok((problems, _)) = &hindered {
        next.hindered.clone_from(problems);
    }
    marked?;
    replaced?;
    hindered.map(|(_, again)| again)
}

async fn keep(
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let mut inputs = Inputs {
        now: Timestamp::now(),
        operator: context.operator.clone(),
        allowing: Some(context.caches.consents.allowing(key)),
        storage_classes: context.caches.storage_classes.get(),
        references: Some(references::dereference(platform, key, context).await?),
        capabilities: context.caches.add_ons.capabilities(),
        told: context.caches.children.told(key),
        tls: context.caches.children.tls(key),
        settled: false,
        members: known(platform, key, context),
    };
    let planned = |inputs: &Inputs| {
        let mut plan = resolve(platform, inputs);
        if plan.redis.as_ref().is_some_and(|redis| redis.cluster.is_some()) {
            let live = context.caches.children.observed(key, std::iter::empty());
            leaving::hold_back(&mut plan, &live.observed);
        }
        plan
    };
    let keys = |desired: &[Object]| -> Vec<Key> { desired.iter().map(Object::key).collect() };
    let compared = |inputs: &Inputs| {
        let plan = planned(inputs);
        let desired = render(&plan);
        let live = context.caches.children.observed(key, keys(&desired).iter());
        let next: Steps = steps(&plan, &desired, &live.observed);
        (plan, desired, live, next)
    };
    let (mut plan, mut desired, mut live, mut next) = compared(&inputs);
    want(&desired, &inputs, key, context);

    // Passwords first: pods must not be made once without and once with them.
    let mut unusable = Vec::new();
    if next.apply.iter().any(generate::is_due) {
        unusable = generate::all(&next.apply, key, context).await?;
        inputs.references = Some(references::dereference(platform, key, context).await?);
        (plan, desired, live, next) = compared(&inputs);
    }

    // An old login goes when no pod has it.
    let mut waits_for_pods = logins::may_be_settled(&next);
    if waits_for_pods && logins::are_settled(&plan, consumers(&plan), context).await? {
        inputs.settled = true;
        (plan, desired, live, next) = compared(&inputs);
    }
    while let Some(stage) = &next.tls {
        let is_over =
            tls::waits_for_pods(stage) && logins::are_settled(&plan, consumers(&plan), context).await?;
        waits_for_pods |= tls::waits_for_pods(stage) && !is_over;
        let Some(level) = tls::next(stage, is_over) else { break };
        tracing::info!(?stage, ?level, "TLS to the database goes on");
        inputs.tls = level;
        // A client that insists has the authority's certificate.
        inputs.references = Some(references::dereference(platform, key, context).await?);
        (plan, desired, live, next) = compared(&inputs);
    }
    if let Some((change, waits)) = passwords::next(&plan, &next, context).await? {
        waits_for_pods |= waits;
        if let Some(change) = change {
            passwords::change(&change, &plan, context).await?;
            inputs.references = Some(references::dereference(platform, key, context).await?);
            (plan, desired, live, next) = compared(&inputs);
        }
    }

    next.apply.retain(|step| !unusable.iter().any(|(unmade, _)| waits_for(&step.object, unmade)));
    prune::prune(&next.prune_first, platform, key, context).await?;
    // Documents are large, and are waited for: what is still to be known of them is found out before.
    let (wished_keys, estimate) = (keys(&desired), cost::Estimated::of(&desired, context));
    drop(desired);
    let apply::Outcome { mut failures, unserved } =
        apply::apply(std::mem::take(&mut next.apply), key, context).await;
    failures.extend(unusable.into_iter().map(|(object, error)| Failure::failed(&object, error)));
    failures.extend(growth::grow(&next.grow, platform, key, context).await);
    hibernate::hibernate(&next.hibernate, platform, key, context).await?;
    prune::prune(&next.prune, platform, key, context).await?;
    for (namespace, store) in &next.delete_claims_of {
        claims::delete(key, namespace, Some(store), context).await?;
    }
    context.caches.children.verified(key, next.unchanged.iter(), &live);
    context.count(&next);

    if next.goes_on && failures.is_empty() {
        context.caches.triggers.wake(key.clone(), "what was applied lets more be done");
    }
    next.problems.extend(failures.iter().map(Failure::problem));
    next.problems.extend(add_ons::missing(&unserved));
    let live = context.caches.children.observed(key, wished_keys.iter());
    let looked = look_after(platform, key, &plan, &mut next, &live.observed, context).await;
    let previous = context.memories.status_of(platform, key);
    let now = references::whole_seconds(inputs.now);
    let mut wished = status(&plan, &next, &live.observed, previous.as_ref(), now);
    estimate.tell(key, context, &mut wished);
    let again = report::report(platform, key, context, wished, previous).await?;
    let hindered = looked.as_ref().ok().copied().flatten();
    let again = [again, hindered].into_iter().flatten().min();
    let again = looks_again(&next, again, waits_for_pods, inputs.now);
    // What there is to say does not wait for a failure to be repeated.
    context.memories.update(key, |memory| memory.report_again = again);
    looked?;
    match failures.into_iter().next() {
        Some(failure) => Err(failure.into_error()),
        // Ordinarily the definition is seen to go before that.
        None if !unserved.is_empty() => {
            Ok(Action::requeue(again.map_or(UNSERVED, |again| again.min(UNSERVED))))
        }
        None => Ok(again.map_or_else(Action::await_change, Action::requeue)),
    }
}

/// When it has to look again although nobody tells of anything: that a pod is gone, or a certificate due.
fn looks_again(
    next: &Steps,
    again: Option<Duration>,
    waits_for_pods: bool,
    now: Timestamp,
) -> Option<Duration> {
    let renewal = next.renewal.map(|at| until(at, now));
    let rolls = matches!(next.login, Some(Stage::Rolling(_)))
        || next.tls.as_ref().is_some_and(tls::waits_for_rollouts);
    let all = [
        again,
        (waits_for_pods || !next.replacing.is_empty()).then_some(PODS_END),
        rolls.then_some(ROLLS),
        renewal,
    ];
    all.into_iter().flatten().min()
}

fn until(renewal: Timestamp, now: Timestamp) -> Duration {
    let left = SignedDuration::max(renewal.duration_since(now), SignedDuration::ZERO);
    left.unsigned_abs().clamp(SOONEST_RENEWAL, LATEST_LOOK)
}
