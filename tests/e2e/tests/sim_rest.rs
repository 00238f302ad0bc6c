//! What the operator costs the apiserver: for a fresh platform, at rest and at a restart. The operator is
//! this file's own, so its tests take turns.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::sync::Mutex;
use trading_e2e::sim::{Mark, Space, Stack, database_secret, describe, every_kind, merge, platform};
use trading_testbed::audit::Entry;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";

/// The finalizer where the chart's policy has not added it, status while pods come, status when they are
/// there, and one to spare.
const BESIDE_CHILDREN: usize = 4;
const READS: usize = 3;

async fn begin(namespace: &str, patch: &serde_json::Value) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, patch)).await?;
    space.ready(NAME).await?;
    Ok(space)
}

fn split(requests: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    requests.into_iter().filter(|entry| entry.verb != "watch").partition(Entry::is_write)
}

#[tokio::test]
async fn a_fresh_platform_stays_within_its_budget() -> Result<()> {
    let _turn = TURN.lock().await;
    let mut scraper = every_kind();
    let scaled = json!({
        "image": { "repository": "shop/scraper" },
        "autoscaling": { "minReplicas": 1, "maxReplicas": 3, "cpu": 60 },
    });
    merge(&mut scraper, &json!({ "scraper": scaled }));
    let kinds =
        [("fresh-small", json!({}), 1), ("fresh-kinds", every_kind(), 1), ("fresh-scraper", scraper, 2)];
    let begun = try_join_all(kinds.into_iter().map(|(namespace, patch, autoscaled)| async move {
        let mark = STACK.mark()?;
        let space = begin(namespace, &patch).await?;
        let requests = space.requests_until_rest(&mark).await?;
        anyhow::Ok((space, requests, autoscaled))
    }))
    .await?;
    for (space, requests, autoscaled) in begun {
        let namespace = &space.name;
        let (writes, reads) = split(requests);
        let children = space.children(NAME).await?.len();
        let budget = children + autoscaled + BESIDE_CHILDREN;
        eprintln!(
            "{namespace}: {children} children, {autoscaled} autoscaled: {} writes (at most {budget}), {} reads",
            writes.len(),
            reads.len()
        );
        ensure!(writes.len() <= budget, "{} writes:\n{}", writes.len(), describe(&writes));
        let of_platform =
            |entry: &&Entry| entry.resource == "tradingplatforms" && entry.subresource.is_empty();
        ensure!(!writes.iter().any(|entry| of_platform(&entry)), "the finalizer is the policy's");
        ensure!(reads.len() <= READS, "{} reads:\n{}", reads.len(), describe(&reads));
        let refused: Vec<Entry> = writes.into_iter().filter(|entry| entry.code >= 300).collect();
        ensure!(refused.is_empty(), "refused:\n{}", describe(&refused));
    }
    Ok(())
}

/// Requests of the operator for anything, since then.
fn all_since(mark: &Mark) -> Result<Vec<Entry>> {
    let all = STACK.requests_since(mark)?.into_iter().filter(|entry| entry.user == STACK.user());
    Ok(all.filter(|entry| entry.resource != "leases" && entry.verb != "watch").collect())
}

#[tokio::test]
async fn at_rest_it_asks_for_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let begun = STACK.mark()?;
    let space = begin("rest", &every_kind()).await?;
    space.requests_until_rest(&begun).await?;
    let mark = STACK.mark()?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let requests = all_since(&mark)?;
    eprintln!("at rest for 20 s: {} requests", requests.len());
    ensure!(requests.is_empty(), "at rest it asked for\n{}", describe(&requests));
    Ok(())
}

#[tokio::test]
async fn a_restart_writes_nothing_and_reads_little() -> Result<()> {
    let _turn = TURN.lock().await;
    let spaces = [begin("restart-a", &every_kind()).await?, begin("restart-b", &json!({})).await?];
    let begun = STACK.mark()?;
    try_join_all(spaces.iter().map(|space| space.requests_until_rest(&begun))).await?;
    let mark = STACK.mark()?;
    STACK.restart_operator()?;
    let restarted = try_join_all(spaces.iter().map(|space| space.requests_until_rest(&mark))).await?;
    for (space, requests) in spaces.iter().zip(restarted) {
        let (writes, reads) = split(requests);
        eprintln!("{}: {} writes, {} reads at a restart", space.name, writes.len(), reads.len());
        ensure!(writes.is_empty(), "writes at a restart:\n{}", describe(&writes));
        ensure!(reads.len() <= 3, "reads at a restart:\n{}", describe(&reads));
    }
    let writes: Vec<Entry> = all_since(&mark)?.into_iter().filter(Entry::is_write).collect();
    ensure!(writes.is_empty(), "writes at a restart:\n{}", describe(&writes));
    Ok(())
}
