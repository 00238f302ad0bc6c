//! Pods of stores that are not of their set's newest template are replaced by the operator: one at a time, who leads
//! last, and at once where they don't serve. Nodes are simulated: the test writes what agents would.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use trading_api::labels;
use trading_e2e::sim::{
    LONG, Mark, Propagation, SETTLE, Space, Stack, at, describe, merge, own_database, platform, stays, text,
    wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
/// For how long nothing must happen.
const REST: Duration = Duration::from_secs(15);

/// UIDs of a store's pods by their names.
async fn servers(space: &Space<'_>, store: &str) -> Result<BTreeMap<String, String>> {
    let pods = space.pods(NAME, store).await?;
    let name_and_uid =
        |pod: &Value| (text(pod, "/metadata/name").to_owned(), text(pod, "/metadata/uid").to_owned());
    Ok(pods.iter().map(name_and_uid).collect())
}

/// The pods that the operator evicted since then, in order.
fn evicted(space: &Space<'_>, mark: &Mark) -> Result<Vec<String>> {
    let requests = space.requests_since(mark)?;
    let evictions = requests.into_iter().filter(|entry| entry.subresource == "eviction" && entry.code == 201);
    Ok(evictions.map(|entry| entry.name).collect())
}

/// What is said of a store.
async fn message(space: &Space<'_>, store: &str) -> Result<String> {
    let live = space.get("TradingPlatform", NAME).await?;
    let components = at(&live, "/status/components").as_array().cloned().unwrap_or_default();
    let found = components.iter().find(|component| component["name"] == store);
    Ok(found.map(|component| text(component, "/message").to_owned()).unwrap_or_default())
}

#[tokio::test]
async fn the_primary_goes_last_wherever_the_operator_dies() -> Result<()> {
    let space = STACK.space("primary-last").await?;
    let mut patch = own_database();
    merge(&mut patch, &json!({ "postgres": { "instances": 3 }, "redis": null, "frontend": null }));
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let before = servers(&space, "postgres").await?;
    // The highest number, which Kubernetes would begin with.
    let holder = format!("shop-postgres-2/{}", before["shop-postgres-2"]);
    let spec = json!({ "holderIdentity": holder, "renewTime": "2026-01-01T00:00:00.000001Z" });
    space.patch("Lease", "shop-postgres", &json!({ "spec": spec })).await?;

    let mark = STACK.mark()?;
    space.edit(NAME, &json!({ "postgres": { "nodeSelector": { "kubernetes.io/os": "linux" } } })).await?;
    wait_for("the first one is evicted", SETTLE, async || {
        ensure!(!evicted(&space, &mark)?.is_empty());
        Ok(())
    })
    .await?;
    STACK.restart_operator()?;
    space.rolled_out("shop-postgres", LONG).await?;
    let order = evicted(&space, &mark)?;
    ensure!(order == ["shop-postgres-1", "shop-postgres-0", "shop-postgres-2"], "{order:?}");
    let after = servers(&space, "postgres").await?;
    ensure!(after.iter().all(|(name, uid)| before.get(name).is_some_and(|old| old != uid)), "{after:?}");

    space.ready(NAME).await?;
    space.requests_until_rest(&mark).await?;
    let rest = STACK.mark()?;
    tokio::time::sleep(REST).await;
    let requests = space.requests_since(&rest)?;
    ensure!(requests.is_empty(), "at rest the operator asks for\n{}", describe(&requests));
    Ok(())
}

#[tokio::test]
async fn what_cannot_run_is_tried_on_one_pod_and_mended_without_help() -> Result<()> {
    let space = STACK.space("mended").await?;
    let patch = json!({ "frontend": null, "postgres": null, "redis": { "mode": "Cluster" } });
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let before = servers(&space, "redis").await?;
    ensure!(before.len() == 6, "{before:?}");

    let nowhere = json!({ "example.com/no-node": "has-this" });
    space.edit(NAME, &json!({ "redis": { "nodeSelector": nowhere } })).await?;
    let replaced = async || -> Result<Vec<String>> {
        let now = servers(&space, "redis").await?;
        let is_other = |(name, uid): (String, String)| (before.get(&name) != Some(&uid)).then_some(name);
        Ok(now.into_iter().filter_map(is_other).collect())
    };
    wait_for("one pod is tried", SETTLE, async || {
        let replaced = replaced().await?;
        ensure!(replaced == ["shop-redis-5"], "{replaced:?}");
        Ok(())
    })
    .await?;
    stays("no other pod is touched", Duration::from_secs(15), async || {
        let replaced = replaced().await?;
        ensure!(replaced == ["shop-redis-5"], "{replaced:?}");
        Ok(())
    })
    .await?;
    wait_for("it is told", SETTLE, async || {
        let said = message(&space, "redis").await?;
        ensure!(said == "5 of 6 pods ready; the next one goes when shop-redis-5 is ready", "{said}");
        Ok(())
    })
    .await?;

    // Why is told once the pod has had time enough.
    let degraded = space.condition_is(NAME, "Degraded", "True", "PodsUnschedulable", LONG).await?;
    ensure!(degraded.starts_with("no node for shop-redis-5: 0/"), "{degraded}");
    ensure!(degraded.contains("redis.nodeSelector"), "{degraded}");

    // Kubernetes would wait for ever for the pod that can't run.
    space.edit(NAME, &json!({ "redis": { "nodeSelector": { "example.com/no-node": null } } })).await?;
    space.rolled_out("shop-redis", LONG).await?;
    space.ready(NAME).await
}

/// A budget of somebody else, which lets nothing go.
async fn a_budget_holds_up(namespace: &str, mode: &str, pod: &str, words: &str) -> Result<()> {
    let space = STACK.space(namespace).await?;
    let patch = json!({ "frontend": null, "postgres": null, "redis": { "mode": mode } });
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "not-now" },
        "spec": {
            "maxUnavailable": 0,
            "selector": { "matchLabels": { "app.kubernetes.io/name": "redis" } },
        },
    });
    space.put(&budget).await?;
    wait_for("the budget is counted", SETTLE, async || {
        let live = space.get("PodDisruptionBudget", "not-now").await?;
        ensure!(at(&live, "/status/expectedPods").as_i64().is_some_and(|pods| pods > 0), "{live}");
        Ok(())
    })
    .await?;
    let before = servers(&space, "redis").await?;
    space.edit(NAME, &json!({ "redis": { "nodeSelector": { "kubernetes.io/os": "linux" } } })).await?;
    wait_for("it is told", SETTLE, async || {
        let said = message(&space, "redis").await?;
        ensure!(said == format!("pods are being replaced; the next one goes when {words} {pod}"), "{said}");
        Ok(())
    })
    .await?;
    ensure!(servers(&space, "redis").await? == before, "a pod went all the same");
    space.delete("PodDisruptionBudget", "not-now", Propagation::Background).await?;
    space.rolled_out("shop-redis", LONG).await
}

#[tokio::test]
async fn a_budget_that_allows_nothing_holds_it_up_and_is_told() -> Result<()> {
    a_budget_holds_up("budget", "Standalone", "shop-redis-0", "a PodDisruptionBudget allows the eviction of")
        .await
}

#[tokio::test]
async fn a_second_budget_holds_it_up_and_is_told() -> Result<()> {
    let words = "no more than one PodDisruptionBudget is for";
    a_budget_holds_up("budgets", "Replicated", "shop-redis-2", words).await
}

#[tokio::test]
async fn sets_that_kubernetes_would_roll_are_taken_over() -> Result<()> {
    let space = STACK.space("taken-over").await?;
    let patch = json!({ "frontend": null, "postgres": null, "redis": { "mode": "Standalone" } });
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } });
    let is_taken_over = async |by: &str| {
        wait_for(&format!("it is taken over from {by}"), SETTLE, async || {
            let set = space.get("StatefulSet", "shop-redis").await?;
            let strategy = at(&set, "/spec/updateStrategy");
            ensure!(*strategy == json!({ "type": "OnDelete" }), "{strategy}");
            Ok(())
        })
        .await?;
        space.ready(NAME).await
    };
    space.patch("StatefulSet", "shop-redis", &json!({ "spec": { "updateStrategy": rolling } })).await?;
    is_taken_over("somebody else").await?;

    // As operators before this one had it.
    let mut set = space.get("StatefulSet", "shop-redis").await?;
    let metadata = set["metadata"].as_object_mut().context("an object")?;
    metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    // Another digest, so that it is applied again.
    set["metadata"]["annotations"][labels::APPLIED] = json!("of before");
    set["spec"]["updateStrategy"] = rolling;
    set.as_object_mut().context("an object")?.remove("status");
    let apply = PatchParams::apply(labels::FIELD_MANAGER).force();
    space.api("StatefulSet").patch("shop-redis", &apply, &Patch::Apply(&set)).await?;
    is_taken_over("an earlier operator").await
}
