//! Something of which only the newest matters, and whether it changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The newest value, once there is one.
#[derive(Debug)]
pub struct Latest<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: PartialEq> Latest<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` until it is known.
    pub fn get(&self) -> Option<Arc<T>> {
        self.lock().clone()
    }

    /// Returns whether it is another than before.
    pub fn set(&self, new: T) -> bool {
        let mut held = self.lock();
        let changed = held.as_deref() != Some(&new);
        if changed {
            *held = Some(Arc::new(new));
        }
        changed
    }
}
