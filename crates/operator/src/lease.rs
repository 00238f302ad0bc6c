//! Leader election by a Lease. Whoever holds it writes; whoever loses it ends.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as LeaseObject, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{sleep, timeout};

use crate::{gate::Gate, settings::Settings};

/// How long a Lease counts after its last renewal, for others.
const DURATION: Duration = Duration::from_secs(15);
/// How long the holder itself trusts a renewal. It stops before others may begin.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time between renewals.
const RENEW: Duration = Duration::from_secs(4);
/// Time between looks at somebody else's Lease.
const RETRY: Duration = Duration::from_secs(2);
/// One request.
const REQUEST: Duration = Duration::from_secs(4);

/// Why leading ended or can't begin.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has it, or it could not be renewed in time.
    #[error("the Lease {0} is lost; another operator goes on")]
    Lost(String),
    /// No right to it.
    #[error("no right to the Lease {name}: {message}; grant create, get and update on leases")]
    Forbidden { name: String, message: String },
}

/// The Lease as this process sees it.
pub struct Lease {
    api: Api<LeaseObject>,
    name: String,
    namespace: String,
    identity: String,
}

/// Somebody else's Lease, and when this process first saw it like that. Ages are measured here,
/// never by comparing clocks of two machines.
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl Lease {
    /// The Lease of the settings.
    pub fn new(client: Client, settings: &Settings) -> Self {
        Self {
            api: Api::namespaced(client, &settings.lease_namespace),
            name: settings.lease_name.clone(),
            namespace: settings.lease_namespace.clone(),
            identity: settings.lease_identity.clone(),
        }
    }

    /// Waits until the Lease is this process's.
    ///
    /// # Errors
    /// Where there is no right to it.
    pub async fn acquire(&self, gate: &Gate) -> Result<(), LeaseError> {
        tracing::info!(lease = self.name, namespace = self.namespace, "waiting for the Lease");
        let mut seen: Option<Seen> = None;
        loop {
            let asked = Instant::now();
            match timeout(REQUEST, self.try_acquire(&mut seen)).await {
                Ok(Ok(true)) => {
                    gate.extend(asked, DEADLINE);
                    tracing::info!(lease = self.name, holder = self.identity, "leading");
                    return Ok(());
                }
                Ok(Ok(false)) => {}
                Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                    return Err(LeaseError::Forbidden {
                        name: self.name.clone(),
                        message: status.message.clone(),
                    });
                }
                Ok(Err(error)) => tracing::warn!(%error, "can't read or take the Lease yet"),
                Err(_) => tracing::warn!("the apiserver did not answer about the Lease in time"),
            }
            sleep(jittered(RETRY)).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = LeaseObject {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(1)),
            };
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let unchanged_since = match seen {
                Some(seen) if seen.version == lease.metadata.resource_version => seen.at,
                _ => {
                    *seen =
                        Some(Seen { version: lease.metadata.resource_version.clone(), at: Instant::now() });
                    return Ok(false);
                }
            };
            let valid = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
            if unchanged_since.elapsed() < valid.map_or(DURATION, Duration::from_secs) {
                return Ok(false);
            }
        }
        lease.spec = Some(self.spec(spec.lease_transitions.unwrap_or_default() + 1));
        // The resource version makes the apiserver refuse this where somebody was faster.
        taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Renews until that fails for too long or somebody else has the Lease.
    pub async fn keep(&self, gate: &Gate) -> LeaseError {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEW).await;
            let asked = Instant::now();
            match timeout(REQUEST, self.renew()).await {
                Ok(Ok(true)) => {
                    renewed = asked;
                    gate.extend(asked, DEADLINE);
                    continue;
                }
                Ok(Ok(false)) => {
                    gate.close();
                    return LeaseError::Lost(self.name.clone());
                }
                Ok(Err(error)) => tracing::warn!(%error, "can't renew the Lease"),
                Err(_) => tracing::warn!("the apiserver did not answer about the Lease in time"),
            }
            if renewed.elapsed() >= DEADLINE {
                gate.close();
                return LeaseError::Lost(self.name.clone());
            }
        }
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(false);
        }
        lease.spec = Some(LeaseSpec { renew_time: Some(now()), ..spec });
        taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Gives the Lease up, so that the next leader need not wait for its end.
    pub async fn release(&self) {
        if let Ok(Ok(())) = timeout(REQUEST, self.give_up()).await {
            tracing::info!("gave the Lease up");
        } else {
            tracing::warn!("could not give the Lease up; the next leader waits for its end");
        }
    }

    async fn give_up(&self) -> Result<(), kube::Error> {
        loop {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            lease.spec = Some(LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec });
            // A renewal that was under way may arrive between reading and writing.
            if taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)? {
                return Ok(());
            }
        }
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now()),
            renew_time: Some(now()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// A conflict means that somebody was faster.
fn taken(result: Result<LeaseObject, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

/// Half to one and a half times as long, so that several don't ask in step.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.5..1.5))
}
