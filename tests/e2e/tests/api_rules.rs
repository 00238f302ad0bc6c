//! Prometheus' own parser takes every alert rule and every query of the dashboards.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_api::TradingPlatform;
use trading_core::{inputs::Inputs, kinds::Kind, render::render, resolve::resolve};
use trading_e2e::api::{documents, repository};
use trading_testbed::Tool;

/// What a platform with every alert, objective and panel becomes.
fn objects() -> Result<Vec<(Kind, Value)>> {
    let text = std::fs::read_to_string(repository("tests/good/monitoring.yaml"))?;
    let case = documents(&text)?.pop().context("nothing there")?;
    let resource = case.get("resource").unwrap_or(&case);
    let platform: TradingPlatform = serde_json::from_value(resource.clone())?;
    let plan = resolve(&platform, &Inputs::offline(jiff::Timestamp::now()));
    Ok(render(&plan).into_iter().map(|object| (object.kind, object.body)).collect())
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

#[test]
fn prometheus_reads_every_rule_and_every_query() -> Result<()> {
    let mut requests = Vec::new();
    let mut expressions = Vec::new();
    for (kind, body) in objects()? {
        if kind == Kind::PrometheusRule {
            requests.push(json!({ "rules": serde_yaml::to_string(&body["spec"])? }));
        }
        let data = body["data"].as_object().filter(|_| kind == Kind::ConfigMap);
        for (_, text) in data.into_iter().flatten().filter(|(name, _)| is_json(name)) {
            queries(&serde_json::from_str(text.as_str().unwrap_or_default())?, &mut expressions);
        }
    }
    ensure!(requests.len() == 2, "the operator's rules and the user's: {}", requests.len());
    ensure!(expressions.len() > 20, "only {} queries", expressions.len());
    requests.extend(expressions.iter().map(|expr| json!({ "expr": expr })));
    // The judge must be able to say no.
    requests.push(json!({ "expr": "sum(rate(requests[5m])" }));

    let answers = Tool::build(&repository("tests/promql"))?.ask(&requests)?;
    let refused: Vec<String> = requests
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer["errors"].as_array().is_none_or(|errors| !errors.is_empty()))
        .map(|(request, answer)| format!("{request}: {answer}"))
        .collect();
    ensure!(refused.len() == 1, "{}", refused.join("\n"));
    Ok(())
}
