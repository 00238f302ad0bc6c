//! `StorageClasses` that are missing, come, and can't grow are told in the status, and cost nothing else. Volumes
//! grow under running servers, wherever the operator is killed meanwhile, and clusters get more of these.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use trading_e2e::sim::{SETTLE, Space, Stack, at, describe, differences, platform, text, wait_for};
use trading_testbed::audit::Entry;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const CLASS: &str = "precious";

#[tokio::test]
async fn what_a_class_lacks_is_told_until_it_is_mended() -> Result<()> {
    let space = STACK.space("storage").await?;
    let redis = json!({ "mode": "Standalone", "storage": { "size": "1Gi", "storageClassName": CLASS } });
    space.put(&platform(NAME, &json!({ "frontend": null, "postgres": null, "redis": redis }))).await?;
    let says = async |status: &str, reason: &str, words: &str| {
        wait_for(reason, SETTLE, async || {
            let condition = space.condition(NAME, "VolumesExpandable").await?;
            ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
            ensure!(text(&condition, "/message").contains(words), "{condition}");
            Ok(())
        })
        .await
    };
    says("False", "StorageClassMissing", "\"precious\", which redis asks for, does not exist").await?;
    let degraded = space.condition(NAME, "Degraded").await?;
    ensure!(degraded["status"] == "True" && degraded["reason"] == "StorageClassMissing", "{degraded}");

    let classes = Api::<StorageClass>::all(space.client.clone());
    let class = json!({ "metadata": { "name": CLASS }, "provisioner": "example.com/none" });
    classes.create(&PostParams::default(), &serde_json::from_value(class)?).await?;
    says("False", "NotExpandable", "\"precious\" does not say allowVolumeExpansion: true").await?;

    let grow = json!({ "allowVolumeExpansion": true });
    classes.patch(CLASS, &PatchParams::default(), &Patch::Merge(&grow)).await?;
    says("True", "Expandable", "").await?;
    classes.delete(CLASS, &DeleteParams::default()).await?;
    says("False", "StorageClassMissing", "create it").await
}

/// A Redis Cluster, and a database with a volume of its own for its log.
fn stores(size: &str, class: &str) -> Value {
    let storage = json!({ "size": size, "storageClassName": class });
    platform(
        NAME,
        &json!({
            "frontend": null,
            "redis": { "mode": "Cluster", "storage": storage },
            "postgres": {
                "mode": "Managed", "external": null, "version": 16, "instances": 2,
                "storage": storage, "walStorage": storage,
            },
        }),
    )
}

/// UIDs of the stores' pods.
async fn servers(space: &Space<'_>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for store in ["redis", "postgres"] {
        for pod in space.pods(NAME, store).await? {
            found.insert(text(&pod, "/metadata/name").to_owned(), text(&pod, "/metadata/uid").to_owned());
        }
    }
    ensure!(found.len() == 8, "{found:?}");
    Ok(found)
}

/// Every claim asks for this, and has it.
async fn have(space: &Space<'_>, size: &str) -> Result<()> {
    let claims = space.list("PersistentVolumeClaim", "").await?;
    ensure!(claims.len() == 10, "{} claims", claims.len());
    for claim in claims {
        let (asked, got) = ("/spec/resources/requests/storage", "/status/capacity/storage");
        let is_done = text(&claim, asked) == size && text(&claim, got) == size;
        ensure!(
            is_done,
            "{} asks for {}, has {}",
            claim["metadata"]["name"],
            at(&claim, asked),
            at(&claim, got)
        );
    }
    Ok(())
}

/// Asks for so much, for all volumes.
async fn ask(space: &Space<'_>, size: &str) -> Result<()> {
    let storage = json!({ "storage": { "size": size } });
    let wal = json!({ "storage": { "size": size }, "walStorage": { "size": size } });
    space.edit(NAME, &json!({ "redis": storage, "postgres": wal })).await.map(drop)
}

/// As a person writes them, and as the apiserver does: it has words of its own for fractions.
const SIZES: [(&str, &str); 5] =
    [("2Gi", "2Gi"), ("2.5Gi", "2560Mi"), ("4Gi", "4Gi"), ("5Gi", "5Gi"), ("8.3G", "8300M")];

#[tokio::test]
async fn volumes_grow_under_running_servers_wherever_the_operator_is_killed() -> Result<()> {
    let space = STACK.space("growth").await?;
    space.put(&stores("1Gi", "standard")).await?;
    space.ready(NAME).await?;
    let before = servers(&space).await?;
    let random = RandomState::new();
    for (round, (wished, size)) in SIZES.into_iter().enumerate() {
        ask(&space, wished).await?;
        if round > 0 {
            let millis = random.hash_one(round) % 500;
            tokio::time::sleep(Duration::from_millis(millis)).await;
            STACK.restart_operator()?;
        }
        wait_for("the volumes have grown", SETTLE, async || {
            have(&space, size).await?;
            for set in ["shop-redis", "shop-postgres"] {
                let live = space.get("StatefulSet", set).await?;
                let asked = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
                ensure!(text(&live, asked) == size, "{set} asks for {}", at(&live, asked));
            }
            Ok(())
        })
        .await?;
        space.ready(NAME).await?;
        let now = servers(&space).await?;
        ensure!(now == before, "round {round}: servers were started again: {now:?}, not {before:?}");
        space.requests_until_quiet(&STACK.mark()?).await?;
        let mark = STACK.mark()?;
        STACK.restart_operator()?;
        // Progress that was held back when the operator was stopped is told by the next one.
        let is_of_objects = |entry: &Entry| entry.is_write() && entry.subresource.is_empty();
        let writes: Vec<_> =
            space.requests_until_quiet(&mark).await?.into_iter().filter(is_of_objects).collect();
        ensure!(writes.is_empty(), "at rest with {wished} it writes:\n{}", describe(&writes));
    }
    let fresh = STACK.space("growth-fresh").await?;
    fresh.put(&stores("8.3G", "standard")).await?;
    fresh.ready(NAME).await?;
    let (grown, new) = (space.children(NAME).await?, fresh.children(NAME).await?);
    let differences = differences(&grown, &space.name, &new, &fresh.name);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_redis_cluster_gets_more_servers_beside_those_that_run() -> Result<()> {
    let space = STACK.space("more-shards").await?;
    let redis = json!({ "mode": "Cluster", "storage": { "size": "1Gi" } });
    space.put(&platform(NAME, &json!({ "frontend": null, "postgres": null, "redis": redis }))).await?;
    space.ready(NAME).await?;
    let uids = async || -> Result<BTreeMap<String, String>> {
        let pods = space.pods(NAME, "redis").await?.into_iter();
        Ok(pods
            .map(|pod| (text(&pod, "/metadata/name").into(), text(&pod, "/metadata/uid").into()))
            .collect())
    };
    let before = uids().await?;
    space.requests_until_rest(&STACK.mark()?).await?;
    let mark = STACK.mark()?;
    space.edit(NAME, &json!({ "redis": { "shards": 4 } })).await?;
    wait_for("eight servers", SETTLE, async || {
        ensure!(uids().await?.len() == 8);
        Ok(())
    })
    .await?;
    space.ready(NAME).await?;
    let now = uids().await?;
    ensure!(before.iter().all(|(name, uid)| now.get(name) == Some(uid)), "{now:?} instead of {before:?}");
    let claims = space.list("PersistentVolumeClaim", "").await?;
    ensure!(claims.len() == 8, "{} claims", claims.len());
    let topology = space.get("ConfigMap", "shop-redis").await?;
    ensure!(text(&topology, "/data/cluster").starts_with("shards 4\n"), "{topology}");
    let written: BTreeSet<String> = space
        .requests_until_rest(&mark)
        .await?
        .into_iter()
        .filter(|entry| entry.is_write() && entry.subresource.is_empty())
        .map(|entry| entry.resource)
        .collect();
    ensure!(written == BTreeSet::from(["configmaps", "statefulsets"].map(str::to_owned)), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn volumes_that_cannot_grow_stay_and_it_is_told() -> Result<()> {
    let classes = Api::<StorageClass>::all(STACK.cluster().client().await?);
    let expands = async |expands: bool| -> Result<()> {
        let patch = json!({ "allowVolumeExpansion": expands });
        classes.patch("fast-ssd", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    };
    expands(false).await?;
    let space = STACK.space("rigid").await?;
    space.put(&stores("1Gi", "fast-ssd")).await?;
    space.ready(NAME).await?;
    let set = space.get("StatefulSet", "shop-redis").await?;
    ask(&space, "2Gi").await?;
    let message = space.condition_is(NAME, "Ready", "False", "VolumesCannotGrow", SETTLE).await?;
    ensure!(message.contains("kubectl patch storageclass fast-ssd"), "{message}");
    have(&space, "1Gi").await?;
    // Nothing else waits for it.
    space.edit(NAME, &json!({ "redis": { "nodeSelector": { "kubernetes.io/os": "linux" } } })).await?;
    wait_for("another edit is written", SETTLE, async || {
        let live = space.get("StatefulSet", "shop-redis").await?;
        ensure!(at(&live, "/metadata/uid") == at(&set, "/metadata/uid"), "the set was made anew");
        let selector = at(&live, "/spec/template/spec/nodeSelector");
        ensure!(selector["kubernetes.io/os"] == "linux", "{selector}");
        Ok(())
    })
    .await?;
    let refusal = ask(&space, "1Gi").await.err().context("it shrinks")?;
    ensure!(format!("{refusal:#}").contains("volumes can't shrink"), "{refusal:#}");

    // The administrator does what the message says.
    expands(true).await?;
    wait_for("the volumes have grown", SETTLE, async || have(&space, "2Gi").await).await?;
    space.ready(NAME).await
}
