//! Crashes, conflicts and resources that nobody can read: the end is the same as without them. The operator
//! is this file's own, so its tests take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trading_api::labels;
use trading_e2e::sim::{
    Children, LONG, Mark, Propagation, SETTLE, Space, Stack, at, database_secret, describe, differences,
    every_kind, merge, platform, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";
const ROUNDS: u64 = 4;

async fn begin(namespace: &str) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, &every_kind())).await?;
    Ok(space)
}

/// How often each object of the namespace was made by the operator since then, as far as the apiserver
/// told: of a request that breaks off because its client was killed, it logs no success although the object
/// may be there.
fn creations(space: &Space<'_>, mark: &Mark) -> Result<BTreeMap<(String, String), usize>> {
    let mut made = BTreeMap::new();
    for entry in space.requests_since(mark)?.into_iter().filter(|entry| entry.code == 201) {
        // The password's name is not in the URL of a create.
        *made.entry((entry.resource, entry.name)).or_default() += 1;
    }
    Ok(made)
}

/// Objects that were made twice, or that the operator deleted.
fn traces(space: &Space<'_>, mark: &Mark) -> Result<Vec<String>> {
    let twice = creations(space, mark)?.into_iter().filter(|(_, times)| *times > 1);
    let deleted = space.requests_since(mark)?.into_iter().filter(|entry| entry.verb.starts_with("delete"));
    Ok(twice
        .map(|((resource, name), times)| format!("{resource} {name:?} was made {times} times"))
        .chain(deleted.map(|entry| format!("{} {:?} was deleted", entry.resource, entry.name)))
        .collect())
}

/// Changes every object of a platform.
async fn edit(space: &Space<'_>) -> Result<()> {
    let spec = json!({ "version": "2.0.0", "inheritedMetadata": { "labels": ["team"] } });
    let everywhere = json!({ "metadata": { "labels": { "team": "a" } }, "spec": spec });
    space.patch("TradingPlatform", NAME, &everywhere).await.map(drop)
}

/// What is left of a platform that was deleted: what holds its data.
async fn remains(space: &Space<'_>) -> Result<BTreeSet<(String, String)>> {
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    wait_for("what nobody owns any more is gone", SETTLE, async || {
        let left: BTreeSet<_> = space.children(NAME).await?.into_keys().collect();
        ensure!(left.iter().all(|(kind, _)| kind == "Secret" || kind == "PersistentVolumeClaim"), "{left:?}");
        Ok(left)
    })
    .await
}

/// Kills the operator after a while, and starts it again.
async fn crash_within(within: RangeInclusive<u64>, random: u64) -> Result<String> {
    let millis = within.start() + random % (within.end() - within.start());
    tokio::time::sleep(Duration::from_millis(millis)).await;
    STACK.restart_operator()?;
    Ok(format!("killed after {millis} ms"))
}

/// In the middle of creation, of an edit that changes every object, and of deletion.
#[tokio::test]
async fn crashes_leave_no_trace() -> Result<()> {
    let _turn = TURN.lock().await;
    let mark = STACK.mark()?;
    let calm = begin("crash-never").await?;
    calm.ready(NAME).await?;
    let created = calm.children(NAME).await?;
    let made = creations(&calm, &mark)?;
    ensure!(made.len() == created.len() && made.values().all(|times| *times == 1), "{made:?}");
    edit(&calm).await?;
    calm.ready(NAME).await?;
    let edited = calm.children(NAME).await?;
    let changes = differences(&created, &calm.name, &edited, &calm.name).len();
    ensure!(changes >= created.len(), "{changes} changes of {} objects", created.len());
    calm.delete("TradingPlatform", NAME, Propagation::Background).await?;
    let kept = remains(&calm).await?;

    let random = RandomState::new();
    for round in 0..ROUNDS {
        let mark = STACK.mark()?;
        let space = begin(&format!("crash-{round}")).await?;
        let same = async |expected: &Children, when: &str| -> Result<()> {
            space.ready(NAME).await.with_context(|| when.to_owned())?;
            let differences = differences(expected, &calm.name, &space.children(NAME).await?, &space.name);
            ensure!(differences.is_empty(), "{when}: {}", differences.join("\n"));
            let traces = traces(&space, &mark)?;
            ensure!(traces.is_empty(), "{when}: {}", traces.join("\n"));
            Ok(())
        };
        // All writes of a fresh platform happen within about a second, those of an edit in half of it.
        let when = crash_within(250..=1250, random.hash_one((round, "creation"))).await?;
        same(&created, &format!("creation, {when}")).await?;
        edit(&space).await?;
        let when = crash_within(20..=600, random.hash_one((round, "edit"))).await?;
        same(&edited, &format!("edit, {when}")).await?;
        let [propagation, other] = [Propagation::Background, Propagation::Foreground];
        let propagation = if round % 2 == 0 { propagation } else { other };
        space.delete("TradingPlatform", NAME, propagation).await?;
        let when = crash_within(20..=600, random.hash_one((round, "deletion"))).await?;
        let left = remains(&space).await.with_context(|| format!("deletion, {when}"))?;
        ensure!(left == kept, "deletion, {when}: {left:?} is left, not {kept:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_apiserver_that_restarts_is_waited_for() -> Result<()> {
    let _turn = TURN.lock().await;
    let rest = begin("apiserver-rest").await?;
    rest.ready(NAME).await?;
    let before = rest.children(NAME).await?;
    let busy = begin("apiserver-busy").await?;
    STACK.cluster().restart_apiserver()?;
    busy.ready(NAME).await?;
    let children = busy.children(NAME).await?;
    let differences = differences(&before, &rest.name, &children, &busy.name);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));

    // The watches live on.
    rest.delete("Service", "shop-frontend", Propagation::Background).await?;
    wait_for("drift is repaired again", SETTLE, async || rest.get("Service", "shop-frontend").await).await?;
    rest.edit(NAME, &json!({ "version": "2.0.0" })).await?;
    rest.ready(NAME).await?;
    let live = rest.get("Deployment", "shop-frontend").await?;
    let image = text(&live, "/spec/template/spec/containers/0/image");
    ensure!(image == "shop/frontend:2.0.0", "{image}");
    Ok(())
}

#[tokio::test]
async fn conflicts_are_got_over() -> Result<()> {
    let _turn = TURN.lock().await;
    let mark = STACK.mark()?;
    let space = STACK.space("conflicts").await?;
    space.put(&database_secret("a")).await?;

    // Somebody takes the finalizer off all the time, so that the patch that puts it back comes too late.
    let disturb = async |kind: &str, name: &str| -> Result<()> {
        for round in 0_u32.. {
            let round_by_round = json!({ "example.com/round": round.to_string() });
            let note = json!({ "metadata": { "annotations": round_by_round, "finalizers": null } });
            if space.find(kind, name).await?.is_some() && space.patch(kind, name, &note).await.is_err() {
                return Ok(());
            }
            if round % 20 == 0 && conflicts(&space, &mark)? > 0 {
                return Ok(());
            }
        }
        Ok(())
    };
    space.put(&platform(NAME, &every_kind())).await?;
    tokio::time::timeout(SETTLE, disturb("TradingPlatform", NAME)).await.context("no conflict in time")??;
    let found = conflicts(&space, &mark)?;
    ensure!(found > 0, "there was no conflict");
    space.ready(NAME).await?;
    wait_for("the finalizer is back", SETTLE, async || {
        let live = space.get("TradingPlatform", NAME).await?;
        ensure!(live["metadata"]["finalizers"] == json!([labels::FINALIZER]), "{}", live["metadata"]);
        Ok(())
    })
    .await?;

    // The same when it goes.
    space.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    eprintln!("{found} conflicts were got over");
    Ok(())
}

fn conflicts(space: &Space<'_>, mark: &Mark) -> Result<usize> {
    Ok(space.requests_since(mark)?.iter().filter(|entry| entry.code == 409).count())
}

/// Stores what an older or a broken schema let in: for a moment, anything is admitted.
async fn put_unchecked(space: &Space<'_>, objects: &[Value]) -> Result<()> {
    let definition = "tradingplatforms.platform.trading";
    let api: kube::Api<kube::core::DynamicObject> =
        kube::Api::all_with(space.client.clone(), &trading_e2e::sim::resource("CustomResourceDefinition"));
    let strict = api.get(definition).await?;
    let mut wide = strict.clone();
    let schema = wide.data.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").context("no schema")?;
    *schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    replace(&api, definition, wide).await?;
    for object in objects {
        // The new schema is not in force at once.
        wait_for("it is admitted", SETTLE, async || space.put(object).await).await?;
    }
    replace(&api, definition, strict).await
}

async fn replace(
    api: &kube::Api<kube::core::DynamicObject>,
    name: &str,
    mut object: kube::core::DynamicObject,
) -> Result<()> {
    object.metadata.resource_version = api.get(name).await?.metadata.resource_version;
    object.metadata.managed_fields = None;
    api.replace(name, &kube::api::PostParams::default(), &object).await?;
    Ok(())
}

#[tokio::test]
async fn one_that_nobody_can_read_does_not_stop_the_others() -> Result<()> {
    let _turn = TURN.lock().await;
    let space = begin("unreadable").await?;
    space.ready(NAME).await?;

    let mut unreadable = platform("unreadable", &json!({}));
    merge(&mut unreadable, &json!({ "spec": { "version": 5, "frontend": "nonsense" } }));
    let mut invalid = platform("invalid", &json!({}));
    let bounds = json!({ "spec": { "backend": { "autoscaling": { "minReplicas": 5, "maxReplicas": 2 } } } });
    merge(&mut invalid, &bounds);
    put_unchecked(&space, &[unreadable, invalid]).await?;

    let message = space.condition_is("invalid", "Ready", "False", "InvalidResource", SETTLE).await?;
    ensure!(message.contains("minReplicas"), "{message}");
    for round in ["2.0.0", "3.0.0"] {
        space.edit(NAME, &json!({ "version": round })).await?;
        space.ready(NAME).await?;
        // And neither do they stop an operator that starts.
        STACK.restart_operator()?;
    }
    let other = begin("beside-unreadable").await?;
    other.ready(NAME).await?;
    ensure!(space.children("unreadable").await?.is_empty(), "objects were made of it");
    ensure!(space.children("invalid").await?.is_empty(), "objects were made of it");
    for bad in ["unreadable", "invalid"] {
        space.delete("TradingPlatform", bad, Propagation::Background).await?;
    }
    space.gone("TradingPlatform", "invalid", LONG).await?;
    // The apiserver takes no write to what has not even the right types, the operator's neither.
    wait_for("it is told how it can go", SETTLE, async || {
        let events = space.list("Event", "").await?;
        let told = events.iter().find(|event| {
            text(event, "/involvedObject/name") == "unreadable" && text(event, "/message").contains("mend")
        });
        told.map(drop).context("no Event")
    })
    .await?;
    let mended = json!({ "spec": { "version": "1.0.0", "frontend": null } });
    space.patch("TradingPlatform", "unreadable", &mended).await?;
    space.gone("TradingPlatform", "unreadable", LONG).await
}

#[tokio::test]
async fn a_refused_write_is_told_and_repeated() -> Result<()> {
    let _turn = TURN.lock().await;
    let space = STACK.space("refused").await?;
    space.put(&database_secret("a")).await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
        "spec": { "hard": { "count/ingresses.networking.k8s.io": "0" } },
    });
    space.put(&quota).await?;
    let mark = STACK.mark()?;
    space.put(&platform(NAME, &every_kind())).await?;
    let message = space.condition_is(NAME, "Ready", "False", "ApplyRefused", SETTLE).await?;
    ensure!(message.contains("shop-ingress") && message.contains("exceeded quota"), "{message}");
    // The rest is there all the same.
    wait_for("the components are ready", SETTLE, async || {
        let live = space.get("TradingPlatform", NAME).await?;
        let components = at(&live, "/status/components").as_array().context("no components")?.clone();
        ensure!(components.iter().all(|component| component["state"] == "Ready"), "{components:?}");
        Ok(())
    })
    .await?;
    space.delete("ResourceQuota", "none", Propagation::Background).await?;
    space.condition_is(NAME, "Ready", "True", "Ready", LONG).await?;
    space.get("Ingress", "shop-ingress").await?;
    let requests = space.requests_since(&mark)?;
    let tries = requests.iter().filter(|entry| entry.code == 403).count();
    ensure!(tries < 20, "it is tried {tries} times:\n{}", describe(&requests));
    Ok(())
}
