//! Asks the stand-ins of a component, each of which listens on its pod's address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::sim::{Space, at, text};

const PORT: u16 = 8080;

/// Longer than the stand-in waits for a store.
const PATIENCE: Duration = Duration::from_secs(5);

/// A component of a platform, as somebody who asks it.
#[derive(Clone)]
pub struct Application {
    space: Space<'static>,
    platform: String,
    component: String,
    failures: Arc<AtomicUsize>,
}

impl Application {
    /// The stand-ins of a component.
    #[must_use]
    pub fn new(space: &Space<'static>, platform: &str, component: &str) -> Self {
        Self {
            space: space.clone(),
            platform: platform.to_owned(),
            component: component.to_owned(),
            failures: Arc::default(),
        }
    }

    /// What it says about itself and the stores that it was told of.
    pub async fn about(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask("/standin", None).await?)?)
    }

    /// Has a store keep a key; no error means that the store has acknowledged it.
    pub async fn keep(&self, store: &str, key: &str) -> Result<()> {
        self.ask(&format!("/standin/{store}/{key}"), Some("")).await.map(drop)
    }

    /// Those of the keys that a store does not have.
    pub async fn missing(&self, store: &str, keys: &[String]) -> Result<Vec<String>> {
        let answer = self.ask(&format!("/standin/{store}"), Some(&keys.join("\n"))).await?;
        Ok(answer.lines().map(str::to_owned).collect())
    }

    async fn ask(&self, path: &str, body: Option<&str>) -> Result<String> {
        let address = self.address().await?;
        let answer = ask(address, path, body).await;
        if answer.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// One that is ready and stays; another one after each failure, as Services would do it.
    async fn address(&self) -> Result<SocketAddr> {
        let pods = self.space.pods(&self.platform, &self.component).await?;
        let ready: Vec<&Value> = pods.iter().filter(|pod| is_ready(pod)).collect();
        ensure!(!ready.is_empty(), "no pod of {} is ready", self.component);
        let pod = ready[self.failures.load(Ordering::Relaxed) % ready.len()];
        Ok(SocketAddr::new(text(pod, "/status/podIP").parse()?, PORT))
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = at(pod, "/status/conditions").as_array();
    let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready && at(pod, "/metadata/deletionTimestamp").is_null()
}

/// What a server answers at a path, in time.
pub(super) async fn ask(address: SocketAddr, path: &str, body: Option<&str>) -> Result<String> {
    let answer = tokio::time::timeout(PATIENCE, exchange(address, path, body)).await;
    answer.with_context(|| format!("{address} does not answer")).flatten()
}

async fn exchange(address: SocketAddr, path: &str, body: Option<&str>) -> Result<String> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its error reaches the request as well.
    tokio::spawn(async move { connection.await.ok() });
    let request = if body.is_some() { Request::post(path) } else { Request::get(path) };
    let content = Bytes::from(body.unwrap_or_default().to_owned());
    let request = request.header(header::HOST, address.to_string()).body(Full::new(content))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let answer = String::from_utf8(response.into_body().collect().await?.to_bytes().into())?;
    if !status.is_success() {
        bail!("{path}: {status}: {answer}");
    }
    Ok(answer)
}
