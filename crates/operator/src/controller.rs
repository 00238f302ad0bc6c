//! Runs reconciles: one at a time for a platform, several platforms at once, failures with
//! jittered backoff for each platform alone.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future};
use kube::{
    Client, Resource,
    runtime::{
        controller::{Action, Config, applier},
        events::Recorder,
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::{Semaphore, mpsc, watch as signal};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::Instrument;
use trading_core::inputs::OperatorSettings;

use crate::{
    cache::{Caches, PlatformKey, Triggers},
    lease::jittered,
    members,
    metrics::Metrics,
    packed::Packed,
    reconcile::{Context, Memories, ReconcileError, reconcile, reporter},
    settings::Settings,
};

/// Collects what comes in a burst, such as pods that become ready one after the other. A platform that was
/// never looked at does not wait.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// A reconcile that takes longer hangs; it is given up and repeated.
const RECONCILE: Duration = Duration::from_mins(1);

/// Reconciles until asked to stop, then ends what is under way.
pub async fn run(
    client: Client,
    settings: &Settings,
    stores: Vec<Store<Packed>>,
    caches: Arc<Caches>,
    woken: mpsc::UnboundedReceiver<PlatformKey>,
    metrics: Arc<Metrics>,
    mut stop: signal::Receiver<bool>,
) {
    caches.sync.complete().await;
    tracing::info!("all lists are complete; reconciling");
    let mut operator = OperatorSettings::default();
    if let Some(image) = &settings.agent_image {
        operator.agent_image.clone_from(image);
    }
    operator.namespace.clone_from(&settings.pod_namespace);
    operator.api_server_ports.clone_from(&settings.api_server_ports);
    operator.scope = settings.scope();
    operator.allow_container_runtime = settings.allow_container_runtime;
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter(&settings.lease_identity)),
        client,
        caches,
        metrics,
        operator,
        members: settings.scope().is_open().then(Arc::default),
        turns: Semaphore::new(settings.concurrency.into()),
        memories: Memories::default(),
    });
    let asking = Arc::clone(&context);
    let ask = async move {
        match &asking.members {
            Some(book) => members::poll(Arc::clone(book), &asking.caches.triggers).await,
            None => future::pending().await,
        }
    };
    let stopped = async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = stop.wait_for(|stop| *stop).await;
    }
    .shared();
    let woken = UnboundedReceiverStream::new(woken).take_until(stopped.clone());

    let turns = Arc::new(Semaphore::new(settings.concurrency.into()));
    let last_turns = Arc::clone(&turns);
    let close = stopped.map(move |()| last_turns.close());

    // One queue for each watched scope: a platform's store is that of its namespace.
    let (queues, routers): (Vec<_>, Vec<_>) =
        stores.iter().map(|_| mpsc::unbounded_channel()).map(|(s, r)| (r, s)).unzip();
    let namespaces = settings.watch_namespace.clone();
    let route = woken.for_each(move |key| {
        let index = namespaces.iter().position(|namespace| *namespace == key.namespace).unwrap_or_default();
        if let Some(router) = routers.get(index) {
            // The other side ends only after this one.
            let _ = router.send(key);
        }
        future::ready(())
    });
    let loops = stores.into_iter().zip(queues).map(|(store, queue)| {
        let context = Arc::clone(&context);
        let requests = UnboundedReceiverStream::new(queue).map(|key| {
            Ok::<_, std::convert::Infallible>(ObjectRef::<Packed>::new(&key.name).within(&key.namespace))
        });
        // The runtime's own limit takes whichever waits, so that under load some wait for ever.
        let config = Config::default().concurrency(0);
        let shared = Arc::clone(&context);
        let (turns, newest) = (Arc::clone(&turns), store.clone());
        let work = move |platform: Arc<Packed>, context: Arc<Context>| {
            in_turn(PlatformKey::of(platform.meta()), newest.clone(), Arc::clone(&turns), context).boxed()
        };
        let newest = store.clone();
        applier(work, error_policy, context, store, requests, config).for_each(move |result| {
            if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = result {
                let namespace = gone.namespace.clone().unwrap_or_default();
                let key = PlatformKey { namespace, name: gone.name.clone() };
                shared.forget(&key);
                if look(&key, &newest, &shared.caches.triggers).is_some() {
                    shared.caches.triggers.wake(key.clone(), "it was made anew");
                }
                shared.caches.triggers.ended(&key);
            }
            future::ready(())
        })
    });
    let work = future::join3(route, close, future::join_all(loops));
    tokio::select! {
        _ = work => {}
        () = ask => {}
    }
}

/// The platform as it is now. Whatever changes from now on wakes it again; whatever changed before is
/// in what is found. The queue looks earlier, and what came between would be missed.
fn look(key: &PlatformKey, platforms: &Store<Packed>, triggers: &Triggers) -> Option<Arc<Packed>> {
    triggers.started(key);
    platforms.get(&ObjectRef::new(&key.name).within(&key.namespace))
}

/// Lets a burst pass, waits for its turn, first come first served, and reconciles. Whose turn has not come when the operator
/// is asked to stop is left to the next leader.
async fn in_turn(
    key: PlatformKey,
    platforms: Store<Packed>,
    turns: Arc<Semaphore>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    if context.memories.knows(&key) {
        tokio::time::sleep(DEBOUNCE).await;
    }
    let Ok(_turn) = turns.acquire().await else { return Ok(Action::await_change()) };
    let result = if let Some(platform) = look(&key, &platforms, &context.caches.triggers) {
        // As a task of its own: what it waits for wakes it alone, and not all that wait for their turn.
        let work = tokio::spawn(guarded(platform, key.clone(), Arc::clone(&context)));
        work.await.unwrap_or_else(|error| Err(ReconcileError::Panic(error.to_string())))
    } else {
        context.forget(&key);
        Ok(Action::await_change())
    };
    context.caches.triggers.ended(&key);
    result
}

/// One reconcile, measured, bounded in time, and with panics kept in.
async fn guarded(
    platform: Arc<Packed>,
    key: PlatformKey,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let span = tracing::info_span!("reconcile", namespace = key.namespace, platform = key.name);
    let begin = Instant::now();
    let work = AssertUnwindSafe(reconcile(platform, Arc::clone(&context))).catch_unwind();
    let result = match tokio::time::timeout(RECONCILE, work.instrument(span.clone())).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(ReconcileError::Panic(words_of(panic.as_ref()))),
        Err(_) => Err(ReconcileError::TimedOut(RECONCILE.as_secs())),
    };
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) => error.category(),
    };
    let elapsed = begin.elapsed();
    context.metrics.reconciled(outcome, elapsed.as_secs_f64());
    span.in_scope(|| match &result {
        Ok(_) => {
            context.memories.update(&key, |memory| memory.failures = 0);
            tracing::debug!(?elapsed, "reconciled");
        }
        Err(error) => tracing::warn!(%error, ?elapsed, "reconciling failed and is repeated"),
    });
    result
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[allow(clippy::needless_pass_by_value)] // the signature is the runtime's
fn error_policy(platform: Arc<Packed>, _: &ReconcileError, context: Arc<Context>) -> Action {
    let key = PlatformKey::of(platform.meta());
    let (failures, report_again) = context.memories.update(&key, |memory| {
        memory.failures = memory.failures.saturating_add(1);
        (memory.failures, memory.report_again.take())
    });
    let pause = BACKOFF.0.saturating_mul(2_u32.saturating_pow(failures.min(16) - 1)).min(BACKOFF.1);
    let pause = jittered(pause);
    Action::requeue(report_again.map_or(pause, |again| again.min(pause)))
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn generation(generation: i64) -> Packed {
        let metadata = json!({"name": "shop", "namespace": "trading", "generation": generation});
        serde_json::from_value(json!({"metadata": metadata, "spec": {}})).expect("it is a platform")
    }

    #[test]
    fn a_change_is_in_what_is_found_or_wakes_again() {
        let (platforms, mut writer) = reflector::store();
        let (triggers, mut woken) = Triggers::new(Arc::new(Metrics::new().expect("metrics")));
        let key = PlatformKey { namespace: "trading".to_owned(), name: "shop".to_owned() };
        let mut change = |to: i64| {
            writer.apply_watcher_event(&Event::Apply(generation(to)));
            triggers.wake(key.clone(), "the resource changed");
        };
        change(1);
        assert_eq!(woken.try_recv().as_ref(), Ok(&key));
        // The queue has looked it up by now, and waits for its turn.
        change(2);
        assert!(woken.try_recv().is_err(), "once until it is reconciled");
        let found = look(&key, &platforms, &triggers).expect("it is there");
        assert_eq!(found.meta().generation, Some(2));
        change(3);
        assert_eq!(woken.try_recv().as_ref(), Ok(&key), "nobody would look again");
    }
}
