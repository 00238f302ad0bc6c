//! Tiers in other namespaces: consent, copies of logins, drift there, and that everything goes with the platform.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use trading_api::labels::{ALLOWS, COPIED_FROM};
use trading_e2e::sim::{
    BRIEF, LONG, Propagation, SETTLE, Space, Stack, at, describe, platform, resource, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
/// Long enough for whatever would still be written.
const REST: Duration = Duration::from_secs(3);

/// A backend at home; Redis and the worker elsewhere, each in a namespace of its own.
fn tiers(data: &str, work: &str) -> Value {
    let patch = json!({
        "frontend": null,
        "backend": { "connectsTo": ["redis"] },
        "worker": { "image": { "repository": "shop/worker" }, "connectsTo": ["redis", "backend"] },
        "postgres": null,
        "placement": { "namespaces": { "redis": data, "worker": work } },
    });
    platform(NAME, &patch)
}

async fn allow(space: &Space<'_>, platform: Option<&str>) -> Result<()> {
    let patch = json!({ "metadata": { "labels": { ALLOWS: platform } } });
    let all: Api<DynamicObject> = Api::all_with(space.client.clone(), &resource("Namespace"));
    all.patch(&space.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// The copy of the password that the worker logs in with.
async fn copy(work: &Space<'_>) -> Result<Value> {
    let deployment = work.get("Deployment", "shop-worker").await?;
    let variables =
        at(&deployment, "/spec/template/spec/containers/0/env").as_array().context("no variables")?;
    let password =
        variables.iter().find(|variable| variable["name"] == "REDIS_PASSWORD").context("no password")?;
    work.get("Secret", text(password, "/valueFrom/secretKeyRef/name")).await
}

fn password(secret: &Value) -> &Value {
    at(secret, "/data/password")
}

#[tokio::test]
async fn a_tier_waits_for_consent_and_goes_with_its_platform() -> Result<()> {
    let (home, data, work) =
        (STACK.space("tiers").await?, STACK.space("tiers-data").await?, STACK.space("tiers-work").await?);
    allow(&data, Some("tiers.shop")).await?;
    // Another platform's consent is none.
    allow(&work, Some("elsewhere.shop")).await?;
    home.put(&tiers("tiers-data", "tiers-work")).await?;

    wait_for("the rest is there", SETTLE, async || {
        let degraded = home.condition(NAME, "Degraded").await?;
        ensure!(degraded["reason"] == "TierNotAllowed", "{degraded}");
        let remedy = format!("kubectl label namespace tiers-work {ALLOWS}=tiers.shop");
        ensure!(text(&degraded, "/message").contains(&remedy), "{degraded}");
        data.get("StatefulSet", "shop-redis").await?;
        home.get("Deployment", "shop-backend").await
    })
    .await?;
    let made = work.children(NAME).await?;
    ensure!(made.is_empty(), "made without consent: {:?}", made.keys());
    let said = home.list("Event", "").await?;
    ensure!(said.iter().any(|event| event["reason"] == "TierNotAllowed"), "no Event tells it");

    allow(&work, Some("tiers.shop")).await?;
    home.ready(NAME).await?;
    let original = data.get("Secret", "shop-redis-auth").await?;
    let copied = copy(&work).await?;
    ensure!(password(&copied) == password(&original), "the copy has another password");
    ensure!(
        text(&copied, &format!("/metadata/annotations/{}", COPIED_FROM.replace('/', "~1")))
            == "tiers-data/shop-redis-auth"
    );

    // Consent taken back: nothing is deleted, nothing is changed there.
    allow(&work, None).await?;
    wait_for("it is told", BRIEF, async || {
        let degraded = home.condition(NAME, "Degraded").await?;
        ensure!(degraded["reason"] == "TierNotAllowed", "{degraded}");
        Ok(())
    })
    .await?;
    work.get("Deployment", "shop-worker").await?;
    allow(&work, Some("tiers.shop")).await?;
    home.ready(NAME).await?;

    home.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
    home.gone("TradingPlatform", NAME, LONG).await?;
    let left: Vec<_> = work.children(NAME).await?.into_keys().collect();
    ensure!(left.is_empty(), "left over: {left:?}");
    let left: Vec<_> = data.children(NAME).await?.into_keys().collect();
    let password = ("Secret".to_owned(), "shop-redis-auth".to_owned());
    ensure!(left == [password], "only the password stays with the data: {left:?}");
    let claims = data.list("PersistentVolumeClaim", "").await?;
    ensure!(claims.len() == 1, "the volume is kept: {claims:?}");
    Ok(())
}

#[tokio::test]
async fn drift_in_a_tier_is_repaired_and_a_new_password_reaches_its_copies() -> Result<()> {
    let (home, data, work) = (
        STACK.space("drifting").await?,
        STACK.space("drifting-data").await?,
        STACK.space("drifting-work").await?,
    );
    for space in [&data, &work] {
        allow(space, Some("drifting.shop")).await?;
    }
    home.put(&tiers("drifting-data", "drifting-work")).await?;
    home.ready(NAME).await?;

    let before = copy(&work).await?;
    let name = text(&before, "/metadata/name").to_owned();
    for (kind, child) in
        [("Secret", name.as_str()), ("Deployment", "shop-worker"), ("NetworkPolicy", "shop-default-deny")]
    {
        work.delete(kind, child, Propagation::Background).await?;
        wait_for(&format!("{kind} {child} is back"), BRIEF, async || {
            let live = work.get(kind, child).await?;
            ensure!(at(&live, "/metadata/deletionTimestamp").is_null(), "it is still going");
            Ok(())
        })
        .await?;
    }
    work.patch("Secret", &name, &json!({ "stringData": { "password": "guessed" } })).await?;
    wait_for("the password is the original's again", BRIEF, async || {
        let now = copy(&work).await?;
        ensure!(password(&now) == password(&before), "{now}");
        Ok(())
    })
    .await?;
    home.ready(NAME).await?;

    data.patch("Secret", "shop-redis-auth", &json!({ "stringData": { "password": "another" } })).await?;
    let original = data.get("Secret", "shop-redis-auth").await?;
    wait_for("the copy follows", BRIEF, async || {
        let now = copy(&work).await?;
        ensure!(password(&now) == password(&original), "{now}");
        Ok(())
    })
    .await?;
    home.requests_until_rest(&STACK.mark()?).await?;
    home.ready(NAME).await?;

    let mark = STACK.mark()?;
    tokio::time::sleep(REST).await;
    let mut asked = STACK.operator_requests_since(&mark)?;
    asked.retain(|entry| entry.namespace.starts_with("drifting"));
    ensure!(asked.is_empty(), "a platform at rest is asked about: {}", describe(&asked));
    Ok(())
}
