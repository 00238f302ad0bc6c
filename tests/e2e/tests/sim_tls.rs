//! TLS to a database of the platform's own comes, is renewed and goes, and at no moment a client insists on what a
//! server does not offer, or is refused for what it does not know. Nodes are simulated.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trading_e2e::sim::{
    Propagation, SETTLE, Space, Stack, at, merge, own_database, platform, stays, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

/// One kills the operator.
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";
const SERVERS: &str = "shop-postgres";
const SECRET: &str = "shop-postgres-tls";

/// A platform whose backend uses its own database, with this beside.
fn with(postgres: &Value) -> Value {
    let mut all = own_database();
    merge(&mut all, &json!({ "redis": null, "frontend": null, "postgres": postgres }));
    platform(NAME, &all)
}

fn tls(mode: &str) -> Value {
    json!({ "postgres": { "tls": { "mode": mode } } })
}

async fn value(space: &Space<'_>, key: &str) -> Result<String> {
    let live = space.get("Secret", SECRET).await?;
    let ByteString(bytes) = serde_json::from_value(live["data"][key].clone())?;
    Ok(String::from_utf8(bytes)?)
}

fn has_volume(pod: &Value, name: &str) -> bool {
    at(pod, "/spec/volumes").as_array().is_some_and(|all| all.iter().any(|volume| volume["name"] == name))
}

/// Of how many pods of a component how many have a volume.
async fn having(space: &Space<'_>, component: &str, volume: &str) -> Result<(usize, usize)> {
    let pods = space.pods(NAME, component).await?;
    Ok((pods.iter().filter(|pod| has_volume(pod, volume)).count(), pods.len()))
}

async fn is_strict(space: &Space<'_>) -> Result<bool> {
    let map = space.get("ConfigMap", SERVERS).await?;
    let text = text(&map, "/data/pg_hba.conf").to_owned();
    ensure!(text.contains("host"), "{text}");
    Ok(!text.lines().any(|line| line.starts_with("host ")))
}

/// Nobody insists on what is not offered, and nobody is refused who does not know of it.
async fn nobody_fails(space: &Space<'_>) -> Result<()> {
    // What could have changed in between is read before what it must not be ahead of.
    let strict = is_strict(space).await?;
    let (insisting, clients) = having(space, "backend", "postgres-ca").await?;
    let (offering, servers) = having(space, "postgres", "tls").await?;
    // A pod that is replaced is missing for a moment.
    ensure!(
        insisting == 0 || offering == servers,
        "{insisting} clients insist, {offering} of {servers} offer"
    );
    ensure!(!strict || insisting == clients, "plain clients are refused, {insisting} of {clients} insist");
    Ok(())
}

/// Watches that until something is so.
async fn without_a_failure(
    space: &Space<'_>,
    what: &str,
    mut is_so: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let mut broken = None;
    let result = wait_for(what, SETTLE * 2, async || {
        if let Err(error) = nobody_fails(space).await {
            broken.get_or_insert(error);
        }
        is_so().await
    })
    .await;
    broken.map_or(Ok(()), Err).context("on the way")?;
    result
}

async fn is_over(space: &Space<'_>) -> Result<()> {
    ensure!(is_strict(space).await?, "servers let plain connections in");
    let (insisting, clients) = having(space, "backend", "postgres-ca").await?;
    ensure!(clients > 0 && insisting == clients, "{insisting} of {clients} insist");
    Ok(())
}

#[tokio::test]
async fn tls_comes_and_goes_in_order_wherever_the_operator_is_killed() -> Result<()> {
    let _turn = TURN.lock().await;
    let space = STACK.space("tls").await?;
    space.put(&with(&json!({ "pooler": { "instances": 1 } }))).await?;
    space.ready(NAME).await?;
    ensure!(space.find("Secret", SECRET).await?.is_none());
    ensure!(having(&space, "postgres", "tls").await? == (0, 2));

    STACK.operator().kill()?;
    space.edit(NAME, &tls("Required")).await?;
    STACK.restart_operator()?;
    let restart = async || -> Result<()> {
        STACK.operator().kill()?;
        STACK.restart_operator()
    };
    let offered = async || {
        let (offering, servers) = having(&space, "postgres", "tls").await?;
        ensure!(servers == 2 && offering == 2, "{offering} of {servers} offer it");
        Ok(())
    };
    without_a_failure(&space, "all servers offer TLS", offered).await?;
    restart().await?;
    let insists = async || {
        let (insisting, _) = having(&space, "backend", "postgres-ca").await?;
        ensure!(insisting > 0, "none insists");
        Ok(())
    };
    without_a_failure(&space, "a client insists", insists).await?;
    restart().await?;
    without_a_failure(&space, "all insist, and others are refused", async || is_over(&space).await).await?;
    // Nobody asks simulated servers whether they do it.
    let message = space.condition_is(NAME, "TLSRequired", "False", "ServersFollow", SETTLE).await?;
    ensure!(message.contains("don't say yet"), "{message}");
    space.ready(NAME).await?;
    let backend = space.get("Deployment", "shop-backend").await?.to_string();
    ensure!(backend.contains("sslmode=verify-full") && backend.contains("\"PGSSLROOTCERT\""), "{backend}");
    ensure!(!backend.contains("ca.key"), "a client has the authority's key");
    let pooler = space.get("ConfigMap", "shop-postgres-pooler").await?;
    ensure!(text(&pooler, "/data/pgbouncer.ini").contains("client_tls_sslmode = require\n"));
    let uids = async || -> Result<Vec<Value>> {
        let mut all = space.pods(NAME, "postgres").await?;
        all.extend(space.pods(NAME, "backend").await?);
        Ok(all.iter().map(|pod| at(pod, "/metadata/uid").clone()).collect())
    };
    let before = uids().await?;
    restart().await?;
    stays("an operator that starts changes nothing", Duration::from_secs(4), async || {
        ensure!(uids().await? == before, "pods are replaced");
        is_over(&space).await
    })
    .await?;

    space.edit(NAME, &json!({ "postgres": { "tls": null } })).await?;
    restart().await?;
    let gone = async || {
        ensure!(having(&space, "postgres", "tls").await? == (0, 2), "servers offer it");
        ensure!(!is_strict(&space).await?, "others are refused");
        Ok(())
    };
    without_a_failure(&space, "TLS is gone", gone).await?;
    space.ready(NAME).await?;
    ensure!(space.condition(NAME, "TLSRequired").await.is_err(), "there is something to say of it");
    ensure!(space.find("Secret", SECRET).await?.is_some(), "what others trust is gone");
    Ok(())
}

#[tokio::test]
async fn a_new_database_has_it_at_once_and_certificates_are_renewed() -> Result<()> {
    let _turn = TURN.lock().await;
    let space = STACK.space("tls-new").await?;
    space.put(&with(&json!({ "tls": { "mode": "Required" } }))).await?;
    space.ready(NAME).await?;
    is_over(&space).await?;
    let deployment = space.get("Deployment", "shop-backend").await?;
    ensure!(at(&deployment, "/metadata/generation") == &json!(1), "clients were rolled");
    let [authority, key, certificate] =
        [value(&space, "ca.crt").await?, value(&space, "ca.key").await?, value(&space, "tls.crt").await?];
    for pem in [&authority, &certificate] {
        ensure!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    }
    let told = space.get("Secret", SECRET).await?;
    ensure!(at(&told, "/metadata/annotations/platform.trading~1certificate").is_string());
    let pods = async || -> Result<Vec<Value>> {
        let mut all = space.pods(NAME, "postgres").await?;
        all.extend(space.pods(NAME, "backend").await?);
        Ok(all.iter().map(|pod| at(pod, "/metadata/uid").clone()).collect())
    };
    let before = pods().await?;

    let due = json!({ "renew": "2026-01-01T00:00:00Z", "names": "others" }).to_string();
    let annotations = json!({ "platform.trading/certificate": due });
    space.patch("Secret", SECRET, &json!({ "metadata": { "annotations": annotations } })).await?;
    wait_for("it is renewed", SETTLE, async || {
        ensure!(value(&space, "tls.crt").await? != certificate, "not yet");
        Ok(())
    })
    .await?;
    ensure!(value(&space, "ca.crt").await? == authority && value(&space, "ca.key").await? == key);
    stays("nobody starts anew for it", Duration::from_secs(3), async || {
        ensure!(pods().await? == before, "pods are replaced");
        Ok(())
    })
    .await?;

    // A key that somebody removed, and all of it.
    space.patch("Secret", SECRET, &json!({ "data": { "ca.key": null } })).await?;
    wait_for("another authority is trusted beside", SETTLE, async || {
        let all = value(&space, "ca.crt").await?;
        ensure!(all.contains(&authority) && all.matches("BEGIN").count() == 2, "{all}");
        Ok(())
    })
    .await?;
    space.ready(NAME).await?;
    space.delete("Secret", SECRET, Propagation::Background).await?;
    wait_for("there is another", SETTLE, async || {
        ensure!(value(&space, "ca.crt").await? != authority);
        Ok(())
    })
    .await?;
    space.ready(NAME).await?;
    is_over(&space).await
}

#[tokio::test]
async fn a_new_redis_speaks_tls_and_its_clients_know_whom_to_trust() -> Result<()> {
    let space = STACK.space("tls-redis").await?;
    let redis = json!({ "mode": "Replicated", "tls": { "mode": "Required" } });
    let worker = json!({ "image": { "repository": "shop/worker" }, "connectsTo": ["redis"] });
    let patch = json!({ "redis": redis, "frontend": null, "postgres": null, "worker": worker });
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let secret = space.get("Secret", "shop-redis-tls").await?;
    for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        ensure!(secret["data"][key].is_string(), "{key} is missing");
    }
    let config = space.get("ConfigMap", "shop-redis").await?;
    ensure!(text(&config, "/data/redis.conf").contains("port 0\n"), "{config}");
    ensure!(having(&space, "redis", "tls").await? == (3, 3));
    ensure!(having(&space, "sentinel", "tls").await? == (3, 3));
    let (knowing, clients) = having(&space, "worker", "redis-ca").await?;
    ensure!(clients > 0 && knowing == clients, "{knowing} of {clients} know whom to trust");
    // Kept for who adopts the data, and found again.
    space.delete("TradingPlatform", NAME, Propagation::Background).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let again = space.get("Secret", "shop-redis-tls").await?;
    ensure!(again["data"]["ca.crt"] == secret["data"]["ca.crt"], "clients would have to trust another");
    Ok(())
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone_and_no_server_takes_it() -> Result<()> {
    let space = STACK.space("tls-foreign").await?;
    let theirs = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
        "stringData": { "tls.crt": "theirs" } });
    space.put(&theirs).await?;
    space.put(&with(&json!({ "tls": { "mode": "Required" } }))).await?;
    let message = space.condition_is(NAME, "Ready", "False", "NameTaken", SETTLE).await?;
    ensure!(message.contains(SECRET) && message.contains("delete or rename it"), "{message}");
    stays("nothing is done with it", Duration::from_secs(3), async || {
        ensure!(value(&space, "tls.crt").await? == "theirs", "it was written over");
        ensure!(space.find("StatefulSet", SERVERS).await?.is_none(), "servers would take it");
        Ok(())
    })
    .await?;
    space.delete("Secret", SECRET, Propagation::Background).await?;
    space.ready(NAME).await
}
