//! A pooler comes and goes while the platform serves. Nodes are simulated: the test writes what agents would.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use trading_e2e::sim::{SETTLE, Space, Stack, at, merge, own_database, platform, stays, text, wait_for};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const SERVERS: &str = "shop-postgres";
const POOLER: &str = "shop-postgres-pooler";

/// What the primary says of the pooler.
async fn say(space: &Space<'_>, pooler: bool) -> Result<()> {
    let said = json!({ "logins": [1], "pooler": pooler }).to_string();
    let annotations = json!({ "platform.trading/postgres": said });
    space.patch("Lease", SERVERS, &json!({ "metadata": { "annotations": annotations } })).await.map(drop)
}

/// Where the backend is led to.
async fn host(space: &Space<'_>) -> Result<String> {
    let live = space.get("Deployment", "shop-backend").await?;
    let all = at(&live, "/spec/template/spec/containers/0/env").as_array().context("no variables")?;
    let host = all.iter().find(|variable| variable["name"] == "PGHOST").context("no host")?;
    Ok(text(host, "/value").to_owned())
}

async fn leads_to(space: &Space<'_>, wanted: &str) -> Result<()> {
    wait_for(&format!("the backend is led to {wanted}"), SETTLE, async || {
        let host = host(space).await?;
        ensure!(host == wanted, "it is led to {host}");
        Ok(())
    })
    .await?;
    space.ready(NAME).await
}

async fn value(space: &Space<'_>, secret: &str, key: &str) -> Result<String> {
    let live = space.get("Secret", secret).await?;
    let ByteString(bytes) = serde_json::from_value(live["data"][key].clone())?;
    Ok(String::from_utf8(bytes)?)
}

async fn uids(space: &Space<'_>) -> Result<BTreeSet<String>> {
    let pods = space.pods(NAME, "postgres").await?;
    Ok(pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect())
}

async fn of_pooler(space: &Space<'_>) -> Result<BTreeSet<String>> {
    let names = space.children(NAME).await?.into_keys().filter(|(_, name)| name == POOLER);
    Ok(names.map(|(kind, _)| kind).collect())
}

#[tokio::test]
async fn a_pooler_comes_and_goes_and_clients_are_led_to_what_is_there() -> Result<()> {
    let space = STACK.space("pooler").await?;
    let mut patch = own_database();
    merge(&mut patch, &json!({ "redis": null, "frontend": null }));
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    say(&space, false).await?;
    let servers = uids(&space).await?;
    ensure!(host(&space).await? == SERVERS && servers.len() == 2);

    space.edit(NAME, &json!({ "postgres": { "pooler": { "instances": 2 } } })).await?;
    space.ready(NAME).await?;
    let live = space.get("TradingPlatform", NAME).await?;
    let components = at(&live, "/status/components").as_array().context("no components")?;
    let told = components.iter().find(|it| it["name"] == "postgres-pooler").context("it is not told")?;
    ensure!(told["state"] == "Ready" && told["ready"] == 2 && told["kind"] == "Deployment", "{told}");
    let password = value(&space, "shop-postgres-logins", "pooler").await?;
    let users = value(&space, POOLER, "users.txt").await?;
    ensure!(password.len() >= 20, "its password is short");
    ensure!(users == format!("\"trading_pooler\" \"{password}\"\n"), "it has another password");
    let map = space.get("ConfigMap", POOLER).await?.to_string();
    ensure!(!map.contains(&password), "the password is in the ConfigMap");
    let servers_map = space.get("ConfigMap", SERVERS).await?;
    ensure!(servers_map["data"]["pooler"] == "trading_pooler\n", "the servers are not told");
    stays("clients wait for the servers", Duration::from_secs(3), async || {
        ensure!(host(&space).await? == SERVERS, "they don't know it yet");
        Ok(())
    })
    .await?;

    say(&space, true).await?;
    leads_to(&space, POOLER).await?;
    space.edit(NAME, &json!({ "postgres": { "pooler": { "poolMode": "Session" } } })).await?;
    wait_for("the pooler has the edit", SETTLE, async || {
        let map = space.get("ConfigMap", POOLER).await?;
        ensure!(text(&map, "/data/pgbouncer.ini").contains("pool_mode = session\n"), "not yet");
        Ok(())
    })
    .await?;
    space.ready(NAME).await?;
    ensure!(value(&space, "shop-postgres-logins", "pooler").await? == password, "its password is another");
    let kinds: BTreeSet<String> = of_pooler(&space).await?;
    let wanted = [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Secret",
        "Service",
        "ServiceAccount",
    ];
    ensure!(kinds == wanted.map(str::to_owned).into(), "{kinds:?}");

    space.edit(NAME, &json!({ "postgres": { "pooler": null } })).await?;
    leads_to(&space, SERVERS).await?;
    for kind in wanted {
        space.gone(kind, POOLER, SETTLE).await?;
    }
    let policy = space.get("NetworkPolicy", SERVERS).await?.to_string();
    ensure!(!policy.contains("postgres-pooler"), "its policy is left: {policy}");
    let map = space.get("ConfigMap", SERVERS).await?;
    ensure!(at(&map, "/data/pooler") == &Value::Null, "the servers are not told");
    ensure!(uids(&space).await? == servers, "servers were replaced");
    Ok(())
}
