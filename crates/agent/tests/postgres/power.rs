//! The power of a node is cut: what was acknowledged is on the disk.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cluster::Cluster;
use super::ledger::Ledger;
use super::server::Bench;

const FORMS: Duration = Duration::from_secs(90);
/// Acknowledged before the cut, at least.
const ROWS: usize = 200;
/// The database has 40 MB of its own.
const DISK: u32 = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_on_the_disk_when_the_power_is_cut() {
    let Some(bench) = Bench::new() else { return };
    let Some(mut cluster) = Cluster::on_a_disk(&bench, DISK).await else { return };
    cluster.leads(FORMS).await;
    let ledger = Ledger::begin(vec![cluster.client_address(0)], 2).await;
    let end = Instant::now() + FORMS;
    while ledger.entries().len() < ROWS {
        assert!(Instant::now() < end, "{}", cluster.everything().await);
        sleep(Duration::from_millis(50)).await;
    }
    cluster.cut_power();
    let before = ledger.entries().len();
    cluster.leads(FORMS).await;
    let (entries, lost) = ledger.end().await;
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), entries.len());
    eprintln!("{before} rows were acknowledged before the power was cut, and all are there");
}
