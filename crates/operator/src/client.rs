//! The two clients: one that may always talk to the apiserver (for reading and the Lease), and one
//! whose connections carry bytes only while the gate is open.

use http::{Request, Response};
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt, retry::RetryPolicy},
};
use tokio::time::Sleep;
use tower::{
    BoxError, ServiceBuilder,
    filter::FilterLayer,
    retry::{Policy, RetryLayer},
};

use crate::{gate::Gate, gated_io::GatedConnector};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No kubeconfig and no service account.
    #[error("no configuration: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The configuration can't be used.
    #[error("{0}")]
    Build(#[from] kube::Error),
}

/// A write that came too late.
#[derive(Debug, thiserror::Error)]
#[error("this operator is not the leader (any more); the write was not sent")]
pub struct NotLeader;

/// The clients of one process.
pub struct Clients {
    /// Watches, and keeps the Lease.
    pub reading: Client,
    /// Reconciles.
    pub writing: Client,
}

/// Repeats what the apiserver is too busy for. To an eviction the same answer is that of a budget, which may stand
/// for hours.
#[derive(Clone)]
struct Patience(RetryPolicy);

impl<Answer> Policy<Request<Body>, Response<Answer>, BoxError> for Patience {
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<Answer>, BoxError>,
    ) -> Option<Sleep> {
        self.0.retry(request, result)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if request.uri().path().ends_with("/eviction") {
            return None;
        }
        <RetryPolicy as Policy<_, Response<Answer>, BoxError>>::clone_request(&mut self.0, request)
    }
}

/// Both clients.
///
/// # Errors
/// Where there is no usable configuration.
pub async fn clients(gate: &Gate) -> Result<Clients, ClientError> {
    let config = Config::infer().await?;
    Ok(Clients { writing: gated(&config, gate)?, reading: Client::try_from(config)? })
}

/// The gate is asked twice: before a request begins, for a clear error, and whenever bytes are about
/// to leave, because a process can be frozen anywhere in between, with a retry or a request that
/// waits for its connection still to come.
fn gated(config: &Config, gate: &Gate) -> Result<Client, ClientError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(config.connect_timeout);
    let tls = config.rustls_https_connector_with_connector(GatedConnector::new(tcp, gate.clone()))?;
    let http = Builder::new(TokioExecutor::new()).build::<_, Body>(tls);
    let asked = gate.clone();
    let service = ServiceBuilder::new()
        .layer(FilterLayer::new(move |request: Request<Body>| {
            if asked.is_open() { Ok::<_, BoxError>(request) } else { Err(NotLeader.into()) }
        }))
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(Patience(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}
