//! Counts what was asked and what came of it, pure.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Requests, and those that failed.
#[derive(Debug, Default)]
pub struct Counted {
    done: AtomicU64,
    failed: AtomicU64,
}

/// The numbers of a moment.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Numbers {
    pub done: u64,
    pub failed: u64,
}

impl Counted {
    /// Counts by the result, and passes it on.
    pub fn pass<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        let number = if result.is_ok() { &self.done } else { &self.failed };
        number.fetch_add(1, Ordering::Relaxed);
        result
    }

    pub fn numbers(&self) -> Numbers {
        Numbers { done: self.done.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_and_passed_on() {
        let counted = Counted::default();
        assert_eq!(counted.pass(Ok::<_, ()>(7)), Ok(7));
        assert_eq!(counted.pass(Err::<(), _>("no")), Err("no"));
        assert_eq!(counted.pass(Ok::<_, ()>(8)), Ok(8));
        assert_eq!(counted.numbers(), Numbers { done: 2, failed: 1 });
    }
}
