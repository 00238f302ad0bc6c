//! What keeps pods from running, as kubelets and runtimes say it: it is told with the remedy, while the pods of
//! before serve.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_e2e::real::Trial;
use trading_e2e::sim::{at, text, wait_for};
use trading_testbed::real::{POSTGRES_IMAGE, STANDIN_IMAGE};

use super::{MACHINE, STAGE};

const NAME: &str = "shop";
/// The operator looks after 45 s, and kubelets hold back what ends too often.
const TOLD: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn what_hinders_pods_is_told_while_others_serve() -> Result<()> {
    let _shared = MACHINE.read().await;
    let component = json!({
        "image": { "repository": STANDIN_IMAGE },
        "resources": {
            "requests": { "cpu": "10m", "memory": "16Mi" },
            "limits": { "cpu": "200m", "memory": "64Mi" },
        },
    });
    let sound = json!({
        "frontend": component, "backend": component, "scraper": component, "worker": component,
        "redis": null, "postgres": null,
    });
    let trial = Trial::begin(&STAGE, "hindered", &[], &sound).await?;

    let (repository, tag) = POSTGRES_IMAGE.split_once(':').context("it has a tag")?;
    let runs =
        |command: Value| json!({ "image": { "repository": repository, "tag": tag }, "command": command });
    trial
        .edit(&json!({
            "frontend": { "image": { "repository": "testbed.local/nowhere", "tag": "1" } },
            "backend": runs(json!(["false"])),
            "scraper": runs(json!(["/nowhere"])),
            "worker": runs(json!(["tail", "/dev/zero"])),
        }))
        .await?;
    for (component, words) in [
        ("frontend", "pods are being replaced; nodes can't pull image testbed.local/nowhere:1"),
        ("scraper", "pods are being replaced; container scraper of shop-scraper-"),
        ("scraper", "can't be started: failed to create containerd task"),
        ("scraper", "stat /nowhere: no such file or directory"),
        ("backend", "ends again and again: kubectl -n hindered logs shop-backend-"),
        ("worker", "ended for lack of memory: raise worker.resources.limits.memory"),
    ] {
        wait_for(&format!("what hinders {component} is told"), TOLD, async || {
            let told = message(&trial, component).await?;
            ensure!(told.contains(words), "{told}");
            Ok(())
        })
        .await
        .with_context(|| STAGE.explain(&trial.space.name))?;
        eprintln!("{component}: {}", message(&trial, component).await?);
    }
    // Those of before stay, of the worker too, which has no probe: what ends at once is not taken for it.
    for component in ["frontend", "backend", "scraper", "worker"] {
        let told = told(&trial, component).await?;
        ensure!(told["ready"].as_i64() >= Some(1), "nothing of {component} runs: {told}");
    }

    let before = json!({ "image": { "repository": STANDIN_IMAGE, "tag": null }, "command": null });
    trial
        .edit(&json!({ "frontend": before, "backend": before, "scraper": before, "worker": before }))
        .await?;
    trial.space.condition_is(NAME, "Degraded", "False", "AsWished", TOLD).await?;
    trial.end().await
}

async fn message(trial: &Trial, component: &str) -> Result<String> {
    Ok(text(&told(trial, component).await?, "/message").to_owned())
}

async fn told(trial: &Trial, component: &str) -> Result<Value> {
    let platform = trial.space.get("TradingPlatform", NAME).await?;
    let told = at(&platform, "/status/components").as_array().context("no components")?;
    told.iter().find(|it| it["name"] == component).cloned().context("it is not told of")
}
