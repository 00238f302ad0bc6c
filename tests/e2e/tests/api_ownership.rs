//! Drift is found from managed fields: for every object of two platforms that together use every field of
//! the kind, what the apiserver records covers what was applied, until somebody else changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};
use trading_api::TradingPlatform;
use trading_api::schema::open_api_schema;
use trading_core::fields::{cover, tracked};
use trading_core::inputs::Inputs;
use trading_core::kinds::{Kind, KindInfo, built_in};
use trading_core::object::Object;
use trading_core::{render, resolve};
use trading_e2e::api::{install_kind, mutate, namespace, platforms, schema};
use trading_testbed::{ControlPlane, Options};

const MANAGER: &str = "trading-operator";
const SOMEBODY: &str = "somebody";

const CONCURRENCY: usize = 8;

static CLUSTER: LazyLock<ControlPlane> = LazyLock::new(|| start().expect("a control plane with the kind"));

fn start() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(Options::api())?;
    install_kind(&cluster)?;
    Ok(cluster)
}

/// All platforms in a namespace, and the objects that they become.
async fn stage(client: &Client, space: &str) -> Result<Vec<Object>> {
    namespace(client, space).await?;
    let api = Api::<TradingPlatform>::namespaced(client.clone(), space);
    let mut objects = Vec::new();
    for platform in platforms::all()? {
        // As JSON, so that the apiserver sees what a user writes.
        let name = platform["metadata"]["name"].as_str().context("no name")?;
        let params = PatchParams::apply(SOMEBODY);
        let platform = api.patch(name, &params, &Patch::Apply(&platform)).await?;
        let plan = resolve::resolve(&platform, &Inputs::offline(jiff::Timestamp::now()));
        // Kinds of add-ons are not there.
        objects
            .extend(render::render(&plan).into_iter().filter(|object| object.kind.info().add_on.is_none()));
    }
    Ok(objects)
}

fn resource(info: &KindInfo) -> ApiResource {
    ApiResource {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        api_version: info.kind.api_version(),
        kind: info.kind.to_string(),
        plural: info.plural.to_owned(),
    }
}

fn api(client: &Client, space: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), space, &resource(kind.info()))
}

async fn apply(client: &Client, space: &str, object: &Object) -> Result<DynamicObject> {
    api(client, space, object.kind)
        .patch(&object.name, &PatchParams::apply(MANAGER), &Patch::Apply(&*object.body))
        .await
        .with_context(|| format!("{} {} is refused", object.kind, object.name))
}

/// What the apiserver recorded for the operator, as the operator reads it.
fn recorded(live: &DynamicObject) -> Value {
    live.metadata
        .managed_fields
        .iter()
        .flatten()
        .find(|entry| {
            entry.manager.as_deref() == Some(MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        })
        .and_then(|entry| Some(entry.fields_v1.as_ref()?.0.clone()))
        .unwrap_or_default()
}

fn is_covered(live: &DynamicObject, object: &Object) -> bool {
    cover(&recorded(live), &tracked(&object.body))
}

#[test]
fn the_platforms_use_every_field_of_the_kind() -> Result<()> {
    let schema = open_api_schema();
    let spec = &schema["properties"]["spec"];
    let wanted: BTreeSet<String> = schema::fields(spec).iter().map(|path| as_component(path)).collect();
    let used: BTreeSet<String> = platforms::all()?
        .iter()
        .flat_map(|platform| schema::fields_of(&platform["spec"], spec))
        .map(|path| as_component(&path))
        .collect();
    // They become objects of add-ons.
    let add_ons = [
        ".ingress.parentRefs",
        ".component.egress[].fqdn",
        ".containerRuntime.egress[].fqdn",
        ".monitoring",
        ".secrets",
        ".mesh",
        ".component.verticalScaling",
        ".component.autoscaling.triggers",
        ".autoscaling.prometheusAddress",
        ".autoscaling.provider",
    ];
    // Everything here lives in one namespace; `sim_tiers` has several.
    let tiers = ".placement.namespaces";
    let missing: Vec<_> = wanted
        .difference(&used)
        .map(String::as_str)
        .filter(|path| !path.starts_with(tiers) && !add_ons.iter().any(|field| path.starts_with(field)))
        .collect();
    ensure!(missing.is_empty(), "add to tests/e2e/src/api/platforms: {}", missing.join(", "));
    Ok(())
}

/// All components have the same fields.
fn as_component(path: &str) -> String {
    for role in [".frontend", ".backend", ".scraper", ".worker", ".services[]"] {
        if let Some(rest) = path.strip_prefix(role).filter(|rest| !rest.starts_with("[]")) {
            return format!(".component{rest}");
        }
    }
    path.to_owned()
}

#[tokio::test]
async fn all_that_is_applied_is_recorded_and_applying_it_again_writes_nothing() -> Result<()> {
    let client = CLUSTER.client().await?;
    let objects = stage(&client, "again").await?;
    let mut versions = BTreeMap::new();
    let mut wrong = Vec::new();
    for object in &objects {
        match apply(&client, "again", object).await {
            Err(error) => wrong.push(format!("{error:#}")),
            Ok(live) => {
                if !is_covered(&live, object) {
                    wrong.push(format!("{} {} looks drifted at once", object.kind, object.name));
                }
                versions.insert((object.kind, object.name.clone()), live.metadata.resource_version);
            }
        }
    }
    for object in &objects {
        let Some(version) = versions.get(&(object.kind, object.name.clone())) else { continue };
        let live = apply(&client, "again", object).await?;
        // The apiserver stores a claim anew the second time, though nothing of it changes.
        if live.metadata.resource_version != *version && object.kind != Kind::PersistentVolumeClaim {
            wrong.push(format!("{} {} is written again", object.kind, object.name));
        }
        if !is_covered(&live, object) {
            wrong.push(format!("{} {} looks drifted afterwards", object.kind, object.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let kinds: BTreeSet<Kind> = objects.iter().map(|object| object.kind).collect();
    ensure!(kinds.len() == built_in().count(), "not every kind is there: {kinds:?}");
    eprintln!("{} objects of {} kinds", objects.len(), kinds.len());
    Ok(())
}

/// The oracle: the record covers what was applied exactly as long as every applied value is what it was.
/// Somebody else changes or removes each value in turn, as a dry run, so that nothing has to be repaired.
#[tokio::test]
async fn whatever_somebody_else_changes_or_removes_is_noticed_and_nothing_else() -> Result<()> {
    let client = CLUSTER.client().await?;
    let objects = stage(&client, "changes").await?;
    let mut attempts = Vec::new();
    for object in &objects {
        let live = apply(&client, "changes", object).await?;
        let whole = serde_json::to_value(&live)?;
        for pointer in applied_values(object) {
            for changed in changes(&whole, &pointer) {
                attempts.push((object, live.clone(), pointer.clone(), changed));
            }
        }
    }
    let count = attempts.len();
    let outcomes: Vec<(Kind, Outcome)> = stream::iter(attempts)
        .map(|(object, live, pointer, changed)| {
            let api = api(&client, "changes", object.kind);
            async move {
                let outcome = attempt(&api, object, &live, &changed)
                    .await
                    .with_context(|| format!("{} {} {pointer}", object.kind, object.name))?;
                anyhow::Ok((object.kind, outcome.at(object, &pointer)))
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;

    let mut noticed: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut refused = 0;
    for (kind, outcome) in outcomes {
        match outcome {
            Outcome::Noticed => *noticed.entry(kind).or_default() += 1,
            Outcome::Unchanged => {}
            Outcome::Refused => refused += 1,
            Outcome::Wrong(what) => wrong.push(what),
        }
    }
    eprintln!("{count} changes, {refused} refused as immutable or wrong; noticed by kind: {noticed:?}");
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for info in built_in() {
        ensure!(noticed.contains_key(&info.kind), "no change of a {} was tried", info.kind);
    }
    Ok(())
}

#[derive(Debug)]
enum Outcome {
    /// A value is another, and the record says so.
    Noticed,
    /// The apiserver filled in what was there before, and the record is as it was.
    Unchanged,
    /// The apiserver does not let anybody do that.
    Refused,
    /// Drift is missed, or seen where there is none.
    Wrong(String),
}

impl Outcome {
    fn at(self, object: &Object, pointer: &str) -> Self {
        match self {
            Self::Wrong(what) => Self::Wrong(format!("{} {} {pointer}: {what}", object.kind, object.name)),
            other => other,
        }
    }
}

async fn attempt(
    api: &Api<DynamicObject>,
    object: &Object,
    before: &DynamicObject,
    changed: &Value,
) -> Result<Outcome> {
    let Ok(changed) = serde_json::from_value::<DynamicObject>(changed.clone()) else {
        return Ok(Outcome::Refused);
    };
    let params = PostParams { dry_run: true, field_manager: Some(SOMEBODY.to_owned()) };
    let after = match api.replace(&object.name, &params, &changed).await {
        Ok(after) => after,
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            return Ok(Outcome::Refused);
        }
        Err(error) => bail!(error),
    };
    let (before, after_json) = (serde_json::to_value(before)?, serde_json::to_value(&after)?);
    let is_same = applied_values(object)
        .iter()
        .filter(|pointer| before.pointer(pointer).is_some_and(is_leaf))
        .all(|pointer| before.pointer(pointer) == after_json.pointer(pointer));
    Ok(match (is_same, is_covered(&after, object)) {
        (true, true) => Outcome::Unchanged,
        (false, false) => Outcome::Noticed,
        (false, true) => Outcome::Wrong("the change is missed".to_owned()),
        // The apiserver puts an address that is left out back only after it has made the record. The repair
        // costs one write.
        (true, false) if object.kind == Kind::Service && !is_there(&changed, "/spec/clusterIP") => {
            Outcome::Unchanged
        }
        (true, false) => Outcome::Wrong("drift is seen though every value is the same".to_owned()),
    })
}

fn is_there(object: &DynamicObject, pointer: &str) -> bool {
    object.data.pointer(pointer).is_some()
}

fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

/// Pointers to what was applied, the identity of the object apart.
fn applied_values(object: &Object) -> Vec<String> {
    let body = tracked(&object.body);
    let mut found = mutate::pointers(&body, "");
    found.retain(|pointer| !pointer.is_empty() && pointer.matches('/').count() > 1);
    found
}

/// The live object with the value at a pointer changed, and without it.
fn changes(whole: &Value, pointer: &str) -> Vec<Value> {
    let Some(value) = whole.pointer(pointer) else { return Vec::new() };
    let other = match value {
        Value::String(text) => Some(match text.parse::<i64>() {
            Ok(number) => json!((number + 1).to_string()),
            Err(_) => match text.as_str() {
                "TCP" => json!("UDP"),
                "Always" => json!("IfNotPresent"),
                "" => json!("x"),
                text if text.ends_with(|c: char| c.is_ascii_lowercase()) => json!(format!("{text}x")),
                // A quantity: 1Gi, 500m.
                text => json!(format!("1{text}")),
            },
        }),
        Value::Number(number) => number.as_i64().map(|number| json!(number + 1)),
        Value::Bool(bool) => Some(json!(!bool)),
        _ => None,
    };
    let changed = other.and_then(|other| {
        let mut copy = whole.clone();
        *copy.pointer_mut(pointer)? = other;
        Some(copy)
    });
    changed.into_iter().chain(mutate::without(whole, pointer)).collect()
}

/// What others add is theirs: a sidecar, an annotation of `kubectl rollout restart`, a label for a bill.
#[tokio::test]
async fn what_somebody_else_adds_is_left_alone() -> Result<()> {
    let client = CLUSTER.client().await?;
    let objects = stage(&client, "additions").await?;
    let mut checked = BTreeSet::new();
    for object in &objects {
        let live = apply(&client, "additions", object).await?;
        let mut more = serde_json::to_value(&live)?;
        more["metadata"]["labels"]["example.com/bill"] = json!("somebody");
        more["metadata"]["annotations"]["example.com/note"] = json!("hello");
        more["metadata"]["finalizers"] = json!(["example.com/wait"]);
        if matches!(object.kind, Kind::Deployment | Kind::StatefulSet) {
            let template = &mut more["spec"]["template"];
            template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
                json!("2026-01-01T00:00:00Z");
            push(&mut template["spec"]["containers"], json!({ "name": "sidecar", "image": "mesh:1" }));
            push(&mut template["spec"]["containers"][0]["env"], json!({ "name": "INJECTED", "value": "1" }));
            push(&mut template["spec"]["volumes"], json!({ "name": "mesh", "emptyDir": {} }));
        }
        if matches!(object.kind, Kind::Secret | Kind::ConfigMap) {
            more["data"]["more"] = json!("bW9yZQ==");
        }
        if object.kind == Kind::Service && more["spec"]["type"] == "ClusterIP" {
            push(&mut more["spec"]["ports"], json!({ "name": "mesh", "port": 15000 }));
        }
        let params = PostParams { dry_run: true, field_manager: Some(SOMEBODY.to_owned()) };
        let after = api(&client, "additions", object.kind)
            .replace(&object.name, &params, &serde_json::from_value(more)?)
            .await
            .with_context(|| format!("{} {}", object.kind, object.name))?;
        ensure!(is_covered(&after, object), "{} {}: an addition looks like drift", object.kind, object.name);
        checked.insert(object.kind);
    }
    ensure!(checked.len() == built_in().count(), "{checked:?}");
    Ok(())
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// Other ways to change an object than an update: each leaves a record of its own kind.
#[tokio::test]
async fn other_ways_of_changing_an_object_are_noticed_too() -> Result<()> {
    let space = "ways";
    let client = CLUSTER.client().await?;
    let objects = stage(&client, space).await?;
    for object in &objects {
        apply(&client, space, object).await?;
    }
    let kubectl = CLUSTER.kubectl()?;
    let run = |args: &[&str]| kubectl.run(&[&["-n", space], args].concat());

    // Through a subresource, by an apply that forces, by older versions, by kubectl's own verbs.
    run(&["scale", "deployment/rich-backend", "--replicas=7"])?;
    run(&["set", "image", "deployment/rich-worker", "worker=evil:1"])?;
    run(&["set", "resources", "deployment/rich-reports", "--limits=cpu=64"])?;
    run(&["label", "--overwrite", "service/rich-frontend", "app.kubernetes.io/part-of=mine"])?;
    run(&["annotate", "configmap/rich-redis", "platform.trading/applied-"])?;
    kubectl.run_with_input(
        &["-n", space, "apply", "--server-side", "--force-conflicts", "-f", "-"],
        r#"{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"rich-redis"},"spec":{"maxUnavailable":5}}"#,
    )?;
    let older = ApiResource {
        version: "v1".to_owned(),
        api_version: "autoscaling/v1".to_owned(),
        ..resource(Kind::HorizontalPodAutoscaler.info())
    };
    Api::<DynamicObject>::namespaced_with(client.clone(), space, &older)
        .patch(
            "rich-frontend",
            &PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() },
            &Patch::Merge(json!({ "spec": { "maxReplicas": 50 } })),
        )
        .await?;

    let drifted: BTreeSet<(Kind, &str)> = [
        (Kind::Deployment, "rich-backend"),
        (Kind::Deployment, "rich-worker"),
        (Kind::Deployment, "rich-reports"),
        (Kind::Service, "rich-frontend"),
        (Kind::ConfigMap, "rich-redis"),
        (Kind::PodDisruptionBudget, "rich-redis"),
        (Kind::HorizontalPodAutoscaler, "rich-frontend"),
    ]
    .into();
    for object in &objects {
        let live = api(&client, space, object.kind).get(&object.name).await?;
        let expected = !drifted.contains(&(object.kind, object.name.as_str()));
        ensure!(
            is_covered(&live, object) == expected,
            "{} {}: covered: {}",
            object.kind,
            object.name,
            !expected
        );
    }
    // Taken back by force, as the operator does with what it knows to be its own.
    for object in objects.iter().filter(|object| drifted.contains(&(object.kind, object.name.as_str()))) {
        let live = api(&client, space, object.kind)
            .patch(&object.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&*object.body))
            .await?;
        ensure!(is_covered(&live, object), "{} {} is not repaired", object.kind, object.name);
    }
    Ok(())
}

/// Status belongs to the controllers and the autoscaler's replicas to the autoscaler.
#[tokio::test]
async fn controllers_at_work_are_no_drift() -> Result<()> {
    let space = "controllers";
    let client = CLUSTER.client().await?;
    let objects = stage(&client, space).await?;
    let somebody =
        PatchParams { field_manager: Some("kube-controller-manager".to_owned()), ..PatchParams::default() };
    for object in objects.iter().filter(|object| matches!(object.kind, Kind::Deployment | Kind::StatefulSet))
    {
        apply(&client, space, object).await?;
        let api = api(&client, space, object.kind);
        let status = json!({ "status": { "observedGeneration": 1, "replicas": 2 } });
        let live = api.patch_status(&object.name, &somebody, &Patch::Merge(status)).await?;
        ensure!(is_covered(&live, object), "{} {}: status is drift", object.kind, object.name);
        if object.seed_replicas.is_some() {
            let scale = json!({ "spec": { "replicas": 7 } });
            api.patch_scale(&object.name, &somebody, &Patch::Merge(scale)).await?;
            let live = apply(&client, space, object).await?;
            ensure!(live.data.pointer("/spec/replicas") == Some(&json!(7)), "{} lost its scale", object.name);
            ensure!(is_covered(&live, object), "{} {}: scaling is drift", object.kind, object.name);
        }
    }
    Ok(())
}
