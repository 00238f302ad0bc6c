//! Deletion while the operator is frozen or down: data stores outlive the wait, and everything goes once
//! it is back. The operator is this file's own, so its tests take turns.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::Mutex;
use trading_api::labels;
use trading_e2e::sim::{
    Children, Propagation, SETTLE, Space, Stack, at, database_secret, every_kind, platform, stays, text,
    wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";

async fn bring_up(namespace: &str) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, &every_kind())).await?;
    space.ready(NAME).await?;
    Ok(space)
}

/// The objects of Redis that live, by UID.
fn stores(children: &Children) -> BTreeMap<String, String> {
    let name = labels::NAME.replace('/', "~1");
    children
        .iter()
        .filter(|(_, object)| text(object, &format!("/metadata/labels/{name}")) == "redis")
        .filter(|(_, object)| at(object, "/metadata/deletionTimestamp").is_null())
        .map(|((kind, name), object)| (format!("{kind} {name}"), text(object, "/metadata/uid").to_owned()))
        .collect()
}

/// What stays of a platform whose data is retained.
async fn finished(space: &Space<'_>) -> Result<()> {
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    wait_for("everything is gone but data and password", SETTLE, async || {
        let left = space.children(NAME).await?;
        let keys: Vec<&str> = left.keys().map(|(_, name)| name.as_str()).collect();
        ensure!(keys == ["shop-logs", "shop-redis-auth"], "left: {keys:?}");
        Ok(())
    })
    .await?;
    let claims = space.list("PersistentVolumeClaim", "").await?;
    ensure!(claims.len() == 7, "{} claims", claims.len());
    Ok(())
}

async fn stores_outlive_a_slow_finalizer(namespace: &str, propagation: Propagation) -> Result<()> {
    let _turn = TURN.lock().await;
    let space = bring_up(namespace).await?;
    let before = stores(&space.children(NAME).await?);
    for needed in ["StatefulSet shop-redis", "Secret shop-redis-auth", "Service shop-redis-headless"] {
        ensure!(before.contains_key(needed), "{needed} is not among {before:?}");
    }
    let servers = space.pods(NAME, "redis").await?.len();

    STACK.operator().pause()?;
    let deleted = async {
        space.delete("TradingPlatform", NAME, propagation).await?;
        stays("the stores live on", Duration::from_secs(5), async || {
            let now = stores(&space.children(NAME).await?);
            ensure!(now == before, "{now:?} is left of {before:?}");
            let pods = space.pods(NAME, "redis").await?;
            let living = pods.iter().filter(|pod| at(pod, "/metadata/deletionTimestamp").is_null()).count();
            ensure!(living == servers, "{living} of {servers} servers");
            Ok(())
        })
        .await
    }
    .await;
    STACK.operator().resume()?;
    deleted?;
    finished(&space).await
}

#[tokio::test]
async fn stores_outlive_a_slow_finalizer_in_the_foreground() -> Result<()> {
    stores_outlive_a_slow_finalizer("frozen-foreground", Propagation::Foreground).await
}

#[tokio::test]
async fn stores_outlive_a_slow_finalizer_in_the_background() -> Result<()> {
    stores_outlive_a_slow_finalizer("frozen-background", Propagation::Background).await
}

#[tokio::test]
async fn what_was_deleted_while_the_operator_was_down_goes_after_its_start() -> Result<()> {
    let _turn = TURN.lock().await;
    let foreground = bring_up("down-foreground").await?;
    let background = bring_up("down-background").await?;
    let orphaned = bring_up("down-orphan").await?;
    let kept = orphaned.children(NAME).await?.len();
    STACK.operator().kill()?;
    let deleted = async {
        foreground.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
        background.delete("TradingPlatform", NAME, Propagation::Background).await?;
        orphaned.delete("TradingPlatform", NAME, Propagation::Orphan).await?;
        // The garbage collector is done with it before the operator looks.
        wait_for("the owner references are off", SETTLE, async || {
            let deployment = orphaned.get("Deployment", "shop-frontend").await?;
            ensure!(at(&deployment, "/metadata/ownerReferences").is_null(), "it still has one");
            Ok(())
        })
        .await
    }
    .await;
    STACK.restart_operator()?;
    deleted?;
    finished(&foreground).await?;
    finished(&background).await?;
    orphaned.gone("TradingPlatform", NAME, SETTLE).await?;
    stays("what was orphaned runs on", Duration::from_secs(3), async || {
        let children = orphaned.children(NAME).await?;
        let living = children.values().filter(|o| at(o, "/metadata/deletionTimestamp").is_null()).count();
        ensure!(living == kept, "{living} of {kept} objects");
        Ok(())
    })
    .await
}
