//! Stores on real nodes: what they have acknowledged is there, whatever happens to their pods and nodes.
//! The nodes are this file's own, so tests that take one away take turns.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::sync::Mutex;
use trading_e2e::real::{Application, Load, Stage, key, platform};
use trading_e2e::sim::{Propagation, SETTLE, Space, at, text, wait_for};

static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage::start().expect("the stage is set"));
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";
const STORES: [&str; 2] = ["postgres", "redis"];

/// From applying a platform to Ready, images being there.
const UP: Duration = Duration::from_mins(3);

async fn begin(namespace: &str) -> Result<(Space<'static>, Application)> {
    let space = STAGE.space(namespace).await?;
    let began = Instant::now();
    space.put(&platform(NAME, &json!({}))).await?;
    ready(&space).await?;
    eprintln!("{namespace}: Ready after {:.1} s", began.elapsed().as_secs_f64());
    let application = Application::new(&space, NAME, "backend");
    Ok((space, application))
}

async fn ready(space: &Space<'static>) -> Result<()> {
    let result = space.condition_is(NAME, "Ready", "True", "Ready", UP).await;
    result.map(drop).with_context(|| STAGE.explain(&space.name))
}

/// Writes to both stores while something happens, waits until both take writes again, and reads all back.
async fn under_load(
    space: &Space<'static>,
    application: &Application,
    what: &str,
    happens: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let loads = STORES.map(|store| Load::begin(application, store, what));
    tokio::time::sleep(Duration::from_secs(2)).await;
    happens().await?;
    for store in STORES {
        let again = format!("{store} takes writes after: {what}");
        wait_for(&again, UP, async || application.keep(store, &key(&format!("after {what}"))).await)
            .await
            .with_context(|| STAGE.explain(&space.name))?;
    }
    ready(space).await?;
    for load in loads {
        let ledger = load.end().await?;
        eprintln!("{what}: {}", ledger.describe());
        ledger.check(application).await?;
    }
    Ok(())
}

async fn the_pod(space: &Space<'static>, store: &str) -> Result<serde_json::Value> {
    let pods = space.pods(NAME, store).await?;
    pods.into_iter().next().with_context(|| format!("{store} has no pod"))
}

/// Waits until the store's pod is another one and ready.
async fn replaced(space: &Space<'static>, store: &str, uid: &str) -> Result<()> {
    wait_for(&format!("the pod of {store} is replaced"), UP, async || {
        let pod = the_pod(space, store).await?;
        ensure!(text(&pod, "/metadata/uid") != uid, "it is the old one");
        let ready = at(&pod, "/status/containerStatuses/0/ready");
        ensure!(ready == &json!(true), "it is not ready: {}", at(&pod, "/status"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_platform_becomes_ready_and_its_applications_reach_its_stores() -> Result<()> {
    let _turn = TURN.lock().await;
    let (space, application) = begin("reach").await?;
    let about = application.about().await?;
    eprintln!("{about}");
    ensure!(about["version"] == "1.0.0", "{about}");
    ensure!(text(&about, "/stores/postgres/version").starts_with("15."), "{about}");
    ensure!(text(&about, "/stores/redis/version").starts_with("7.0."), "{about}");
    // The frontend is told of the backend only.
    let frontend = Application::new(&space, NAME, "frontend").about().await?;
    ensure!(frontend["stores"] == json!({}), "{frontend}");
    space.edit(NAME, &json!({ "version": "1.1.0" })).await?;
    wait_for("the new version answers", SETTLE, async || {
        let about = application.about().await?;
        ensure!(about["version"] == "1.1.0", "{about}");
        Ok(())
    })
    .await?;
    space.delete("TradingPlatform", NAME, Propagation::Background).await
}

#[tokio::test]
async fn what_was_acknowledged_survives_its_pods() -> Result<()> {
    let _turn = TURN.lock().await;
    let (space, application) = begin("survive").await?;
    let passwords = async || -> Result<Vec<serde_json::Value>> {
        let secrets = space.list("Secret", "").await?;
        Ok(secrets.iter().map(|secret| secret["data"].clone()).collect())
    };
    let before = passwords().await?;

    for store in STORES {
        under_load(&space, &application, &format!("the pod of {store} is deleted"), async || {
            let pod = the_pod(&space, store).await?;
            space.delete("Pod", text(&pod, "/metadata/name"), Propagation::Background).await?;
            replaced(&space, store, text(&pod, "/metadata/uid")).await
        })
        .await?;
    }
    under_load(&space, &application, "all data pods are killed at once", async || {
        let mut old = Vec::new();
        for store in STORES {
            let pod = the_pod(&space, store).await?;
            let name = text(&pod, "/metadata/name").to_owned();
            STAGE.kubectl()?.run(&[
                "delete",
                "pod",
                &name,
                "-n",
                &space.name,
                "--grace-period=0",
                "--force",
            ])?;
            old.push((store, text(&pod, "/metadata/uid").to_owned()));
        }
        for (store, uid) in old {
            replaced(&space, store, &uid).await?;
        }
        Ok(())
    })
    .await?;
    under_load(&space, &application, "every kubelet is restarted", async || {
        for node in 0..3 {
            STAGE.cluster().restart_kubelet(node)?;
        }
        STAGE.cluster().wait_until_ready(3)
    })
    .await?;
    ensure!(passwords().await? == before, "a password has changed");
    space.delete("TradingPlatform", NAME, Propagation::Background).await
}

#[tokio::test]
async fn what_was_acknowledged_survives_its_node() -> Result<()> {
    let _turn = TURN.lock().await;
    let (space, application) = begin("nodes").await?;
    let node = text(&the_pod(&space, "postgres").await?, "/spec/nodeName").to_owned();
    let number: usize = node.trim_start_matches("node-").parse()?;

    under_load(&space, &application, "the node is drained", async || {
        let kubectl = STAGE.kubectl()?;
        let pod = the_pod(&space, "postgres").await?;
        kubectl.run(&["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"])?;
        kubectl.run(&["uncordon", &node])?;
        replaced(&space, "postgres", text(&pod, "/metadata/uid")).await
    })
    .await?;
    under_load(&space, &application, "the node loses its power", async || {
        STAGE.cluster().kill_node(number)?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        STAGE.cluster().revive_node(number)?;
        STAGE.cluster().wait_until_ready(3)
    })
    .await?;
    space.delete("TradingPlatform", NAME, Propagation::Background).await
}
