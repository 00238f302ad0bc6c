//! Redis Cluster and Redis with Sentinels on real nodes: they form, and heal when pods come back elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use trading_e2e::real::Trial;
use trading_e2e::sim::{at, text, wait_for};

use super::{MACHINE, STAGE};

/// From the start of the last of six servers until all of them are ready: 30 s, or longer on a busy machine.
const FORMED: SignedDuration = SignedDuration::from_secs(90);

/// Six servers, one after the other, each of which gets what it missed.
const REPLACED: Duration = Duration::from_mins(5);

/// The kubelet tells running servers of a changed `ConfigMap`; then slots move.
const MOVED: Duration = Duration::from_mins(6);

/// Three times the kubelets bring a changed Secret, and once the clients roll.
const ROTATED: Duration = Duration::from_mins(12);

/// For a server to come back and get what it missed.
const HEALED: Duration = Duration::from_mins(2);

/// A master that dies is missed for 5 s; the Sentinels agree, and clients ask them: within 15 s, or longer on a busy
/// machine, where they may have to vote again.
const SENTINELS_ACTED: Duration = Duration::from_mins(1);

/// Any server or one that a replica has confirmed.
const BOTH: [&str; 2] = ["redis", "redis-confirmed"];

const METRICS: u16 = 9121;

#[tokio::test(flavor = "multi_thread")]
async fn six_servers_form_a_cluster_in_which_each_may_die() -> Result<()> {
    let _shared = MACHINE.read().await;
    let patch = json!({ "redis": { "mode": "Cluster" }, "postgres": null });
    let trial = Trial::begin(&STAGE, "cluster", &BOTH, &patch).await?;
    let pods = trial.pods("redis").await?;
    ensure!(pods.len() == 6, "a cluster has six servers by default");
    let formed = latest(&pods, ready)?.duration_since(latest(&pods, started)?);
    eprintln!("six servers formed a cluster {formed} after the last of them started");
    ensure!(formed < FORMED, "six servers took {formed} to form a cluster");
    // kube-proxy hears of a server a moment after its pod is ready.
    wait_for("the application reaches the cluster", HEALED, async || {
        let about = trial.application.about().await?;
        ensure!(text(&about, "/stores/redis/version").starts_with("7.0."), "{about}");
        Ok(())
    })
    .await?;

    for pod in pods {
        healed(&trial, 6).await?;
        let what = format!("{} is killed", text(&pod, "/metadata/name"));
        let happens = async || trial.kill(std::slice::from_ref(&pod)).await;
        trial.under_load_losing("redis", &what, happens).await?;
    }
    healed(&trial, 6).await?;
    let happens = async || trial.kill(&trial.pods("redis").await?).await;
    trial.under_load("all six servers are killed at once", happens).await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_replaced_grows_and_shrinks_while_it_serves() -> Result<()> {
    let _shared = MACHINE.read().await;
    // With TLS, between servers as from clients.
    let redis = json!({ "mode": "Cluster", "tls": { "mode": "Required" } });
    let patch = json!({ "redis": redis, "postgres": null });
    let trial = Trial::begin(&STAGE, "growth", &["redis"], &patch).await?;
    healed(&trial, 6).await?;
    let before = trial.pods("redis").await?;
    let happens = async || {
        let masters = wait_for("three servers have a replica", HEALED, async || {
            let mut masters = BTreeSet::new();
            for pod in &before {
                if trial.says(pod, METRICS, "redis_connected_slaves 1").await.is_ok() {
                    masters.insert(text(pod, "/metadata/name").to_owned());
                }
            }
            ensure!(masters.len() == 3, "masters: {masters:?}");
            Ok(masters)
        })
        .await?;
        trial.restart("redis", REPLACED).await?;
        // Who leads goes last: all who follow were made before.
        let mut pods = trial.pods("redis").await?;
        pods.sort_by_key(|pod| text(pod, "/metadata/creationTimestamp").to_owned());
        let last = pods[3..].iter().map(|pod| text(pod, "/metadata/name").to_owned());
        ensure!(last.collect::<BTreeSet<_>>() == masters, "masters did not go last: {masters:?}");
        Ok(())
    };
    trial.under_load("all six servers are replaced one by one", happens).await?;
    let happens = async || {
        trial.edit(&json!({ "redis": { "shards": 4 } })).await?;
        wait_for("a fourth shard has its share", MOVED, async || is_settled(&trial, 8).await).await
    };
    trial.under_load("a fourth shard joins", happens).await?;
    let happens = async || {
        trial.edit(&json!({ "redis": { "shards": 3 } })).await?;
        let left = wait_for("the fourth shard has left", MOVED, async || is_settled(&trial, 6).await).await;
        left.with_context(|| STAGE.explain(&trial.space.name))
    };
    trial.under_load("it leaves", happens).await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_replaced_and_no_request_fails() -> Result<()> {
    let _shared = MACHINE.read().await;
    let patch = json!({ "redis": { "mode": "Replicated" }, "postgres": null });
    let trial = Trial::begin(&STAGE, "password", &["redis"], &patch).await?;
    whole(&trial).await?;
    let servers = uids(&trial).await?;
    let happens = async || {
        trial.edit(&json!({ "redis": { "auth": { "generation": 2 } } })).await?;
        rotated(&trial, 2).await
    };
    trial.under_load("the password of Redis is replaced", happens).await?;
    let happens = async || {
        trial.edit(&json!({ "redis": { "auth": { "generation": 3 } } })).await?;
        STAGE.kill_operator()?;
        STAGE.wait_for_operator()?;
        rotated(&trial, 3).await
    };
    trial.under_load("it is replaced again, and the operator is killed meanwhile", happens).await?;
    ensure!(uids(&trial).await? == servers, "servers or Sentinels were started again");
    whole(&trial).await?;
    trial.end().await
}

async fn uids(trial: &Trial) -> Result<BTreeSet<String>> {
    let mut pods = trial.pods("redis").await?;
    pods.extend(trial.pods("sentinel").await?);
    Ok(pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect())
}

async fn rotated(trial: &Trial, generation: u32) -> Result<()> {
    wait_for("the old password is refused", ROTATED, async || {
        let live = trial.space.get("TradingPlatform", "shop").await?;
        let all = at(&live, "/status/conditions").as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|condition| condition["type"] == "CredentialsRotated");
        let found = found.context("nothing is said of it")?;
        let is_it = text(found, "/message").contains(&format!("password {generation} of Redis"));
        ensure!(found["status"] == "True" && is_it, "{found}");
        Ok(())
    })
    .await
}

fn latest(pods: &[Value], of: impl Fn(&Value) -> &str) -> Result<Timestamp> {
    let times = pods.iter().map(|pod| Ok(of(pod).parse()?)).collect::<Result<Vec<_>>>()?;
    times.into_iter().max().context("no pods")
}

fn started(pod: &Value) -> &str {
    text(pod, "/status/containerStatuses/0/state/running/startedAt")
}

fn ready(pod: &Value) -> &str {
    let conditions = at(pod, "/status/conditions").as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    ready.map_or("", |condition| text(condition, "/lastTransitionTime"))
}

async fn healed(trial: &Trial, servers: usize) -> Result<()> {
    wait_for("the cluster is whole", HEALED, async || is_settled(trial, servers).await).await
}

/// Every server finds the cluster as it should be.
async fn is_settled(trial: &Trial, servers: usize) -> Result<()> {
    let pods = trial.pods("redis").await?;
    ensure!(pods.len() == servers, "{} servers", pods.len());
    for pod in &pods {
        trial.says(pod, METRICS, "trading_redis_cluster_settled 1").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_replace_a_master() -> Result<()> {
    let _shared = MACHINE.read().await;
    // With TLS, between servers as from clients, who ask Sentinels with it as well.
    let redis = json!({ "mode": "Replicated", "tls": { "mode": "Required" } });
    let patch = json!({ "redis": redis, "postgres": null });
    let trial = Trial::begin(&STAGE, "sentinel", &BOTH, &patch).await?;
    whole(&trial).await?;
    let happens = async || {
        let master = master(&trial).await?;
        STAGE.cluster().kill_container(Trial::node(&master)?, Trial::container(&master)?)?;
        whole(&trial).await
    };
    let ledgers = trial.under_load_losing("redis", "the master is killed", happens).await?;
    ledgers.paused_at_most("redis", SENTINELS_ACTED)?;
    let happens = async || {
        // A container that was just started again is not told of at once.
        let (old, node, container) = wait_for("the master hangs", HEALED, async || {
            let old = master(&trial).await?;
            let (node, container) = (Trial::node(&old)?, Trial::container(&old)?.to_owned());
            STAGE.cluster().freeze(node, &container)?;
            Ok((old, node, container))
        })
        .await?;
        let led = wait_for("another server is master", HEALED, async || {
            let new = master(&trial).await?;
            ensure!(new["metadata"]["uid"] != old["metadata"]["uid"], "it is still the old one");
            Ok(())
        })
        .await;
        STAGE.cluster().thaw(node, &container)?;
        led?;
        whole(&trial).await
    };
    let ledgers = trial.under_load_losing("redis", "the master hangs", happens).await?;
    ledgers.paused_at_most("redis", SENTINELS_ACTED)?;
    let happens = async || {
        let mut pods = trial.pods("redis").await?;
        pods.extend(trial.pods("sentinel").await?);
        trial.kill(&pods).await
    };
    trial.under_load("all servers and Sentinels are killed at once", happens).await?;
    trial.end().await
}

/// The server that says that it is master and has a replica; one that hangs says nothing.
async fn master(trial: &Trial) -> Result<Value> {
    let pods = trial.pods("redis").await?;
    for pod in pods {
        if trial.says(&pod, METRICS, "redis_connected_slave_lag_bytes").await.is_ok() {
            return Ok(pod);
        }
    }
    bail!("no server has replicas")
}

/// Waits until one server is master and has the two others as replicas.
async fn whole(trial: &Trial) -> Result<()> {
    wait_for("one master has two replicas", HEALED, async || {
        let master = master(trial).await?;
        trial.says(&master, METRICS, "redis_connected_slaves 2").await
    })
    .await
}
