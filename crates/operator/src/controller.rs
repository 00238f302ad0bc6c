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
use tokio::sync::{mpsc, watch as signal};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::Instrument;
use trading_core::inputs::OperatorSettings;

use crate::{
    cache::{Caches, PlatformKey},
    lease::jittered,
    metrics::Metrics,
    packed::Packed,
    reconcile::{Context, Memories, ReconcileError, reconcile, reporter},
    settings::Settings,
};

/// Collects what comes in a burst, such as pods that become ready one after the other.
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
    operator.api_server_ports.clone_from(&settings.api_server_ports);
    operator.allow_container_runtime = settings.allow_container_runtime;
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter(&settings.lease_identity)),
        client,
        caches,
        metrics,
        operator,
        memories: Memories::default(),
    });
    let stopped = async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let woken = UnboundedReceiverStream::new(woken).take_until(stopped.shared());

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
        let config = Config::default().debounce(DEBOUNCE).concurrency(settings.concurrency);
        let forget = Arc::clone(&context);
        applier(
            |platform, context| guarded(platform, context).boxed(),
            error_policy,
            context,
            store,
            requests,
            config,
        )
        .for_each(move |result| {
            if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = result {
                forget.forget(&PlatformKey {
                    namespace: gone.namespace.clone().unwrap_or_default(),
                    name: gone.name.clone(),
                });
            }
            future::ready(())
        })
    });
    future::join(route, future::join_all(loops)).await;
}

/// One reconcile, measured, bounded in time, and with panics kept in.
async fn guarded(platform: Arc<Packed>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let key = PlatformKey::of(platform.meta());
    context.caches.triggers.started(&key);
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
    let failures = context.memories.update(&key, |memory| {
        memory.failures = memory.failures.saturating_add(1);
        memory.failures
    });
    let pause = BACKOFF.0.saturating_mul(2_u32.saturating_pow(failures.min(16) - 1)).min(BACKOFF.1);
    Action::requeue(jittered(pause))
}
