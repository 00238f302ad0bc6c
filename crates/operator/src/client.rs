//! The two clients: one that may always talk to the apiserver (for the Lease), and one whose
//! writes pass the gate.

use http::{Method, Request};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{BoxError, filter::FilterLayer};

use crate::gate::Gate;

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

/// A client for the Lease, and one whose writes pass the gate.
///
/// # Errors
/// Where there is no usable configuration.
pub async fn clients(gate: &Gate) -> Result<(Client, Client), ClientError> {
    let config = Config::infer().await?;
    let free = Client::try_from(config.clone())?;
    let gate = gate.clone();
    let layer = FilterLayer::new(move |request: Request<Body>| {
        if request.method() == Method::GET || gate.is_open() {
            Ok::<_, BoxError>(request)
        } else {
            Err(NotLeader.into())
        }
    });
    let gated = ClientBuilder::try_from(config)?.with_layer(&layer).build();
    Ok((free, gated))
}
