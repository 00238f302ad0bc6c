//! What others change or delete of a platform is put back within seconds.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_core::kinds::built_in;
use trading_e2e::sim::{
    BRIEF, Propagation, SETTLE, Space, Stack, at, database_secret, every_kind, merge, own_database, platform,
    stays, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
/// Another platform, with a database of its own.
const LEDGER: &str = "ledger";

async fn bring_up(namespace: &str) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    let mut patch = every_kind();
    merge(
        &mut patch,
        &json!({ "frontend": { "serviceAccount": { "annotations": { "cloud/role": "shop" } } } }),
    );
    space.put(&platform(NAME, &patch)).await?;
    space.put(&platform(LEDGER, &own_database())).await?;
    space.ready(NAME).await?;
    space.ready(LEDGER).await?;
    Ok(space)
}

#[tokio::test]
async fn every_child_that_is_deleted_comes_back() -> Result<()> {
    let space = bring_up("drift-deleted").await?;
    let mut children = space.children(NAME).await?;
    children.extend(space.children(LEDGER).await?);
    for info in built_in() {
        let is_there = children.keys().any(|(kind, _)| *kind == info.kind.to_string());
        ensure!(is_there, "the platform has no {}", info.kind);
    }
    let mut slowest = Duration::ZERO;
    for ((kind, name), before) in &children {
        // The password is not made anew: see below.
        if kind == "Secret" {
            continue;
        }
        let began = Instant::now();
        space.delete(kind, name, Propagation::Background).await?;
        wait_for(&format!("{kind} {name} comes back"), BRIEF, async || {
            let live = space.get(kind, name).await?;
            let is_new = at(&live, "/metadata/uid") != at(before, "/metadata/uid");
            ensure!(is_new, "it is the old one, deleted {}", at(&live, "/metadata/deletionTimestamp"));
            Ok(())
        })
        .await?;
        slowest = slowest.max(began.elapsed());
    }
    eprintln!("{} children recreated, the slowest after {slowest:?}", children.len() - 1);
    space.ready(LEDGER).await?;
    space.ready(NAME).await
}

/// A kind, a name, what somebody changes, and where it shows.
type Change = (&'static str, &'static str, Value, &'static str);

/// Of what bounds the namespace, and of volumes.
fn changes_of_bounds() -> Vec<Change> {
    vec![
        ("ResourceQuota", "shop-quota", json!({ "spec": { "hard": { "pods": "1000" } } }), "/spec/hard"),
        (
            "LimitRange",
            "shop-quota",
            json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": "99" } }] } }),
            "/spec/limits",
        ),
        (
            "PersistentVolumeClaim",
            "shop-logs",
            json!({ "metadata": { "labels": { "app.kubernetes.io/part-of": "x" } } }),
            "/metadata/labels",
        ),
    ]
}

/// What somebody changes, and where it shows.
fn changes() -> Vec<Change> {
    vec![
        ("Deployment", "shop-frontend", image("frontend", "evil:1"), "/spec/template/spec/containers"),
        ("Deployment", "shop-frontend", json!({ "spec": { "replicas": 0 } }), "/spec/replicas"),
        (
            "Service",
            "shop-frontend",
            json!({ "spec": { "ports": [{ "name": "http", "port": 3001, "targetPort": "http" }] } }),
            "/spec/ports/0/port",
        ),
        (
            "Service",
            "shop-backend",
            json!({ "spec": { "selector": { "app.kubernetes.io/name": "other" } } }),
            "/spec/selector",
        ),
        ("ConfigMap", "shop-frontend", json!({ "data": { "shop.toml": "colour = \"blue\"" } }), "/data"),
        ("ConfigMap", "shop-redis", json!({ "data": { "redis.conf": "port 1" } }), "/data"),
        (
            "PodDisruptionBudget",
            "shop-backend",
            json!({ "spec": { "maxUnavailable": "50%" } }),
            "/spec/maxUnavailable",
        ),
        (
            "PodDisruptionBudget",
            "shop-redis",
            json!({ "spec": { "maxUnavailable": 3 } }),
            "/spec/maxUnavailable",
        ),
        ("NetworkPolicy", "shop-backend", json!({ "spec": { "ingress": [{}] } }), "/spec/ingress"),
        (
            "NetworkPolicy",
            "shop-default-deny",
            json!({ "spec": { "policyTypes": ["Ingress"] } }),
            "/spec/policyTypes",
        ),
        ("NetworkPolicy", "shop-redis", json!({ "spec": { "egress": [{}] } }), "/spec/egress"),
        (
            "HorizontalPodAutoscaler",
            "shop-backend",
            json!({ "spec": { "maxReplicas": 99 } }),
            "/spec/maxReplicas",
        ),
        (
            "Ingress",
            "shop-ingress",
            json!({ "spec": { "rules": [{ "host": "evil.example.com" }] } }),
            "/spec/rules",
        ),
        (
            "ServiceAccount",
            "shop-frontend",
            json!({ "metadata": { "annotations": { "cloud/role": "root" } } }),
            "/metadata/annotations",
        ),
        (
            "ServiceAccount",
            "shop-redis",
            json!({ "automountServiceAccountToken": true }),
            "/automountServiceAccountToken",
        ),
        (
            "ServiceAccount",
            "shop-backend",
            json!({ "metadata": { "labels": { "app.kubernetes.io/part-of": "x" } } }),
            "/metadata/labels",
        ),
        (
            "EndpointSlice",
            "shop-postgres",
            json!({ "endpoints": [{ "addresses": ["198.51.100.1"] }] }),
            "/endpoints",
        ),
        (
            "StatefulSet",
            "shop-redis",
            json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 1 } } } }),
            "/spec/template/spec/terminationGracePeriodSeconds",
        ),
        ("StatefulSet", "shop-redis", json!({ "spec": { "replicas": 5 } }), "/spec/replicas"),
        (
            "DaemonSet",
            "shop-runtime",
            json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 1 } } } }),
            "/spec/template/spec/terminationGracePeriodSeconds",
        ),
        // Not changed but taken away.
        (
            "Deployment",
            "shop-backend",
            json!({ "metadata": { "annotations": { "platform.trading/applied": null } } }),
            "/metadata/annotations/platform.trading~1applied",
        ),
        (
            "Deployment",
            "shop-backend",
            json!({ "metadata": { "ownerReferences": null } }),
            "/metadata/ownerReferences",
        ),
    ]
}

/// Of what a database's servers agree by, and their right to it.
fn changes_of_rights() -> Vec<Change> {
    vec![
        (
            "Role",
            "ledger-postgres",
            json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] }),
            "/rules",
        ),
        (
            "RoleBinding",
            "ledger-postgres",
            json!({ "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "default" }] }),
            "/subjects",
        ),
        (
            "Lease",
            "ledger-postgres",
            json!({ "metadata": { "labels": { "app.kubernetes.io/part-of": "x" } } }),
            "/metadata/labels",
        ),
    ]
}

fn image(component: &str, image: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": component, "image": image }] } } } })
}

#[tokio::test]
async fn every_field_that_is_changed_is_put_back() -> Result<()> {
    let space = bring_up("drift-changed").await?;
    let changes = [changes(), changes_of_bounds(), changes_of_rights()].concat();
    for info in built_in().filter(|info| info.kind.to_string() != "Secret") {
        let is_tried = changes.iter().any(|(kind, ..)| *kind == info.kind.to_string());
        ensure!(is_tried, "no field of a {} is tried", info.kind);
    }
    let mut slowest = Duration::ZERO;
    let mut failures = Vec::new();
    for (kind, name, change, pointer) in &changes {
        let before = space.get(kind, name).await?;
        let began = Instant::now();
        let patched = space.patch(kind, name, change).await?;
        let (is, was) = (at(&patched, pointer), at(&before, pointer));
        ensure!(is != was, "{kind} {name}: {pointer} was {was} anyway");
        let repaired = wait_for(&format!("{kind} {name}: {pointer} is put back"), BRIEF, async || {
            let live = space.get(kind, name).await?;
            let (is, was) = (at(&live, pointer), at(&before, pointer));
            let said = space.condition(NAME, "Ready").await?;
            ensure!(is == was, "it is {is}, not {was}; {}", said["message"]);
            Ok(())
        })
        .await;
        slowest = slowest.max(began.elapsed());
        failures.extend(repaired.err().map(|error| format!("{error:#}")));
    }
    eprintln!("{} changes, the slowest put back after {slowest:?}", changes.len());
    // All of them: one that is not repaired must not hide another.
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    space.ready(NAME).await
}

#[tokio::test]
async fn what_others_add_stays() -> Result<()> {
    let space = bring_up("drift-added").await?;
    let note = json!({ "metadata": { "annotations": { "example.com/note": "mine" } } });
    for (kind, name) in
        [("Deployment", "shop-frontend"), ("Service", "shop-backend"), ("StatefulSet", "shop-redis")]
    {
        space.patch(kind, name, &note).await?;
    }
    let mark = STACK.mark()?;
    stays("annotations of others stay", Duration::from_secs(3), async || {
        for (kind, name) in
            [("Deployment", "shop-frontend"), ("Service", "shop-backend"), ("StatefulSet", "shop-redis")]
        {
            let live = space.get(kind, name).await?;
            ensure!(
                text(&live, "/metadata/annotations/example.com~1note") == "mine",
                "{kind} {name} lost it"
            );
        }
        Ok(())
    })
    .await?;
    // Annotations count for a Deployment's generation: until its controller has seen it, it is not up to date.
    let mut requests = space.requests_since(&mark)?;
    requests.retain(|request| request.subresource != "status");
    ensure!(requests.is_empty(), "the operator asked for\n{}", trading_e2e::sim::describe(&requests));
    Ok(())
}

#[tokio::test]
async fn a_lost_password_is_not_replaced_while_redis_lives() -> Result<()> {
    let space = bring_up("drift-password").await?;
    let secret = space.get("Secret", "shop-redis-auth").await?;
    let set = space.get("StatefulSet", "shop-redis").await?;
    space.delete("Secret", "shop-redis-auth", Propagation::Background).await?;

    let message = space.condition_is(NAME, "Ready", "False", "PasswordLost", SETTLE).await?;
    ensure!(message.contains("shop-redis-auth"), "{message}");
    stays("no other password is made", Duration::from_secs(5), async || {
        ensure!(space.find("Secret", "shop-redis-auth").await?.is_none(), "there is a new one");
        let live = space.get("StatefulSet", "shop-redis").await?;
        ensure!(at(&live, "/spec") == at(&set, "/spec"), "the servers were changed");
        Ok(())
    })
    .await?;

    // The message says how to put it back: the value, and the labels of the StatefulSet.
    let restored = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "shop-redis-auth", "labels": at(&set, "/metadata/labels") },
        "data": at(&secret, "/data"),
    });
    space.put(&restored).await?;
    space.ready(NAME).await?;
    let live = space.get("Secret", "shop-redis-auth").await?;
    ensure!(at(&live, "/data") == at(&secret, "/data"), "the password is another");
    let after = space.get("StatefulSet", "shop-redis").await?;
    let (is, was) = (at(&after, "/spec/template"), at(&set, "/spec/template"));
    ensure!(is == was, "the servers were restarted: {is}, not {was}");
    let labels = at(&live, "/metadata/labels").as_object().context("no labels")?;
    ensure!(!labels.is_empty(), "the labels are gone");
    Ok(())
}
