//! The autoscaler owns the number of replicas, and it never falls to one when it changes hands.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::StreamExt;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use trading_core::kinds::{AddOn, Kind};
use trading_e2e::add_ons;
use trading_e2e::sim::{SETTLE, Space, Stack, at, database_secret, describe, platform, stays, wait_for};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const BACKEND: &str = "shop-backend";

/// Collects every value that `spec.replicas` of the backend takes.
struct Watched {
    seen: Arc<Mutex<Vec<i64>>>,
    task: JoinHandle<Result<()>>,
}

impl Watched {
    /// Begins before anything is made.
    async fn start(space: &Space<'_>) -> Result<Self> {
        let api = space.api("Deployment");
        let version = api.list(&kube::api::ListParams::default()).await?.metadata.resource_version;
        let version = version.unwrap_or_default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let values = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events = api.watch(&WatchParams::default(), &version).await?.boxed();
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(live) | WatchEvent::Modified(live) = event?
                    && live.metadata.name.as_deref() == Some(BACKEND)
                {
                    let replicas = live.data.pointer("/spec/replicas").and_then(Value::as_i64);
                    values.lock().unwrap_or_else(PoisonError::into_inner).push(replicas.unwrap_or(-1));
                }
            }
            Ok(())
        });
        Ok(Self { seen, task })
    }

    /// The values so far, each once.
    fn values(&self) -> Result<BTreeSet<i64>> {
        ensure!(!self.task.is_finished(), "the watch ended");
        Ok(self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect())
    }

    fn never_other_than(&self, expected: &[i64]) -> Result<()> {
        let values = self.values()?;
        ensure!(values.iter().eq(expected), "replicas took the values {values:?}");
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn begin(namespace: &str) -> Result<(Space<'static>, Watched)> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    let watched = Watched::start(&space).await?;
    space.put(&platform(NAME, &json!({}))).await?;
    space.ready(NAME).await?;
    Ok((space, watched))
}

fn scale(space: &Space<'_>, replicas: i64) -> Result<()> {
    let kubectl = STACK.kubectl()?;
    let replicas = format!("--replicas={replicas}");
    kubectl.run(&["scale", "deployment", BACKEND, &replicas, "-n", &space.name])?;
    Ok(())
}

async fn has_autoscaler(space: &Space<'_>, wished: bool) -> Result<()> {
    is_scaled_by(space, wished.then_some(Kind::HorizontalPodAutoscaler)).await
}

/// One of the two scales, or none.
async fn is_scaled_by(space: &Space<'_>, wished: Option<Kind>) -> Result<()> {
    for kind in [Kind::HorizontalPodAutoscaler, Kind::ScaledObject] {
        wait_for("the autoscaler comes or goes", SETTLE, async || {
            // Without its definition nobody has one.
            let found = space.find(&kind.to_string(), BACKEND).await;
            let is_there = if kind == Kind::ScaledObject {
                found.is_ok_and(|it| it.is_some())
            } else {
                found?.is_some()
            };
            ensure!(is_there == (wished == Some(kind)), "{kind} is there: {is_there}");
            Ok(())
        })
        .await?;
    }
    space.ready(NAME).await
}

async fn replicas_are(space: &Space<'_>, wished: i64) -> Result<()> {
    wait_for("the number of replicas", SETTLE, async || {
        let live = space.get("Deployment", BACKEND).await?;
        ensure!(at(&live, "/spec/replicas") == wished, "{}", at(&live, "/spec/replicas"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_deployment_starts_at_the_minimum() -> Result<()> {
    let (_space, watched) = begin("scale-fresh").await?;
    watched.never_other_than(&[2])
}

#[tokio::test]
async fn switching_it_off_and_on_never_leaves_one_pod() -> Result<()> {
    let (space, watched) = begin("scale-toggle").await?;
    scale(&space, 7)?;
    space.ready(NAME).await?;

    let autoscaling = json!({ "minReplicas": 2, "maxReplicas": 10, "cpu": 70 });
    for _ in 0..3 {
        space.edit(NAME, &json!({ "backend": { "autoscaling": null, "replicas": 7 } })).await?;
        has_autoscaler(&space, false).await?;
        space.edit(NAME, &json!({ "backend": { "autoscaling": autoscaling, "replicas": null } })).await?;
        has_autoscaler(&space, true).await?;
    }
    watched.never_other_than(&[2, 7])?;

    // The switch for the whole platform: off is the minimum.
    space.edit(NAME, &json!({ "autoscaling": { "enabled": false } })).await?;
    has_autoscaler(&space, false).await?;
    replicas_are(&space, 2).await?;
    space.edit(NAME, &json!({ "autoscaling": null })).await?;
    has_autoscaler(&space, true).await?;
    scale(&space, 7)?;
    space.ready(NAME).await?;
    watched.never_other_than(&[2, 7])
}

/// With KEDA's own definitions, and without KEDA: what the operator writes is what counts.
#[tokio::test]
async fn keda_takes_over_and_gives_back_without_leaving_one_pod() -> Result<()> {
    add_ons::install(&STACK.kubectl()?, AddOn::Keda)?;
    let (space, watched) = begin("scale-keda").await?;
    scale(&space, 7)?;
    space.ready(NAME).await?;

    let triggers = json!([{ "type": "RedisList", "source": "orders", "threshold": 100 }]);
    let autoscaling = json!({ "minReplicas": 2, "maxReplicas": 10, "triggers": triggers });
    for _ in 0..3 {
        space.edit(NAME, &json!({ "backend": { "autoscaling": { "triggers": triggers } } })).await?;
        is_scaled_by(&space, Some(Kind::ScaledObject)).await?;
        space.edit(NAME, &json!({ "backend": { "autoscaling": { "triggers": null } } })).await?;
        is_scaled_by(&space, Some(Kind::HorizontalPodAutoscaler)).await?;
        space.edit(NAME, &json!({ "backend": { "autoscaling": null, "replicas": 7 } })).await?;
        is_scaled_by(&space, None).await?;
        space.edit(NAME, &json!({ "backend": { "autoscaling": autoscaling, "replicas": null } })).await?;
        is_scaled_by(&space, Some(Kind::ScaledObject)).await?;
        let kept = json!({ "backend": { "autoscaling": { "triggers": null, "cpu": 70 } } });
        space.edit(NAME, &kept).await?;
        is_scaled_by(&space, Some(Kind::HorizontalPodAutoscaler)).await?;
    }
    replicas_are(&space, 7).await?;
    watched.never_other_than(&[2, 7])
}

#[tokio::test]
async fn what_keda_cannot_ask_is_told() -> Result<()> {
    const NAMESPACE: &str = "scale-keda-blind";
    let kubectl = STACK.kubectl()?;
    add_ons::install(&kubectl, AddOn::Keda)?;
    let (space, _watched) = begin(NAMESPACE).await?;
    let triggers = json!([{ "type": "RedisList", "source": "orders", "threshold": 100 }]);
    space.edit(NAME, &json!({ "backend": { "autoscaling": { "triggers": triggers } } })).await?;
    is_scaled_by(&space, Some(Kind::ScaledObject)).await?;

    for (status, reason, expected) in
        [("False", "ScaledObjectCheckFailed", "MetricsUnavailable"), ("True", "ScaledObjectReady", "Scaling")]
    {
        // As KEDA writes it. Metrics come and go, so it is told within seconds, not at once.
        let ready = json!({ "type": "Ready", "status": status, "reason": reason, "message": "" });
        let patch = json!({ "status": { "conditions": [ready] } }).to_string();
        let to_status = ["--namespace", NAMESPACE, "--subresource=status", "--type=merge", "--patch", &patch];
        kubectl.run(&[&["patch", "scaledobject", BACKEND], &to_status[..]].concat())?;
        let said = space.condition_is(NAME, "AutoscalingActive", status, expected, SETTLE).await?;
        let remedy = format!("{reason} (kubectl -n {NAMESPACE} describe scaledobject {BACKEND})");
        ensure!(status == "True" || said.contains(&remedy), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn what_the_autoscaler_says_is_kept() -> Result<()> {
    let (space, watched) = begin("scale-kept").await?;
    let begun = STACK.mark()?;
    scale(&space, 7)?;
    space.ready(NAME).await?;
    // Progress may be told late.
    space.requests_until_rest(&begun).await?;
    let mark = STACK.mark()?;
    for round in 0..20 {
        let note = json!({ "metadata": { "annotations": { "example.com/round": round.to_string() } } });
        space.patch("TradingPlatform", NAME, &note).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let requests = space.requests_until_quiet(&mark).await?;
    ensure!(requests.is_empty(), "the operator asked for\n{}", describe(&requests));

    // An edit of the Deployment does not touch the number, and neither does one of the bounds.
    space.edit(NAME, &json!({ "backend": { "image": { "tag": "2.0.0" } } })).await?;
    space.ready(NAME).await?;
    space.edit(NAME, &json!({ "backend": { "autoscaling": { "maxReplicas": 20 } } })).await?;
    space.ready(NAME).await?;
    stays("seven replicas", Duration::from_secs(3), async || {
        let live = space.get("Deployment", BACKEND).await?;
        ensure!(at(&live, "/spec/replicas") == 7, "{}", at(&live, "/spec/replicas"));
        Ok(())
    })
    .await?;
    watched.never_other_than(&[2, 7])?;

    // A Deployment that somebody deletes begins at the minimum again.
    space.delete("Deployment", BACKEND, trading_e2e::sim::Propagation::Background).await?;
    replicas_are(&space, 2).await?;
    space.ready(NAME).await?;
    watched.never_other_than(&[2, 7])
}
