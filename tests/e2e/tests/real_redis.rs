//! Redis Cluster and Redis with Sentinels on real nodes: they form, and heal when pods come back elsewhere.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::sync::Mutex;
use trading_e2e::real::{Stage, Trial};
use trading_e2e::sim::{text, wait_for};

static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage::start().expect("the stage is set"));
static TURN: Mutex<()> = Mutex::const_new(());

/// The kubelet tells running servers of a changed `ConfigMap` within a minute and a half; then slots move.
const MOVED: Duration = Duration::from_mins(4);

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
    let happens = async || {
        trial.edit(&json!({ "redis": { "shards": 4 } })).await?;
        wait_for("a fourth shard has its share", MOVED, async || is_settled(&trial, 8).await).await
    };
    trial.under_load("a fourth shard joins", happens).await?;
    trial.end().await
}

/// Every server finds the cluster as it should be.
async fn is_settled(trial: &Trial, servers: usize) -> Result<()> {
    let pods = trial.pods("redis").await?;
    ensure!(pods.len() == servers, "{} servers", pods.len());
    for pod in &pods {
        let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:9121/proxy/metrics");
        let metrics = STAGE.kubectl()?.run(&["get", "--raw", &path])?;
        ensure!(
            metrics.lines().any(|line| line == "trading_redis_cluster_settled 1"),
            "not in the eyes of {name}"
        );
    }
    Ok(())
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
