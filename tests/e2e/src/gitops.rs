//! How ArgoCD and Flux judge objects: their own code, see `tests/gitops`.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_testbed::Tool;

use crate::api::repository;

/// What ArgoCD says of an object.
#[derive(Debug)]
pub struct Verdict {
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`; empty for a kind
    /// that it knows no health of.
    pub health: String,
    /// Why.
    pub message: String,
    /// Where what is live differs from what Git has; empty where it does not.
    pub drift: Vec<String>,
}

/// Our health check of platforms, as an administrator puts it into argocd-cm.
///
/// # Errors
/// When it is not there.
pub fn health_check() -> Result<String> {
    fs::read_to_string(repository("gitops/argocd/health.lua")).context("no health check")
}

/// ArgoCD's verdicts on pairs of what Git has (null where only health is asked) and what is live.
///
/// # Errors
/// When its code can't be built, or has no answer.
pub fn argocd(pairs: &[(Value, Value)]) -> Result<Vec<Verdict>> {
    let check = health_check()?;
    let requests: Vec<Value> = pairs
        .iter()
        .map(|(desired, live)| {
            let mut request = json!({ "live": live });
            if !desired.is_null() {
                request["desired"] = desired.clone();
            }
            if live["kind"] == "TradingPlatform" {
                request["script"] = json!(check);
            }
            request
        })
        .collect();
    let answers = Tool::build(&repository("tests/gitops/argocd"))?.ask(&requests)?;
    answers.iter().zip(pairs).map(|(answer, (_, live))| verdict(answer, live)).collect()
}

fn verdict(answer: &Value, live: &Value) -> Result<Verdict> {
    let name = format!("{} {}", live["kind"], live["metadata"]["name"]);
    ensure!(answer["error"].is_null(), "{name}: {}", answer["error"]);
    let text = |field: &str| answer["health"][field].as_str().unwrap_or_default().to_owned();
    let mut drift = Vec::new();
    if answer["modified"] == true {
        differences(&name, &answer["live"], &answer["predicted"], &mut drift);
        // Its word counts, even where both look the same.
        ensure!(!drift.is_empty(), "{name} is modified, but not where: {answer}");
    }
    Ok(Verdict { health: text("status"), message: text("message"), drift })
}

fn differences(path: &str, live: &Value, wanted: &Value, found: &mut Vec<String>) {
    match (live, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}.{key}"), a, b, found);
            }
        }
        _ if live == wanted => {}
        _ => found.push(format!("{path} is {live}, Git has {wanted}")),
    }
}

/// What Flux says of objects: `InProgress`, `Current`, `Failed`, `Terminating`, with a message.
///
/// # Errors
/// When its code can't be built, or has no answer.
pub fn flux(objects: &[Value]) -> Result<Vec<(String, String)>> {
    let answers = Tool::build(&repository("tests/gitops/flux"))?.ask(objects)?;
    answers
        .iter()
        .map(|answer| {
            ensure!(answer["error"].is_null(), "{answer}");
            let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
            Ok((text("status"), text("message")))
        })
        .collect()
}
