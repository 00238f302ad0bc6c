//! Databases and roles that are declared: Secrets are generated once, and no server starts again for them. Nodes
//! are simulated: that servers make them is tested with real ones.

use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_e2e::sim::{
    Propagation, SETTLE, Space, Stack, at, merge, own_database, platform, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const ROLE: &str = "shop-postgres-role-re-port";
const ALL: &str = "shop-postgres-roles";

async fn data(space: &Space<'_>, secret: &str) -> Result<Value> {
    Ok(at(&space.get("Secret", secret).await?, "/data").clone())
}

async fn uids(space: &Space<'_>) -> Result<Vec<String>> {
    let pods = space.pods(NAME, "postgres").await?;
    Ok(pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect())
}

/// What the servers are told.
async fn declared(space: &Space<'_>) -> Result<Value> {
    let map = space.get("ConfigMap", "shop-postgres").await?;
    serde_json::from_str(text(&map, "/data/objects")).context("it is JSON")
}

#[tokio::test]
async fn roles_and_databases_come_and_go_and_no_pod_does() -> Result<()> {
    let space = STACK.space("declared").await?;
    let mut patch = own_database();
    merge(&mut patch, &json!({ "redis": null, "frontend": null }));
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    let before = uids(&space).await?;
    ensure!(before.len() == 2, "{before:?}");

    let roles = json!({ "re_port": { "memberOf": ["pg_read_all_data"] } });
    let edit = json!({ "postgres": { "extensions": ["pg_trgm"], "roles": roles, "databases": {
        "analytics": { "owner": "re_port", "extensions": ["hstore"] } } } });
    let mark = STACK.mark()?;
    space.edit(NAME, &edit).await?;
    wait_for("the servers have the password", SETTLE, async || {
        let (own, all) = (data(&space, ROLE).await?, data(&space, ALL).await?);
        ensure!(text(&own, "/password").len() > 20 && own["password"] == all["re_port"], "it differs");
        Ok(())
    })
    .await?;
    space.ready(NAME).await?;
    let made: Vec<_> = space.requests_until_quiet(&mark).await?;
    let written: Vec<String> = made
        .iter()
        .filter(|entry| entry.is_write() && entry.code < 300 && entry.resource != "tradingplatforms")
        .map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.name))
        .collect();
    let expected = [
        format!("create secrets {ROLE}"),
        format!("patch secrets {ALL}"),
        "patch configmaps shop-postgres".to_owned(),
    ];
    ensure!(written.len() == 3 && expected.iter().all(|line| written.contains(line)), "{written:?}");
    let told = declared(&space).await?;
    ensure!(told["databases"]["analytics"]["owner"] == "re_port", "{told}");
    let first = data(&space, ROLE).await?;
    let keys: Vec<&String> = first.as_object().context("keys")?.keys().collect();
    ensure!(keys == ["dbname", "host", "password", "port", "uri", "username"], "{keys:?}");

    // A person's password for another one comes later, and changes.
    let guest = json!({ "postgres": { "roles": { "guest": { "passwordSecretRef": { "name": "guests", "key": "one" } } } } });
    space.edit(NAME, &guest).await?;
    space.condition_is(NAME, "Degraded", "True", "RoleWithoutPassword", SETTLE).await?;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "guests" } });
    space.put(&secret).await?;
    for password in ["first", "second"] {
        space.patch("Secret", "guests", &json!({ "stringData": { "one": password } })).await?;
        wait_for("the servers have it", SETTLE, async || {
            let given = data(&space, "guests").await?;
            ensure!(data(&space, ALL).await?["guest"] == given["one"], "it differs");
            Ok(())
        })
        .await?;
    }
    space.ready(NAME).await?;

    // Lost, it is told; made again as it was, all is well.
    space.delete("Secret", ROLE, Propagation::Background).await?;
    space.condition_is(NAME, "Degraded", "True", "PasswordLost", SETTLE).await?;
    ensure!(space.find("Secret", ROLE).await?.is_none(), "a new password was made");
    let again = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": ROLE }, "data": first,
        "type": "Opaque" });
    space.put(&again).await?;
    space.ready(NAME).await?;

    // Removed, it is wished no more; back again, it has the password that it had.
    let removed = json!({ "postgres": { "databases": null, "roles": { "re_port": null } } });
    space.edit(NAME, &removed).await?;
    wait_for("the servers are told", SETTLE, async || {
        let told = declared(&space).await?;
        ensure!(told["roles"].as_object().is_some_and(|roles| roles.keys().eq(["guest"])), "{told}");
        Ok(())
    })
    .await?;
    space.edit(NAME, &edit).await?;
    space.ready(NAME).await?;
    ensure!(data(&space, ROLE).await? == first, "it has another password");
    ensure!(uids(&space).await? == before, "a server was replaced");
    Ok(())
}
