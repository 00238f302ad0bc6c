//! A volume fills up under a server that serves.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cluster::Cluster;
use super::ledger::connect;
use super::server::Bench;

const FORMS: Duration = Duration::from_secs(90);
/// Percent from which the operator tells of it.
const TOLD: u64 = 85;
/// The database has 40 MB of its own, and up to 80 MB of its log stay.
const SMALL: u32 = 200;
const LARGE: u32 = 400;
/// Bytes of a row.
const ROW: usize = 128 * 1024;

/// How many percent are used, as the agent tells.
async fn percent(cluster: &Cluster<'_>) -> Option<u64> {
    let volume = cluster.report(0).await?["volumes"][0].clone();
    let (all, free) = (volume["totalBytes"].as_u64()?, volume["freeBytes"].as_u64()?);
    Some((all - free) * 100 / all.max(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_volume_is_told_of_before_and_a_larger_one_goes_on() {
    let Some(bench) = Bench::new() else { return };
    let Some(mut cluster) = Cluster::on_a_small_volume(&bench, SMALL).await else { return };
    cluster.leads(FORMS).await;
    let client = connect(cluster.client_address(0)).await.expect("connected");
    client.batch_execute("CREATE TABLE filler (id int8 PRIMARY KEY, note bytea)").await.expect("made");
    // What can't be compressed.
    let insert = "INSERT INTO filler SELECT $1, string_agg(sha256(int4send(i) || int8send($1)), '') \
                  FROM generate_series(1, $2) AS i";
    let rows = i32::try_from(ROW / 32).expect("few");
    let (mut acknowledged, mut before) = (0_i64, 0);
    let refusal = loop {
        before = percent(&cluster).await.unwrap_or(before);
        match client.execute(insert, &[&acknowledged, &rows]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "it is never full");
    };
    assert!(before >= TOLD, "only {before} % were told of before: {refusal}");
    eprintln!("{acknowledged} rows until {before} %, then {refusal}");

    // The kubelet starts it again, if it has ended.
    cluster.grow_volume(LARGE);
    let end = Instant::now() + FORMS;
    loop {
        cluster.start_again_if_ended(0);
        let client = connect(cluster.client_address(0)).await;
        if let Some(client) = client
            && client.execute(insert, &[&acknowledged, &rows]).await.is_ok()
        {
            break;
        }
        assert!(Instant::now() < end, "{}", cluster.everything().await);
        sleep(Duration::from_millis(200)).await;
    }
    let client = connect(cluster.client_address(0)).await.expect("connected");
    let there: i64 = client.query_one("SELECT count(*) FROM filler", &[]).await.expect("read").get(0);
    assert_eq!(there, acknowledged + 1, "what was acknowledged is there, and nothing else");
    assert!(percent(&cluster).await.is_some_and(|percent| percent < TOLD), "it is told that it grew");
}
