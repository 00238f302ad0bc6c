//! Which watches have their first list. Nothing is written from half a cache.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

/// Each watch by name, with its last error while it has no list.
pub struct Sync {
    waiting: Mutex<BTreeMap<String, Option<String>>>,
    done: watch::Sender<bool>,
}

impl Default for Sync {
    fn default() -> Self {
        Self { waiting: Mutex::default(), done: watch::Sender::new(false) }
    }
}

impl Sync {
    /// A watch begins.
    pub fn expect(&self, watch: &str) {
        self.lock().insert(watch.to_owned(), None);
    }

    /// A watch has its list.
    pub fn listed(&self, watch: &str) {
        let mut waiting = self.lock();
        waiting.remove(watch);
        if waiting.is_empty() {
            self.done.send_replace(true);
        }
    }

    /// A watch failed; it is tried again.
    pub fn failed(&self, watch: &str, error: String) {
        if let Some(last) = self.lock().get_mut(watch) {
            *last = Some(error);
        }
    }

    /// What is still waited for, in words.
    pub fn waiting(&self) -> Vec<String> {
        self.lock()
            .iter()
            .map(|(watch, error)| match error {
                Some(error) => format!("the list of {watch}: {error}"),
                None => format!("the list of {watch}"),
            })
            .collect()
    }

    /// Waits until every watch has its list.
    pub async fn complete(&self) {
        // The sender lives as long as self, so waiting can't fail.
        let _ = self.done.subscribe().wait_for(|done| *done).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
