//! Edits of a platform: each writes only what it changes, what is removed is removed, and what cannot be done
//! is told.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_e2e::sim::{
    Propagation, SETTLE, Space, Stack, at, database_secret, describe, differences, every_kind, merge,
    own_database, platform, stays, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const CHECKSUM: &str = "/spec/template/metadata/annotations/platform.trading~1config-checksum";

async fn begin(namespace: &str, patch: &Value) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, patch)).await?;
    space.ready(NAME).await?;
    Ok(space)
}

/// What the operator wrote of the children because of an edit, once it has come to rest: how often each.
async fn written(space: &Space<'_>, spec: &Value) -> Result<BTreeMap<String, usize>> {
    space.requests_until_quiet(&STACK.mark()?).await?;
    let mark = STACK.mark()?;
    space.edit(NAME, spec).await?;
    space.ready(NAME).await?;
    let mut written = BTreeMap::new();
    for entry in space.requests_until_quiet(&mark).await? {
        // A conflict with a controller's status update is repeated; it wrote nothing.
        if entry.is_write() && entry.code < 300 && entry.resource != "tradingplatforms" {
            let name = entry.name.trim_start_matches("shop-");
            if entry.subresource == "eviction" {
                let store = name.split('-').next().unwrap_or(name);
                written.insert(format!("evict pods of {store}"), 1);
                continue;
            }
            *written.entry(format!("{} {} {name}", entry.verb, entry.resource)).or_default() += 1;
        }
    }
    Ok(written)
}

/// Edits of one thing, and exactly what they write.
type Edits = Vec<(Value, &'static [&'static str])>;

fn edits_of_components() -> Edits {
    vec![
        (json!({ "frontend": { "image": { "tag": "9" } } }), &["patch deployments frontend"]),
        (json!({ "frontend": { "replicas": 3 } }), &["patch deployments frontend"]),
        (json!({ "frontend": { "env": [{ "name": "A", "value": "1" }] } }), &["patch deployments frontend"]),
        (
            json!({ "frontend": { "config": { "files": [{ "name": "shop.toml", "content": "x" }] } } }),
            &["patch configmaps frontend", "patch deployments frontend"],
        ),
        (
            json!({ "frontend": { "disruption": { "maxUnavailable": 2 } } }),
            &["patch poddisruptionbudgets frontend"],
        ),
        (
            json!({ "frontend": { "serviceAccount": { "annotations": { "a/b": "c" } } } }),
            &["patch serviceaccounts frontend"],
        ),
        (
            json!({ "backend": { "autoscaling": { "maxReplicas": 12 } } }),
            &["patch horizontalpodautoscalers backend"],
        ),
        (
            json!({ "backend": { "egress": [{ "cidr": "192.0.2.0/24" }] } }),
            &["patch networkpolicies backend"],
        ),
        (
            json!({ "backend": { "resources": { "requests": { "cpu": "150m" } } } }),
            &["patch deployments backend"],
        ),
    ]
}

fn edits_of_further_components() -> Edits {
    let search = |more: Value| {
        let mut service = json!({ "name": "search", "image": { "repository": "shop/search" } });
        merge(&mut service, &more);
        json!({ "services": [service] })
    };
    vec![
        (
            json!({ "scraper": { "probes": { "liveness": { "path": "/live" } } } }),
            &["patch deployments scraper"],
        ),
        (json!({ "scraper": { "autoscaling": { "cpu": 55 } } }), &["patch horizontalpodautoscalers scraper"]),
        (json!({ "worker": { "args": ["--queue", "b"] } }), &["patch deployments worker"]),
        (json!({ "worker": { "image": { "repository": "shop/other" } } }), &["patch deployments worker"]),
        (search(json!({ "terminationGracePeriodSeconds": 50 })), &["patch deployments search"]),
        (
            search(json!({ "replicas": 2 })),
            &["patch deployments search", "patch poddisruptionbudgets search"],
        ),
        (
            json!({ "worker": { "replicas": 0 } }),
            &["delete poddisruptionbudgets worker", "patch deployments worker"],
        ),
    ]
}

fn edits_of_the_rest() -> Edits {
    vec![
        (
            // What a running Redis takes is its agents' to set.
            json!({ "redis": { "config": { "timeout": "300" } } }),
            &["patch configmaps redis"],
        ),
        (
            json!({ "redis": { "config": { "databases": "32" } } }),
            &["patch configmaps redis", "patch statefulsets redis", "evict pods of redis"],
        ),
        (
            json!({ "redis": { "image": { "repository": "redis", "tag": "7.2-alpine" } } }),
            &["patch statefulsets redis", "evict pods of redis"],
        ),
        (json!({ "postgres": { "parameters": { "work_mem": "8MB" } } }), &["patch configmaps postgres"]),
        (
            json!({ "postgres": { "parameters": { "max_connections": "200" } } }),
            &["patch configmaps postgres", "patch statefulsets postgres", "evict pods of postgres"],
        ),
        (json!({ "ingress": { "hosts": [{ "host": "new.example.com" }] } }), &["patch ingresses ingress"]),
        (json!({ "quota": { "hard": { "pods": "90" } } }), &["patch resourcequotas quota"]),
        (json!({ "deletion": { "data": "Delete" } }), &[]),
        (json!({ "version": "2.0.0" }), &["patch deployments backend", "patch deployments frontend"]),
    ]
}

/// Each edit in turn writes what is expected, and nothing else.
async fn edits_write(namespace: &str, patch: &Value, edits: Edits) -> Result<()> {
    let space = begin(namespace, patch).await?;
    for (edit, expected) in edits {
        let found = written(&space, &edit).await?;
        let expected: BTreeMap<String, usize> = expected.iter().map(|line| ((*line).to_owned(), 1)).collect();
        ensure!(found == expected, "{edit} wrote {found:?}, not {expected:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_edit_writes_only_what_it_changes() -> Result<()> {
    let image = |name: &str| json!({ "repository": format!("shop/{name}") });
    let further = json!({
        "scraper": { "image": image("scraper"), "autoscaling": { "minReplicas": 2, "maxReplicas": 3, "cpu": 60 } },
        "worker": { "image": image("worker"), "replicas": 2 },
        "services": [{ "name": "search", "image": image("search") }],
    });
    let components = every_kind();
    let mut rest = every_kind();
    rest["postgres"] = own_database()["postgres"].clone();
    tokio::try_join!(
        edits_write("edits-components", &components, edits_of_components()),
        edits_write("edits-further", &further, edits_of_further_components()),
        edits_write("edits-rest", &rest, edits_of_the_rest()),
    )?;
    Ok(())
}

#[tokio::test]
async fn components_come_and_go() -> Result<()> {
    let space = begin("edits-come-and-go", &json!({})).await?;
    let before = space.children(NAME).await?;
    let image = |name: &str| json!({ "repository": format!("shop/{name}") });
    let added = json!({
        "scraper": { "image": image("scraper"), "autoscaling": { "minReplicas": 2, "maxReplicas": 3, "cpu": 60 } },
        "worker": { "image": image("worker"), "replicas": 2 },
        "services": [{
            "name": "search", "image": image("search"), "ports": [{ "name": "http", "containerPort": 9200 }],
            "connectsTo": ["redis"],
            "config": { "mountPath": "/etc/search", "files": [{ "name": "a", "content": "b" }] },
        }],
    });
    space.edit(NAME, &added).await?;
    space.ready(NAME).await?;
    for component in ["scraper", "worker", "search"] {
        let live = space.get("Deployment", &format!("shop-{component}")).await?;
        ensure!(
            at(&live, "/spec/replicas") == at(&live, "/status/readyReplicas"),
            "{component} is not ready"
        );
    }
    space.get("HorizontalPodAutoscaler", "shop-scraper").await?;

    for (replicas, name) in [(0, "shop-worker"), (3, "shop-worker")] {
        space.edit(NAME, &json!({ "worker": { "replicas": replicas } })).await?;
        space.ready(NAME).await?;
        let live = space.get("Deployment", name).await?;
        ensure!(at(&live, "/spec/replicas") == replicas, "{}", live["spec"]);
    }

    space.edit(NAME, &json!({ "scraper": null, "worker": null, "services": null })).await?;
    space.ready(NAME).await?;
    wait_for("what they were is gone", SETTLE, async || {
        let now = space.children(NAME).await?;
        let differences = differences(&before, &space.name, &now, &space.name);
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    })
    .await
}

/// Optional fields of every part, at something else than their defaults, as far as simulated nodes run it;
/// `api_objects` removes every field that there is.
fn everything() -> Value {
    let probe = |path: &str| json!({ "path": path, "periodSeconds": 7, "failureThreshold": 4 });
    json!({
        "image": { "registry": "registry.example.com", "pullPolicy": "Always", "pullSecrets": ["pull"] },
        "features": { "debug": true, "mockExternalServices": true },
        "frontend": {
            "command": ["/run"], "args": ["--fast"],
            "ports": [{ "name": "http", "containerPort": 3000 }, { "name": "metrics", "containerPort": 9090 }],
            "resources": { "requests": { "cpu": "120m", "memory": "200Mi" }, "limits": { "cpu": "1", "memory": "1Gi" } },
            "probes": { "startup": probe("/s"), "liveness": probe("/l"), "readiness": probe("/r") },
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            "envFrom": [{ "secretRef": { "name": "absent", "optional": true } }],
            "config": { "mountPath": "/etc/shop", "files": [{ "name": "a", "content": "b" }] },
            "connectsTo": ["backend", "redis"],
            "egress": [{ "cidr": "192.0.2.0/24", "ports": [{ "port": 443 }] }],
            "disruption": { "maxUnavailable": "50%" },
            "runAsUser": 1234, "fsGroup": 1235, "scratch": ["/var/cache"],
            "terminationGracePeriodSeconds": 45,
            "updateStrategy": { "maxSurge": "50%", "maxUnavailable": 1 },
            "podMetadata": { "labels": { "team": "a" }, "annotations": { "note": "b" } },
            "serviceAccount": { "annotations": { "cloud/role": "shop" } },
            "nodeSelector": { "kubernetes.io/os": "linux" },
            "tolerations": [{ "key": "a", "operator": "Exists" }],
        },
        "backend": {
            "autoscaling": {
                "memory": 80,
                "metrics": [{ "type": "Pods", "pods": {
                    "metric": { "name": "rps" }, "target": { "type": "AverageValue", "averageValue": "5" },
                } }],
                "behavior": { "scaleDown": { "stabilizationWindowSeconds": 100, "policies": [
                    { "type": "Pods", "value": 1, "periodSeconds": 60 },
                ] } },
            },
        },
        "redis": {
            "image": { "repository": "redis", "tag": "7.2-alpine" },
            "resources": { "limits": { "memory": "1Gi" } },
            "persistence": { "appendOnly": false },
            "maxmemory": "100Mi", "maxmemoryPolicy": "NoEviction",
            "config": { "timeout": "10" },
            "runAsUser": 1001, "fsGroup": 1002,
        },
        "postgres": { "external": { "port": 6543, "sslMode": "VerifyFull", "cidrs": ["198.51.100.0/24"] } },
        "ingress": { "className": "nginx", "hosts": [{ "host": "a.example.com" }], "tls": { "clusterIssuer": "le" } },
        "networkPolicy": {
            "ingressNamespaceLabels": { "a": "b" }, "monitoringNamespaceLabels": { "c": "d" },
        },
        "placement": { "region": "eu-central-1", "zones": ["sim-1a", "sim-1b"], "spreadOverZones": false,
            "nodeSelector": { "storage": "ssd" }, "tolerations": [{ "key": "b", "operator": "Exists" }] },
        "quota": { "hard": { "pods": "50" } },
        "inheritedMetadata": { "labels": ["team"], "annotations": ["note"] },
    })
}

#[tokio::test]
async fn what_was_set_and_removed_leaves_nothing() -> Result<()> {
    let fresh = begin("edits-fresh", &json!({})).await?;
    let edited = begin("edits-removed", &json!({})).await?;
    let plain = platform(NAME, &json!({}));

    let mut full = platform(NAME, &everything());
    let notes = json!({ "metadata": { "labels": { "team": "a" }, "annotations": { "note": "b" } } });
    merge(&mut full, &notes);
    edited.replace(&full).await?;
    edited.ready(NAME).await?;
    let same = compare(&fresh, &edited).await?;
    ensure!(same.len() > 40, "the edit changed only {}", same.join("\n"));

    edited.replace(&plain).await?;
    edited.ready(NAME).await?;
    wait_for("it equals a fresh one", SETTLE, async || {
        let differences = compare(&fresh, &edited).await?;
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    })
    .await
}

/// Values that YAML or the rules of the schema could mistake for something else.
#[tokio::test]
async fn odd_values_are_taken_as_they_are() -> Result<()> {
    let space = begin("edits-odd", &json!({})).await?;
    space.edit(NAME, &json!({ "frontend": { "disruption": { "minAvailable": "50%" } } })).await?;
    space.ready(NAME).await?;
    space.edit(NAME, &json!({ "frontend": { "disruption": { "minAvailable": 1 } } })).await?;
    space.ready(NAME).await?;
    let budget = space.get("PodDisruptionBudget", "shop-frontend").await?;
    ensure!(at(&budget, "/spec/minAvailable") == 1, "{}", budget["spec"]);
    space.edit(NAME, &json!({ "redis": { "persistence": { "appendFsync": "Never" } } })).await?;
    space.ready(NAME).await?;
    let config = space.get("ConfigMap", "shop-redis").await?;
    ensure!(text(&config, "/data/redis.conf").contains("appendfsync no"), "{}", config["data"]);
    Ok(())
}

/// A platform that is made with everything at once equals one that got it later.
#[tokio::test]
async fn what_is_set_later_equals_what_is_set_at_once() -> Result<()> {
    let at_once = begin("edits-at-once", &everything()).await?;
    let later = begin("edits-later", &json!({})).await?;
    later.edit(NAME, &everything()).await?;
    later.ready(NAME).await?;
    let differences = compare(&at_once, &later).await?;
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

async fn compare(a: &Space<'_>, b: &Space<'_>) -> Result<Vec<String>> {
    Ok(differences(&a.children(NAME).await?, &a.name, &b.children(NAME).await?, &b.name))
}

async fn checksums(space: &Space<'_>) -> Result<BTreeMap<&'static str, String>> {
    let mut found = BTreeMap::new();
    for component in ["frontend", "backend", "worker"] {
        let live = space.get("Deployment", &format!("shop-{component}")).await?;
        found.insert(component, text(&live, CHECKSUM).to_owned());
    }
    let redis = space.get("StatefulSet", "shop-redis").await?;
    found.insert("redis", text(&redis, CHECKSUM).to_owned());
    Ok(found)
}

fn changed<'a>(before: &BTreeMap<&'a str, String>, after: &BTreeMap<&'a str, String>) -> Vec<&'a str> {
    before.keys().filter(|component| before[*component] != after[*component]).copied().collect()
}

#[tokio::test]
async fn a_changed_secret_rolls_exactly_its_consumers() -> Result<()> {
    let space = STACK.space("edits-secrets").await?;
    space.put(&database_secret("a")).await?;
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
        "data": { "used": "1", "unused": "1" },
    });
    space.put(&settings).await?;
    let key = json!({ "configMapKeyRef": { "name": "settings", "key": "used" } });
    let worker = json!({ "worker": {
        "image": { "repository": "shop/worker" }, "connectsTo": [],
        "env": [{ "name": "USED", "valueFrom": key }],
    } });
    space.put(&platform(NAME, &worker)).await?;
    space.ready(NAME).await?;

    let edits: [(&str, &str, Value, &[&str]); 4] = [
        ("Secret", "database", json!({ "stringData": { "password": "b" } }), &["backend"]),
        ("ConfigMap", "settings", json!({ "data": { "used": "2" } }), &["worker"]),
        ("Secret", "database", json!({ "stringData": { "other": "x" } }), &[]),
        ("ConfigMap", "settings", json!({ "data": { "unused": "2" } }), &[]),
    ];
    for (kind, name, edit, expected) in edits {
        space.requests_until_quiet(&STACK.mark()?).await?;
        let before = checksums(&space).await?;
        let mark = STACK.mark()?;
        space.patch(kind, name, &edit).await?;
        if !expected.is_empty() {
            wait_for("a consumer is rolled", SETTLE, async || {
                ensure!(!changed(&before, &checksums(&space).await?).is_empty(), "nothing changed");
                Ok(())
            })
            .await?;
        }
        space.ready(NAME).await?;
        let requests = space.requests_until_quiet(&mark).await?;
        let found = changed(&before, &checksums(&space).await?);
        ensure!(found == expected, "{edit} rolled {found:?}, not {expected:?}:\n{}", describe(&requests));
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_by_kubectl_is_not_undone() -> Result<()> {
    let space = begin("edits-rollout", &json!({})).await?;
    let pods = |pods: Vec<Value>| -> Vec<String> {
        pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
    };
    let before = pods(space.pods(NAME, "frontend").await?);
    let kubectl = STACK.kubectl()?;
    kubectl.run(&["rollout", "restart", "deployment/shop-frontend", "-n", &space.name])?;
    kubectl.run(&["rollout", "status", "deployment/shop-frontend", "-n", &space.name, "--timeout=60s"])?;
    // A reconcile for another reason, and one that writes this very object.
    let note = json!({ "metadata": { "annotations": { "example.com/a": "b" } } });
    space.patch("TradingPlatform", NAME, &note).await?;
    space.edit(NAME, &json!({ "frontend": { "replicas": 3 } })).await?;
    space.ready(NAME).await?;
    let annotation = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    stays("the restart is kept", Duration::from_secs(3), async || {
        let live = space.get("Deployment", "shop-frontend").await?;
        ensure!(at(&live, annotation).is_string(), "it is gone");
        Ok(())
    })
    .await?;
    wait_for("the old pods are gone", SETTLE, async || {
        let now = pods(space.pods(NAME, "frontend").await?);
        ensure!(now.len() == 3 && now.iter().all(|uid| !before.contains(uid)), "{now:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_store_goes_only_when_that_is_acknowledged() -> Result<()> {
    let space = begin("edits-store", &json!({})).await?;
    let set = space.get("StatefulSet", "shop-redis").await?;
    let secret = space.get("Secret", "shop-redis-auth").await?;
    space.edit(NAME, &json!({ "redis": null })).await?;
    let message = space.condition_is(NAME, "Degraded", "True", "StoreRemovalNotAcknowledged", SETTLE).await?;
    ensure!(message.contains("acknowledgeStoreRemoval"), "{message}");
    stays("Redis keeps running", Duration::from_secs(5), async || {
        let live = space.get("StatefulSet", "shop-redis").await?;
        ensure!(at(&live, "/metadata/uid") == at(&set, "/metadata/uid"), "it is another");
        ensure!(at(&live, "/metadata/deletionTimestamp").is_null(), "it is being deleted");
        for (kind, name) in
            [("Service", "shop-redis"), ("Secret", "shop-redis-auth"), ("ConfigMap", "shop-redis")]
        {
            space.get(kind, name).await?;
        }
        Ok(())
    })
    .await?;
    // Back again: it is the same.
    space.edit(NAME, &json!({ "redis": { "mode": "Standalone" } })).await?;
    space.ready(NAME).await?;
    let live = space.get("StatefulSet", "shop-redis").await?;
    ensure!(at(&live, "/metadata/uid") == at(&set, "/metadata/uid"), "it is another");

    // Removing and adding it is no way round the rule that its mode is fixed.
    space.edit(NAME, &json!({ "redis": null })).await?;
    space.condition_is(NAME, "Degraded", "True", "StoreRemovalNotAcknowledged", SETTLE).await?;
    space.edit(NAME, &json!({ "redis": { "mode": "Cluster" } })).await?;
    space.condition_is(NAME, "Ready", "False", "StoreModeDiffers", SETTLE).await?;
    let live = space.get("StatefulSet", "shop-redis").await?;
    ensure!(at(&live, "/spec/replicas") == 1, "the store was changed: {}", live["spec"]);

    let acknowledged = json!({ "redis": null, "deletion": { "acknowledgeStoreRemoval": ["Redis"] } });
    space.edit(NAME, &acknowledged).await?;
    space.gone("StatefulSet", "shop-redis", SETTLE).await?;
    space.gone("Service", "shop-redis-headless", SETTLE).await?;
    space.ready(NAME).await?;
    let kept = space.get("Secret", "shop-redis-auth").await?;
    ensure!(at(&kept, "/data") == at(&secret, "/data"), "the password is another");
    let claims = space.list("PersistentVolumeClaim", "").await?;
    ensure!(claims.len() == 1 && at(&claims[0], "/metadata/deletionTimestamp").is_null(), "{claims:?}");
    Ok(())
}

#[tokio::test]
async fn only_the_consumers_of_a_missing_secret_wait() -> Result<()> {
    let space = STACK.space("edits-missing").await?;
    space.put(&platform(NAME, &json!({}))).await?;
    let message = space.condition_is(NAME, "Ready", "False", "ReferenceMissing", SETTLE).await?;
    for part in ["backend", "\"database\"", "create it in this namespace", "password", "username"] {
        ensure!(message.contains(part), "{part} is not in {message:?}");
    }
    for (kind, name) in [("Deployment", "shop-frontend"), ("StatefulSet", "shop-redis")] {
        wait_for("the others are ready", SETTLE, async || {
            let live = space.get(kind, name).await?;
            ensure!(at(&live, "/spec/replicas") == at(&live, "/status/readyReplicas"), "{}", live["status"]);
            Ok(())
        })
        .await?;
    }
    ensure!(space.find("Deployment", "shop-backend").await?.is_none(), "the backend does not wait");

    let mut partial = database_secret("a");
    partial["stringData"] = json!({ "username": "shop" });
    space.put(&partial).await?;
    wait_for("the missing key is named", SETTLE, async || {
        let message = text(&space.condition(NAME, "Ready").await?, "/message").to_owned();
        ensure!(message.contains("lacks the key \"password\""), "{message}");
        Ok(())
    })
    .await?;
    space.patch("Secret", "database", &json!({ "stringData": { "password": "a" } })).await?;
    space.ready(NAME).await?;

    // What runs is not stopped because a Secret goes.
    let before = space.get("Deployment", "shop-backend").await?;
    space.delete("Secret", "database", Propagation::Background).await?;
    space.condition_is(NAME, "Ready", "False", "ReferenceMissing", SETTLE).await?;
    let after = space.get("Deployment", "shop-backend").await?;
    ensure!(at(&after, "/spec") == at(&before, "/spec"), "the backend was changed");
    Ok(())
}

#[tokio::test]
async fn what_can_never_work_is_refused() -> Result<()> {
    let space = begin("edits-refused", &json!({})).await?;
    let refusals = [
        (json!({ "redis": { "mode": "Cluster" } }), "mode can't be changed while data is there"),
        (
            json!({ "frontend": { "autoscaling": { "minReplicas": 1, "maxReplicas": 2, "cpu": 1 } } }),
            "instead of replicas",
        ),
    ];
    for (edit, reason) in refusals {
        let refusal = space.edit(NAME, &edit).await.err().context("it is admitted")?;
        ensure!(format!("{refusal:#}").contains(reason), "{refusal:#}");
    }
    let refusal = space.put(&platform(&"a".repeat(41), &json!({}))).await.err().context("it is admitted")?;
    ensure!(format!("{refusal:#}").contains("at most 40 characters"), "{refusal:#}");

    // What is too dear for the apiserver to find, the operator does.
    let dear = [
        (json!({ "quota": { "hard": { "pods": "1500m" } } }), "counted in whole numbers"),
        (
            json!({ "quota": null, "services": [{
                "name": "greedy", "image": { "repository": "shop/x" },
                "resources": { "requests": { "cpu": 2 }, "limits": { "cpu": 1 } },
            }] }),
            "requests.cpu must not be greater than limits.cpu",
        ),
    ];
    let before = space.children(NAME).await?;
    for (edit, reason) in dear {
        space.edit(NAME, &edit).await?;
        let message = space.condition_is(NAME, "Ready", "False", "InvalidResource", SETTLE).await?;
        ensure!(message.contains(reason), "{message}");
        let now = space.children(NAME).await?;
        let differences = differences(&before, &space.name, &now, &space.name);
        ensure!(differences.is_empty(), "what runs is changed: {}", differences.join("\n"));
    }
    space.edit(NAME, &json!({ "services": null })).await?;
    space.ready(NAME).await?;

    // The longest names that are admitted work.
    let (long, service) = ("a".repeat(40), "b".repeat(22));
    let services = json!({ "services": [{
        "name": service, "image": { "repository": "shop/x" }, "ports": [{ "name": "http", "containerPort": 80 }],
    }] });
    space.put(&platform(&long, &services)).await?;
    space.ready(&long).await?;
    space.get("Service", &format!("{long}-{service}")).await?;
    Ok(())
}

/// A server alone may always be moved; of several, one at a time, so that no drain takes a quorum.
#[tokio::test]
async fn drains_are_let_through_server_by_server() -> Result<()> {
    let alone = begin("edits-drain-alone", &json!({})).await?;
    evict(&alone, "shop-redis-0")?;

    // Simulated pods are back at once, unless no node is left for them.
    let kubectl = STACK.kubectl()?;
    let label = |change: &str| kubectl.run(&["label", "nodes", "--all", change]);
    label("drain=not-yet")?;
    let mut servers = every_kind();
    merge(&mut servers, &json!({ "redis": { "nodeSelector": { "drain": "not-yet" } } }));
    let space = begin("edits-drain", &servers).await?;
    wait_for("one may go", SETTLE, async || {
        let budget = space.get("PodDisruptionBudget", "shop-redis").await?;
        ensure!(at(&budget, "/status/disruptionsAllowed") == 1, "{}", budget["status"]);
        Ok(())
    })
    .await?;
    label("drain-")?;
    evict(&space, "shop-redis-0")?;
    let refusal = evict(&space, "shop-redis-1").err().context("two go at once")?;
    ensure!(format!("{refusal:#}").contains("disruption budget"), "{refusal:#}");
    label("drain=not-yet")?;
    wait_for("the next may go when the first is back", SETTLE, async || evict(&space, "shop-redis-1")).await
}

/// As a drain does it. By kubectl, because kube repeats what is refused for now.
fn evict(space: &Space<'_>, pod: &str) -> Result<()> {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod } });
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", space.name);
    STACK.kubectl()?.run_with_input(&["create", "--raw", &path, "-f", "-"], &eviction.to_string()).map(drop)
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_and_left_alone() -> Result<()> {
    let space = STACK.space("edits-taken").await?;
    space.put(&database_secret("a")).await?;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop-frontend", "labels": { "mine": "yes" } },
        "spec": { "ports": [{ "name": "http", "port": 80 }], "selector": { "app": "other" } },
    });
    let before = space.put(&foreign).await?;
    space.put(&platform(NAME, &json!({}))).await?;
    let message = space.condition_is(NAME, "Ready", "False", "NameTaken", SETTLE).await?;
    ensure!(message.contains("Service \"shop-frontend\""), "{message}");
    stays("it is not touched", Duration::from_secs(3), async || {
        let live = space.get("Service", "shop-frontend").await?;
        let version = "/metadata/resourceVersion";
        ensure!(at(&live, version) == at(&before, version), "{live}");
        Ok(())
    })
    .await?;
    let backend = space.get("Deployment", "shop-backend").await?;
    ensure!(at(&backend, "/status/readyReplicas") == 2, "the rest is made: {}", backend["status"]);
    // And not when the platform goes either.
    space.delete("TradingPlatform", NAME, Propagation::Background).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    space.get("Service", "shop-frontend").await?;
    Ok(())
}

/// Platform `a` with the service `b-x` and platform `a-b` with the service `x` want the same names.
#[tokio::test]
async fn two_platforms_of_one_namespace_keep_apart() -> Result<()> {
    let space = STACK.space("edits-two").await?;
    space.put(&database_secret("a")).await?;
    let with =
        |service: &str| json!({ "services": [{ "name": service, "image": { "repository": "shop/x" } }] });
    space.put(&platform("a", &with("b-x"))).await?;
    space.ready("a").await?;
    let owner = "/metadata/labels/app.kubernetes.io~1instance";
    let before = space.get("Deployment", "a-b-x").await?;
    ensure!(text(&before, owner) == "a", "{}", before["metadata"]);

    space.put(&platform("a-b", &with("x"))).await?;
    let message = space.condition_is("a-b", "Ready", "False", "NameTaken", SETTLE).await?;
    ensure!(message.contains("a-b-x") && message.contains("\"a\""), "{message}");
    space.ready("a").await?;
    let live = space.get("Deployment", "a-b-x").await?;
    ensure!(at(&live, "/metadata/uid") == at(&before, "/metadata/uid"), "it is another");
    ensure!(at(&live, "/metadata/generation") == at(&before, "/metadata/generation"), "it was changed");
    wait_for("the rest of the second is ready", SETTLE, async || {
        let live = space.get("Deployment", "a-b-backend").await?;
        ensure!(at(&live, "/status/readyReplicas") == 2, "{}", live["status"]);
        Ok(())
    })
    .await?;

    // The second goes: the first keeps what is its own.
    space.delete("TradingPlatform", "a-b", Propagation::Background).await?;
    space.gone("TradingPlatform", "a-b", SETTLE).await?;
    space.gone("Deployment", "a-b-backend", SETTLE).await?;
    let live = space.get("Deployment", "a-b-x").await?;
    ensure!(at(&live, "/metadata/uid") == at(&before, "/metadata/uid"), "it is another");

    // The first gives the name up: another second gets it.
    space.put(&platform("a-b", &with("x"))).await?;
    space.condition_is("a-b", "Ready", "False", "NameTaken", SETTLE).await?;
    space.edit("a", &json!({ "services": null })).await?;
    space.ready("a").await?;
    space.ready("a-b").await?;
    let live = space.get("Deployment", "a-b-x").await?;
    ensure!(text(&live, owner) == "a-b", "{}", live["metadata"]);
    Ok(())
}

#[tokio::test]
async fn namesakes_of_two_namespaces_are_two_platforms() -> Result<()> {
    let one = begin("edits-same-a", &json!({})).await?;
    let other = begin("edits-same-b", &json!({})).await?;
    let differences = compare(&one, &other).await?;
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    let before = one.children(NAME).await?;
    other.edit(NAME, &json!({ "frontend": null })).await?;
    other.ready(NAME).await?;
    other.delete("TradingPlatform", NAME, Propagation::Background).await?;
    other.gone("TradingPlatform", NAME, SETTLE).await?;
    let now = one.children(NAME).await?;
    ensure!(now.keys().eq(before.keys()), "an object is gone");
    let uid = "/metadata/uid";
    ensure!(now.iter().all(|(key, live)| at(live, uid) == at(&before[key], uid)), "an object is another");
    let password = |object: Value| at(&object, "/data/password").clone();
    let (a, b) = (one.get("Secret", "shop-redis-auth").await?, other.get("Secret", "shop-redis-auth").await?);
    ensure!(password(a) != password(b), "both have the same password");
    Ok(())
}
