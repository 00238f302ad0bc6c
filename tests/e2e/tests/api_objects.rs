//! Nothing is admitted that cannot be made: whatever platform the apiserver accepts, it accepts the objects
//! that the platform becomes. With the real definitions of the add-ons, and with strict validation.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use trading_api::TradingPlatform;
use trading_core::inputs::Inputs;
use trading_core::kinds::Kind;
use trading_core::object::Object;
use trading_core::{admission, render, resolve};
use trading_e2e::add_ons;
use trading_e2e::api::mutate::{Mutant, REMOVED, mutants, one_of_each};
use trading_e2e::api::request::Objects;
use trading_e2e::api::{cases, install_kind, namespace, platforms, repository};
use trading_e2e::sim::{Children, differences, resource};
use trading_testbed::{ControlPlane, Options, documents};

const SPACE: &str = "objects";
/// Where objects are kept.
const HELD: &str = "held";
/// Where none are, so that what is applied is new.
const FRESH: &str = "fresh";
const CONCURRENCY: usize = 8;

static CLUSTER: LazyLock<ControlPlane> = LazyLock::new(|| start().expect("a control plane with the kind"));

/// An object that was tried already: kind, name, digest.
type Identity = (Kind, String, String);

fn start() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(Options::api())?;
    install_kind(&cluster)?;
    add_ons::install_all(&cluster.kubectl()?)?;
    Ok(cluster)
}

async fn client() -> Result<Client> {
    let client = CLUSTER.client().await?;
    namespace(&client, SPACE).await?;
    Ok(client)
}

fn every_platform() -> Result<Vec<Value>> {
    Ok(platforms::all()?.into_iter().chain([platforms::with_add_ons()?]).collect())
}

/// The platforms of the examples, and all that must be admitted.
fn sound() -> Result<Vec<(String, Value)>> {
    let mut all: Vec<(String, Value)> =
        cases::good()?.into_iter().map(|case| (case.name, case.resource)).collect();
    for platform in every_platform()? {
        all.push((platform["metadata"]["name"].to_string(), platform));
    }
    for example in std::fs::read_dir(repository("tests/golden"))? {
        for environment in std::fs::read_dir(example?.path())? {
            let path = environment?.path().join("input.yaml");
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let platform =
                documents(&text)?.into_iter().find(|document| document["kind"] == "TradingPlatform");
            all.push((path.display().to_string(), platform.context("no platform")?));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn every_object_of_every_sound_platform_is_accepted() -> Result<()> {
    let client = client().await?;
    let (mut wrong, mut seen, mut tried) = (Vec::new(), BTreeSet::new(), 0);
    for (name, platform) in sound()? {
        for object in objects(&platform)?.with_context(|| format!("{name} cannot be read"))? {
            // There are no definitions of Cilium here.
            if object.kind == Kind::CiliumNetworkPolicy {
                continue;
            }
            seen.insert(object.kind);
            tried += 1;
            if let Some(refusal) = refusal(&client, &object).await? {
                wrong.push(format!("{name}: {} {}: {refusal}", object.kind, object.name));
            }
        }
    }
    eprintln!("{tried} objects of {} kinds", seen.len());
    ensure!(wrong.is_empty(), "{} are refused:\n{}", wrong.len(), wrong.join("\n"));
    for definition in &add_ons::DEFINITIONS {
        ensure!(seen.contains(&definition.kind), "no platform has a {}", definition.kind);
    }
    Ok(())
}

/// An object that the definitions don't know would be refused: the check above can fail.
#[tokio::test]
async fn a_field_that_an_add_on_does_not_have_is_refused() -> Result<()> {
    let client = client().await?;
    let (_, platform) =
        sound()?.into_iter().find(|(name, _)| name.contains("monitoring")).context("no monitoring")?;
    let all = objects(&platform)?.context("not a platform")?;
    let mut monitor =
        all.into_iter().find(|object| object.kind == Kind::ServiceMonitor).context("no monitor")?;
    monitor.body_mut()["spec"]["endpoints"][0]["pfad"] = json!("/metrics");
    let refusal = refusal(&client, &monitor).await?.context("accepted")?;
    ensure!(refusal.contains("pfad"), "{refusal}");
    Ok(())
}

/// Every field of the platforms that have every field is damaged in every way that its type suggests. Most
/// copies are refused; the others must work.
#[tokio::test]
async fn whatever_is_admitted_can_be_made() -> Result<()> {
    let client = client().await?;
    let (mut known, mut damaged, mut odd) = (BTreeSet::new(), Vec::new(), Vec::new());
    for platform in every_platform()? {
        known.extend(objects(&platform)?.context("not a platform")?.iter().map(identity));
        damaged.extend(mutants(&platform, "/spec"));
        odd.extend(self::odd(&platform));
    }
    let all: Vec<Mutant> = one_of_each(damaged).into_iter().chain(odd).collect();
    eprintln!("{} damaged platforms", all.len());
    let found: Vec<Option<(String, String)>> = stream::iter(all)
        .map(|mutant| judge(&client, mutant, &known))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let wrong: BTreeMap<String, String> = found.into_iter().flatten().collect();
    let list: Vec<_> = wrong.into_values().collect();
    ensure!(list.is_empty(), "{} can be written but not made:\n{}", list.len(), list.join("\n"));
    Ok(())
}

/// The oracle: what was made of a platform, after a field was taken out of it, is what is made of a platform
/// that never had it.
#[tokio::test]
async fn a_field_that_is_removed_leaves_nothing() -> Result<()> {
    let client = client().await?;
    namespace(&client, HELD).await?;
    namespace(&client, FRESH).await?;
    let (mut removals, mut wrong) = (0, Vec::new());
    for platform in every_platform()? {
        let before: BTreeMap<_, _> = objects(&platform)?
            .context("not a platform")?
            .into_iter()
            .filter(|object| object.kind != Kind::CiliumNetworkPolicy && object.namespace == SPACE)
            .map(|object| ((object.kind, object.name.clone()), object))
            .collect();
        for object in before.values() {
            apply(&client, object, HELD, false)
                .await?
                .map_err(|refusal| anyhow::anyhow!("{} {}: {refusal}", object.kind, object.name))?;
        }
        let removed = mutants(&platform, "/spec").into_iter().filter(|mutant| mutant.how == REMOVED);
        for mutant in one_of_each(removed.collect()) {
            if !admission::check(&mutant.value, Some(&platform)).is_empty() {
                continue;
            }
            removals += 1;
            for object in objects(&mutant.value)?.context("not a platform")? {
                let earlier = before.get(&(object.kind, object.name.clone()));
                // A set whose volumes grow is made anew: `sim_storage`.
                let is_same = |earlier: &Object| {
                    let volumes = "/spec/volumeClaimTemplates";
                    earlier.digest == object.digest
                        || earlier.body.pointer(volumes) != object.body.pointer(volumes)
                };
                if earlier.is_none_or(is_same) {
                    continue;
                }
                let words = |what: &str| format!("{} {}: {} {what}", mutant.at, object.kind, object.name);
                let later = apply(&client, &object, HELD, true).await?;
                let fresh = apply(&client, &object, FRESH, true).await?;
                match (later, fresh) {
                    (Ok(later), Ok(fresh)) => {
                        let children = |live| Children::from([((String::new(), String::new()), live)]);
                        let left = differences(&children(later), SPACE, &children(fresh), SPACE);
                        wrong.extend(left.iter().map(|what| words(what)));
                    }
                    (later, fresh) => wrong.push(words(&format!("{:?} {:?}", later.err(), fresh.err()))),
                }
            }
        }
    }
    eprintln!("{removals} removals");
    ensure!(removals > 300, "only {removals} fields were removed");
    ensure!(wrong.is_empty(), "{} leave something:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Applies an object, in this namespace, as the operator does.
async fn apply(
    client: &Client,
    object: &Object,
    namespace: &str,
    dry_run: bool,
) -> Result<std::result::Result<Value, String>> {
    let params = PatchParams { dry_run, ..PatchParams::apply("trading-operator").force() };
    let mut body = (*object.body).clone();
    body["metadata"]["namespace"] = json!(namespace);
    let api =
        Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource(&object.kind.to_string()));
    match api.patch(&object.name, &params, &Patch::Apply(&body)).await {
        Ok(live) => Ok(Ok(serde_json::to_value(live)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// What no rule about a single field can know, where the platform has the field.
fn odd(platform: &Value) -> Vec<Mutant> {
    [
        ("/spec/worker/config/mountPath", json!("/tmp")),
        ("/spec/worker/scratch", json!(["/config"])),
        ("/spec/frontend/scratch", json!(["/etc/app"])),
        ("/spec/frontend/scratch", json!(["/var/cache", "//var/cache"])),
        ("/spec/frontend/terminationGracePeriodSeconds", json!(1)),
        ("/spec/frontend/terminationGracePeriodSeconds", json!(5)),
        ("/spec/frontend/resources/limits/cpu", json!("1e40")),
        ("/spec/frontend/resources/requests/cpu", json!(-1)),
        ("/spec/frontend/resources/requests/memory", json!("1n")),
        ("/spec/frontend/resources/requests/cpu", json!("0.00001")),
        ("/spec/redis/storage/storageClassName", json!("a..b")),
        ("/spec/redis/storage/size", json!("1.5")),
        ("/spec/redis/priorityClassName", json!("a.-b")),
        ("/spec/redis/auth/passwordSecretRef/key", json!("..")),
        ("/spec/redis/auth/passwordSecretRef/name", json!("a..b")),
        ("/spec/ingress/className", json!("a..b")),
        ("/spec/ingress/hosts/0/host", json!(format!("{}.example.com", "a".repeat(64)))),
        ("/spec/ingress/hosts/0/host", json!("192.0.2.1")),
        ("/spec/ingress/tls/secretName", json!("a..b")),
        ("/spec/postgres/external/host", json!("1.2.3")),
        ("/spec/postgres/external/host", json!("2001:DB8::1")),
        ("/spec/postgres/external/host", json!("::ffff:192.0.2.1")),
        ("/spec/postgres/external/host", json!("169.254.0.1")),
        ("/spec/postgres/external/host", json!("127.0.0.2")),
        ("/spec/postgres/external/credentialsSecretRef/usernameKey", json!("..")),
        ("/spec/image/pullSecrets", json!(["a..b"])),
        ("/spec/frontend/egress/0/cidr", json!("203.0.113.1/24")),
        ("/spec/frontend/egress/0/except", json!(["203.0.113.0/24"])),
        ("/spec/postgres/external/cidrs", json!(["192.0.2.10/24"])),
        ("/spec/frontend/env/0/name", json!("A".repeat(128))),
        ("/spec/frontend/env/6/valueFrom/fieldRef/fieldPath", json!("metadata.labels['a b']")),
        ("/spec/frontend/env/3/valueFrom/secretKeyRef/key", json!("..")),
        ("/spec/frontend/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/values", json!(["ssd", "ssd"])),
        ("/spec/frontend/topologySpreadConstraints/0/topologyKey", json!("a..b/c")),
        ("/spec/frontend/antiAffinity/topologyKey", json!("-.a/c")),
        ("/spec/frontend/updateStrategy", json!({ "maxSurge": "0%", "maxUnavailable": "0%" })),
        ("/spec/frontend/updateStrategy", json!({ "maxSurge": 1000, "maxUnavailable": "100%" })),
        ("/spec/frontend/ports/0/name", json!("a--b")),
        ("/spec/frontend/probes/liveness", json!({ "path": "/a%zz", "periodSeconds": 3600 })),
        ("/spec/frontend/autoscaling/behavior/scaleUp", json!({ "policies": [] })),
        ("/spec/frontend/autoscaling/metrics/0/pods/metric/name", json!("a:b|c")),
        ("/spec/worker/autoscaling/triggers/0/source", json!("a\"'\n{{ }}")),
        ("/spec/backend/verticalScaling/minAllowed/cpu", json!("1e40")),
        ("/spec/backend/verticalScaling/minAllowed/cpu", json!("1n")),
        ("/spec/backend/verticalScaling/minAllowed/memory", json!("1m")),
        ("/spec/quota/hard", json!({ "nonsense": 1 })),
        ("/spec/quota/hard", json!({ "requests.nvidia.com/gpu": 1, "services.loadbalancers": 0 })),
        ("/spec/placement/zones", json!([""])),
        ("/spec/frontend/podMetadata/labels", json!({ "a".repeat(64): "x" })),
        ("/spec/frontend/podMetadata/labels", json!({ "platform.trading/config": "x" })),
    ]
    .into_iter()
    .filter_map(|(at, new)| {
        let mut value = platform.clone();
        let how = format!("is {new}");
        *value.pointer_mut(at)? = new;
        Some(Mutant { at: at.to_owned(), how, value })
    })
    .collect()
}

fn identity(object: &Object) -> Identity {
    (object.kind, object.name.clone(), object.digest.clone())
}

/// What cannot be made of a damaged platform, by the field that was damaged.
async fn judge(
    client: &Client,
    mutant: Mutant,
    known: &BTreeSet<Identity>,
) -> Result<Option<(String, String)>> {
    // `api_admission` shows that the apiserver says the same, only more slowly.
    match catch_unwind(|| admission::check(&mutant.value, None)) {
        Ok(violations) if violations.is_empty() => {}
        Ok(_) => return Ok(None),
        Err(_) => {
            let words = format!("{} {}: validation panics", mutant.at, mutant.how);
            return Ok(Some((mutant.at.clone() + "/panics", words)));
        }
    }
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let Ok(stored) = Objects::platforms(client, SPACE).create(&dry_run, &mutant.value).await? else {
        return Ok(None);
    };
    let field = mutant.at.rsplit('/').find(|name| name.parse::<usize>().is_err()).unwrap_or_default();
    let sort = |how: &str| format!("{field}/{how}");
    let Some(objects) = objects(&stored)? else {
        let words = format!("{} {}: admitted, but the operator cannot read it", mutant.at, mutant.how);
        return Ok(Some((sort("unreadable"), words)));
    };
    let new =
        |object: &&Object| object.kind != Kind::CiliumNetworkPolicy && !known.contains(&identity(object));
    for object in objects.iter().filter(new) {
        if let Some(refusal) = refusal(client, object).await? {
            let words = format!("{} {}: {} {}: {refusal}", mutant.at, mutant.how, object.kind, object.name);
            return Ok(Some((sort(&mutant.how), words)));
        }
    }
    Ok(None)
}

/// The objects of a platform, or nothing where it cannot be read.
fn objects(platform: &Value) -> Result<Option<Vec<Object>>> {
    let Ok(mut platform) = serde_json::from_value::<TradingPlatform>(platform.clone()) else {
        return Ok(None);
    };
    platform.metadata.namespace = Some(SPACE.to_owned());
    // An owner that does not exist cannot be referred to, and digests must not depend on it.
    platform.metadata.uid = None;
    let plan = resolve::resolve(&platform, &Inputs::offline("2026-01-01T00:00:00Z".parse()?));
    Ok(Some(render::render(&plan)))
}

async fn refusal(client: &Client, object: &Object) -> Result<Option<String>> {
    let params = PatchParams { dry_run: true, ..PatchParams::apply("trading-operator").validation_strict() };
    if object.namespace != SPACE {
        namespace(client, &object.namespace).await?;
    }
    let api = Api::<DynamicObject>::namespaced_with(
        client.clone(),
        &object.namespace,
        &resource(&object.kind.to_string()),
    );
    match api.patch(&object.name, &params, &Patch::Apply(&*object.body)).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}
