//! Wakes platforms, and knows which wait for their objects and which only for their first word.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::PlatformKey;
use crate::metrics::Metrics;

/// The way from a change to the reconcile of the platform that it concerns.
pub struct Triggers {
    sender: mpsc::UnboundedSender<PlatformKey>,
    queue: Mutex<Queue>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queue {
    /// Woken, and not reconciled since.
    waiting: HashSet<PlatformKey>,
    /// Being reconciled.
    working: HashSet<PlatformKey>,
    /// Have their objects, and a first word that waits until no other platform needs any; and whether they were told
    /// that none does.
    silent: HashMap<PlatformKey, bool>,
}

impl Queue {
    fn busy(&self) -> impl Iterator<Item = &PlatformKey> {
        self.waiting.iter().chain(&self.working).filter(|platform| !self.silent.contains_key(*platform))
    }
}

impl Triggers {
    /// The sending side, and the platforms to wake.
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::UnboundedReceiver<PlatformKey>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, queue: Mutex::default(), metrics }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a platform, once until it is reconciled.
    pub fn wake(&self, platform: PlatformKey, cause: &str) {
        let mut queue = self.lock();
        if queue.waiting.insert(platform.clone()) {
            tracing::debug!(namespace = platform.namespace, platform = platform.name, cause, "woken");
            self.metrics.queue_depth(queue.waiting.len());
            // Nobody receives only while the process ends.
            let _ = self.sender.send(platform);
        }
    }

    /// Its reconcile begins: what changes from now on wakes it again.
    pub fn started(&self, platform: &PlatformKey) {
        let mut queue = self.lock();
        queue.waiting.remove(platform);
        queue.working.insert(platform.clone());
        self.metrics.queue_depth(queue.waiting.len());
    }

    /// Its reconcile ended. Where that was the last one that made objects, whoever kept silent may speak.
    pub fn ended(&self, platform: &PlatformKey) {
        let mut queue = self.lock();
        queue.working.remove(platform);
        if queue.busy().next().is_some() {
            return;
        }
        let untold = queue.silent.iter_mut().filter(|(_, told)| !**told);
        let released: Vec<_> = untold
            .map(|(platform, told)| {
                *told = true;
                platform.clone()
            })
            .collect();
        drop(queue);
        for platform in released {
            self.wake(platform, "the others have their objects");
        }
    }

    /// Whether any but this platform may still need objects. Then this one keeps silent and is woken when none does.
    pub fn keeps_silent(&self, platform: &PlatformKey) -> bool {
        let mut queue = self.lock();
        let is_busy = queue.busy().any(|other| other != platform);
        if is_busy {
            queue.silent.insert(platform.clone(), false);
        }
        is_busy
    }

    /// It has said its first word, or never will.
    pub fn spoke(&self, platform: &PlatformKey) {
        self.lock().silent.remove(platform);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_speaks_when_the_last_has_its_objects() {
        let (triggers, mut woken) = Triggers::new(Arc::new(Metrics::new().expect("metrics")));
        let [first, second] = ["first", "second"]
            .map(|name| PlatformKey { namespace: "shop".to_owned(), name: name.to_owned() });
        for platform in [&first, &second] {
            triggers.wake(platform.clone(), "a test");
            assert_eq!(woken.try_recv().as_ref(), Ok(platform));
            triggers.started(platform);
        }
        assert!(triggers.keeps_silent(&first), "the second is at work");
        triggers.ended(&first);
        assert!(woken.try_recv().is_err());
        assert!(!triggers.keeps_silent(&second), "the first has its objects");
        triggers.ended(&second);
        assert_eq!(woken.try_recv().as_ref(), Ok(&first));
        triggers.started(&first);
        triggers.ended(&first);
        assert!(woken.try_recv().is_err(), "once, though it could not speak");
    }
}
