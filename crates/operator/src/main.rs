//! The operator: wires the client, the watches, the controller and the endpoints together.

mod add_ons;
mod cache;
mod certificates;
mod client;
mod controller;
mod gate;
mod gated_io;
mod http;
mod lease;
mod members;
mod metrics;
mod objects;
mod packed;
mod prices;
mod reconcile;
mod settings;
mod storage_classes;
mod watch;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use tokio::{select, sync::watch as signal};
use trading_core::admission;

use crate::{
    cache::Caches,
    client::Clients,
    gate::Gate,
    lease::{Lease, LeaseError},
    metrics::Metrics,
    settings::{Settings, init_logging},
};

/// Documents are made and dropped all the time; with the C library's allocator that was a third of the work.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long reconciles that are under way may take to end after a request to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// Why the operator ends with an error.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("can't reach the cluster: {0}; set KUBECONFIG or run in a pod")]
    Client(#[from] client::ClientError),
    #[error("can't serve health and metrics on {address}: {source}")]
    Http { address: std::net::SocketAddr, source: std::io::Error },
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("can't listen for signals: {0}")]
    Signal(#[source] std::io::Error),
    #[error("the controller ended by itself")]
    ControllerEnded,
}

// It mostly waits for the apiserver; a second thread costs memory and is no faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    init_logging(&settings);
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), RunError> {
    // Beside the waiting for lists and the Lease: the first platform and the probes don't wait for it.
    tokio::task::spawn_blocking(admission::prepare);
    let gate = if settings.leader_elect { Gate::closed() } else { Gate::open() };
    let Clients { reading, writing } = client::clients(&gate).await?;
    let metrics = Arc::new(Metrics::new()?);
    let (caches, triggers) = Caches::new(&metrics);
    let caches = Arc::new(caches);

    let listener = tokio::net::TcpListener::bind(settings.http_addr)
        .await
        .map_err(|source| RunError::Http { address: settings.http_addr, source })?;
    tokio::spawn(http::serve(listener, Arc::clone(&caches), Arc::clone(&metrics)));

    // The standby keeps its caches warm; it only may not write.
    let roots = watch::start(&reading, &settings.watch_namespace, &caches);
    prices::watch(reading.clone(), &settings, roots.clone(), &caches);
    if settings.watch_namespace.is_empty() {
        storage_classes::watch(reading.clone(), roots.clone(), &caches);
    }
    let stop = stop_signal()?;
    let lease = Lease::new(reading, &settings);

    let mut stopping = stop.clone();
    if settings.leader_elect {
        select! {
            acquired = lease.acquire(&gate) => acquired?,
            () = stopped(&mut stopping) => return Ok(()),
        }
    }
    let controller = controller::run(writing, &settings, roots, Arc::clone(&caches), triggers, metrics, stop);
    tokio::pin!(controller);
    let keep_lease =
        async { if settings.leader_elect { lease.keep(&gate).await } else { std::future::pending().await } };
    select! {
        // The controller ends after a request to stop; that is no error.
        biased;
        () = stopped(&mut stopping) => {
            tracing::info!("asked to stop; ending what is under way");
            if tokio::time::timeout(DRAIN, controller).await.is_err() {
                tracing::warn!("some reconciles did not end in time; the next leader repeats them");
            }
            gate.close();
            if settings.leader_elect {
                lease.release().await;
            }
            Ok(())
        }
        () = &mut controller => Err(RunError::ControllerEnded),
        lost = keep_lease => Err(lost.into()),
    }
}

async fn stopped(signal: &mut signal::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = signal.wait_for(|stop| *stop).await;
}

/// Turns true at SIGTERM or Ctrl-C.
fn stop_signal() -> Result<signal::Receiver<bool>, RunError> {
    use tokio::signal::unix::{SignalKind, signal as unix};
    let mut terminate = unix(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = unix(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let (sender, receiver) = signal::channel(false);
    tokio::spawn(async move {
        select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Nobody listens any more only when the process is ending anyway.
        let _ = sender.send(true);
        sender.closed().await;
    });
    Ok(receiver)
}
