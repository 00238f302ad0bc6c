//! Each example as ArgoCD delivers it: applied, Ready, read back, and judged by ArgoCD's own code. Neither the
//! platform nor anything that was made of it differs from what was applied, in either way of applying.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use trading_api::{TradingPlatform, labels};
use trading_core::{
    inputs::Inputs,
    kinds::Kind,
    object::{Content, Object},
    render::render,
    resolve::resolve,
};
use trading_e2e::add_ons;
use trading_e2e::api::repository;
use trading_e2e::gitops::{argocd, flux};
use trading_e2e::sim::{SETTLE, Space, Stack, at, text, wait_for};
use trading_testbed::documents;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

/// How ArgoCD marks what it delivers: by label in old releases, by annotation in new ones.
const TRACKING_LABEL: &str = "argocd.argoproj.io/instance";
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

/// Every example in every environment.
fn environments() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for example in fs::read_dir(repository("examples"))? {
        let example = example?.path();
        let overlays = example.join("overlays");
        if overlays.is_dir() {
            for overlay in fs::read_dir(overlays)? {
                found.push(overlay?.path());
            }
        } else if example.join("kustomization.yaml").is_file() {
            found.push(example);
        }
    }
    found.sort();
    ensure!(found.len() >= 3, "only {found:?}");
    Ok(found)
}

/// What ArgoCD makes of the files: the same objects, marked.
fn desired(dir: &Path) -> Result<Vec<Value>> {
    let built = STACK.kubectl()?.run(&["kustomize", &dir.to_string_lossy()])?;
    let mut objects = documents(&built)?;
    for object in &mut objects {
        let id = format!("shop:{}:{}", text(object, "/kind"), text(object, "/metadata/name"));
        object["metadata"]["labels"][TRACKING_LABEL] = json!("shop");
        object["metadata"]["annotations"][TRACKING_ID] = json!(id);
    }
    Ok(objects)
}

fn apply(objects: &[Value], how: &[&str]) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    STACK.kubectl()?.run_with_input(&[&["apply", "-f", "-"], how].concat(), &list)?;
    Ok(())
}

const SERVER_SIDE: [&str; 3] = ["--server-side", "--field-manager=argocd-controller", "--force-conflicts"];

/// The live object of each.
fn live(objects: &[Value]) -> Result<Vec<Value>> {
    let kubectl = STACK.kubectl()?;
    objects
        .iter()
        .map(|object| {
            let kind = text(object, "/kind");
            let name = text(object, "/metadata/name");
            let mut arguments = vec!["get", kind, name, "--show-managed-fields", "-o", "json"];
            if let Some(namespace) = at(object, "/metadata/namespace").as_str() {
                arguments.extend(["-n", namespace]);
            }
            serde_json::from_str(&kubectl.run(&arguments)?).context("not JSON")
        })
        .collect()
}

/// Nothing of these differs, and the platforms among them are healthy for ArgoCD and Flux.
fn in_sync(what: &str, objects: &[Value]) -> Result<Vec<Value>> {
    let live = live(objects)?;
    let pairs: Vec<(Value, Value)> = objects.iter().cloned().zip(live.iter().cloned()).collect();
    for ((_, live), verdict) in pairs.iter().zip(argocd(&pairs)?) {
        ensure!(verdict.drift.is_empty(), "{what}: {}", verdict.drift.join("\n"));
        let is_platform = live["kind"] == "TradingPlatform";
        ensure!(!is_platform || verdict.health == "Healthy", "{what}: {verdict:?}");
    }
    let platforms: Vec<Value> =
        live.iter().filter(|object| object["kind"] == "TradingPlatform").cloned().collect();
    for (status, message) in flux(&platforms)? {
        ensure!(status == "Current", "{what}: {status} for Flux: {message}");
    }
    Ok(platforms)
}

/// What the operator applied for a live platform. The digests of what is consumed are not known here.
fn applied(platform: &Value) -> Result<Vec<Object>> {
    let platform: TradingPlatform = serde_json::from_value(platform.clone())?;
    let mut objects = render(&resolve(&platform, &Inputs::offline(Timestamp::now())));
    for object in &mut objects {
        for (path, key) in [
            ("/metadata/annotations", labels::APPLIED),
            // Of a copied Secret.
            ("/metadata/annotations", labels::CONFIG_CHECKSUM),
            ("/spec/template/metadata/annotations", labels::CONFIG_CHECKSUM),
        ] {
            if let Some(Value::Object(annotations)) = object.body_mut().pointer_mut(path) {
                annotations.remove(key);
            }
        }
    }
    Ok(objects)
}

/// No object of the platform differs from what was applied, and none carries a mark of ArgoCD's.
async fn children_in_sync(what: &str, platform: &Value) -> Result<usize> {
    let objects = applied(platform)?;
    let mut children = BTreeMap::new();
    let namespaces: BTreeSet<&String> = objects.iter().map(|object| &object.namespace).collect();
    for namespace in namespaces {
        let space: Space<'_> = STACK.existing_space(namespace).await?;
        for ((kind, name), live) in space.children(text(platform, "/metadata/name")).await? {
            children.insert((namespace.clone(), kind, name), live);
        }
    }
    let mut pairs = Vec::new();
    for object in &objects {
        // Its module is too large for its definition.
        if object.kind == Kind::CiliumNetworkPolicy {
            continue;
        }
        let key = (object.namespace.clone(), object.kind.to_string(), object.name.clone());
        let mut live = children.get(&key).with_context(|| format!("{what}: no {key:?}"))?.clone();
        if matches!(object.content, Content::CopiedFrom { .. } | Content::FilledFrom { .. }) {
            // The values are filled in when it is applied.
            live["data"] = object.body["data"].clone();
        }
        pairs.push((object.clone().into_body(), live));
    }
    ensure!(pairs.len() > 5, "{what}: only {} objects", pairs.len());
    for verdict in argocd(&pairs)? {
        ensure!(verdict.drift.is_empty(), "{what}: {}", verdict.drift.join("\n"));
    }
    for ((_, kind, name), live) in &children {
        for marks in ["/metadata/labels", "/metadata/annotations"] {
            let marked = at(live, marks).as_object().is_some_and(|all| {
                all.keys().any(|key| key.starts_with("argocd.argoproj.io/") || key.contains("last-applied"))
            });
            ensure!(!marked, "{what}: {kind} {name} carries {}", at(live, marks));
        }
    }
    Ok(pairs.len())
}

/// One after the other: the nodes of the control plane are not there for all at once.
#[tokio::test]
async fn no_example_drifts() -> Result<()> {
    add_ons::install_all(&STACK.kubectl()?)?;
    for dir in environments()? {
        let what = dir.strip_prefix(repository("examples")).unwrap_or(&dir).display().to_string();
        let objects = desired(&dir)?;
        apply(&objects, &SERVER_SIDE).with_context(|| what.clone())?;
        for platform in objects.iter().filter(|object| object["kind"] == "TradingPlatform") {
            let space = STACK.existing_space(text(platform, "/metadata/namespace")).await?;
            let name = text(platform, "/metadata/name");
            space.ready(name).await.with_context(|| what.clone())?;
            wait_for("what add-ons serve is there", SETTLE, async || {
                // Not every platform wants one.
                let Ok(served) = space.condition(name, "AddOnsAvailable").await else { return Ok(()) };
                ensure!(served["status"] == "True", "{served}");
                Ok(())
            })
            .await?;
        }
        let mut count = 0;
        for platform in in_sync(&what, &objects)? {
            count += children_in_sync(&what, &platform).await?;
        }

        // Synced once more, nothing is written; and a client-side apply changes no spec.
        let versions = |of: &[Value], field: &str| -> Vec<Value> {
            of.iter().map(|object| object["metadata"][field].clone()).collect()
        };
        let before = live(&objects)?;
        apply(&objects, &SERVER_SIDE)?;
        let again = live(&objects)?;
        ensure!(
            versions(&before, "resourceVersion") == versions(&again, "resourceVersion"),
            "{what}: a second sync writes"
        );
        apply(&objects, &[])?;
        let platforms = in_sync(&format!("{what}, client-side"), &objects)?;
        ensure!(platforms.iter().all(|platform| platform["metadata"]["generation"] == 1), "{what}: an edit");
        for platform in &platforms {
            children_in_sync(&format!("{what}, client-side"), platform).await?;
        }
        eprintln!("{what}: {} documents and {count} objects in sync", objects.len());

        // Room for the next.
        for platform in &platforms {
            let space = STACK.existing_space(text(platform, "/metadata/namespace")).await?;
            space
                .delete(
                    "TradingPlatform",
                    text(platform, "/metadata/name"),
                    trading_e2e::sim::Propagation::Foreground,
                )
                .await?;
        }
    }
    Ok(())
}

/// An edit in the cluster is seen, and what ArgoCD's sync puts back is enough.
#[tokio::test]
async fn an_edit_in_the_cluster_is_drift() -> Result<()> {
    let space = STACK.space("gitops-edit").await?;
    let mut wanted = trading_e2e::sim::platform("shop", &json!({ "postgres": null }));
    wanted["metadata"]["namespace"] = json!(space.name);
    apply(std::slice::from_ref(&wanted), &SERVER_SIDE)?;
    space.ready("shop").await?;
    space.edit("shop", &json!({ "version": "6.6.6" })).await?;
    let live = space.get("TradingPlatform", "shop").await?;
    let verdicts = argocd(&[(wanted.clone(), live)])?;
    ensure!(verdicts[0].drift.iter().any(|line| line.contains("6.6.6")), "{verdicts:?}");
    apply(std::slice::from_ref(&wanted), &SERVER_SIDE)?;
    space.ready("shop").await?;
    in_sync("after the sync", std::slice::from_ref(&wanted))?;
    Ok(())
}

/// The estimate is in the status, follows the price table, and says what is wrong with a bad one.
#[tokio::test]
async fn the_estimate_follows_the_prices() -> Result<()> {
    const TABLE: &str = "trading-platform-operator-prices";
    let space = STACK.space("gitops-cost").await?;
    space.put(&trading_e2e::sim::platform("shop", &json!({ "postgres": null }))).await?;
    let estimate = async |wanted: &str, is: &dyn Fn(&Value) -> bool| {
        wait_for(wanted, SETTLE, async || {
            let live = space.get("TradingPlatform", "shop").await?;
            let found = at(&live, "/status/estimatedMonthlyCost");
            ensure!(is(found), "it is {found}");
            Ok(found.clone())
        })
        .await
    };
    let first = estimate("there is an estimate", &|found| found["minimum"].is_string()).await?;
    let prices = STACK.existing_space(trading_e2e::sim::NAMESPACE).await?;
    let table = |data: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": TABLE }, "data": data });
    if prices.find("ConfigMap", TABLE).await?.is_some() {
        prices.delete("ConfigMap", TABLE, trading_e2e::sim::Propagation::Background).await?;
    }
    prices.put(&table(json!({ "provider": "GCP" }))).await?;
    estimate("the prices are GCP's", &|found| {
        text(found, "/prices").starts_with("GCP") && found["minimum"] != first["minimum"]
    })
    .await?;
    prices
        .replace(&table(json!({ "cpu.onDemand": "-1", "provider": "GCP", "source": "a", "date": "b" })))
        .await?;
    let wrong = estimate("the bad table is named", &|found| found["message"].is_string()).await?;
    ensure!(
        text(&wrong, "/message")
            .contains(&format!("{TABLE}: cpu.onDemand: \"-1\" is negative: give the price")),
        "{wrong}"
    );
    ensure!(wrong["minimum"].is_null(), "{wrong}");
    space.ready("shop").await?;
    prices.delete("ConfigMap", TABLE, trading_e2e::sim::Propagation::Background).await?;
    estimate("the built-in list is back", &|found| found == &first).await?;
    Ok(())
}
