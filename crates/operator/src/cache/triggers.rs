//! Wakes platforms and knows how many wait.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;

use super::PlatformKey;
use crate::metrics::Metrics;

/// The way from a change to the reconcile of the platform that it concerns.
pub struct Triggers {
    sender: mpsc::UnboundedSender<PlatformKey>,
    waiting: Mutex<HashSet<PlatformKey>>,
    metrics: Arc<Metrics>,
}

impl Triggers {
    /// The sending side, and the platforms to wake.
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::UnboundedReceiver<PlatformKey>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, waiting: Mutex::default(), metrics }, receiver)
    }

    /// Wakes a platform, once until it is reconciled.
    pub fn wake(&self, platform: PlatformKey, cause: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.insert(platform.clone()) {
            tracing::debug!(namespace = platform.namespace, platform = platform.name, cause, "woken");
            self.metrics.queue_depth(waiting.len());
            // Nobody receives only while the process ends.
            let _ = self.sender.send(platform);
        }
    }

    /// Its reconcile begins: what changes from now on wakes it again.
    pub fn started(&self, platform: &PlatformKey) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(platform);
        self.metrics.queue_depth(waiting.len());
    }

    /// Whether any but this platform waits to be reconciled.
    pub fn others_wait(&self, platform: &PlatformKey) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().any(|other| other != platform)
    }
}
