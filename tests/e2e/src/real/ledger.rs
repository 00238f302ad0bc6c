//! Load on a store, with a ledger of every write that was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;

use super::application::Application;
use crate::sim::wait_for;

const PAUSE: Duration = Duration::from_millis(20);
/// Keys that are asked for at once.
const AT_ONCE: usize = 500;
const READ_BACK: Duration = Duration::from_mins(2);

/// What was acknowledged.
#[derive(Debug)]
pub struct Ledger {
    /// The store.
    pub store: &'static str,
    /// Keys that must be there.
    pub acknowledged: Vec<String>,
    /// Writes of which nobody knows whether they were done.
    pub failed: usize,
    /// The most of them in a row: a client that asks again as often has lost nothing.
    pub failed_in_a_row: usize,
    /// The longest time in which none was acknowledged.
    pub longest_gap: Duration,
    /// What the last failed write said.
    pub last_error: String,
}

impl Ledger {
    /// Reads everything back, and returns what was acknowledged and is not there.
    pub async fn lost(&self, application: &Application) -> Result<Vec<String>> {
        ensure!(
            !self.acknowledged.is_empty(),
            "{}: nothing was acknowledged: {}",
            self.store,
            self.last_error
        );
        lost(application, self.store, &self.acknowledged).await
    }

    /// Reads everything back; whatever was acknowledged and is not there is an error.
    pub async fn check(&self, application: &Application) -> Result<()> {
        let missing = self.lost(application).await?;
        ensure!(
            missing.is_empty(),
            "{}: {} of {} acknowledged writes are lost, such as {:?}",
            self.store,
            missing.len(),
            self.acknowledged.len(),
            missing.first()
        );
        Ok(())
    }

    /// For a person who reads what a test has measured.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "{}: {} writes acknowledged, {} failed, {} in a row, none for at most {:.1} s",
            self.store,
            self.acknowledged.len(),
            self.failed,
            self.failed_in_a_row,
            self.longest_gap.as_secs_f64()
        )
    }
}

/// Those of a store's keys that are not there.
pub async fn lost(application: &Application, store: &str, keys: &[String]) -> Result<Vec<String>> {
    let what = format!("{store} is read back");
    let mut missing = Vec::new();
    for keys in keys.chunks(AT_ONCE) {
        let ask = async || application.missing(store, keys).await;
        missing.extend(wait_for(&what, READ_BACK, ask).await?);
    }
    Ok(missing)
}

/// A key that can stand in a path.
#[must_use]
pub fn key(what: &str) -> String {
    what.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// One client that writes to a store until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<Ledger>,
}

impl Load {
    /// Begins to write. What it is for tells its keys from those of others.
    #[must_use]
    pub fn begin(application: &Application, store: &'static str, what: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = write(application.clone(), store, key(what), Arc::clone(&stop));
        Self { stop, writer: tokio::spawn(writer) }
    }

    /// Ends, and returns what was acknowledged.
    pub async fn end(self) -> Result<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.writer.await?)
    }
}

async fn write(
    application: Application,
    store: &'static str,
    prefix: String,
    stop: Arc<AtomicBool>,
) -> Ledger {
    let mut ledger = Ledger {
        store,
        acknowledged: Vec::new(),
        failed: 0,
        failed_in_a_row: 0,
        longest_gap: Duration::ZERO,
        last_error: String::new(),
    };
    let mut last = Instant::now();
    let (mut number, mut in_a_row) = (0_u64, 0);
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{prefix}-{number}");
        number += 1;
        match application.keep(store, &key).await {
            Ok(()) => {
                ledger.longest_gap = ledger.longest_gap.max(last.elapsed());
                (last, in_a_row) = (Instant::now(), 0);
                ledger.acknowledged.push(key);
            }
            Err(error) => {
                ledger.failed += 1;
                in_a_row += 1;
                ledger.failed_in_a_row = ledger.failed_in_a_row.max(in_a_row);
                ledger.last_error = format!("{error:#}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    ledger.longest_gap = ledger.longest_gap.max(last.elapsed());
    ledger
}
