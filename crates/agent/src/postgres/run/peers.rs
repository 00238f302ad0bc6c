//! Peers stage, I/O: asks the other servers' agents how they are.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use futures::future::join_all;
use http::Uri;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::decide::Status;
use super::lease::Name;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most that an answer has.
const LONGEST: usize = 64 * 1024;

/// The others, by name.
pub struct Peers {
    client: Client<HttpConnector, Body>,
    addresses: BTreeMap<Name, Uri>,
}

impl Peers {
    /// Where their agents answer.
    pub fn new(addresses: BTreeMap<Name, Uri>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        // A connection of its own for each question: an old one may end at a pod that is gone.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, addresses }
    }

    /// What they say now; who does not answer is missing.
    pub async fn ask(&self) -> BTreeMap<Name, Status> {
        let answers = self.addresses.iter().map(async |(name, address)| {
            let answer = timeout(PATIENCE, self.ask_one(address)).await.ok().flatten();
            answer.filter(|status| status.name == *name).map(|status| (name.clone(), status))
        });
        join_all(answers).await.into_iter().flatten().collect()
    }

    async fn ask_one(&self, address: &Uri) -> Option<Status> {
        let response = self.client.get(address.clone()).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let body = Body::new(response.into_body());
        let bytes = to_bytes(body, LONGEST).await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}
