//! TLS to a database on real nodes: it comes and goes while applications write, and what was acknowledged is there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio_postgres::{Config, NoTls};
use trading_e2e::real::{Trial, primary, settled};
use trading_e2e::sim::{at, text, wait_for};

use super::{MACHINE, STAGE};

/// Servers and clients are replaced one after the other, and kubelets bring files within two minutes.
const CHANGES: Duration = Duration::from_mins(6);
const SETTLES: Duration = Duration::from_mins(2);
const ANSWERS: Duration = Duration::from_secs(10);

/// Waits until servers say that they refuse who comes without, and tries it.
pub async fn is_required(trial: &Trial) -> Result<()> {
    trial.space.condition_is("shop", "TLSRequired", "True", "Required", CHANGES).await?;
    for pod in trial.pods("postgres").await? {
        let answer = plain(trial, &pod).await?;
        ensure!(answer.contains("no encryption"), "{}: {answer}", text(&pod, "/metadata/name"));
    }
    Ok(())
}

/// What a server says to somebody who has the password and does without TLS.
async fn plain(trial: &Trial, pod: &Value) -> Result<String> {
    let secret = trial.space.get("Secret", "shop-postgres-app").await?;
    let ByteString(password) = serde_json::from_value(at(&secret, "/data/password").clone())?;
    let mut login = Config::new();
    login.host(text(pod, "/status/podIP")).user("app").password(password).dbname("app");
    // A server that dies in the middle says nothing more.
    let connected = tokio::time::timeout(ANSWERS, login.connect(NoTls)).await.context("no answer")?;
    Ok(connected.map_or_else(|error| format!("{error:?}"), |_| "welcome".to_owned()))
}

/// The value of a variable of the backend.
async fn variable(trial: &Trial, name: &str) -> Result<String> {
    let backend = trial.space.get("Deployment", "shop-backend").await?;
    let all = at(&backend, "/spec/template/spec/containers/0/env").as_array().context("no variables")?;
    let found = all.iter().find(|variable| variable["name"] == name).context("no such variable")?;
    Ok(text(found, "/value").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_fails_while_tls_comes_is_renewed_and_goes() -> Result<()> {
    let _shared = MACHINE.read().await;
    let patch = json!({ "postgres": { "instances": 2, "synchronous": true }, "redis": null });
    let trial = Trial::begin(&STAGE, "encrypted", &["postgres"], &patch).await?;
    settled(&trial, SETTLES).await?;
    ensure!(plain(&trial, &primary(&trial).await?).await? == "welcome");

    let happens = async || {
        trial.edit(&json!({ "postgres": { "tls": { "mode": "Required" } } })).await?;
        is_required(&trial).await
    };
    trial.under_load("TLS comes", happens).await?;
    ensure!(variable(&trial, "PGSSLMODE").await? == "verify-full");

    let happens = async || {
        let pods = trial.pods("postgres").await?;
        let before = trial.space.get("Secret", "shop-postgres-tls").await?;
        let due = json!({ "renew": "2026-01-01T00:00:00Z", "names": "others" }).to_string();
        let annotations = json!({ "platform.trading/certificate": due });
        let patch = json!({ "metadata": { "annotations": annotations } });
        trial.space.patch("Secret", "shop-postgres-tls", &patch).await?;
        wait_for("the certificate is renewed", SETTLES, async || {
            let now = trial.space.get("Secret", "shop-postgres-tls").await?;
            ensure!(at(&now, "/data/tls.crt") != at(&before, "/data/tls.crt"), "it is the old one");
            ensure!(at(&now, "/data/ca.crt") == at(&before, "/data/ca.crt"), "of another authority");
            Ok(())
        })
        .await?;
        let renewed = |pod: &Value| {
            let name = trial.space.name.clone();
            let pod = text(pod, "/metadata/name").to_owned();
            async move {
                let log = STAGE.kubectl()?.run(&["logs", "-n", &name, &pod])?;
                ensure!(log.contains("the certificate is another one"), "{pod} has the old one");
                Ok(())
            }
        };
        for pod in &pods {
            wait_for("a server has it", CHANGES, async || renewed(pod).await).await?;
        }
        let uids =
            |pods: &[Value]| pods.iter().map(|pod| at(pod, "/metadata/uid").clone()).collect::<Vec<_>>();
        ensure!(uids(&pods) == uids(&trial.pods("postgres").await?), "a server was started again");
        // Replica and client have to check the new one.
        trial.kill(&[primary(&trial).await?]).await
    };
    trial.under_load("the certificate is renewed, and the primary killed", happens).await?;
    settled(&trial, SETTLES).await?;

    let happens = async || {
        trial.edit(&json!({ "postgres": { "tls": null } })).await?;
        wait_for("servers are without TLS", CHANGES, async || {
            let set = trial.space.get("StatefulSet", "shop-postgres").await?.to_string();
            ensure!(!set.contains("--tls"), "they offer it");
            ensure!(plain(&trial, &primary(&trial).await?).await? == "welcome");
            Ok(())
        })
        .await?;
        trial.rolled_out("postgres", CHANGES).await
    };
    trial.under_load("TLS goes", happens).await?;
    ensure!(variable(&trial, "PGSSLMODE").await? == "prefer");
    trial.end().await
}
