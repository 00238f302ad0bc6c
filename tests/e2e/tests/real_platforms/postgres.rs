//! Three Postgres servers on three real nodes: whatever happens to the primary, another takes over, and
//! what was acknowledged is there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_e2e::real::{Fault, Round, Trial, WRITES_AGAIN_IF_BUSY, primary, settled};
use trading_e2e::sim::{merge, wait_for};

use super::{MACHINE, STAGE};

/// From the loss of a primary to another: the Lease ends 15 s after it was last seen to change.
const FAILOVER: Duration = Duration::from_mins(1);

/// Of the agent, while it passes on what a primary takes and what its replicas get.
const AGENT_KIB: u64 = 20 * 1024;

pub async fn begin(namespace: &str) -> Result<Trial> {
    with(namespace, &json!({})).await
}

async fn with(namespace: &str, beside: &Value) -> Result<Trial> {
    let mut postgres = json!({ "instances": 3, "synchronous": true });
    merge(&mut postgres, beside);
    let patch = json!({ "postgres": postgres, "redis": null });
    let trial = Trial::begin(&STAGE, namespace, &["postgres"], &patch).await?;
    settled(&trial, FAILOVER).await?;
    Ok(trial)
}

async fn another_leads(trial: &Trial, old: &Value) -> Result<()> {
    wait_for("another server is primary", FAILOVER, async || {
        let new = primary(trial).await?;
        ensure!(new["metadata"]["uid"] != old["metadata"]["uid"], "it is still the old one");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_keeps_quiet_and_follows() -> Result<()> {
    let _shared = MACHINE.read().await;
    let trial = begin("failover").await?;
    for (number, fault) in
        [Fault::Frozen, Fault::Deleted, Fault::Killed, Fault::Frozen].into_iter().enumerate()
    {
        let what = format!("round {number}, the primary is {fault}");
        let round = Round::run(&trial, STAGE.cluster(), fault, &what, WRITES_AGAIN_IF_BUSY).await?;
        eprintln!("{fault}: {round:?}");
        ensure!(fault != Fault::Frozen || round.failed_over, "nobody took over from a frozen primary");
    }
    let happens = async || trial.kill(&trial.pods("postgres").await?).await;
    trial.under_load("all servers are killed at once", happens).await?;
    let happens = async || {
        // Time for the load to go through it.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let pod = primary(&trial).await?;
        let processes = STAGE.cluster().resident(Trial::node(&pod)?, Trial::container(&pod)?)?;
        let agent = processes.iter().find(|(name, _)| name.starts_with("trading-agent"));
        let (_, resident) = agent.with_context(|| format!("no agent among {processes:?}"))?;
        eprintln!("the agent of a primary with two replicas has {resident} KiB in memory");
        ensure!(*resident < AGENT_KIB, "the agent has {resident} KiB in memory, not less than {AGENT_KIB}");
        let name = trial.space.name.as_str();
        STAGE.kubectl()?.run(&["rollout", "restart", "statefulset/shop-postgres", "-n", name])?;
        let status = ["rollout", "status", "statefulset/shop-postgres", "-n", name, "--timeout=170s"];
        STAGE.kubectl()?.run(&status).map(drop)
    };
    trial.under_load("all servers are replaced one by one", happens).await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_node_is_lost_is_replaced() -> Result<()> {
    let _alone = MACHINE.write().await;
    // By way of a pooler: what it has open to a lost primary must not keep clients waiting. The stand-in prepares
    // statements, which Debian's PgBouncer keeps for it in sessions alone. And with TLS, from client to pooler to
    // server, and from replica to primary.
    let image = json!({ "repository": "testbed.local/postgres", "tag": "15" });
    let pooler = json!({ "poolMode": "Session", "image": image });
    let trial = with("power", &json!({ "pooler": pooler, "tls": { "mode": "Required" } })).await?;
    super::tls::is_required(&trial).await?;
    let backend = trial.space.get("Deployment", "shop-backend").await?.to_string();
    ensure!(backend.contains("\"shop-postgres-pooler\""), "the backend is not led to the pooler: {backend}");
    let happens = async || {
        let old = primary(&trial).await?;
        let node = Trial::node(&old)?;
        STAGE.cluster().kill_node(node)?;
        // The operator may have run there too: its standby labels the new primary.
        let led = another_leads(&trial, &old).await;
        STAGE.cluster().revive_node(node)?;
        STAGE.cluster().wait_until_ready(3)?;
        led
    };
    trial.under_load("the primary's node loses its power", happens).await?;
    settled(&trial, FAILOVER * 2).await?;
    let happens = async || {
        let old = primary(&trial).await?;
        let node = Trial::node(&old)?;
        STAGE.cluster().connect_node(node, false)?;
        let led = another_leads(&trial, &old).await;
        STAGE.cluster().connect_node(node, true)?;
        STAGE.cluster().wait_until_ready(3)?;
        led
    };
    trial.under_load("the primary's node is cut off", happens).await?;
    trial.end().await
}
