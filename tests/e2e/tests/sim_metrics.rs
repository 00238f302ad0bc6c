//! Autoscalers that are fed: every one of every example finds its metrics, each metric moves its pods, and the
//! platform stays ready while the operator leaves the number of replicas alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use trading_api::Quantity;
use trading_e2e::sim::{Metrics, Space, Stack, at, describe, text, wait_for};
use trading_testbed::documents;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// The longest that an example waits before it adds pods is a minute.
const UP: Duration = Duration::from_secs(150);
const DOWN: Duration = Duration::from_mins(1);

/// What pods use of a resource, and how much there is of a metric, beside the target of the autoscaler.
const ON_TARGET: f64 = 1.0;
const MORE: f64 = 2.0;
const LESS: f64 = 0.1;

/// A platform of an example, which is ready.
struct Subject {
    /// Where the resource is.
    space: Space<'static>,
    platform: String,
    /// Its namespaces, those of tiers included.
    spaces: Vec<Space<'static>>,
}

/// An autoscaler and the Deployment that it scales, as they are now.
struct Scaled {
    namespace: String,
    name: String,
    autoscaler: Value,
    replicas: i64,
}

impl Subject {
    /// Applies the production of an example.
    async fn bring_up(example: &Path) -> Result<Self> {
        let kubectl = STACK.kubectl()?;
        let manifests =
            kubectl.run(&["kustomize", &example.join("overlays/production").to_string_lossy()])?;
        let documents = documents(&manifests)?;
        let platform = documents.iter().find(|document| document["kind"] == "TradingPlatform");
        let platform = platform.with_context(|| format!("no platform in {}", example.display()))?;
        kubectl.apply(&manifests)?;
        let space = STACK.existing_space(text(platform, "/metadata/namespace")).await?;
        let platform = text(platform, "/metadata/name").to_owned();
        space.ready(&platform).await.with_context(|| platform.clone())?;
        let mut spaces = Vec::new();
        for namespace in documents.iter().filter(|document| document["kind"] == "Namespace") {
            spaces.push(STACK.existing_space(text(namespace, "/metadata/name")).await?);
        }
        Ok(Self { space, platform, spaces })
    }

    async fn scaled(&self) -> Result<Vec<Scaled>> {
        let mut all = Vec::new();
        for space in &self.spaces {
            for autoscaler in space.list("HorizontalPodAutoscaler", "").await? {
                let name = text(&autoscaler, "/metadata/name").to_owned();
                let deployment = space.get("Deployment", &name).await?;
                let replicas = at(&deployment, "/spec/replicas").as_i64().context("no replicas")?;
                all.push(Scaled { namespace: space.name.clone(), name, autoscaler, replicas });
            }
        }
        Ok(all)
    }

    /// Sets every number so that the metric at this place in the list is at `moved` times its target, and the
    /// others at `others`.
    async fn measure(
        &self,
        metrics: &Metrics,
        moved: Option<usize>,
        moved_to: f64,
        others: f64,
    ) -> Result<()> {
        let scaled = self.scaled().await?;
        for Scaled { namespace, name, autoscaler, replicas } in &scaled {
            let component = name.strip_prefix(&format!("{}-", self.platform)).unwrap_or(name);
            for (index, metric) in specs(autoscaler).iter().enumerate() {
                // An autoscaler with fewer metrics is moved by its first.
                let count = specs(autoscaler).len();
                let is_moved = moved.is_some_and(|moved| index == if moved < count { moved } else { 0 });
                let factor = if is_moved { moved_to } else { others };
                set(metrics, namespace, component, metric, factor, *replicas)?;
            }
        }
        Ok(())
    }

    async fn stays_ready(&self) -> Result<()> {
        let ready = self.space.condition(&self.platform, "Ready").await?;
        ensure!(ready["status"] == "True", "{} is not ready: {ready}", self.platform);
        Ok(())
    }
}

/// Sets the number behind one metric to so many times its target.
fn set(
    metrics: &Metrics,
    namespace: &str,
    component: &str,
    metric: &Value,
    factor: f64,
    replicas: i64,
) -> Result<()> {
    let namespace = namespace.to_owned();
    let mut numbers = metrics.numbers();
    match text(metric, "/type") {
        "Resource" => {
            let percent = at(metric, "/resource/target/averageUtilization").as_f64().context("no percent")?;
            let key = (namespace, component.to_owned(), text(metric, "/resource/name").to_owned());
            numbers.used.insert(key, percent * factor);
        }
        "Pods" => {
            let key = (namespace, component.to_owned(), text(metric, "/pods/metric/name").to_owned());
            numbers.pods.insert(key, quantity(metric, "/pods/target/averageValue")? * factor);
        }
        "External" => {
            let key = (namespace, text(metric, "/external/metric/name").to_owned());
            let total = match text(metric, "/external/target/type") {
                "Value" => quantity(metric, "/external/target/value")?,
                #[allow(clippy::cast_precision_loss)] // a few pods
                _ => quantity(metric, "/external/target/averageValue")? * replicas as f64,
            };
            numbers.external.insert(key, total * factor);
        }
        other => anyhow::bail!("a metric of type {other}: {metric}"),
    }
    Ok(())
}

fn specs(autoscaler: &Value) -> Vec<Value> {
    at(autoscaler, "/spec/metrics").as_array().cloned().unwrap_or_default()
}

fn quantity(metric: &Value, pointer: &str) -> Result<f64> {
    let text = text(metric, pointer).to_owned();
    Quantity(text.clone()).value().with_context(|| format!("{text:?} is no amount"))
}

/// Replicas of everything that is scaled, by namespace and name.
async fn replicas(subjects: &[Subject]) -> Result<BTreeMap<String, i64>> {
    let mut all = BTreeMap::new();
    for subject in subjects {
        for scaled in subject.scaled().await? {
            all.insert(format!("{}/{}", scaled.namespace, scaled.name), scaled.replicas);
        }
    }
    Ok(all)
}

async fn measure(
    subjects: &[Subject],
    metrics: &Metrics,
    moved: Option<usize>,
    to: f64,
    others: f64,
) -> Result<()> {
    for subject in subjects {
        subject.measure(metrics, moved, to, others).await?;
    }
    Ok(())
}

/// Waits until the numbers of replicas are as they should be, while every platform stays ready.
async fn replicas_become(
    what: &str,
    timeout: Duration,
    subjects: &[Subject],
    is_right: impl Fn(&str, i64, &Value) -> bool,
) -> Result<()> {
    wait_for(what, timeout, async || {
        let mut wrong = Vec::new();
        for subject in subjects {
            subject.stays_ready().await?;
            for Scaled { namespace, name, autoscaler, replicas } in subject.scaled().await? {
                let name = format!("{namespace}/{name}");
                if !is_right(&name, replicas, &autoscaler) {
                    wrong.push(format!("{name} has {replicas}: {}", at(&autoscaler, "/status")));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

fn all_active(autoscaler: &Value) -> bool {
    let conditions = at(autoscaler, "/status/conditions").as_array();
    let active = conditions.into_iter().flatten().find(|condition| condition["type"] == "ScalingActive");
    let measured = at(autoscaler, "/status/currentMetrics").as_array().map_or(0, Vec::len);
    active.is_some_and(|condition| condition["status"] == "True") && measured == specs(autoscaler).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_autoscaler_is_active_and_every_metric_moves_its_pods() -> Result<()> {
    let metrics = Metrics::start(&STACK).await?;
    let mut subjects = Vec::new();
    let mut examples: Vec<_> =
        std::fs::read_dir(EXAMPLES)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    examples.sort();
    for example in examples.iter().filter(|example| example.join("overlays/production").is_dir()) {
        subjects.push(Subject::bring_up(example).await?);
    }
    measure(&subjects, &metrics, None, ON_TARGET, ON_TARGET).await?;
    let began = replicas(&subjects).await?;
    replicas_become("every autoscaler is active", UP, &subjects, |name, replicas, autoscaler| {
        all_active(autoscaler) && replicas == began[name]
    })
    .await?;
    eprintln!("{} autoscalers of {} platforms are active", began.len(), subjects.len());

    // Progress may be told late.
    let mark = STACK.mark()?;
    try_join_all(subjects.iter().map(|subject| subject.space.requests_until_rest(&mark))).await?;
    let mark = STACK.mark()?;
    // As they are, at their own pace: the first metric of each is twice its target.
    rise(&subjects, &metrics, 0).await?;
    let written: Vec<_> = STACK
        .operator_requests_since(&mark)?
        .into_iter()
        .filter(|request| request.is_write() && request.resource != "tradingplatforms")
        .collect();
    ensure!(written.is_empty(), "the operator wrote while pods became more:\n{}", describe(&written));

    // Every other metric alone, without the pace that would make each take minutes.
    try_join_all(subjects.iter().map(hasten)).await?;
    fall(&subjects, &metrics).await?;
    for moved in 1..most_metrics(&subjects).await? {
        rise(&subjects, &metrics, moved).await?;
        fall(&subjects, &metrics).await?;
    }
    Ok(())
}

/// How many metrics the autoscaler with the most of them has.
async fn most_metrics(subjects: &[Subject]) -> Result<usize> {
    let mut most = 0;
    for subject in subjects {
        for scaled in subject.scaled().await? {
            most = most.max(specs(&scaled.autoscaler).len());
        }
    }
    Ok(most)
}

/// From the fewest pods: one metric of each autoscaler alone makes them more.
async fn rise(subjects: &[Subject], metrics: &Metrics, moved: usize) -> Result<()> {
    measure(subjects, metrics, Some(moved), MORE, LESS).await?;
    let what = format!("more pods by metric {moved}");
    replicas_become(&what, UP, subjects, |_, replicas, autoscaler| replicas > fewest(autoscaler)).await
}

/// Nothing is to be done: down to the fewest pods.
async fn fall(subjects: &[Subject], metrics: &Metrics) -> Result<()> {
    measure(subjects, metrics, None, LESS, LESS).await?;
    replicas_become("the fewest pods", DOWN, subjects, |_, replicas, autoscaler| {
        replicas == fewest(autoscaler)
    })
    .await
}

fn fewest(autoscaler: &Value) -> i64 {
    at(autoscaler, "/spec/minReplicas").as_i64().unwrap_or(1)
}

/// Takes the behaviour away that spreads an autoscaler's steps over minutes.
async fn hasten(subject: &Subject) -> Result<()> {
    let live = subject.space.get("TradingPlatform", &subject.platform).await?;
    let mut spec = json!({});
    for role in ["frontend", "backend", "scraper", "worker"] {
        if live["spec"][role]["autoscaling"].is_object() {
            spec[role] = json!({ "autoscaling": { "behavior": null } });
        }
    }
    // A merge patch knows no items of lists.
    let mut services = live["spec"]["services"].as_array().cloned().unwrap_or_default();
    for service in &mut services {
        if let Some(autoscaling) = service["autoscaling"].as_object_mut() {
            autoscaling.remove("behavior");
        }
    }
    if !services.is_empty() {
        spec["services"] = json!(services);
    }
    subject.space.edit(&subject.platform, &spec).await?;
    subject.space.ready(&subject.platform).await
}
