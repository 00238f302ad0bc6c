//! Asks one server's agent. What it answers is not trusted: it is bounded here, and checked by the core.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::Semaphore, time::timeout};
use trading_core::members::{PATH, Protocol, Report};

use super::outside;

/// For one answer, the look-up of the name included.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer: a server of the largest cluster needs a third of it.
const LONGEST: usize = 96 * 1024;
/// Questions at a time, over all platforms.
const AT_ONCE: usize = 48;

/// Asks servers.
pub struct Asker {
    client: Client<HttpConnector, Body>,
    turns: Semaphore,
}

impl Asker {
    /// Who keeps no connection open.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        // Servers are asked rarely, and an old connection may end at a pod that is gone.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, turns: Semaphore::new(AT_ONCE) }
    }

    /// What it answers; `None` where nothing comes back in time that can be read.
    pub async fn ask(&self, host: &str, port: u16) -> Option<Report> {
        let address: Uri = format!("http://{host}:{port}{PATH}").parse().ok()?;
        let _turn = self.turns.acquire().await.ok()?;
        timeout(PATIENCE, self.converse(address)).await.ok().flatten()
    }

    /// Whether a store that somebody else runs answers.
    pub async fn try_outside(&self, protocol: Protocol, host: &str, port: u16) -> Option<Report> {
        let _turn = self.turns.acquire().await.ok()?;
        Some(outside::look(protocol, host, port, outside::is_admitted).await)
    }

    async fn converse(&self, address: Uri) -> Option<Report> {
        let response = self.client.get(address).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let bytes = to_bytes(Body::new(response.into_body()), LONGEST).await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}
