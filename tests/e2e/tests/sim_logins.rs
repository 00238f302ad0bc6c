//! The login to a database of the platform's own changes, and its password is one that a person chose. Nodes are
//! simulated: the test writes what agents would.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
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
const CLIENTS: &str = "shop-postgres-app";

/// A platform whose backend uses its own database, with this beside.
fn with(patch: &Value) -> Value {
    let mut all = own_database();
    merge(&mut all, &json!({ "redis": null, "frontend": null }));
    merge(&mut all, patch);
    platform(NAME, &all)
}

fn chosen(generation: u32) -> Value {
    let from = json!({ "name": "vault", "key": "app" });
    json!({ "postgres": { "credentials": { "generation": generation, "passwordSecretRef": from } } })
}

/// What the person's Secret holds from now on.
async fn hold(space: &Space<'_>, password: &str) -> Result<()> {
    let text = json!({ "stringData": { "app": password } });
    space.patch("Secret", "vault", &text).await.map(drop)
}

/// What the primary says: that these logins are accepted.
async fn say(space: &Space<'_>, logins: &[u32]) -> Result<()> {
    let said = json!({ "logins": logins }).to_string();
    let annotations = json!({ "platform.trading/postgres": said });
    let patch = json!({ "metadata": { "annotations": annotations } });
    space.patch("Lease", "shop-postgres", &patch).await.map(drop)
}

async fn value(space: &Space<'_>, key: &str) -> Result<String> {
    let live = space.get("Secret", CLIENTS).await?;
    let ByteString(bytes) = serde_json::from_value(live["data"][key].clone())?;
    Ok(String::from_utf8(bytes)?)
}

/// What the servers are told of logins.
async fn told(space: &Space<'_>) -> Result<String> {
    let map = space.get("ConfigMap", "shop-postgres").await?;
    Ok(text(&map, "/data/login").trim_end().to_owned())
}

async fn pods(space: &Space<'_>, component: &str) -> Result<Vec<String>> {
    let pods = space.pods(NAME, component).await?;
    Ok(pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect())
}

#[tokio::test]
async fn a_login_changes_in_order_wherever_the_operator_is_killed() -> Result<()> {
    let _turn = TURN.lock().await;
    let space = STACK.space("logins").await?;
    space.put(&with(&json!({}))).await?;
    space.ready(NAME).await?;
    say(&space, &[1]).await?;
    let (servers, clients) = (pods(&space, "postgres").await?, pods(&space, "backend").await?);
    let first = value(&space, "password").await?;

    STACK.operator().kill()?;
    space.edit(NAME, &json!({ "postgres": { "credentials": { "generation": 2 } } })).await?;
    STACK.restart_operator()?;
    space.condition_is(NAME, "CredentialsRotated", "False", "LoginPending", SETTLE).await?;
    let made = space.get("Secret", "shop-postgres-logins").await?;
    ensure!(made["data"]["2"].is_string() && told(&space).await? == "2", "the servers are not told");
    stays("clients have the login that is accepted", Duration::from_secs(5), async || {
        ensure!(value(&space, "password").await? == first && value(&space, "username").await? == "app");
        ensure!(pods(&space, "backend").await? == clients, "clients roll too early");
        Ok(())
    })
    .await?;

    STACK.operator().kill()?;
    say(&space, &[1, 2]).await?;
    STACK.restart_operator()?;
    wait_for("clients get the login", SETTLE, async || {
        ensure!(value(&space, "username").await? == "app_login_2");
        let now = pods(&space, "backend").await?;
        ensure!(!now.is_empty() && now.iter().all(|pod| !clients.contains(pod)), "old pods: {now:?}");
        Ok(())
    })
    .await?;
    wait_for("older logins are to be refused", SETTLE, async || {
        let told = told(&space).await?;
        ensure!(told == "2 only", "{told}");
        Ok(())
    })
    .await?;
    say(&space, &[2]).await?;
    space.condition_is(NAME, "CredentialsRotated", "True", "Rotated", SETTLE).await?;
    space.ready(NAME).await?;
    let live = space.get("Secret", "shop-postgres-logins").await?;
    ensure!(at(&live, "/data/2") == at(&made, "/data/2"), "the password was made twice");
    ensure!(value(&space, "password").await? != first, "it is the old password");
    ensure!(pods(&space, "postgres").await? == servers, "a server started again");
    Ok(())
}

#[tokio::test]
async fn a_chosen_password_is_waited_for_and_taken_over_once() -> Result<()> {
    let _turn = TURN.lock().await;
    let space = STACK.space("logins-chosen").await?;
    space.put(&with(&chosen(1))).await?;
    let message = space.condition_is(NAME, "Ready", "False", "ReferenceMissing", SETTLE).await?;
    ensure!(message.contains("\"vault\"") && message.contains("create it in this namespace"), "{message}");
    ensure!(space.find("StatefulSet", "shop-postgres").await?.is_none(), "the database does not wait");
    ensure!(space.find("Secret", CLIENTS).await?.is_none(), "a Secret without its password was made");

    // A line break at the end is no part of a password, and most often an oversight.
    let vault = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault" } });
    space.put(&vault).await?;
    hold(&space, "p/a:s@s\n").await?;
    let message = space.condition_is(NAME, "Ready", "False", "PasswordUnusable", SETTLE).await?;
    ensure!(message.contains("\"vault\"") && message.contains("one line"), "{message}");
    ensure!(!message.contains("p/a:s"), "the password is shown");
    ensure!(space.find("Secret", CLIENTS).await?.is_none(), "it was taken all the same");
    hold(&space, "p/a:s@s").await?;
    space.ready(NAME).await?;
    say(&space, &[1]).await?;
    ensure!(value(&space, "password").await? == "p/a:s@s");
    let uri = value(&space, "uri").await?;
    ensure!(uri.starts_with("postgresql://app:p%2Fa%3As%40s@shop-postgres."), "{uri}");

    // Another value changes nothing before it is asked for.
    hold(&space, "second").await?;
    space.condition_is(NAME, "Degraded", "True", "PasswordDiffers", SETTLE).await?;
    ensure!(value(&space, "password").await? == "p/a:s@s");
    hold(&space, "").await?;
    space.edit(NAME, &chosen(2)).await?;
    space.condition_is(NAME, "Degraded", "True", "PasswordUnusable", SETTLE).await?;
    space.condition_is(NAME, "Ready", "True", "Ready", SETTLE).await?;
    hold(&space, "second").await?;
    space.condition_is(NAME, "CredentialsRotated", "False", "LoginPending", SETTLE).await?;
    ensure!(value(&space, "password").await? == "p/a:s@s", "servers don't accept another yet");
    say(&space, &[1, 2]).await?;
    wait_for("clients have the second", SETTLE, async || {
        ensure!(value(&space, "password").await? == "second");
        let uri = value(&space, "uri").await?;
        ensure!(uri.starts_with("postgresql://app_login_2:second@"), "{uri}");
        Ok(())
    })
    .await?;

    // The original is of no importance any more.
    space.delete("Secret", "vault", Propagation::Background).await?;
    space.edit(NAME, &json!({ "backend": { "env": [{ "name": "LEVEL", "value": "debug" }] } })).await?;
    space.ready(NAME).await?;
    ensure!(value(&space, "password").await? == "second");
    Ok(())
}
