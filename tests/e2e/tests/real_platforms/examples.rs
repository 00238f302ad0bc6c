//! Examples on real nodes, with stand-ins for their applications: every one of these reaches the stores that
//! its platform tells it of. Requests are lowered; production's values are asserted with simulated nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_e2e::real::{Application, rendered};
use trading_e2e::sim::{Propagation, at, text, wait_for};
use trading_testbed::real::{images, lower_requests};

use super::{MACHINE, STAGE};

const UP: Duration = Duration::from_mins(4);
const REACHED: Duration = Duration::from_secs(30);
/// The operator asks ever more rarely whom it did not reach, and tells of what lasts.
const ASKED: Duration = Duration::from_mins(2);

/// Makes an example run, and returns once every application has reached its stores. One that fails hinders no other
/// test, as its budgets would the drain of a node.
async fn run(example: &str, secrets: &[Value]) -> Result<()> {
    let _shared = MACHINE.read().await;
    let ran = comes_and_goes(example, secrets).await;
    if ran.is_err() {
        let kubectl = STAGE.kubectl()?;
        for object in rendered(&kubectl, example)?.iter().filter(|object| object["kind"] == "TradingPlatform")
        {
            let (name, namespace) = (text(object, "/metadata/name"), text(object, "/metadata/namespace"));
            let delete = ["delete", "tradingplatform", name, "-n", namespace];
            kubectl.run(&[&delete[..], &["--wait=false", "--ignore-not-found"]].concat())?;
        }
    }
    ran
}

async fn comes_and_goes(example: &str, secrets: &[Value]) -> Result<()> {
    let kubectl = STAGE.kubectl()?;
    let mut objects = rendered(&kubectl, example)?;
    let platform = objects.iter_mut().find(|object| object["kind"] == "TradingPlatform");
    let platform = platform.with_context(|| format!("{example} has no platform"))?;
    lower_requests(platform);
    // Nobody stands in for a database outside.
    let outside = at(platform, "/spec/postgres/mode") == "External";
    let (name, namespace) =
        (text(platform, "/metadata/name").to_owned(), text(platform, "/metadata/namespace").to_owned());
    STAGE.cluster().stand_in_for(&images(&STAGE.children(platform)?))?;

    let began = Instant::now();
    let is_namespace = |object: &&Value| object["kind"] == "Namespace";
    let namespaces: Vec<Value> = objects.iter().filter(is_namespace).cloned().collect();
    STAGE.apply(&namespaces)?;
    let space = STAGE.existing_space(&namespace).await?;
    for secret in secrets {
        space.put(secret).await?;
    }
    STAGE.apply(&objects)?;
    let ready = space.condition_is(&name, "Ready", "True", "Ready", UP).await;
    ready.with_context(|| STAGE.explain(&namespace))?;
    eprintln!("{example}: Ready after {:.1} s", began.elapsed().as_secs_f64());

    let mut reached = 0;
    for deployment in space.list("Deployment", "").await? {
        let labels = at(&deployment, "/spec/template/metadata/labels");
        let component = text(labels, "/app.kubernetes.io~1name");
        // A pooler answers applications.
        if text(labels, "/app.kubernetes.io~1component") != "application" {
            continue;
        }
        let mut expected = stores_of(&deployment);
        if outside {
            expected.remove("postgres");
        }
        let application = Application::new(&space, &name, component);
        wait_for(&format!("{component} of {example} reaches its stores"), REACHED, async || {
            let about = application.about().await?;
            let stores = at(&about, "/stores").as_object().context("no stores")?;
            let answering = stores.iter().filter(|(_, store)| !text(store, "/version").is_empty());
            let answering: BTreeSet<&str> = answering.map(|(name, _)| name.as_str()).collect();
            ensure!(answering == expected, "{component} was told of {expected:?}: {about}");
            Ok(())
        })
        .await?;
        reached += expected.len();
    }
    ensure!(reached > 0, "no application of {example} uses a store");
    let told = format!("the status of {example} says how its stores are");
    wait_for(&told, ASKED, async || stores_are_told(&space.get("TradingPlatform", &name).await?, outside))
        .await?;
    space.delete("TradingPlatform", &name, Propagation::Foreground).await?;
    space.gone("TradingPlatform", &name, UP).await
}

/// The operator's pod finds every server by its name, and sees that nobody answers for a database outside.
fn stores_are_told(platform: &Value, outside: bool) -> Result<()> {
    let components = at(platform, "/status/components").as_array().context("no components")?;
    let sets = components.iter().filter(|it| matches!(text(it, "/name"), "redis" | "postgres"));
    for set in sets {
        let members = at(set, "/members").as_array().map(Vec::as_slice).unwrap_or_default();
        let ready = members.iter().filter(|member| member["state"] == "Ready").count();
        ensure!(*at(set, "/desired") == json!(ready), "{set}");
    }
    let conditions = at(platform, "/status/conditions").as_array().context("no conditions")?;
    let is_told = conditions
        .iter()
        .any(|it| it["type"] == "Degraded" && text(it, "/message").contains(" of postgres.external "));
    ensure!(is_told == outside, "{conditions:#?}");
    Ok(())
}

/// Which stores a Deployment's pods are told of.
fn stores_of(deployment: &Value) -> BTreeSet<&'static str> {
    let variables = at(deployment, "/spec/template/spec/containers/0/env").as_array();
    let has = |name: &str| variables.is_some_and(|all| all.iter().any(|variable| variable["name"] == name));
    [("PGHOST", "postgres"), ("REDIS_MODE", "redis")]
        .into_iter()
        .filter(|(variable, _)| has(variable))
        .map(|(_, store)| store)
        .collect()
}

/// In development, where its Redis Cluster of six fits three nodes.
#[tokio::test(flavor = "multi_thread")]
async fn tradewizard_runs() -> Result<()> {
    run("tradewizard/overlays/development", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tradewise_runs() -> Result<()> {
    run("tradewise/overlays/production", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tradesense_runs() -> Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "tradesense-secrets" },
        "stringData": {
            "stripe-secret-key": "not a real one",
            "stripe-webhook-secret": "not a real one",
            "paypal-client-secret": "not a real one",
            "jwt-secret-key": "not a real one",
        },
    });
    run("tradesense/overlays/production", &[secret]).await
}
