//! The examples: kustomize builds them into what the golden files begin with, and the apiserver admits them.
//! The kind as people meet it in kubectl.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trading_core::admission;
use trading_e2e::api::{install_kind, repository};
use trading_testbed::{ControlPlane, Kubectl, Options, documents};

const KIND: &str = "TradingPlatform";

static CLUSTER: LazyLock<ControlPlane> = LazyLock::new(|| start().expect("a control plane with the kind"));

fn start() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(Options::api())?;
    install_kind(&cluster)?;
    Ok(cluster)
}

/// Every folder below `examples` that kustomize can build.
fn kustomizations() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(&repository("examples"), &mut found)?;
    found.sort();
    ensure!(!found.is_empty(), "no examples");
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            // What overlays may add is nothing by itself; `mesh` of the core's tests reads it.
            if !path.ends_with("components") {
                collect(&path, found)?;
            }
        } else if path.file_name().is_some_and(|name| name == "kustomization.yaml") {
            found.push(dir.to_owned());
        }
    }
    Ok(())
}

fn build(kubectl: &Kubectl, dir: &Path) -> Result<String> {
    kubectl.run(&["kustomize", &dir.to_string_lossy()])
}

fn is_base(dir: &Path) -> bool {
    dir.ends_with("base")
}

/// A part of an overlay, which is not applied alone.
fn is_part(dir: &Path) -> bool {
    dir.ancestors().nth(2).is_some_and(|above| above.ends_with("overlays"))
}

fn platforms(yaml: &str) -> Result<Vec<Value>> {
    Ok(documents(yaml)?.into_iter().filter(|object| object["kind"] == KIND).collect())
}

#[test]
fn every_environment_is_what_its_golden_files_are_made_from() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    let golden = repository("tests/golden");
    let mut compared = 0;
    for dir in kustomizations()?.iter().filter(|dir| dir.parent().is_some_and(|p| p.ends_with("overlays"))) {
        let (environment, example) = (dir.file_name(), dir.ancestors().nth(2).and_then(Path::file_name));
        let input =
            golden.join(example.unwrap_or_default()).join(environment.unwrap_or_default()).join("input.yaml");
        let text = fs::read_to_string(&input)
            .with_context(|| format!("{} has no golden input {}", dir.display(), input.display()))?;
        let built = platforms(&build(&kubectl, dir)?)?;
        ensure!(
            !built.is_empty() && built == platforms(&text)?,
            "{} is stale: put the output of `kubectl kustomize {}` there",
            input.display(),
            dir.display()
        );
        compared += 1;
    }
    ensure!(compared >= 3, "only {compared} environments");
    Ok(())
}

#[test]
fn the_example_itself_is_production() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    let example = repository("examples/tradewizard");
    let whole = build(&kubectl, &example)?;
    ensure!(whole == build(&kubectl, &example.join("overlays/production"))?);
    let environments: Vec<_> =
        platforms(&whole)?.iter().map(|platform| platform["spec"]["environment"].clone()).collect();
    ensure!(
        environments == [Value::Null],
        "production is the default and need not be said: {environments:?}"
    );
    Ok(())
}

/// As a person applies it, with kubectl's own strict validation, twice.
#[test]
fn every_example_is_applied_and_applied_again() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    for dir in kustomizations()?.iter().filter(|dir| !is_base(dir) && !is_part(dir)) {
        let path = dir.to_string_lossy().into_owned();
        for platform in platforms(&build(&kubectl, dir)?)? {
            let violations = admission::check(&platform, None);
            ensure!(violations.is_empty(), "{path}: {violations:?}");
        }
        kubectl.run(&["apply", "--validate=strict", "-k", &path]).with_context(|| path.clone())?;
        let versions = || {
            let output =
                "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}";
            kubectl.run(&["get", "-k", &path, "-o", output])
        };
        let before = versions()?;
        // kubectl calls the Secret configured, because the apiserver keeps no `stringData`.
        kubectl.run(&["apply", "--validate=strict", "-k", &path])?;
        ensure!(!before.is_empty() && before == versions()?, "{path}: {before}");
    }
    Ok(())
}

#[test]
fn a_base_stands_on_its_own() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    for dir in kustomizations()?.iter().filter(|dir| is_base(dir)) {
        let built = build(&kubectl, dir)?;
        kubectl.run_with_input(&["create", "--dry-run=server", "--validate=strict", "-f", "-"], &built)?;
    }
    Ok(())
}

#[test]
fn explain_tells_every_field() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    let tree = kubectl.run(&["explain", "tradingplatform.spec", "--recursive"])?;
    for field in [
        "frontend",
        "replicasPerShard",
        "credentialsSecretRef",
        "stabilizationWindowSeconds",
        "nodeSelectorTerms",
    ] {
        ensure!(tree.contains(field), "{field} is not in the tree");
    }
    for (path, text) in [
        ("tradingplatform", "A whole trading platform"),
        ("tp.spec.environment", "Preset that fills what the resource leaves out"),
        ("tp.spec.environment", "ENUM: Development Staging Production"),
        ("tp.spec.redis.shards", "Masters of a cluster; default 3"),
        ("tp.spec.services.name", "unique in the platform"),
        ("tp.spec.backend.autoscaling.minReplicas", "Fewest replicas"),
        ("tp.spec.backend.autoscaling", "-required-"),
        ("tp.spec.postgres.external.host", "DNS name or IP address"),
        ("tp.spec.deletion.acknowledgeStoreRemoval", "Stores that may be taken down"),
        ("tp.status.conditions", "Reconciling"),
    ] {
        let explained = kubectl.run(&["explain", path])?;
        let one_line = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(one_line.contains(text), "{path} does not say {text:?}: {explained}");
    }
    Ok(())
}

#[test]
fn no_field_is_left_unexplained() -> Result<()> {
    let mut silent = Vec::new();
    undocumented(&trading_api::schema::open_api_schema(), "", &mut silent);
    // Of the resource itself, Kubernetes knows these.
    silent.retain(|path| !matches!(path.as_str(), ".metadata" | ".apiVersion" | ".kind"));
    ensure!(silent.is_empty(), "fields without a word: {}", silent.join(", "));
    Ok(())
}

fn undocumented(schema: &Value, path: &str, silent: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if inner["description"].as_str().is_none_or(str::is_empty) {
            silent.push(path.clone());
        }
        // What several parts have in common is described once.
        let text = inner["description"].as_str().unwrap_or_default();
        if text.starts_with("As spec.backend.") || text.contains(" Fields as in `") {
            continue;
        }
        undocumented(inner, &path, silent);
        undocumented(&inner["items"], &format!("{path}[]"), silent);
    }
}

#[test]
fn tables_show_what_matters() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    kubectl.run(&["create", "namespace", "table"])?;
    let platform = r#"{"apiVersion":"platform.trading/v1alpha1","kind":"TradingPlatform",
        "metadata":{"name":"shop","namespace":"table"},
        "spec":{"version":"1.2.3","environment":"Staging","backend":{"image":{"repository":"shop/backend"}}}}"#;
    kubectl.apply(platform)?;
    ensure!(header(&kubectl, "tp", false)? == "NAME READY STATUS VERSION COMPONENTS SINCE AGE");
    ensure!(
        header(&kubectl, "tradingplatforms", true)?
            == "NAME READY STATUS VERSION COMPONENTS ENVIRONMENT MESSAGE SINCE AGE"
    );

    let status = r#"{"status":{"version":"1.2.3","summary":"4/5","conditions":[{"type":"Ready","status":"False",
        "reason":"Progressing","message":"backend: 1 of 2 pods ready","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    kubectl.run(&[
        "-n",
        "table",
        "patch",
        "tp",
        "shop",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ])?;
    let table = kubectl.run(&["-n", "table", "get", "tp", "-o", "wide", "--no-headers"])?;
    let row = table.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(row.starts_with("shop False Progressing 1.2.3 4/5 Staging backend: 1 of 2 pods ready"), "{row}");
    // By category, as `kubectl get trading` lists everything of ours.
    ensure!(
        kubectl.run(&["-n", "table", "get", "trading", "-o", "name"])?.trim()
            == "tradingplatform.platform.trading/shop"
    );
    // Status is its own resource: an apply of the whole object does not touch it.
    kubectl.run_with_input(&["apply", "--server-side", "-f", "-"], &platform.replace("1.2.3", "1.2.4"))?;
    let summary = kubectl.run(&[
        "-n",
        "table",
        "get",
        "tp",
        "shop",
        "-o",
        "jsonpath={.status.summary} {.metadata.generation}",
    ])?;
    ensure!(summary == "4/5 2", "{summary}");
    Ok(())
}

fn header(kubectl: &Kubectl, what: &str, wide: bool) -> Result<String> {
    let mut args = vec!["-n", "table", "get", what];
    args.extend(wide.then_some(["-o", "wide"]).into_iter().flatten());
    let table = kubectl.run(&args)?;
    Ok(table.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The example's Namespace asks for Pod Security `restricted`; a mistyped label would ask for nothing.
#[test]
fn namespaces_of_examples_enforce_restricted_pods() -> Result<()> {
    let kubectl = CLUSTER.kubectl()?;
    for dir in kustomizations()?.iter().filter(|dir| !is_base(dir)) {
        for object in documents(&build(&kubectl, dir)?)?.iter().filter(|object| object["kind"] == "Namespace")
        {
            let level = object.pointer("/metadata/labels/pod-security.kubernetes.io~1enforce");
            // A container runtime's pods are privileged, and alone in their namespace.
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let wanted = if name.ends_with("-docker") { "privileged" } else { "restricted" };
            ensure!(level.is_some_and(|level| level == wanted), "{}: {name} {level:?}", dir.display());
        }
    }
    Ok(())
}
