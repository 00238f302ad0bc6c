//! The rules by which prometheus-adapter serves the metrics that the examples scale on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trading_api::TradingPlatform;
use trading_core::{
    inputs::Inputs, kinds::Kind, plan::monitoring::MetricsPlan, render::render, resolve::resolve,
};
use trading_testbed::documents;

use crate::repo;

const HEADER: &str = "\
# Made by `cargo xtask generate` from what the examples scale on: values for the chart prometheus-adapter
# (prometheus-community). Series are those that the platforms' monitors scrape, with the labels `namespace`, `pod`,
# `platform` and `component`. See docs/monitoring.md.
";

/// Over which time rates are taken: four scrapes.
const WINDOW: &str = "2m";

const REQUESTS: &str = "requests_per_second";
const LATENCY: &str = "http_request_duration_p95_seconds";
/// A gauge that pods tell under this very name.
const CONNECTIONS: &str = "active_websocket_connections";

/// Names of series, by the metric that is made of them.
#[derive(Default)]
struct Sources {
    pods: BTreeMap<String, BTreeSet<String>>,
    external: BTreeSet<String>,
}

/// The file, for the examples' production.
pub fn values() -> Result<String> {
    let mut sources = Sources::default();
    for example in fs::read_dir(repo::path("examples"))? {
        let name = example?.file_name().into_string().ok().context("a name that is not UTF-8")?;
        let path = repo::path(&format!("tests/golden/{name}/production/input.yaml"));
        // Not every folder of examples is a platform's.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let platform = documents(&text)?.into_iter().find(|document| document["kind"] == "TradingPlatform");
        let platform = platform.with_context(|| format!("no platform in {}", path.display()))?;
        sources.add(&serde_json::from_value(platform)?)?;
    }
    let values =
        json!({ "rules": { "default": false, "custom": sources.custom()?, "external": sources.external() } });
    Ok(format!("{HEADER}{}", serde_yaml::to_string(&values)?))
}

impl Sources {
    /// Adds what the platform's autoscalers ask for.
    fn add(&mut self, platform: &TradingPlatform) -> Result<()> {
        let plan = resolve(platform, &Inputs::offline(jiff::Timestamp::UNIX_EPOCH));
        let objects = render(&plan);
        let autoscalers = objects.iter().filter(|object| object.kind == Kind::HorizontalPodAutoscaler);
        let metrics = autoscalers.filter_map(|object| object.body["spec"]["metrics"].as_array()).flatten();
        for metric in metrics {
            if let Some(name) = metric.pointer("/pods/metric/name").and_then(Value::as_str) {
                let watched = plan.monitoring.as_ref().with_context(|| {
                    format!("{} scales on {name}, but nothing scrapes it", plan.identity.name)
                })?;
                self.pods.entry(name.to_owned()).or_default().insert(series(name, &watched.metrics)?);
            }
            let external = metric.pointer("/external/metric/name").and_then(Value::as_str);
            self.external.extend(external.map(str::to_owned));
        }
        Ok(())
    }

    fn custom(&self) -> Result<Vec<Value>> {
        self.pods
            .iter()
            .map(|(name, series)| {
                let series = series.iter().map(String::as_str).collect::<Vec<_>>().join("|");
                Ok(json!({
                    "seriesQuery": format!("{{__name__=~\"^({series})$\",namespace!=\"\",pod!=\"\",platform!=\"\"}}"),
                    "resources": { "overrides": { "namespace": { "resource": "namespace" }, "pod": { "resource": "pod" } } },
                    "name": { "as": name },
                    "metricsQuery": query(name, &series)?,
                }))
            })
            .collect()
    }

    /// Gauges that bear the metric's own name: every pod that reads a queue tells the same length.
    fn external(&self) -> Vec<Value> {
        let rule = |name: &String| {
            json!({
                "seriesQuery": format!("{name}{{namespace!=\"\",platform!=\"\"}}"),
                "resources": { "overrides": { "namespace": { "resource": "namespace" } } },
                "name": { "as": name },
                "metricsQuery": "max(<<.Series>>{<<.LabelMatchers>>})",
            })
        };
        self.external.iter().map(rule).collect()
    }
}

/// The series of a platform that a metric of its pods is made of.
fn series(name: &str, metrics: &MetricsPlan) -> Result<String> {
    Ok(match name {
        REQUESTS => metrics.requests.clone(),
        LATENCY => format!("{}_bucket", metrics.duration),
        CONNECTIONS => CONNECTIONS.to_owned(),
        other => bail!(
            "nothing says what {other} is made of: use {REQUESTS}, {LATENCY} or {CONNECTIONS}, or add it here"
        ),
    })
}

/// By the names of the series, and not by the one that the adapter found: one metric is made of several.
fn query(name: &str, series: &str) -> Result<String> {
    let rate = format!("rate({{__name__=~\"{series}\",<<.LabelMatchers>>}}[{WINDOW}])");
    Ok(match name {
        REQUESTS => format!("sum by (<<.GroupBy>>) ({rate})"),
        LATENCY => format!("histogram_quantile(0.95, sum by (le, <<.GroupBy>>) ({rate}))"),
        CONNECTIONS => format!("sum by (<<.GroupBy>>) ({CONNECTIONS}{{<<.LabelMatchers>>}})"),
        other => bail!("nothing says how {other} is made"),
    })
}
