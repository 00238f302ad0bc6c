//! Every status that the operator's own code words, judged by ArgoCD (our health check in the interpreter
//! that it uses) and by Flux (kstatus).

// Shared with the tests of the core, where helpers may panic.
#[allow(clippy::unwrap_used, missing_docs)]
#[path = "../../../crates/core/tests/support/mod.rs"]
mod support;

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{example, observed, rendered, repository, then};
use trading_api::{TradingPlatform, network::Cidr, redis::MaxmemoryPolicy, status::TradingPlatformStatus};
use trading_core::{
    add_ons::Capabilities,
    credentials::Stage,
    inputs::{Inputs, Reference, ReferenceKind, ReferenceState},
    kinds::Kind,
    members::{Answers, Fullness, Member, Members, Role},
    object::Key,
    render::render,
    resolve::resolve,
    status::{
        backup::Backups,
        conditions::{TYPES, Verdict, timed},
        status,
    },
    step::{Observed, Steps, steps},
    storage::{StorageClass, StorageClasses},
    tls,
};
use trading_e2e::{
    gitops::{argocd, flux},
    sim::backup,
};
use trading_testbed::documents;

/// A platform in some state, and what is said of it.
struct Situation {
    what: &'static str,
    object: Value,
    argocd: &'static str,
    /// In ArgoCD's message.
    because: &'static str,
    flux: &'static str,
}

fn platform() -> TradingPlatform {
    let mut platform = example("production");
    platform.metadata.generation = Some(3);
    platform.metadata.uid = Some("a-platform".to_owned());
    // Otherwise there is a warning about its addresses in every situation.
    let database = platform.spec.postgres.as_mut().expect("it has one");
    database.external.as_mut().expect("it is outside").cidrs = vec![Cidr("203.0.113.0/24".to_owned())];
    platform
}

/// What the operator reports of a platform among these objects.
fn reported(
    platform: &TradingPlatform,
    inputs: &Inputs,
    live: &Observed,
    before: Option<&TradingPlatformStatus>,
) -> TradingPlatformStatus {
    let plan = resolve(platform, inputs);
    let next = steps(&plan, &render(&plan), live);
    status(&plan, &next, live, before, then())
}

fn with(platform: &TradingPlatform, status: TradingPlatformStatus) -> Value {
    json!(TradingPlatform { status: Some(status), ..platform.clone() })
}

fn change(live: &mut Observed, name: &str, how: impl Fn(&mut trading_core::status::workload::Workload)) {
    let key = |key: &Key| key.kind == Kind::Deployment && key.name == format!("tradewizard-{name}");
    live.iter_mut()
        .find_map(|(each, child)| key(each).then_some(child))
        .and_then(|child| child.workload.as_mut())
        .map(how)
        .expect("it is live");
}

/// The platform with a database of its own whose login or TLS changes: what is said meanwhile, and afterwards.
fn changed_database(platform: &TradingPlatform) -> [(&'static str, Value, &'static str); 4] {
    let mut own = platform.clone();
    let postgres = json!({ "mode": "Managed", "version": 16, "credentials": { "generation": 2 },
        "tls": { "mode": "Required" } });
    own.spec.postgres = Some(serde_json::from_value(postgres).expect("it is a database"));
    let plan = resolve(&own, &Inputs::offline(then()));
    let objects = render(&plan);
    let live = observed(&objects);
    let rolling = tls::Stage::ClientsRoll(vec!["backend".to_owned()]);
    [
        ("an old login ends", Some(Stage::Ending), None, "older logins are refused once no pod has them"),
        ("the login has changed", Some(Stage::Done), None, "at version"),
        ("clients come to use TLS", None, Some(rolling), "its clients come to insist on it: backend roll"),
        ("everybody uses TLS", None, Some(tls::Stage::Done), "at version"),
    ]
    .map(|(what, login, tls, because)| {
        let next = Steps { login, tls, ..steps(&plan, &objects, &live) };
        (what, with(&own, status(&plan, &next, &live, None, then())), because)
    })
}

/// The platform with a database of CloudNativePG, whose last backup failed, and then did not.
fn backed_up(platform: &TradingPlatform) -> [(&'static str, Value, &'static str); 2] {
    let mut own = platform.clone();
    let postgres = json!({ "mode": "CloudNativePG", "version": 16 });
    own.spec.postgres = Some(serde_json::from_value(postgres).expect("it is a database"));
    own.spec.backup = Some(serde_json::from_value(backup()["backup"].clone()).expect("it is a backup"));
    let live = observed(&rendered(&own).1);
    [("a backup failed", "False", "the last backup failed"), ("it is backed up", "True", "at version")].map(
        |(what, succeeded, because)| {
            let mut live = live.clone();
            let last = json!({ "type": "LastBackupSucceeded", "status": succeeded, "reason": "", "message": "",
                "lastTransitionTime": then() });
            let database = live.values_mut().find(|child| child.kind == Kind::Cluster).expect("it is there");
            database.workload.as_mut().expect("it runs").backups =
                Backups::of(&json!({ "status": { "conditions": [last] } }));
            (what, with(&own, reported(&own, &Inputs::offline(then()), &live, None)), because)
        },
    )
}

fn situations() -> Vec<Situation> {
    let platform = platform();
    let offline = Inputs::offline(then());
    let whole = observed(&rendered(&platform).1);
    let ready = reported(&platform, &offline, &whole, None);
    let mut all = Vec::new();
    let mut add = |what, object, argocd, because, flux| {
        all.push(Situation { what, object, argocd, because, flux });
    };

    // kstatus takes a resource without a status for done; the operator writes one within a second.
    add("nobody looked yet", json!(platform), "Progressing", "waiting for the operator", "Current");
    let nothing = reported(&platform, &offline, &Observed::new(), None);
    add("nothing is there", with(&platform, nothing), "Progressing", "is being made", "InProgress");

    let mut coming = whole.clone();
    change(&mut coming, "backend", |pods| pods.ready = 1);
    let status = reported(&platform, &offline, &coming, None);
    add("pods come", with(&platform, status), "Progressing", "1 of 2 pods ready", "InProgress");
    add("all is there", with(&platform, ready.clone()), "Healthy", "at version 2.0.0", "Current");

    let mut rolling = whole.clone();
    change(&mut rolling, "backend", |pods| pods.rolled_out = false);
    let status = reported(&platform, &offline, &rolling, Some(&ready));
    add("a rollout serves", with(&platform, status), "Progressing", "pods are being replaced", "InProgress");

    let mut failed = whole.clone();
    change(&mut failed, "backend", |pods| pods.failure = Some("quota exceeded".to_owned()));
    let status = reported(&platform, &offline, &failed, Some(&ready));
    add("a component failed", with(&platform, status), "Degraded", "quota exceeded", "Failed");

    let mut missing = Inputs::offline(then());
    let secret = Reference {
        kind: ReferenceKind::Secret,
        namespace: platform.metadata.namespace.clone().expect("it has one"),
        name: "tradewizard-database".to_owned(),
    };
    missing.references = Some([(secret, ReferenceState::Absent)].into());
    let status = reported(&platform, &missing, &whole, Some(&ready));
    add("a Secret is missing", with(&platform, status), "Degraded", "tradewizard-database", "Failed");

    let bare = Inputs { capabilities: Capabilities::of(&[]), ..Inputs::offline(then()) };
    let status = reported(&platform, &bare, &whole, None);
    add("an add-on is missing", with(&platform, status), "Healthy", "Prometheus", "Current");

    let mut risky = platform.clone();
    risky.spec.redis.as_mut().expect("it has one").maxmemory_policy = Some(MaxmemoryPolicy::AllkeysLru);
    let status = reported(&risky, &offline, &observed(&rendered(&risky).1), None);
    add("a warning", with(&risky, status), "Healthy", "evict", "Current");

    let mut blind = whole.clone();
    let scaler = blind.values_mut().find_map(|child| child.autoscaler.as_mut()).expect("there is one");
    scaler.failure = Some("FailedGetResourceMetric".to_owned());
    let status = reported(&platform, &offline, &blind, Some(&ready));
    add("metrics are missing", with(&platform, status), "Healthy", "metrics come back", "Current");

    let namespace = platform.metadata.namespace.clone().expect("it has one");
    let certificate =
        Reference { kind: ReferenceKind::Secret, namespace, name: "tradewizard-tls".to_owned() };
    let without = Inputs {
        references: Some([(certificate, ReferenceState::Absent)].into()),
        ..Inputs::offline(then())
    };
    let status = reported(&platform, &without, &whole, Some(&ready));
    add("a certificate is missing", with(&platform, status), "Healthy", "describe certificate", "Current");

    for (what, expands, because) in [
        ("volumes can grow", true, "at version"),
        ("volumes can't grow", false, "let the administrator set it"),
    ] {
        let class = StorageClass { expands, is_default: true };
        let classes = StorageClasses::from([("fast-ssd".to_owned(), class)]);
        let inputs = Inputs { storage_classes: Some(Arc::new(classes)), ..Inputs::offline(then()) };
        let status = reported(&platform, &inputs, &whole, Some(&ready));
        add(what, with(&platform, status), "Healthy", because, "Current");
    }

    for (what, percent, because) in
        [("volumes have room", 0, "at version"), ("a volume is nearly full", 90, "raise redis.storage.size")]
    {
        let volume = Some(Fullness { name: "data".to_owned(), percent });
        let member = Some(Member { role: Role::Primary, volume, ..Member::default() });
        let servers = [("tradewizard-redis-0".to_owned(), member)].into();
        let answers = Members([("redis".to_owned(), Answers { servers, current: true })].into());
        let inputs = Inputs { members: Arc::new(answers), ..Inputs::offline(then()) };
        let status = reported(&platform, &inputs, &whole, Some(&ready));
        add(what, with(&platform, status), "Healthy", because, "Current");
    }

    for (what, object, because) in changed_database(&platform).into_iter().chain(backed_up(&platform)) {
        add(what, object, "Healthy", because, "Current");
    }

    let mut removed = platform.clone();
    removed.spec.redis = None;
    for component in [&mut removed.spec.backend, &mut removed.spec.scraper].into_iter().flatten() {
        component.connects_to = Some(vec!["postgres".to_owned()]);
    }
    let status = reported(&removed, &offline, &whole, Some(&ready));
    add("a store was taken out", with(&removed, status), "Degraded", "acknowledgeStoreRemoval", "Failed");

    let mut edited = platform.clone();
    edited.metadata.generation = Some(4);
    add("an edit was not seen", with(&edited, ready.clone()), "Progressing", "newest edit", "InProgress");

    // As the operator words them apart from a reconcile.
    let told = |reason: &str, stalled: bool, reconciling: bool, message: &str| {
        let verdict = |is: bool| Verdict::new(is, reason, message.to_owned());
        let each = [("Ready", false), ("Reconciling", reconciling), ("Stalled", stalled)];
        let conditions = each.map(|(type_, is)| timed(type_, verdict(is), 3, &ready.conditions, then()));
        TradingPlatformStatus { conditions: conditions.to_vec(), ..ready.clone() }
    };
    let invalid = told("InvalidResource", true, false, "nothing is changed until this is mended");
    add("a rule is broken", with(&platform, invalid), "Degraded", "until this is mended", "Failed");
    let mut going = with(&platform, told("Deleting", false, true, "deletion waits for StatefulSets"));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    // ArgoCD itself answers for what is being deleted.
    add("it is deleted", going, "Progressing", "Pending deletion", "Terminating");
    all
}

#[test]
fn argocd_and_flux_understand_every_status() -> Result<()> {
    let situations = situations();
    let pairs: Vec<(Value, Value)> = situations.iter().map(|s| (Value::Null, s.object.clone())).collect();
    for (situation, verdict) in situations.iter().zip(argocd(&pairs)?) {
        let Situation { what, argocd, because, .. } = situation;
        ensure!(verdict.health == *argocd, "{what}: {verdict:?}, not {argocd}");
        ensure!(verdict.message.contains(because), "{what}: {verdict:?} says nothing of {because:?}");
    }
    let objects: Vec<Value> = situations.iter().map(|s| s.object.clone()).collect();
    for (situation, (found, message)) in situations.iter().zip(flux(&objects)?) {
        ensure!(found == situation.flux, "{}: {found} ({message}), not {}", situation.what, situation.flux);
    }
    Ok(())
}

/// The situations have every condition that there is, with both answers.
#[test]
fn no_condition_is_left_out() -> Result<()> {
    let mut seen = BTreeSet::new();
    for situation in situations() {
        for condition in situation.object["status"]["conditions"].as_array().into_iter().flatten() {
            seen.insert((condition["type"].to_string(), condition["status"].to_string()));
        }
    }
    let types: BTreeSet<&String> = seen.iter().map(|(type_, _)| type_).collect();
    let all: BTreeSet<String> = TYPES.iter().map(|type_| format!("\"{type_}\"")).collect();
    ensure!(types.iter().copied().eq(&all), "{types:?}, not {all:?}");
    let one_sided: Vec<_> = types
        .iter()
        .filter(|type_| {
            ["\"True\"", "\"False\""].iter().any(|s| !seen.contains(&((**type_).clone(), (*s).to_owned())))
        })
        .collect();
    ensure!(one_sided.is_empty(), "{one_sided:?} of {types:?}");
    Ok(())
}

/// Whatever conditions there are: there is an answer, trouble is never healthy, and rest is never in progress.
#[test]
fn every_combination_of_conditions_has_an_answer() -> Result<()> {
    let mut objects = Vec::new();
    // Each is true, false or absent; the last two only add words.
    for number in 0..3_usize.pow(7) {
        let digit = |place: usize| number / 3_usize.pow(u32::try_from(place).unwrap_or_default()) % 3;
        let conditions: Vec<Value> = (0..7)
            .filter(|place| digit(*place) < 2)
            .map(|place| {
                let status = ["True", "False"][digit(place)];
                json!({ "type": TYPES[place], "status": status, "reason": "R", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z" })
            })
            .collect();
        objects.push(json!({
            "apiVersion": "platform.trading/v1alpha1", "kind": "TradingPlatform",
            "metadata": { "name": "a", "generation": 1 },
            "status": { "observedGeneration": 1, "conditions": conditions },
        }));
    }
    let pairs: Vec<(Value, Value)> = objects.iter().map(|object| (Value::Null, object.clone())).collect();
    for (object, verdict) in objects.iter().zip(argocd(&pairs)?) {
        let conditions = object["status"]["conditions"].as_array().context("a list")?;
        let is = |type_: &str, status: &str| {
            conditions.iter().any(|condition| condition["type"] == type_ && condition["status"] == status)
        };
        let expected = if is("Stalled", "True") {
            "Degraded"
        } else if is("Ready", "True") && !is("Reconciling", "True") {
            "Healthy"
        } else {
            "Progressing"
        };
        ensure!(verdict.health == expected, "{conditions:?}: {verdict:?}, not {expected}");
    }
    Ok(())
}

/// The judge finds drift where there is some; otherwise the tests that find none would prove nothing.
#[test]
fn drift_is_seen() -> Result<()> {
    let desired = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "namespace": "b" },
        "spec": { "selector": { "matchLabels": { "a": "b" } },
            "template": { "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "a", "image": "a:1" }] } } } });
    let mut live = desired.clone();
    live["spec"]["replicas"] = json!(1);
    live["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    let mut edited = live.clone();
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    let verdicts = argocd(&[(desired.clone(), live), (desired, edited)])?;
    ensure!(verdicts[0].drift.is_empty(), "what the apiserver fills in is no drift: {verdicts:?}");
    ensure!(verdicts[1].drift.iter().any(|line| line.contains("a:2")), "{verdicts:?}");
    Ok(())
}

/// Every environment of every example, from the root of the repository.
fn overlays() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for example in std::fs::read_dir(repository("examples"))? {
        let example = example?;
        for overlay in std::fs::read_dir(example.path().join("overlays"))? {
            let (example, overlay) = (example.file_name(), overlay?.file_name());
            found.insert(format!(
                "examples/{}/overlays/{}",
                example.to_string_lossy(),
                overlay.to_string_lossy()
            ));
        }
    }
    Ok(found)
}

/// The Applications name folders that are there, and deliver as docs/gitops.md says.
#[test]
fn applications_deliver_what_is_there() -> Result<()> {
    let mut files =
        vec![repository("gitops/argocd/operator.yaml"), repository("gitops/argocd/environments.yaml")];
    for example in std::fs::read_dir(repository("examples"))? {
        let file = example?.path().join("argocd-application.yaml");
        ensure!(file.is_file(), "{} is missing", file.display());
        files.push(file);
    }
    for file in &files {
        let name = file.display();
        let text = std::fs::read_to_string(file)?;
        let document = documents(&text)?.remove(0);
        let spec = document.pointer("/spec/template/spec").unwrap_or(&document["spec"]);
        let policy = &spec["syncPolicy"];
        let options = policy["syncOptions"].as_array().context("no options")?;
        ensure!(options.contains(&json!("ServerSideApply=true")), "{name}: {options:?}");
        ensure!(options.iter().all(|o| o != "Replace=true" && o != "Force=true"), "{name}: {options:?}");
        ensure!(policy["automated"]["prune"] == false, "{name}: a platform could be pruned");
        let path = spec["source"]["path"].as_str().context("no path")?;
        let elements = document.pointer("/spec/generators/0/list/elements").and_then(Value::as_array);
        let delivered: Vec<(String, String)> = if let Some(all) = elements {
            let of = |element: &Value, key: &str| element[key].as_str().unwrap_or_default().to_owned();
            all.iter()
                .map(|element| {
                    let path = path.replace("{{ .platform }}", &of(element, "platform"));
                    let path = path.replace("{{ .environment }}", &of(element, "environment"));
                    (path, of(element, "namespace"))
                })
                .collect()
        } else {
            let namespace = spec["destination"]["namespace"].as_str().unwrap_or_default();
            vec![(path.to_owned(), namespace.to_owned())]
        };
        ensure!(!delivered.is_empty(), "{name} delivers nothing");
        if elements.is_some() {
            let delivered: BTreeSet<&str> = delivered.iter().map(|(path, _)| path.as_str()).collect();
            let all = overlays()?;
            ensure!(delivered.iter().copied().eq(&all), "{name} delivers {delivered:?}, not {all:?}");
        }
        for (path, namespace) in delivered {
            let folder = repository(&path);
            ensure!(folder.is_dir(), "{name}: there is no {path}");
            let kustomization = folder.join("kustomization.yaml");
            if kustomization.is_file() {
                let its = documents(&std::fs::read_to_string(kustomization)?)?.remove(0);
                let own = its["namespace"].as_str().unwrap_or(&namespace);
                ensure!(own == namespace, "{name}: {path} is for namespace {own}, not {namespace}");
            } else {
                ensure!(
                    folder.join("Chart.yaml").is_file(),
                    "{name}: {path} is neither kustomize nor a chart"
                );
            }
        }
    }
    Ok(())
}
