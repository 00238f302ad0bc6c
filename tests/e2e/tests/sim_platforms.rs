//! The example `TradeWizard` in its three environments, as its own papers have it.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_api::Quantity;
use trading_e2e::sim::{Space, Stack, at, text};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "tradewizard";

/// What the table says of a component.
struct Component {
    name: &'static str,
    liveness: &'static str,
    readiness: &'static str,
    /// Requests and limits: cpu, memory, cpu, memory.
    resources: [&'static str; 4],
    /// Fewest and most replicas.
    scale: (i64, i64),
}

const PRODUCTION: [Component; 3] = [
    Component {
        name: "frontend",
        liveness: "/api/health",
        readiness: "/api/ready",
        resources: ["500m", "512Mi", "1", "1Gi"],
        scale: (2, 10),
    },
    Component {
        name: "backend",
        liveness: "/api/health",
        readiness: "/api/ready",
        resources: ["500m", "512Mi", "2", "2Gi"],
        scale: (2, 10),
    },
    Component {
        name: "scraper",
        liveness: "/health",
        readiness: "/ready",
        resources: ["500m", "1Gi", "2", "4Gi"],
        scale: (2, 5),
    },
];

fn same(object: &Value, pointer: &str, expected: &Value) -> Result<()> {
    let found = at(object, pointer);
    let name = text(object, "/metadata/name");
    ensure!(found == expected, "{name}: {pointer} is {found}, not {expected}");
    Ok(())
}

/// Applies an environment's manifests and waits until the platform is ready.
async fn bring_up(environment: &str, namespace: &str) -> Result<Space<'static>> {
    let kubectl = STACK.kubectl()?;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tradewizard");
    let manifests = kubectl.run(&["kustomize", &format!("{root}/overlays/{environment}")])?;
    let began = Instant::now();
    kubectl.apply(&manifests)?;
    let space = STACK.existing_space(namespace).await?;
    space.ready(NAME).await?;
    eprintln!("{environment}: ready after {:.1} s", began.elapsed().as_secs_f64());
    Ok(space)
}

/// What every environment has.
async fn common(space: &Space<'_>, domain: &str, database: &str) -> Result<()> {
    restricted(space).await?;
    for component in &PRODUCTION {
        let deployment = space.get("Deployment", &format!("{NAME}-{}", component.name)).await?;
        let container = at(&deployment, "/spec/template/spec/containers/0");
        ensure!(container["image"] == format!("tradewizard/{}:2.0.0", component.name), "{container}");
        ensure!(text(container, "/livenessProbe/httpGet/path") == component.liveness, "{container}");
        ensure!(text(container, "/readinessProbe/httpGet/path") == component.readiness, "{container}");
        same(&deployment, "/spec/replicas", &json!(2))?;
        same(&deployment, "/status/readyReplicas", &json!(2))?;
        let service = space.get("Service", &format!("{NAME}-{}", component.name)).await?;
        same(&service, "/spec/type", &json!("ClusterIP"))?;
        space.get("PodDisruptionBudget", &format!("{NAME}-{}", component.name)).await?;
    }
    redis(space).await?;

    let external = space.get("Service", "tradewizard-postgres").await?;
    same(&external, "/spec/type", &json!("ExternalName"))?;
    same(&external, "/spec/externalName", &json!(database))?;
    let backend = space.get("Deployment", "tradewizard-backend").await?;
    let env = at(&backend, "/spec/template/spec/containers/0/env").as_array().context("no variables")?;
    let variable = |name: &str| env.iter().find(|v| v["name"] == name).unwrap_or(&Value::Null);
    ensure!(variable("PGHOST")["value"] == database, "clients get the real host: {}", variable("PGHOST"));
    let password = text(variable("PGPASSWORD"), "/valueFrom/secretKeyRef/name");
    ensure!(password == "tradewizard-database", "the password comes from {password:?}");

    let ingress = space.get("Ingress", "tradewizard-ingress").await?;
    same(&ingress, "/spec/rules/0/host", &json!(domain))?;
    let target = "/spec/rules/0/http/paths/0/backend/service/name";
    same(&ingress, target, &json!("tradewizard-frontend"))?;
    let quota = space.get("ResourceQuota", "tradewizard-quota").await?;
    let used = at(&quota, "/status/used/pods").as_str().unwrap_or_default();
    ensure!(used == "12", "6 pods of components and 6 of Redis count against the quota, not {used}");
    policies(space).await
}

async fn redis(space: &Space<'_>) -> Result<()> {
    let set = space.get("StatefulSet", "tradewizard-redis").await?;
    same(&set, "/spec/replicas", &json!(6))?;
    same(&set, "/status/readyReplicas", &json!(6))?;
    same(&set, "/spec/template/spec/containers/0/image", &json!("redis:7.0-alpine"))?;
    let headless = space.get("Service", "tradewizard-redis-headless").await?;
    same(&headless, "/spec/clusterIP", &json!("None"))?;
    let client = space.get("Service", "tradewizard-redis").await?;
    same(&client, "/spec/type", &json!("ClusterIP"))?;
    let budget = space.get("PodDisruptionBudget", "tradewizard-redis").await?;
    same(&budget, "/spec/maxUnavailable", &json!(1))?;
    let claims = space.list("PersistentVolumeClaim", "").await?;
    let bound: Vec<_> = claims.iter().filter(|claim| text(claim, "/status/phase") == "Bound").collect();
    ensure!(bound.len() == 6 && claims.len() == 6, "{} of {} claims are bound", bound.len(), claims.len());
    Ok(())
}

/// The namespace enforces what all pods keep to.
async fn restricted(space: &Space<'_>) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "open" },
        "spec": { "containers": [{ "name": "a", "image": "a", "resources": {
            "requests": { "cpu": "1m", "memory": "1Mi" },
            "limits": { "cpu": "1m", "memory": "1Mi" },
        } }] },
    });
    let refusal = space.put(&pod).await.err().context("an unrestricted pod is admitted")?;
    let refusal = format!("{refusal:#}");
    ensure!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
    Ok(())
}

async fn policies(space: &Space<'_>) -> Result<()> {
    let names: BTreeSet<String> = space
        .list("NetworkPolicy", "")
        .await?
        .iter()
        .map(|policy| text(policy, "/metadata/name").trim_start_matches("tradewizard-").to_owned())
        .collect();
    let expected = ["backend", "default-deny", "frontend", "redis", "scraper"];
    ensure!(names.iter().eq(expected), "network policies: {names:?}");

    let scraper = space.get("NetworkPolicy", "tradewizard-scraper").await?;
    let rules = at(&scraper, "/spec/egress").as_array().context("the scraper may go anywhere")?;
    let blocks: Vec<&Value> = rules
        .iter()
        .flat_map(|rule| rule["to"].as_array().into_iter().flatten())
        .map(|peer| at(peer, "/ipBlock/cidr"))
        .filter(|cidr| !cidr.is_null())
        .collect();
    for site in ["198.51.100.0/24", "203.0.113.0/24"] {
        ensure!(blocks.iter().any(|block| *block == site), "the scraper can't reach {site}");
    }
    ensure!(rules.iter().all(|rule| rule["to"].is_array()), "a rule of the scraper admits any address");
    Ok(())
}

/// Requests and limits of a Deployment's only container.
async fn resources(space: &Space<'_>, component: &str) -> Result<[String; 4]> {
    let deployment = space.get("Deployment", &format!("{NAME}-{component}")).await?;
    let all = at(&deployment, "/spec/template/spec/containers/0/resources");
    Ok(["/requests/cpu", "/requests/memory", "/limits/cpu", "/limits/memory"]
        .map(|p| text(all, p).to_owned()))
}

async fn scales(space: &Space<'_>, component: &str, (min, max): (i64, i64)) -> Result<Value> {
    let name = format!("{NAME}-{component}");
    let autoscaler = space.get("HorizontalPodAutoscaler", &name).await?;
    same(&autoscaler, "/spec/minReplicas", &json!(min))?;
    same(&autoscaler, "/spec/maxReplicas", &json!(max))?;
    same(&autoscaler, "/spec/scaleTargetRef/name", &json!(name))?;
    Ok(autoscaler)
}

fn utilization(autoscaler: &Value, resource: &str, percent: i64) -> Result<()> {
    let metrics = at(autoscaler, "/spec/metrics").as_array().context("no metrics")?;
    let found = metrics.iter().find(|metric| text(metric, "/resource/name") == resource);
    let target = found.map_or(&Value::Null, |metric| at(metric, "/resource/target/averageUtilization"));
    ensure!(target == percent, "{resource}: {target}, not {percent} %");
    Ok(())
}

/// Metrics, behaviour and spreading, which staging and production share.
async fn full(space: &Space<'_>) -> Result<()> {
    for component in &PRODUCTION {
        let found = resources(space, component.name).await?;
        ensure!(found == component.resources, "{}: {found:?}", component.name);
    }
    let frontend = space.get("HorizontalPodAutoscaler", "tradewizard-frontend").await?;
    utilization(&frontend, "cpu", 70)?;
    utilization(&frontend, "memory", 80)?;

    let backend = space.get("HorizontalPodAutoscaler", "tradewizard-backend").await?;
    utilization(&backend, "cpu", 70)?;
    let pods = json!({
        "metric": { "name": "requests_per_second" },
        "target": { "type": "AverageValue", "averageValue": "50" },
    });
    let metrics = at(&backend, "/spec/metrics").as_array().context("no metrics")?;
    ensure!(metrics.len() == 2 && metrics.iter().any(|metric| metric["pods"] == pods), "{metrics:?}");
    same(&backend, "/spec/behavior/scaleDown/stabilizationWindowSeconds", &json!(300))?;
    same(&backend, "/spec/behavior/scaleUp/stabilizationWindowSeconds", &json!(60))?;

    let scraper = space.get("HorizontalPodAutoscaler", "tradewizard-scraper").await?;
    utilization(&scraper, "cpu", 60)?;
    let external = json!({
        "metric": { "name": "scraper_queue_size" },
        "target": { "type": "AverageValue", "averageValue": "100" },
    });
    let metrics = at(&scraper, "/spec/metrics").as_array().context("no metrics")?;
    ensure!(metrics.len() == 2 && metrics.iter().any(|metric| metric["external"] == external), "{metrics:?}");

    let nodes = |pods: Vec<Value>| -> BTreeSet<String> {
        pods.iter().map(|pod| text(pod, "/spec/nodeName").to_owned()).collect()
    };
    let servers = nodes(space.pods(NAME, "redis").await?);
    ensure!(servers.len() == 6 && !servers.contains(""), "the servers of Redis are on {servers:?}");
    let scrapers = nodes(space.pods(NAME, "scraper").await?);
    ensure!(scrapers.len() == 2, "the scrapers are on {scrapers:?}");

    let set = space.get("StatefulSet", "tradewizard-redis").await?;
    let ssd = json!([{ "key": "storage", "operator": "In", "values": ["ssd"] }]);
    let terms = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
                 /nodeSelectorTerms/0/matchExpressions";
    same(&set, terms, &ssd)?;
    let claim = "/spec/volumeClaimTemplates/0/spec";
    same(&set, &format!("{claim}/storageClassName"), &json!("fast-ssd"))?;
    same(&set, &format!("{claim}/resources/requests/storage"), &json!("20Gi"))?;
    let server = "/spec/template/spec/containers/0/resources";
    same(&set, &format!("{server}/requests"), &json!({ "cpu": "500m", "memory": "1Gi" }))?;
    same(&set, &format!("{server}/limits"), &json!({ "cpu": "2", "memory": "4Gi" }))
}

#[tokio::test]
async fn production_is_as_the_table_has_it() -> Result<()> {
    let space = bring_up("production", "tradewizard-prod").await?;
    common(&space, "tradewizard.example.com", "db.tradewizard.supabase.co").await?;
    for component in &PRODUCTION {
        scales(&space, component.name, component.scale).await?;
    }
    full(&space).await
}

#[tokio::test]
async fn staging_is_as_production_with_a_lower_maximum() -> Result<()> {
    let space = bring_up("staging", "tradewizard-staging").await?;
    common(&space, "staging.tradewizard.example.com", "db.tradewizard-staging.supabase.co").await?;
    for Component { name, scale: (min, production), .. } in &PRODUCTION {
        let autoscaler = space.get("HorizontalPodAutoscaler", &format!("{NAME}-{name}")).await?;
        let max = at(&autoscaler, "/spec/maxReplicas").as_i64().context("no maximum")?;
        ensure!(max < *production && max > *min, "{name}: at most {max}");
        scales(&space, name, (*min, max)).await?;
    }
    features(&space, "false", "true").await?;
    full(&space).await
}

#[tokio::test]
async fn development_stays_at_the_minimum_and_is_small() -> Result<()> {
    let space = bring_up("development", "tradewizard-dev").await?;
    common(&space, "dev.tradewizard.example.com", "db.tradewizard-dev.supabase.co").await?;
    let autoscalers = space.list("HorizontalPodAutoscaler", "").await?;
    ensure!(autoscalers.is_empty(), "autoscalers in development: {}", autoscalers.len());
    let amount = |text: &str| Quantity::from(text).value();
    for component in &PRODUCTION {
        let found = resources(&space, component.name).await?;
        for (small, large) in found.iter().zip(component.resources) {
            ensure!(amount(small) < amount(large), "{}: {small} is not below {large}", component.name);
        }
    }
    features(&space, "true", "false").await
}

/// Debug mode, and mocks in place of what is outside.
async fn features(space: &Space<'_>, debug: &str, mock: &str) -> Result<()> {
    let frontend = space.get("Deployment", "tradewizard-frontend").await?;
    let env = at(&frontend, "/spec/template/spec/containers/0/env").as_array().context("no variables")?;
    for (name, value) in [("DEBUG", debug), ("MOCK_EXTERNAL_SERVICES", mock)] {
        ensure!(env.contains(&json!({ "name": name, "value": value })), "{name} is not {value}");
    }
    Ok(())
}
