//! What the papers of TradeWizard 2.0 demand of each environment, held against what is rendered.
//! Every value is taken from its tables of workloads, scaling and environments, none from output.

#![allow(clippy::unwrap_used)] // a test ends where the example can't be read

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{ENVIRONMENTS, example, rendered};
use trading_api::Quantity;

/// Objects of one environment by `Kind/name`.
type Objects = BTreeMap<String, Value>;

/// What a field must be.
#[derive(Clone)]
enum Is {
    Equal(Value),
    Absent,
    /// A quantity or number below that of production.
    BelowProduction,
}

/// The environments in which a fact holds.
#[derive(Clone, Copy, PartialEq)]
enum In {
    All,
    /// Where autoscalers work.
    Scaled,
    /// Where components get the full resources.
    Full,
    Development,
    Staging,
    Production,
}

impl In {
    fn holds(self, environment: &str) -> bool {
        match self {
            Self::All => true,
            Self::Scaled | Self::Full => environment != "development",
            Self::Development => environment == "development",
            Self::Staging => environment == "staging",
            Self::Production => environment == "production",
        }
    }
}

/// Component of the papers, object, field, value, environments.
type Fact = (&'static str, String, String, Is, In);

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";
const RESOURCES: [&str; 4] = ["requests/cpu", "limits/cpu", "requests/memory", "limits/memory"];

#[test]
fn production() {
    check("production");
}

#[test]
fn staging() {
    check("staging");
}

#[test]
fn development() {
    check("development");
}

fn check(environment: &str) {
    let here = objects(environment);
    let production = objects("production");
    let facts: Vec<Fact> = [workloads(), exposure(), scaling(), stores(), environments()]
        .into_iter()
        .flatten()
        .filter(|(.., environments)| environments.holds(environment))
        .collect();
    let wrong: Vec<String> =
        facts.iter().filter_map(|fact| contradiction(fact, &here, &production)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} facts of {environment} do not hold:\n{}",
        wrong.len(),
        facts.len(),
        wrong.join("\n")
    );
}

fn objects(environment: &str) -> Objects {
    let (_, objects) = rendered(&example(environment));
    objects
        .into_iter()
        .map(|object| (format!("{}/{}", object.kind, object.name), object.into_body()))
        .collect()
}

fn contradiction(fact: &Fact, here: &Objects, production: &Objects) -> Option<String> {
    let (component, object, field, expected, _) = fact;
    let found = if field.is_empty() { here.get(object) } else { at(here, object, field) };
    let (holds, wanted) = match expected {
        Is::Equal(value) => (found == Some(value), value.to_string()),
        Is::Absent => (found.is_none(), "nothing".to_owned()),
        Is::BelowProduction => {
            let bound = at(production, object, field);
            (amount(found) < amount(bound) && found.is_some(), format!("less than {bound:?}"))
        }
    };
    (!holds).then(|| {
        let found = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("  {component}: {object} {field} is {found}, the papers ask for {wanted}")
    })
}

fn at<'a>(objects: &'a Objects, object: &str, field: &str) -> Option<&'a Value> {
    objects.get(object)?.pointer(field)
}

fn amount(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::String(text) => Quantity(text.clone()).value(),
        number => number.as_f64(),
    }
}

fn fact(component: &'static str, object: &str, field: impl Into<String>, is: Is, environments: In) -> Fact {
    (component, object.to_owned(), field.into(), is, environments)
}

/// The table of workloads: image, cpu, memory, probes.
fn workloads() -> Vec<Fact> {
    let rows = [
        ("frontend", ["500m", "1", "512Mi", "1Gi"], ["/api/health", "/api/ready"]),
        ("backend", ["500m", "2", "512Mi", "2Gi"], ["/api/health", "/api/ready"]),
        ("scraper", ["500m", "2", "1Gi", "4Gi"], ["/health", "/ready"]),
    ];
    let mut facts = Vec::new();
    for (name, resources, [health, ready]) in rows {
        let deployment = format!("Deployment/tradewizard-{name}");
        let mut row = |field: &str, is, environments| {
            facts.push(fact(name, &deployment, format!("{CONTAINER}/{field}"), is, environments));
        };
        row("image", Is::Equal(json!(format!("tradewizard/{name}:2.0.0"))), In::All);
        row("livenessProbe/httpGet/path", Is::Equal(json!(health)), In::All);
        row("readinessProbe/httpGet/path", Is::Equal(json!(ready)), In::All);
        for (field, amount) in RESOURCES.into_iter().zip(resources) {
            row(&format!("resources/{field}"), Is::Equal(json!(amount)), In::Full);
            row(&format!("resources/{field}"), Is::BelowProduction, In::Development);
        }
    }
    facts
}

/// The column "exposure" and the pods that sit apart.
fn exposure() -> Vec<Fact> {
    let mut facts: Vec<Fact> = ["frontend", "backend", "scraper", "redis"]
        .into_iter()
        .map(|name| {
            let service = format!("Service/tradewizard-{name}");
            fact(name, &service, "/spec/type", Is::Equal(json!("ClusterIP")), In::All)
        })
        .collect();
    let ingress = "Ingress/tradewizard-ingress";
    let frontend = "/spec/rules/0/http/paths/0/backend/service/name";
    let apart = format!("{POD}/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0");
    facts.extend([
        fact("frontend", ingress, frontend, Is::Equal(json!("tradewizard-frontend")), In::All),
        fact("frontend", ingress, "/spec/rules/0/http/paths/1", Is::Absent, In::All),
        fact(
            "scraper",
            "Deployment/tradewizard-scraper",
            format!("{apart}/topologyKey"),
            Is::Equal(json!("kubernetes.io/hostname")),
            In::Full,
        ),
        fact(
            "scraper",
            "NetworkPolicy/tradewizard-scraper",
            "/spec/policyTypes",
            Is::Equal(json!(["Ingress", "Egress"])),
            In::All,
        ),
    ]);
    facts
}

/// The table of scaling.
fn scaling() -> Vec<Fact> {
    let mut facts = Vec::new();
    let cpu = |percent: i32| resource("cpu", percent);
    let requests = json!({"type": "Pods", "pods": {
        "metric": {"name": "requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "50"}}});
    let queue = json!({"type": "External", "external": {
        "metric": {"name": "scraper_queue_size"},
        "target": {"type": "AverageValue", "averageValue": "100"}}});
    let rows = [
        ("frontend", 2, 10, json!([cpu(70), resource("memory", 80)])),
        // Memory is in the text only; we follow the manifest.
        ("backend", 2, 10, json!([cpu(70), requests])),
        ("scraper", 2, 5, json!([cpu(60), queue])),
    ];
    for (name, min, max, metrics) in rows {
        let deployment = format!("Deployment/tradewizard-{name}");
        let autoscaler = format!("HorizontalPodAutoscaler/tradewizard-{name}");
        let target = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "name": format!("tradewizard-{name}")});
        facts.extend([
            fact(name, &autoscaler, "/spec/scaleTargetRef", Is::Equal(target), In::Scaled),
            fact(name, &autoscaler, "/spec/minReplicas", Is::Equal(json!(min)), In::Scaled),
            fact(name, &autoscaler, "/spec/maxReplicas", Is::Equal(json!(max)), In::Production),
            fact(name, &autoscaler, "/spec/maxReplicas", Is::BelowProduction, In::Staging),
            fact(name, &autoscaler, "/spec/metrics", Is::Equal(metrics), In::Scaled),
            // The autoscaler owns the number of replicas.
            fact(name, &deployment, "/spec/replicas", Is::Absent, In::Scaled),
            fact(name, &deployment, "/spec/replicas", Is::Equal(json!(min)), In::Development),
            fact(name, &autoscaler, "", Is::Absent, In::Development),
        ]);
    }
    for (direction, seconds) in [("scaleDown", 300), ("scaleUp", 60)] {
        facts.push(fact(
            "backend",
            "HorizontalPodAutoscaler/tradewizard-backend",
            format!("/spec/behavior/{direction}/stabilizationWindowSeconds"),
            Is::Equal(json!(seconds)),
            In::Scaled,
        ));
    }
    facts
}

fn resource(name: &str, percent: i32) -> Value {
    json!({"type": "Resource", "resource": {
        "name": name, "target": {"type": "Utilization", "averageUtilization": percent}}})
}

/// Redis and the database.
fn stores() -> Vec<Fact> {
    let redis = "StatefulSet/tradewizard-redis";
    let affinity = format!("{POD}/affinity");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut facts = vec![
        fact("redis", redis, "/spec/replicas", Is::Equal(json!(6)), In::All),
        fact("redis", redis, format!("{CONTAINER}/image"), Is::Equal(json!("redis:7.0-alpine")), In::All),
        fact("redis", redis, "/spec/serviceName", Is::Equal(json!("tradewizard-redis-headless")), In::All),
        fact(
            "redis",
            "Service/tradewizard-redis-headless",
            "/spec/clusterIP",
            Is::Equal(json!("None")),
            In::All,
        ),
        fact(
            "redis",
            redis,
            "/spec/volumeClaimTemplates/0/spec/accessModes",
            Is::Equal(json!(["ReadWriteOnce"])),
            In::All,
        ),
        fact(
            "redis",
            redis,
            format!("{affinity}/podAntiAffinity/{required}/0/topologyKey"),
            Is::Equal(json!("kubernetes.io/hostname")),
            In::Full,
        ),
        fact(
            "redis",
            redis,
            format!("{affinity}/nodeAffinity/{required}/nodeSelectorTerms/0/matchExpressions/0/values"),
            Is::Equal(json!(["ssd"])),
            In::Full,
        ),
        fact(
            "database",
            "Service/tradewizard-postgres",
            "/spec/type",
            Is::Equal(json!("ExternalName")),
            In::All,
        ),
    ];
    for (field, amount) in RESOURCES.into_iter().zip(["500m", "2", "1Gi", "4Gi"]) {
        let field = format!("{CONTAINER}/resources/{field}");
        facts.push(fact("redis", redis, field.clone(), Is::Equal(json!(amount)), In::Full));
        facts.push(fact("redis", redis, field, Is::BelowProduction, In::Development));
    }
    facts
}

/// The table of environments: namespaces and ingress domains.
fn environments() -> Vec<Fact> {
    let rows = [
        (In::Development, "tradewizard-dev", "dev.tradewizard.example.com"),
        (In::Staging, "tradewizard-staging", "staging.tradewizard.example.com"),
        (In::Production, "tradewizard-prod", "tradewizard.example.com"),
    ];
    rows.into_iter()
        .flat_map(|(environment, namespace, host)| {
            let ingress = "Ingress/tradewizard-ingress";
            [
                fact("ingress", ingress, "/metadata/namespace", Is::Equal(json!(namespace)), environment),
                fact("ingress", ingress, "/spec/rules/0/host", Is::Equal(json!(host)), environment),
                fact("ingress", ingress, "/spec/tls/0/hosts", Is::Equal(json!([host])), environment),
                fact("ingress", ingress, "/spec/rules/1", Is::Absent, environment),
            ]
        })
        .collect()
}

#[test]
fn all_objects_are_in_the_namespace_of_the_environment() {
    let namespaces = ["tradewizard-prod", "tradewizard-staging", "tradewizard-dev"];
    for (environment, namespace) in ENVIRONMENTS.into_iter().zip(namespaces) {
        for (name, body) in objects(environment) {
            assert_eq!(body["metadata"]["namespace"], namespace, "{name} in {environment}");
        }
    }
}

#[test]
fn features_are_those_of_the_environment() {
    for (environment, debug, mock) in
        [("development", "true", "false"), ("staging", "false", "true"), ("production", "false", "false")]
    {
        let objects = objects(environment);
        for component in ["frontend", "backend", "scraper"] {
            let env = environment_variables(&objects, component);
            assert_eq!(env["DEBUG"]["value"], debug, "{component} in {environment}");
            assert_eq!(env["MOCK_EXTERNAL_SERVICES"]["value"], mock, "{component} in {environment}");
        }
    }
}

#[test]
fn the_password_of_the_database_comes_from_a_secret_and_the_host_is_the_real_one() {
    for environment in ENVIRONMENTS {
        let objects = objects(environment);
        let host = &objects["Service/tradewizard-postgres"]["spec"]["externalName"];
        for component in ["backend", "scraper"] {
            let env = environment_variables(&objects, component);
            assert_eq!(env["PGHOST"]["value"], *host, "{component} in {environment}");
            for login in ["PGUSER", "PGPASSWORD"] {
                assert!(env[login].get("value").is_none(), "{login} of {component} in {environment}");
                assert_eq!(
                    env[login]["valueFrom"]["secretKeyRef"]["name"], "tradewizard-database",
                    "{login} of {component} in {environment}"
                );
            }
        }
    }
}

fn environment_variables(objects: &Objects, component: &str) -> BTreeMap<String, Value> {
    let deployment = &objects[&format!("Deployment/tradewizard-{component}")];
    let variables = deployment.pointer(&format!("{CONTAINER}/env")).and_then(Value::as_array).unwrap();
    variables.iter().map(|v| (v["name"].as_str().unwrap().to_owned(), v.clone())).collect()
}

#[test]
fn redis_is_a_cluster_of_three_masters_with_a_replica_each() {
    for environment in ENVIRONMENTS {
        let redis = example(environment).spec.redis.unwrap();
        assert_eq!((redis.shards.unwrap_or(3), redis.replicas_per_shard.unwrap_or(1)), (3, 1));
        let config = &objects(environment)["ConfigMap/tradewizard-redis"]["data"]["redis.conf"];
        let lines: Vec<&str> = config.as_str().unwrap().lines().collect();
        assert!(lines.contains(&"cluster-enabled yes"), "{environment}: {lines:?}");
    }
}

#[test]
fn the_scraper_reaches_only_named_addresses_outside() {
    for environment in ENVIRONMENTS {
        let objects = objects(environment);
        let named: Vec<String> = example(environment)
            .spec
            .scraper
            .unwrap()
            .egress
            .iter()
            .map(|rule| rule.cidr.clone().unwrap().0)
            .collect();
        assert!(!named.is_empty());
        let policy = &objects["NetworkPolicy/tradewizard-scraper"];
        for rule in policy["spec"]["egress"].as_array().unwrap() {
            let ports: Vec<&Value> =
                rule["ports"].as_array().unwrap().iter().map(|port| &port["port"]).collect();
            // Cluster DNS, and the database, of which only the name is known, by its port alone.
            if ports.iter().all(|port| **port == 53 || **port == 5432) {
                continue;
            }
            for peer in rule["to"].as_array().unwrap() {
                let inside = peer.get("podSelector").is_some();
                let block = peer.pointer("/ipBlock/cidr").and_then(Value::as_str);
                assert!(
                    inside || block.is_some_and(|block| named.iter().any(|cidr| cidr == block)),
                    "{environment}: the scraper may reach {peer}"
                );
            }
        }
    }
}

#[test]
fn a_quota_bounds_the_namespace() {
    for environment in ENVIRONMENTS {
        let objects = objects(environment);
        let hard = &objects["ResourceQuota/tradewizard-quota"]["spec"]["hard"];
        for bound in ["requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "pods"] {
            assert!(hard[bound].is_string(), "{bound} in {environment}");
        }
    }
}
