//! Postgres that CloudNativePG runs: its `Cluster`, and the Secret with the login of the clients. Services,
//! certificates, budget and volumes are CloudNativePG's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm, PodSpec};
use serde_json::{Map, Value, json};
use trading_api::labels;

use super::{backup, mesh, meta, pod, scheduling, store::Store};
use crate::{
    cnpg,
    kinds::Kind,
    object::{Object, PASSWORD},
    plan::{CLUSTER_RW, DatabaseCluster, POSTGRES, POSTGRES_PORT, Plan, PostgresPlan, VolumePlan},
};

pub(super) fn render(plan: &Plan, database: &PostgresPlan, cluster: &DatabaseCluster) -> Vec<Object> {
    let store = Store { plan, name: POSTGRES, tier: meta::DATABASE };
    let mut objects = vec![login(&store, database, cluster), object(&store, database, cluster)];
    objects.extend(cluster.backup.iter().flat_map(|backup| backup::render(&store, backup)));
    objects
}

/// Labels of the servers' pods, whatever CloudNativePG is told to pass on.
pub(super) fn selector(plan: &Plan) -> BTreeMap<String, String> {
    [(cnpg::CLUSTER.to_owned(), plan.identity.child(POSTGRES))].into()
}

/// CloudNativePG takes the password from there when it makes the database, and whenever it changes.
fn login(store: &Store, database: &PostgresPlan, cluster: &DatabaseCluster) -> Object {
    let identity = &store.plan.identity;
    let host = format!("{}.{}.svc", identity.child(CLUSTER_RW), identity.namespace_of(POSTGRES));
    let (owner, name) = (&cluster.owner, &database.database);
    let secret = store.secret(&cluster.password.secret);
    let secret = secret.with(|body| body["metadata"]["labels"][cnpg::RELOAD] = json!("true"));
    secret.generated_once([
        ("username", owner.clone()),
        ("password", PASSWORD.to_owned()),
        ("host", host.clone()),
        ("port", POSTGRES_PORT.to_string()),
        ("dbname", name.clone()),
        ("uri", format!("postgresql://{owner}:{PASSWORD}@{host}:{POSTGRES_PORT}/{name}")),
    ])
}

fn object(store: &Store, database: &PostgresPlan, cluster: &DatabaseCluster) -> Object {
    let mut metadata = store.metadata(POSTGRES);
    metadata.labels.get_or_insert_default().insert(labels::STORE_MODE.to_owned(), "CloudNativePG".to_owned());
    // One that was stopped around its volumes goes on when a platform takes it up again.
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(cnpg::HIBERNATION.to_owned(), cnpg::AWAKE.to_owned());
    store.object(Kind::Cluster, &json!({ "metadata": metadata, "spec": spec(store.plan, database, cluster) }))
}

fn spec(plan: &Plan, database: &PostgresPlan, cluster: &DatabaseCluster) -> Value {
    let parameters: BTreeMap<&String, &String> =
        cluster.parameters.iter().map(|(name, value)| (name, value)).collect();
    let mut spec = json!({
        "instances": cluster.instances,
        "imageName": cluster.image,
        "imagePullPolicy": plan.pods.pull_policy.as_str(),
        "enableSuperuserAccess": false,
        "bootstrap": { "initdb": {
            "database": database.database,
            "owner": cluster.owner,
            "secret": { "name": cluster.password.secret },
            "dataChecksums": true,
        } },
        "postgresql": { "parameters": parameters },
        "resources": pod::resources(&cluster.resources),
        "storage": storage(&cluster.storage),
    });
    if cluster.synchronous {
        // Commits wait for a replica even where there is none: what was acknowledged is nowhere lost.
        spec["postgresql"]["synchronous"] =
            json!({ "method": "any", "number": 1, "dataDurability": "required" });
    }
    if let Some(wal) = &cluster.wal_storage {
        spec["walStorage"] = storage(wal);
    }
    if !plan.pods.pull_secrets.is_empty() {
        let secrets = plan.pods.pull_secrets.iter().map(|name| json!({ "name": name }));
        spec["imagePullSecrets"] = secrets.collect();
    }
    let labels = mesh::labels(plan, meta::DATABASE);
    if !labels.is_empty() {
        spec["inheritedMetadata"] = json!({ "labels": labels });
    }
    if let Some(plugins) = cluster.backup.as_ref().and_then(|backup| backup::plugins(plan, backup)) {
        spec["plugins"] = plugins;
    }
    place(plan, cluster, &mut spec);
    spec
}

fn storage(volume: &VolumePlan) -> Value {
    let mut storage = json!({ "size": volume.size });
    if let Some(class) = &volume.class {
        storage["storageClass"] = json!(class);
    }
    storage
}

/// Where the servers run, in CloudNativePG's words.
fn place(plan: &Plan, cluster: &DatabaseCluster, spec: &mut Value) {
    let mut pod = PodSpec::default();
    scheduling::place(plan, POSTGRES, &cluster.scheduling, cluster.instances > 1, &mut pod);
    for constraint in pod.topology_spread_constraints.iter_mut().flatten() {
        constraint.label_selector = Some(meta::matching(selector(plan)));
    }
    spec["affinity"] = affinity(&pod);
    if let Some(constraints) = pod.topology_spread_constraints {
        spec["topologySpreadConstraints"] = json!(constraints);
    }
    if let Some(class) = pod.priority_class_name {
        spec["priorityClassName"] = json!(class);
    }
}

fn affinity(pod: &PodSpec) -> Value {
    let (kind, term) = match pod.affinity.as_ref().and_then(apart) {
        Some((kind, term)) => (Some(kind), Some(term)),
        None => (None, None),
    };
    // Left out, CloudNativePG would keep servers apart of its own accord.
    let mut affinity = Map::from_iter([("enablePodAntiAffinity".to_owned(), json!(kind.is_some()))]);
    let mut put = |key: &str, value: Option<Value>| {
        affinity.extend(value.map(|value| (key.to_owned(), value)));
    };
    put("podAntiAffinityType", kind.map(Value::from));
    put("topologyKey", term.map(|term| json!(term.topology_key)));
    put("nodeSelector", pod.node_selector.as_ref().map(|labels| json!(labels)));
    put("tolerations", pod.tolerations.as_ref().map(|taints| json!(taints)));
    let nodes = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    put("nodeAffinity", nodes.map(|nodes| json!(nodes)));
    Value::Object(affinity)
}

/// How servers are kept apart, and from what.
fn apart(affinity: &Affinity) -> Option<(&'static str, &PodAffinityTerm)> {
    let apart = affinity.pod_anti_affinity.as_ref()?;
    let required = apart.required_during_scheduling_ignored_during_execution.iter().flatten();
    let preferred = apart.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    required
        .map(|term| ("required", term))
        .chain(preferred.map(|preferred| ("preferred", &preferred.pod_affinity_term)))
        .next()
}
