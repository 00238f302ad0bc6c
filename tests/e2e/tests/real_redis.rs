//! Redis Cluster and Redis with Sentinels on real nodes: they form, and heal when pods come back elsewhere.

use std::sync::LazyLock;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::sync::Mutex;
use trading_e2e::real::{Stage, Trial};
use trading_e2e::sim::text;

static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage::start().expect("the stage is set"));
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn six_servers_form_a_cluster_and_all_of_them_may_go_at_once() -> Result<()> {
    let _turn = TURN.lock().await;
    let patch = json!({ "redis": { "mode": "Cluster" }, "postgres": null });
    let trial = Trial::begin(&STAGE, "cluster", &["redis"], &patch).await?;
    ensure!(trial.pods("redis").await?.len() == 6, "a cluster has six servers by default");
    let about = trial.application.about().await?;
    ensure!(text(&about, "/stores/redis/version").starts_with("7.0."), "{about}");
    let happens = async || trial.kill(&trial.pods("redis").await?).await;
    trial.under_load("all six servers are killed at once", happens).await?;
    let happens = async || {
        STAGE.kubectl()?.run(&["rollout", "restart", "statefulset/shop-redis", "-n", &trial.space.name])?;
        let status =
            ["rollout", "status", "statefulset/shop-redis", "-n", &trial.space.name, "--timeout=170s"];
        STAGE.kubectl()?.run(&status).map(drop)
    };
    trial.under_load("all six servers are replaced one by one", happens).await?;
    trial.end().await
}

#[tokio::test]
async fn servers_and_sentinels_may_go_at_once() -> Result<()> {
    let _turn = TURN.lock().await;
    let patch = json!({ "redis": { "mode": "Replicated" }, "postgres": null });
    let trial = Trial::begin(&STAGE, "sentinel", &["redis"], &patch).await?;
    let happens = async || {
        let mut pods = trial.pods("redis").await?;
        pods.extend(trial.pods("sentinel").await?);
        trial.kill(&pods).await
    };
    trial.under_load("all servers and Sentinels are killed at once", happens).await?;
    trial.end().await
}
