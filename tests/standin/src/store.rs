//! What a store can do for a ledger, and why it can't: the names that the stores' modules share.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;

/// For one answer of a store: longer than a healthy one takes, shorter than a client waits.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Why a store did not do it; whether it was done is then unknown.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Postgres, or the way to it.
    #[error("postgres: {0}")]
    Postgres(String),
    /// Redis, or the way to it.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// It is on one server alone.
    #[error("no replica has it")]
    Unconfirmed,
    /// It did not answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// Those of the keys that are not there.
pub fn missing(wanted: &[String], there: &BTreeSet<String>) -> Vec<String> {
    wanted.iter().filter(|key| !there.contains(*key)).cloned().collect()
}

/// Waits for an answer, but not for ever.
pub async fn patiently<T, E: Into<StoreError>>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| StoreError::Silent)?.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_missing() {
        let wanted = ["a", "b", "c"].map(str::to_owned);
        let there = BTreeSet::from(["b".to_owned(), "z".to_owned()]);
        assert_eq!(missing(&wanted, &there), ["a", "c"]);
    }
}
