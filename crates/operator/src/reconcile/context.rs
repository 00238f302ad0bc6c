//! What every reconcile shares, and what is remembered of each platform between two.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::sync::Semaphore;
use trading_api::{TradingPlatform, status::TradingPlatformStatus};
use trading_core::{
    inputs::{OperatorSettings, Reference},
    step::Steps,
};

use super::hindered::Hindered;
use crate::{
    cache::{Caches, PlatformKey, Text, text},
    certificates::CertificateError,
    members::Book,
    metrics::{Metrics, ObjectOutcome},
};

/// What every reconcile shares.
pub struct Context {
    /// Client whose writes pass the gate.
    pub client: Client,
    /// What is live.
    pub caches: Arc<Caches>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Settings of the operator.
    pub operator: OperatorSettings,
    /// Writes Events.
    pub recorder: Recorder,
    /// What the servers of data stores say of themselves, where they are asked.
    pub members: Option<Arc<Book>>,
    /// How many objects are applied at once, of all platforms together.
    pub turns: Semaphore,
    /// What is remembered.
    pub memories: Memories,
}

/// Who writes Events.
pub fn reporter(instance: &str) -> Reporter {
    Reporter { controller: "trading-operator".to_owned(), instance: Some(instance.to_owned()) }
}

impl Context {
    /// A platform is gone.
    pub fn forget(&self, key: &PlatformKey) {
        self.memories.forget(key);
        self.caches.triggers.spoke(key);
        self.members.iter().for_each(|book| book.forget(key));
        self.caches.references.consumed_by(key, &[]);
        self.caches.add_ons.forget(key);
        self.metrics.forget_platform(&key.namespace, &key.name);
    }

    /// Remembers what a Secret or `ConfigMap` holds, and wakes those who wait for one that nobody knew of.
    pub fn has_read(&self, reference: &Reference, version: &str, digests: &BTreeMap<String, String>) {
        for platform in self.caches.references.read(reference, version, digests) {
            self.caches.triggers.wake(platform, "what it consumes is there");
        }
    }

    /// Counts what a reconcile found and did.
    pub fn count(&self, steps: &Steps) {
        for key in &steps.unchanged {
            self.metrics.objects(key.kind, ObjectOutcome::Unchanged, 1);
        }
        for prune in steps.prune_first.iter().chain(&steps.prune) {
            self.metrics.objects(prune.key.kind, ObjectOutcome::Pruned, 1);
        }
    }
}

/// A status that was written.
pub struct Reported {
    /// UID of its platform.
    uid: String,
    /// When.
    pub at: Instant,
    /// As text, which takes a fifth of the memory. The same as that of the platform, once the watch has brought it
    /// back, down to the order of fields: so it is there once.
    text: Text,
}

impl Reported {
    /// It was written just now.
    ///
    /// # Errors
    /// Where it can't be text.
    pub fn now(uid: String, status: &TradingPlatformStatus) -> serde_json::Result<Self> {
        Ok(Self { uid, at: Instant::now(), text: text(&serde_json::to_value(status)?.to_string()) })
    }
}

/// What is remembered of a platform.
#[derive(Default)]
pub struct Memory {
    /// Failures in a row.
    pub failures: u32,
    /// UID and generation that were found to keep all rules.
    pub valid: Option<(String, i64)>,
    /// The status last written.
    pub reported: Option<Reported>,
    /// When its status, which has something new to say, is to be looked at again.
    pub report_again: Option<Duration>,
    /// Since when its first status waits for other platforms' objects.
    pub silent_since: Option<Instant>,
    /// What hinders its pods.
    pub hindered: Hindered,
    /// UID and what its deletion last said that it waits for.
    pub teardown: Option<(String, &'static str)>,
}

/// What is remembered of all platforms.
#[derive(Default)]
pub struct Memories(Mutex<HashMap<PlatformKey, Memory>>);

impl Memories {
    /// Reads or changes what is remembered.
    pub fn update<T>(&self, key: &PlatformKey, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(memories.entry(key.clone()).or_default())
    }

    /// Whether the platform was looked at before.
    pub fn knows(&self, key: &PlatformKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// The status that was last written, newer than what a watch may have brought back.
    pub fn status_of(&self, platform: &TradingPlatform, key: &PlatformKey) -> Option<TradingPlatformStatus> {
        let uid = platform.metadata.uid.as_deref().unwrap_or_default();
        self.update(key, |memory| {
            let reported = memory.reported.as_ref().filter(|reported| reported.uid == uid)?;
            serde_json::from_str(&reported.text).ok()
        })
        .or_else(|| platform.status.clone())
    }

    fn forget(&self, key: &PlatformKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// What the apiserver said, without the whole answer around it.
pub fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether nothing can be made any more because the namespace goes.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Why a reconcile is repeated.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Reading something failed.
    #[error("can't read {what}: {}", brief(source))]
    Read { what: String, source: kube::Error },
    /// Writing something failed.
    #[error("can't write {what}: {}", brief(source))]
    Write { what: String, source: kube::Error },
    /// The apiserver said no; the status says why.
    #[error("{0} was refused")]
    Refused(String),
    /// A password that a person chose is none.
    #[error("{why}")]
    Unusable {
        /// Which, and what to do.
        why: String,
        /// A store waits for it; otherwise it serves with the one that it has.
        is_first: bool,
    },
    /// A Secret that is to get a certificate is not the operator's.
    #[error("Secret {name:?} was not made by this operator")]
    Foreign { name: String },
    /// No certificate was made.
    #[error("no certificate for Secret {secret:?}: {source}")]
    Certificate { secret: String, source: CertificateError },
    /// It took too long.
    #[error("gave up after {0} s")]
    TimedOut(u64),
    /// A defect of the operator.
    #[error("a defect of the operator, please report it: {0}")]
    Panic(String),
}

impl ReconcileError {
    /// Label of the metric; few and fixed.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read_failed",
            Self::Write { .. } => "write_failed",
            Self::Refused(_) | Self::Unusable { .. } | Self::Foreign { .. } => "refused",
            Self::Certificate { .. } => "certificate_failed",
            Self::TimedOut(_) => "timed_out",
            Self::Panic(_) => "panicked",
        }
    }

    /// For `map_err`.
    pub fn reading(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Read { what, source }
    }

    /// For `map_err`.
    pub fn writing(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Write { what, source }
    }
}
