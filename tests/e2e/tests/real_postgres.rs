//! Three Postgres servers on three real nodes: whatever happens to the primary, another takes over, and
//! what was acknowledged is there.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_api::labels::{ROLE_PRIMARY, STORE_ROLE};
use trading_e2e::real::{Stage, Trial};
use trading_e2e::sim::{Propagation, text, wait_for};

static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage::start().expect("the stage is set"));

/// From the loss of a primary to another: the Lease ends 15 s after it was last seen to change.
const FAILOVER: Duration = Duration::from_mins(1);

async fn primaries(trial: &Trial) -> Result<Vec<Value>> {
    let mut pods = trial.pods("postgres").await?;
    pods.retain(|pod| pod["metadata"]["labels"][STORE_ROLE] == ROLE_PRIMARY);
    Ok(pods)
}

async fn primary(trial: &Trial) -> Result<Value> {
    let pods = primaries(trial).await?;
    ensure!(pods.len() == 1, "{} pods are labelled as primary", pods.len());
    pods.into_iter().next().context("no pod is primary")
}

async fn another_leads(trial: &Trial, old: &Value) -> Result<()> {
    wait_for("another server is primary", FAILOVER, async || {
        let new = primary(trial).await?;
        ensure!(new["metadata"]["uid"] != old["metadata"]["uid"], "it is still the old one");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn whatever_happens_to_the_primary_nothing_acknowledged_is_lost() -> Result<()> {
    let patch = json!({ "postgres": { "instances": 3, "synchronous": true }, "redis": null });
    let trial = Trial::begin(&STAGE, "failover", &["postgres"], &patch).await?;
    wait_for("one server is primary", FAILOVER, async || primary(&trial).await).await?;

    let happens = async || {
        let old = primary(&trial).await?;
        trial.space.delete("Pod", text(&old, "/metadata/name"), Propagation::Background).await?;
        another_leads(&trial, &old).await
    };
    trial.under_load("the primary is deleted", happens).await?;
    let happens = async || {
        let old = primary(&trial).await?;
        trial.kill(std::slice::from_ref(&old)).await?;
        another_leads(&trial, &old).await
    };
    trial.under_load("the primary is killed", happens).await?;
    let happens = async || {
        let old = primary(&trial).await?;
        let node: usize = text(&old, "/spec/nodeName").trim_start_matches("node-").parse()?;
        STAGE.cluster().kill_node(node)?;
        // The operator may have run there too: its standby labels the new primary.
        let led = another_leads(&trial, &old).await;
        STAGE.cluster().revive_node(node)?;
        STAGE.cluster().wait_until_ready(3)?;
        led
    };
    trial.under_load("the primary's node loses its power", happens).await?;
    let happens = async || {
        let old = primary(&trial).await?;
        let node: usize = text(&old, "/spec/nodeName").trim_start_matches("node-").parse()?;
        STAGE.cluster().connect_node(node, false)?;
        let led = another_leads(&trial, &old).await;
        STAGE.cluster().connect_node(node, true)?;
        STAGE.cluster().wait_until_ready(3)?;
        led
    };
    trial.under_load("the primary's node is cut off", happens).await?;
    trial
        .under_load("all servers are killed at once", async || {
            trial.kill(&trial.pods("postgres").await?).await
        })
        .await?;
    let happens = async || {
        let name = trial.space.name.as_str();
        STAGE.kubectl()?.run(&["rollout", "restart", "statefulset/shop-postgres", "-n", name])?;
        let status = ["rollout", "status", "statefulset/shop-postgres", "-n", name, "--timeout=170s"];
        STAGE.kubectl()?.run(&status).map(drop)
    };
    trial.under_load("all servers are replaced one by one", happens).await?;
    trial.end().await
}
