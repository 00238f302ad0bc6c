//! Stores on real nodes: what they have acknowledged is there, whatever happens to their pods and nodes.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use trading_e2e::real::{Application, Trial};
use trading_e2e::sim::{Propagation, SETTLE, text, wait_for};

use super::{MACHINE, STAGE};

const STORES: [&str; 2] = ["postgres", "redis"];

async fn begin(namespace: &str) -> Result<Trial> {
    Trial::begin(&STAGE, namespace, &STORES, &json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_becomes_ready_and_its_applications_reach_its_stores() -> Result<()> {
    let _shared = MACHINE.read().await;
    let trial = begin("reach").await?;
    // kube-proxy hears of a server a moment after its pod is ready.
    wait_for("the application reaches its stores", SETTLE, async || {
        let about = trial.application.about().await?;
        ensure!(about["version"] == "1.0.0", "{about}");
        ensure!(text(&about, "/stores/postgres/version").starts_with("15."), "{about}");
        ensure!(text(&about, "/stores/redis/version").starts_with("7.0."), "{about}");
        Ok(())
    })
    .await?;
    // The frontend is told of the backend only.
    let frontend = Application::new(&trial.space, "shop", "frontend").about().await?;
    ensure!(frontend["stores"] == json!({}), "{frontend}");
    trial.edit(&json!({ "version": "1.1.0" })).await?;
    wait_for("the new version answers", SETTLE, async || {
        let about = trial.application.about().await?;
        ensure!(about["version"] == "1.1.0", "{about}");
        Ok(())
    })
    .await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_its_pods() -> Result<()> {
    let _shared = MACHINE.read().await;
    let trial = begin("survive").await?;
    for store in STORES {
        let happens = async || {
            let pod = trial.pod(store).await?;
            trial.space.delete("Pod", text(&pod, "/metadata/name"), Propagation::Background).await?;
            trial.replaced(&pod).await
        };
        trial.under_load(&format!("the pod of {store} is deleted"), happens).await?;
    }
    let happens = async || trial.kill(&[trial.pod("postgres").await?, trial.pod("redis").await?]).await;
    trial.under_load("both data pods are killed at once", happens).await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_go_at_once_but_the_volumes() -> Result<()> {
    let _alone = MACHINE.write().await;
    let patch =
        json!({ "postgres": { "instances": 3, "synchronous": true }, "redis": { "mode": "Cluster" } });
    let trial = Trial::begin(&STAGE, "everything", &STORES, &patch).await?;
    let before = secrets(&trial).await?;
    let happens = async || {
        for node in 0..3 {
            STAGE.cluster().restart_kubelet(node)?;
        }
        STAGE.cluster().wait_until_ready(3)
    };
    trial.under_load("every kubelet is restarted", happens).await?;
    let happens = async || {
        let mut pods = trial.pods("postgres").await?;
        pods.extend(trial.pods("redis").await?);
        STAGE.kill_operator()?;
        trial.kill(&pods).await?;
        STAGE.wait_for_operator()
    };
    trial.under_load("all data pods and the operator are killed at once", happens).await?;
    ensure!(secrets(&trial).await? == before, "a password has changed");
    trial.end().await
}

async fn secrets(trial: &Trial) -> Result<Vec<Value>> {
    let secrets = trial.space.list("Secret", "").await?;
    Ok(secrets.iter().map(|secret| secret["data"].clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_its_node() -> Result<()> {
    let _alone = MACHINE.write().await;
    let trial = begin("nodes").await?;
    let number = Trial::node(&trial.pod("postgres").await?)?;
    let node = STAGE.cluster().node_name(number);

    let happens = async || {
        let kubectl = STAGE.kubectl()?;
        let pod = trial.pod("postgres").await?;
        let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"];
        let drained = kubectl.run(&drain);
        // Other tests need the node, whatever became of this one.
        kubectl.run(&["uncordon", &node])?;
        drained?;
        trial.replaced(&pod).await
    };
    trial.under_load("the node is drained", happens).await?;
    let happens = async || {
        STAGE.cluster().kill_node(number)?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        STAGE.cluster().revive_node(number)?;
        STAGE.cluster().wait_until_ready(3)
    };
    trial.under_load("the node loses its power", happens).await?;
    trial.end().await
}
