//! /healthz, /readyz and /metrics.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::{cache::Caches, metrics::Metrics};

#[derive(Clone)]
struct Shared {
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, caches: Arc<Caches>, metrics: Arc<Metrics>) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async |State(shared): State<Shared>| shared.metrics.text()))
        .with_state(Shared { caches, metrics });
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are no longer served");
    }
}

/// Ready when every watch has its first list: the standby too, so that it can take over at once.
async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    let waiting = shared.caches.sync.waiting();
    if waiting.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for:\n{}\n", waiting.join("\n")))
    }
}
