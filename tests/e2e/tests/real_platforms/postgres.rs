//! Three Postgres servers on three real nodes: whatever happens to the primary, another takes over, and
//! what was acknowledged is there.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_e2e::real::{Fault, Round, Trial, WRITES_AGAIN_IF_BUSY, primary, settled};
use trading_e2e::sim::{merge, text, wait_for};
use trading_testbed::real::{POSTGRES_ALPINE_IMAGE, POSTGRES_NEXT_ALPINE_IMAGE};

use super::{MACHINE, STAGE};

/// From the loss of a primary to another, on a busy machine: the Lease ends 15 s after it was last seen to change.
const FAILOVER: Duration = Duration::from_mins(2);

/// Three servers, one after the other.
const REPLACED: Duration = Duration::from_mins(5);

/// How long a client that is refused waits until it asks again, and is heard: a switchover, on a busy machine.
const HANDED_OVER: Duration = Duration::from_secs(45);

/// Kubelets bring files within two minutes, and clients roll.
const EDITED: Duration = Duration::from_mins(8);

/// Port of the agents.
const AGENT: u16 = 8008;

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
    settled(&trial, FAILOVER).await?;
    let happens = async || {
        // Time for the load to go through it.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let pod = primary(&trial).await?;
        let processes = STAGE.cluster().resident(Trial::node(&pod)?, Trial::container(&pod)?)?;
        let agent = processes.iter().find(|(name, _)| name.starts_with("trading-agent"));
        let (_, resident) = agent.with_context(|| format!("no agent among {processes:?}"))?;
        eprintln!("the agent of a primary with two replicas has {resident} KiB in memory");
        ensure!(*resident < AGENT_KIB, "the agent has {resident} KiB in memory, not less than {AGENT_KIB}");
        let led = primary(&trial).await?;
        trial.restart("postgres", REPLACED).await?;
        went_last(&trial, &led).await
    };
    trial.under_load("all servers are replaced one by one", happens).await?;
    trial.end().await
}

/// Whether the pod that takes the place of the one that led was made after all others.
async fn went_last(trial: &Trial, led: &Value) -> Result<()> {
    let pods = trial.pods("postgres").await?;
    let name_and_age = |pod: &Value| {
        (text(pod, "/metadata/creationTimestamp").to_owned(), text(pod, "/metadata/name").to_owned())
    };
    let order: BTreeSet<_> = pods.iter().map(name_and_age).collect();
    let last = order.last().map(|(_, name)| name.as_str());
    let led = text(led, "/metadata/name");
    ensure!(last == Some(led), "{led} led, and did not go last: {order:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_edit_fails_a_client_that_asks_again() -> Result<()> {
    let _shared = MACHINE.read().await;
    // In the layout of the official images for Alpine, which takes another user.
    let image = |name: &str| {
        let (repository, tag) = name.split_once(':').context("no tag")?;
        anyhow::Ok(json!({ "repository": repository, "tag": tag }))
    };
    let trial = with("edits", &json!({ "image": image(POSTGRES_ALPINE_IMAGE)? })).await?;
    let happens = async || {
        let led = primary(&trial).await?;
        trial.edit(&json!({ "postgres": { "image": image(POSTGRES_NEXT_ALPINE_IMAGE)? } })).await?;
        wait_for("the set has it", EDITED, async || {
            let set = trial.space.get("StatefulSet", "shop-postgres").await?.to_string();
            ensure!(set.contains(POSTGRES_NEXT_ALPINE_IMAGE), "it has the old one");
            Ok(())
        })
        .await?;
        trial.rolled_out("postgres", REPLACED).await?;
        went_last(&trial, &led).await
    };
    let ledgers = trial.under_load("another image of the same version", happens).await?;
    ledgers.paused_at_most("postgres", HANDED_OVER)?;
    settled(&trial, FAILOVER).await?;
    let happens = async || {
        trial.edit(&json!({ "postgres": { "parameters": { "max_connections": "150" } } })).await?;
        wait_for("every server has the parameter", EDITED, async || {
            for pod in trial.pods("postgres").await? {
                trial.says(&pod, AGENT, "trading_postgres_max_connections 150").await?;
            }
            Ok(())
        })
        .await
    };
    let ledgers = trial.under_load("a parameter that takes a restart", happens).await?;
    ledgers.paused_at_most("postgres", HANDED_OVER)?;
    let happens = async || {
        trial.edit(&json!({ "postgres": { "credentials": { "generation": 2 } } })).await?;
        trial.space.condition_is("shop", "CredentialsRotated", "True", "Rotated", EDITED).await.map(drop)
    };
    let ledgers = trial.under_load("another login", happens).await?;
    ledgers.failed_in_a_row_at_most("postgres", 1)?;
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
        let ready = STAGE.cluster().wait_until_ready(3);
        led?;
        ready
    };
    trial.under_load("the primary's node loses its power", happens).await?;
    settled(&trial, FAILOVER * 2).await?;
    let happens = async || {
        let old = primary(&trial).await?;
        let node = Trial::node(&old)?;
        STAGE.cluster().connect_node(node, false)?;
        let led = another_leads(&trial, &old).await;
        STAGE.cluster().connect_node(node, true)?;
        let ready = STAGE.cluster().wait_until_ready(3);
        led?;
        ready
    };
    trial.under_load("the primary's node is cut off", happens).await?;
    trial.end().await
}
