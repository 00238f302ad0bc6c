//! Deleting platforms: what goes, what stays, and what a platform of the same name takes up again.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use trading_e2e::sim::{
    Children, Propagation, SETTLE, Space, Stack, at, database_secret, every_kind, platform, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";

async fn bring_up(namespace: &str, patch: &Value) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, patch)).await?;
    space.ready(NAME).await?;
    Ok(space)
}

/// What a data store is made of, its UIDs by kind and name.
fn uids(children: &Children) -> BTreeMap<(String, String), String> {
    children.iter().map(|(key, object)| (key.clone(), text(object, "/metadata/uid").to_owned())).collect()
}

async fn password(space: &Space<'_>) -> Result<Value> {
    Ok(at(&space.get("Secret", "shop-redis-auth").await?, "/data/password").clone())
}

async fn claims(space: &Space<'_>) -> Result<BTreeMap<String, String>> {
    let claims = space.list("PersistentVolumeClaim", "").await?;
    let living = claims.iter().filter(|claim| at(claim, "/metadata/deletionTimestamp").is_null());
    let pair =
        |claim: &Value| (text(claim, "/metadata/name").to_owned(), text(claim, "/metadata/uid").to_owned());
    Ok(living.map(pair).collect())
}

async fn pods(space: &Space<'_>) -> Result<BTreeMap<String, String>> {
    let pods = space.list("Pod", "").await?;
    Ok(pods
        .iter()
        .map(|p| (text(p, "/metadata/name").to_owned(), text(p, "/metadata/uid").to_owned()))
        .collect())
}

/// Waits until only what is kept of the platform is left.
async fn only_left(space: &Space<'_>, kept: &[(&str, &str)]) -> Result<()> {
    wait_for("everything else is gone", SETTLE, async || {
        let left = space.children(NAME).await?;
        let keys: Vec<(&str, &str)> =
            left.keys().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
        ensure!(keys == kept, "left: {keys:?}");
        let pods = pods(space).await?;
        ensure!(pods.is_empty(), "pods are left: {pods:?}");
        Ok(())
    })
    .await
}

/// What stays of a platform whose data is retained, beside the volumes of its servers.
const KEPT: [(&str, &str); 2] = [("PersistentVolumeClaim", "shop-logs"), ("Secret", "shop-redis-auth")];

async fn retained(namespace: &str, propagation: Propagation) -> Result<()> {
    let space = bring_up(namespace, &every_kind()).await?;
    let (password_before, claims_before) = (password(&space).await?, claims(&space).await?);
    ensure!(claims_before.len() == 7, "claims: {claims_before:?}");

    let began = Instant::now();
    space.delete("TradingPlatform", NAME, propagation).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    only_left(&space, &KEPT).await?;
    eprintln!("{namespace}: gone after {:.1} s", began.elapsed().as_secs_f64());
    ensure!(claims(&space).await? == claims_before, "the volumes stay");
    ensure!(password(&space).await? == password_before, "the password stays");

    space.put(&platform(NAME, &every_kind())).await?;
    space.ready(NAME).await?;
    ensure!(claims(&space).await? == claims_before, "the volumes are taken up again");
    ensure!(password(&space).await? == password_before, "the password is taken up again");
    // Now they belong to the new one, and go with it when it says so.
    space.edit(NAME, &json!({ "deletion": { "data": "Delete" } })).await?;
    space.ready(NAME).await?;
    space.delete("TradingPlatform", NAME, Propagation::Background).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    only_left(&space, &[]).await?;
    wait_for("the volumes are gone", SETTLE, async || {
        let left = claims(&space).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn in_the_foreground() -> Result<()> {
    retained("delete-foreground", Propagation::Foreground).await
}

#[tokio::test]
async fn in_the_background() -> Result<()> {
    retained("delete-background", Propagation::Background).await
}

#[tokio::test]
async fn with_its_data() -> Result<()> {
    let patch = json!({ "deletion": { "data": "Delete" } });
    let space = bring_up("delete-data", &patch).await?;
    let claims_before = claims(&space).await?;
    ensure!(claims_before.len() == 1, "claims: {claims_before:?}");
    let password_before = password(&space).await?;
    space.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    only_left(&space, &[]).await?;
    wait_for("the volumes are gone", SETTLE, async || {
        let left = claims(&space).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
    .await?;
    // What the person made is not ours to delete.
    space.get("Secret", "database").await?;

    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    ensure!(password(&space).await? != password_before, "new data gets a new password");
    Ok(())
}

#[tokio::test]
async fn orphaning_leaves_everything_running_and_a_namesake_adopts_it() -> Result<()> {
    let space = bring_up("delete-orphan", &every_kind()).await?;
    let children = uids(&space.children(NAME).await?);
    let (pods_before, password_before) = (pods(&space).await?, password(&space).await?);
    space.delete("TradingPlatform", NAME, Propagation::Orphan).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;

    let unchanged = async || -> Result<()> {
        let now = uids(&space.children(NAME).await?);
        ensure!(now == children, "the objects are others: {now:?}, not {children:?}");
        let now = pods(&space).await?;
        ensure!(now == pods_before, "the pods are others: {now:?}, not {pods_before:?}");
        Ok(())
    };
    trading_e2e::sim::stays("everything runs on", Duration::from_secs(3), unchanged).await?;

    let made = space.put(&platform(NAME, &every_kind())).await?;
    space.ready(NAME).await?;
    unchanged().await?;
    ensure!(password(&space).await? == password_before, "the password stays");
    let uid = at(&made, "/metadata/uid");
    for (key, object) in space.children(NAME).await? {
        let label = at(&object, "/metadata/labels/platform.trading~1uid");
        ensure!(label == uid, "{key:?} is still another's: {label}");
        let owner = at(&object, "/metadata/ownerReferences/0/uid");
        ensure!(owner == uid || owner.is_null(), "{key:?} belongs to {owner}");
    }
    // And it goes with the one that adopted it.
    space.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    only_left(&space, &KEPT).await
}

#[tokio::test]
async fn with_the_whole_namespace() -> Result<()> {
    let space = bring_up("delete-namespace", &every_kind()).await?;
    let began = Instant::now();
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(space.client.clone());
    namespaces.delete(&space.name, &kube::api::DeleteParams::default()).await?;
    wait_for("the namespace is gone", SETTLE, async || {
        let live = namespaces.get_opt(&space.name).await?;
        ensure!(live.is_none(), "{:?}", live.and_then(|namespace| namespace.status));
        Ok(())
    })
    .await?;
    eprintln!("the namespace is gone after {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}
