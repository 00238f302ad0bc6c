//! Lets writes through only while this operator is certainly the leader.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Never closes by itself.
const FOREVER: u64 = u64::MAX;

/// Open until an instant that renewals push on. A process that was frozen finds it closed when
/// it wakes, whatever it was about to write.
#[derive(Clone, Debug)]
pub struct Gate {
    start: Instant,
    /// Milliseconds after `start`.
    open_until: Arc<AtomicU64>,
}

impl Gate {
    /// Nobody may write yet.
    pub fn closed() -> Self {
        Self { start: Instant::now(), open_until: Arc::new(AtomicU64::new(0)) }
    }

    /// Without leader election.
    pub fn open() -> Self {
        Self { start: Instant::now(), open_until: Arc::new(AtomicU64::new(FOREVER)) }
    }

    /// Opens until `valid` after `since`.
    pub fn extend(&self, since: Instant, valid: Duration) {
        let until = since.saturating_duration_since(self.start) + valid;
        let millis = u64::try_from(until.as_millis()).unwrap_or(FOREVER);
        self.open_until.store(millis, Ordering::SeqCst);
    }

    /// Nobody may write any more.
    pub fn close(&self) {
        self.open_until.store(0, Ordering::SeqCst);
    }

    /// Whether a write may start now.
    pub fn is_open(&self) -> bool {
        self.start.elapsed().as_millis() < u128::from(self.open_until.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_by_itself_when_nobody_renews() {
        let gate = Gate::closed();
        assert!(!gate.is_open());
        gate.extend(Instant::now(), Duration::from_mins(1));
        assert!(gate.is_open());
        gate.extend(Instant::now(), Duration::ZERO);
        assert!(!gate.is_open());
        assert!(Gate::open().is_open());
    }
}
