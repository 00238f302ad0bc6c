//! Prometheus' own code takes every alert rule and every query of the dashboards, and lets every alert fire
//! when it should and not otherwise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_api::TradingPlatform;
use trading_core::{inputs::Inputs, kinds::Kind, render::render, resolve::resolve};
use trading_e2e::api::repository;
use trading_testbed::{Tool, documents};

type Objects = Vec<(Kind, Value)>;

/// A platform with every alert, objective and panel.
const WHOLE: &str = "tests/good/monitoring.yaml";

fn resource(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let all = documents(&text)?;
    let platform = all.into_iter().find(|document| document["kind"] == "TradingPlatform");
    platform.with_context(|| format!("no platform in {}", path.display()))
}

/// What a platform becomes.
fn objects(resource: Value) -> Result<Objects> {
    let platform: TradingPlatform = serde_json::from_value(resource)?;
    let plan = resolve(&platform, &Inputs::offline(jiff::Timestamp::now()));
    Ok(render(&plan).into_iter().map(|object| (object.kind, object.into_body())).collect())
}

/// The examples' platforms in each environment.
fn examples() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for example in std::fs::read_dir(repository("tests/golden"))? {
        for environment in std::fs::read_dir(example?.path())? {
            found.push(environment?.path().join("input.yaml"));
        }
    }
    Ok(found)
}

/// The alerts and records of a platform, as one file of Prometheus.
fn rules(objects: &Objects) -> Result<String> {
    let rules = objects.iter().filter(|(kind, _)| *kind == Kind::PrometheusRule);
    let groups: Vec<&Value> =
        rules.filter_map(|(_, body)| body["spec"]["groups"].as_array()).flatten().collect();
    Ok(serde_yaml::to_string(&json!({ "groups": groups }))?)
}

/// Every `expr` of a dashboard; Grafana's variables stand for durations.
fn queries(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "expr" => {
                        found.push(text.replace("$__rate_interval", "5m").replace("$__interval", "1m"));
                    }
                    value => queries(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// What asks the tool about every rule and every query of these objects.
fn questions(objects: &Objects) -> Result<Vec<Value>> {
    let mut expressions = Vec::new();
    for (_, body) in objects.iter().filter(|(kind, _)| *kind == Kind::ConfigMap) {
        for (_, text) in body["data"].as_object().into_iter().flatten().filter(|(name, _)| is_json(name)) {
            queries(&serde_json::from_str(text.as_str().unwrap_or_default())?, &mut expressions);
        }
    }
    let rules = [json!({ "rules": rules(objects)? })];
    Ok(rules.into_iter().chain(expressions.iter().map(|expr| json!({ "expr": expr }))).collect())
}

/// Requests that the tool finds fault with, and the faults.
fn faults(requests: &[Value]) -> Result<Vec<String>> {
    let answers = Tool::build(&repository("tests/promql"))?.ask(requests)?;
    let pairs = requests.iter().zip(answers);
    let bad = pairs.filter(|(_, answer)| answer["errors"].as_array().is_none_or(|errors| !errors.is_empty()));
    Ok(bad
        .map(|(request, answer)| format!("{}: {answer}", request.pointer("/test/name").unwrap_or(request)))
        .collect())
}

#[test]
fn prometheus_reads_every_rule_and_every_query() -> Result<()> {
    let whole = questions(&objects(resource(&repository(WHOLE))?)?)?;
    ensure!(whole.len() > 20, "only {} questions", whole.len());
    let mut requests = whole;
    for example in examples()? {
        requests.extend(questions(&objects(resource(&example)?)?)?);
    }
    // The judge must be able to say no.
    requests.push(json!({ "expr": "sum(rate(requests[5m])" }));
    let refused = faults(&requests)?;
    ensure!(refused.len() == 1, "{}", refused.join("\n"));
    Ok(())
}

/// With the thresholds that nobody changed.
#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() -> Result<()> {
    let mut platform = resource(&repository(WHOLE))?;
    platform["metadata"]["namespace"] = json!("prod");
    platform["spec"]["monitoring"]["alerts"] = json!([]);
    let rules = rules(&objects(platform)?)?;
    let tests: Vec<Value> =
        serde_yaml::from_str(&std::fs::read_to_string(repository("tests/rules/alerts.yaml"))?)?;

    let file: Value = serde_yaml::from_str(&rules)?;
    let groups = file["groups"].as_array().into_iter().flatten();
    let all = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let names: BTreeSet<&str> = all.filter_map(|rule| rule["alert"].as_str()).collect();
    let seen = |fires: bool| -> BTreeSet<&str> {
        let checks = tests.iter().flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten());
        let some =
            |check: &&Value| check["exp_alerts"].as_array().is_some_and(|alerts| alerts.is_empty() != fires);
        checks.filter(some).filter_map(|check| check["alertname"].as_str()).collect()
    };
    ensure!(names.len() > 16, "only {names:?}");
    ensure!(
        seen(true) == names && seen(false) == names,
        "fire {:?}, don't {:?}: {names:?}",
        seen(true),
        seen(false)
    );

    let mut requests: Vec<Value> = tests.iter().map(|test| json!({ "rules": rules, "test": test })).collect();
    // The judge must be able to say no.
    let mut wrong = tests.first().context("no tests")?.clone();
    wrong["alert_rule_test"][1]["exp_alerts"] = json!([]);
    wrong["name"] = json!("wrong");
    requests.push(json!({ "rules": rules, "test": wrong }));
    let wrong = faults(&requests)?;
    ensure!(wrong.len() == 1 && wrong[0].contains("wrong"), "{}", wrong.join("\n"));
    Ok(())
}

/// Names and values.
type Series = [(&'static str, &'static str)];

/// What is made of series, how they go on, and what the adapter must make of it. The rest are gauges.
const ADAPTED: [(&str, &Series, &str); 2] = [
    ("requests_per_second", &[("http_requests_total{SELECTED}", "0+600x10")], "10"),
    (
        "http_request_duration_p95_seconds",
        &[
            (r#"flask_request_duration_seconds_bucket{SELECTED, le="0.5"}"#, "0+540x10"),
            (r#"flask_request_duration_seconds_bucket{SELECTED, le="1.0"}"#, "0+600x10"),
            (r#"flask_request_duration_seconds_bucket{SELECTED, le="+Inf"}"#, "0+600x10"),
        ],
        "0.75",
    ),
];

/// Prometheus answers the questions of prometheus-adapter as the examples' autoscalers need it.
#[test]
fn the_adapter_makes_metrics_of_what_platforms_measure() -> Result<()> {
    let text = std::fs::read_to_string(repository("docs/prometheus-adapter.yaml"))?;
    let values: Value = serde_yaml::from_str(&text)?;
    let mut requests = Vec::new();
    for (group, labels) in [("custom", json!({ "pod": "a" })), ("external", json!({}))] {
        let rules = values["rules"][group].as_array().context("no rules")?;
        ensure!(rules.len() > 1, "{group}: {rules:?}");
        for rule in rules {
            let name = rule.pointer("/name/as").and_then(Value::as_str).context("no name")?;
            let query = rule["metricsQuery"].as_str().context("no query")?;
            let query = query
                .replace("<<.GroupBy>>", "pod")
                .replace("<<.LabelMatchers>>", r#"namespace="prod",pod=~"a|b""#)
                .replace("<<.Series>>", name);
            let gauge = (format!("{name}{{SELECTED}}"), "7x10".to_owned());
            let known = ADAPTED.iter().find(|(known, _, _)| *known == name);
            let (mut series, value) = known.map_or((vec![gauge], "7"), |(_, series, value)| {
                (
                    series.iter().map(|(name, values)| ((*name).to_owned(), (*values).to_owned())).collect(),
                    *value,
                )
            });
            // In another namespace there is much more.
            let neighbours: Vec<_> = series
                .iter()
                .map(|(name, _)| {
                    let name = name.replace("SELECTED", r#"namespace="other", platform="shop", pod="a""#);
                    (name, "0+6000x10".to_owned())
                })
                .collect();
            for (name, _) in &mut series {
                *name = name.replace("SELECTED", r#"namespace="prod", platform="shop", pod="a""#);
            }
            let input: Vec<Value> = series
                .iter()
                .chain(&neighbours)
                .map(|(name, values)| json!({ "series": name, "values": values }))
                .collect();
            let group = json!({ "name": "adapter", "rules": [
                { "alert": "Adapted", "expr": format!("round({query}, 0.001) == {value}") },
            ] });
            requests.push(json!({
                "rules": serde_yaml::to_string(&json!({ "groups": [group] }))?,
                "test": {
                    "name": name,
                    "input_series": input,
                    "alert_rule_test": [
                        { "eval_time": "10m", "alertname": "Adapted", "exp_alerts": [{ "exp_labels": labels }] },
                    ],
                },
            }));
        }
    }
    let wrong = faults(&requests)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
