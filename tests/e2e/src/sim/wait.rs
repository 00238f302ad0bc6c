//! Waiting with a deadline, and watching that nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// For what the operator does by itself, such as repairing drift: seconds, more of them on a busy machine.
pub const BRIEF: Duration = Duration::from_secs(20);
/// For what takes pods to come and go.
pub const SETTLE: Duration = Duration::from_mins(1);
/// For what takes a Lease to end, a backoff or a namespace.
pub const LONG: Duration = Duration::from_mins(2);

const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is not an error. At the deadline the last error says what was seen.
pub async fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut check: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) => {
                ensure!(began.elapsed() < timeout, "{what}: not within {timeout:?}: {error:#}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks for so long, and fails at the first error: it shows that nothing happens.
pub async fn stays(what: &str, window: Duration, mut check: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < window {
        if let Err(error) = check().await {
            anyhow::bail!("{what}: only for {:?}: {error:#}", began.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
