//! Keeper stage, I/O: reads and writes the Lease, and keeps it while this process leads. Each
//! write names the version that it changes, so that of two servers one is refused.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::clock;
use super::gate::Gate;
use super::lease::{EXPIRES, Holder, Lease, RENEWED, Record, TRUSTED};
use super::position::Lsn;

/// Annotation with what else the Lease says.
const RECORD: &str = "platform.trading/postgres";
/// Longer than any process runs.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);
/// One request.
const REQUEST: Duration = Duration::from_secs(3);
/// Between looks at somebody else's Lease.
const LOOK: Duration = Duration::from_secs(2);
/// Between looks at the clock.
const TICK: Duration = Duration::from_millis(250);

/// Why the Lease could not be read or written.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// No service account.
    #[error("there is no way to the Kubernetes API: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The API refused, or is out of reach.
    #[error("the Lease {name}: {source}")]
    Api {
        /// The Lease.
        name: String,
        /// What the API said.
        source: kube::Error,
    },
    /// The API did not answer.
    #[error("the Kubernetes API does not answer about the Lease {0}")]
    Timeout(String),
    /// It is not there.
    #[error("there is no Lease {0}: the operator makes it")]
    Absent(String),
    /// What it says is not understood.
    #[error("the annotation {RECORD} of the Lease {name} is not understood: {source}")]
    Record {
        /// The Lease.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Somebody was faster, or it was not read yet.
    #[error("the Lease {0} has changed")]
    Conflict(String),
}

/// The Lease as this process sees it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What it says.
    pub lease: Lease,
    /// When it was first seen like that, by [`clock::now`].
    pub seen: Duration,
    /// When it was last read or written.
    pub read: Duration,
    /// Until when this process trusts that it is its own.
    pub trusted: Option<Duration>,
}

struct State {
    object: Option<LeaseObject>,
    observed: Observed,
    renewed: Duration,
    looked: Duration,
    /// Whether there is no other server, so that it need not stop where the API is away.
    alone: bool,
    /// Whether clients may be let in with each renewal.
    leads: bool,
    /// Written with each renewal.
    position: Option<Lsn>,
}

/// Keeps one Lease.
pub struct Keeper {
    api: Api<LeaseObject>,
    name: String,
    me: Holder,
    gate: Gate,
    state: Mutex<State>,
    /// One request at a time.
    writing: tokio::sync::Mutex<()>,
}

/// A change of the Lease, from what it says to what it shall say.
type Change<'a> = &'a (dyn Fn(&Lease) -> Lease + Sync);

/// What has to hold when it is written.
enum Guard {
    /// It is as it was when the decision was made.
    SeenAt(Duration),
    /// It is ours.
    Ours,
}

impl Keeper {
    /// For this holder, which may be `alone`.
    pub async fn new(
        namespace: &str,
        name: &str,
        me: Holder,
        alone: bool,
        gate: Gate,
    ) -> Result<Arc<Self>, KeeperError> {
        let config = Config::infer().await?;
        let client =
            Client::try_from(config).map_err(|source| KeeperError::Api { name: name.to_owned(), source })?;
        let state = State {
            object: None,
            observed: Observed::default(),
            renewed: Duration::ZERO,
            looked: Duration::ZERO,
            alone,
            leads: false,
            position: None,
        };
        Ok(Arc::new(Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me,
            gate,
            state: Mutex::new(state),
            writing: tokio::sync::Mutex::new(()),
        }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Nothing that is done while it is locked can panic.
        change(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The Lease as last read; `None` before that.
    pub fn observed(&self) -> Option<Observed> {
        self.with(|state| state.object.as_ref().map(|_| state.observed.clone()))
    }

    /// Renews it while it is ours, else looks at it, until the process ends.
    pub async fn keep(self: Arc<Self>) {
        let mut complained = Duration::ZERO;
        loop {
            let now = clock::now();
            let (holds, renew, look) = self.with(|state| {
                let holds = state.observed.trusted.is_some_and(|end| now < end);
                (
                    holds,
                    now.saturating_sub(state.renewed) >= RENEWED,
                    now.saturating_sub(state.looked) >= LOOK,
                )
            });
            let result = match (holds, renew, look) {
                (true, true, _) => self.write(Guard::Ours, &Lease::clone).await,
                (false, _, true) => self.read().await,
                _ => Ok(()),
            };
            if let Err(error) = result {
                if now.saturating_sub(complained) >= EXPIRES {
                    tracing::warn!("{error}");
                    complained = now;
                }
                if holds {
                    // Another version may be in our way.
                    let _ = self.read().await;
                }
            }
            sleep(TICK).await;
        }
    }

    /// Reads it again.
    pub async fn read(&self) -> Result<(), KeeperError> {
        let _one = self.writing.lock().await;
        self.with(|state| state.looked = clock::now());
        let found = self.ask(self.api.get_opt(&self.name)).await?;
        let object = found.ok_or_else(|| KeeperError::Absent(self.name.clone()))?;
        self.note(object)
    }

    fn note(&self, object: LeaseObject) -> Result<(), KeeperError> {
        let lease =
            parse(&object).map_err(|source| KeeperError::Record { name: self.name.clone(), source })?;
        let now = clock::now();
        self.with(|state| {
            let renewal =
                |object: &LeaseObject| object.spec.as_ref().and_then(|spec| spec.renew_time.clone());
            let is_same = state.object.as_ref().is_some_and(|old| renewal(old) == renewal(&object))
                && state.observed.lease == lease;
            if !is_same {
                (state.observed.lease, state.observed.seen) = (lease, now);
            }
            if state.observed.lease.holder.as_ref() != Some(&self.me) {
                state.observed.trusted = None;
            }
            state.observed.read = now;
            state.object = Some(object);
        });
        Ok(())
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, KeeperError> {
        match timeout(REQUEST, request).await {
            Err(_) => Err(KeeperError::Timeout(self.name.clone())),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                Err(KeeperError::Conflict(self.name.clone()))
            }
            Ok(Err(source)) => Err(KeeperError::Api { name: self.name.clone(), source }),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    /// Writes what `change` makes of the version that is known. Trust counts from before it is sent.
    async fn write(&self, guard: Guard, change: Change<'_>) -> Result<(), KeeperError> {
        let _one = self.writing.lock().await;
        let sent = clock::now();
        let is_ours = |lease: &Lease| lease.holder.as_ref() == Some(&self.me);
        let known = self.with(|state| {
            let holds = match guard {
                Guard::SeenAt(seen) => state.observed.seen == seen,
                Guard::Ours => is_ours(&state.observed.lease),
            };
            let position = state.position.filter(|_| state.leads);
            let object = state.object.clone().filter(|_| holds)?;
            Some((object, state.observed.lease.clone(), position, state.alone))
        });
        let Some((object, lease, position, alone)) = known else {
            return Err(KeeperError::Conflict(self.name.clone()));
        };
        let mut changed = change(&lease);
        changed.record.alone = alone;
        if let Some(lsn) = position {
            changed.record.position.lsn = lsn;
        }
        let patch = patch(&object, &changed)
            .map_err(|source| KeeperError::Record { name: self.name.clone(), source })?;
        let params = PatchParams::default();
        let written = self.ask(self.api.patch(&self.name, &params, &Patch::Merge(&patch))).await?;
        self.note(written)?;
        self.with(|state| {
            state.renewed = sent;
            if is_ours(&changed) {
                // Only what the Lease says keeps others away.
                let end = sent + if alone && state.alone { FOREVER } else { TRUSTED };
                state.observed.trusted = Some(end);
                if state.leads {
                    self.gate.open_until(end);
                }
            } else {
                state.observed.trusted = None;
            }
        });
        Ok(())
    }

    /// Takes it, if it is still as it was `seen`.
    pub async fn acquire(&self, seen: Duration) -> Result<(), KeeperError> {
        self.write(Guard::SeenAt(seen), &|lease| lease.taken(&self.me)).await
    }

    /// Changes what our Lease says.
    pub async fn change(&self, change: Change<'_>) -> Result<(), KeeperError> {
        self.write(Guard::Ours, change).await
    }

    /// Gives it up.
    pub async fn release(&self) -> Result<(), KeeperError> {
        self.lower();
        self.write(Guard::Ours, &Lease::released).await
    }

    /// Whether there is no other server. What was trusted without end ends before the Lease lets
    /// others take it.
    pub fn set_alone(&self, alone: bool) {
        self.with(|state| {
            state.alone = alone;
            state.renewed = Duration::ZERO;
            let latest = clock::now() + TRUSTED;
            if let Some(end) = state.observed.trusted.as_mut().filter(|end| !alone && **end > latest) {
                *end = latest;
                if state.leads {
                    self.gate.open_until(latest);
                }
            }
        });
    }

    /// Lets clients in while the Lease, which says that this server takes writes, is renewed.
    pub fn raise(&self) {
        self.with(|state| {
            state.leads = true;
            state.observed.trusted.into_iter().for_each(|end| self.gate.open_until(end));
        });
    }

    /// Lets clients in no more.
    pub fn lower(&self) {
        self.with(|state| state.leads = false);
        self.gate.close();
    }

    /// What the next renewals say of this server's data.
    pub fn report(&self, lsn: Lsn) {
        self.with(|state| state.position = Some(lsn));
    }
}

fn parse(object: &LeaseObject) -> Result<Lease, serde_json::Error> {
    let record = object.metadata.annotations.as_ref().and_then(|all| all.get(RECORD));
    let record = record.map_or(Ok(Record::default()), |text| serde_json::from_str(text))?;
    let spec = object.spec.clone().unwrap_or_default();
    Ok(Lease {
        holder: spec.holder_identity.as_deref().and_then(Holder::parse),
        transitions: spec.lease_transitions.and_then(|it| it.try_into().ok()).unwrap_or_default(),
        record,
    })
}

/// The change of a Lease from `old` to what it shall say, refused where it is not `old` any more.
fn patch(old: &LeaseObject, lease: &Lease) -> Result<Value, serde_json::Error> {
    let holder = lease.holder.as_ref().map(ToString::to_string);
    let now = MicroTime(Timestamp::now());
    let mut spec = json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": EXPIRES.as_secs(),
        "leaseTransitions": lease.transitions,
        "renewTime": now,
    });
    if old.spec.as_ref().and_then(|spec| spec.holder_identity.clone()) != holder {
        spec["acquireTime"] = json!(now);
    }
    let record = serde_json::to_string(&lease.record)?;
    Ok(json!({
        "metadata": {"resourceVersion": old.metadata.resource_version, "annotations": {RECORD: record}},
        "spec": spec,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::position::Position;
    use super::*;

    fn written(old: &LeaseObject, lease: &Lease) -> Result<LeaseObject, serde_json::Error> {
        let mut object = serde_json::to_value(old)?;
        json_patch::merge(&mut object, &patch(old, lease)?);
        serde_json::from_value(object)
    }

    #[test]
    fn what_is_written_is_read() -> Result<(), serde_json::Error> {
        let me = Holder { name: "shop-postgres-0".into(), life: "uid".into() };
        let object = LeaseObject::default();
        assert_eq!(parse(&object)?, Lease::default());
        let position = Position { timeline: 2, lsn: Lsn(77) };
        let lease = Lease::default().taken(&me).confirmed(u64::MAX, position, ["b".to_owned()].into());
        let object = written(&object, &lease)?;
        assert_eq!(parse(&object)?, lease);
        assert_eq!(lease.leader(), Some(&me.name));
        let released = lease.released();
        assert_eq!(parse(&written(&object, &released)?)?, released);
        assert_eq!((released.leader(), released.taken(&me).transitions), (None, 1));
        let other = Holder { name: "shop-postgres-1".into(), life: "uid".into() };
        assert_eq!((released.taken(&other).leader(), released.taken(&other).transitions), (None, 2));
        Ok(())
    }
}
