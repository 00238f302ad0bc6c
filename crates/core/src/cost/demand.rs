//! What the rendered objects ask for.

use rust_decimal::Decimal;
use serde_json::Value;

use super::{CostError, Span};
use crate::{
    amount::{amount, gib},
    kinds::Kind,
    object::Object,
};

/// Which amounts of the containers are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// What is set aside for a pod, whether it uses it or not.
    #[default]
    Requests,
    /// What a pod may use at most.
    Limits,
}

impl Basis {
    /// The fields to look at, the first that is there counts: Kubernetes takes a limit for a request
    /// that is left out.
    fn fields(self) -> [&'static str; 2] {
        match self {
            Self::Requests => ["requests", "limits"],
            Self::Limits => ["limits", "requests"],
        }
    }
}

/// What one workload asks for.
pub(super) struct Demand {
    pub component: String,
    pub kind: String,
    pub name: String,
    pub spot: bool,
    pub per_node: bool,
    pub pods: Span,
    /// Cores of one pod.
    pub cpu: Decimal,
    /// GiB of one pod.
    pub memory: Decimal,
    /// Volumes of each pod.
    pub volumes: Vec<Volume>,
    /// Volumes that all pods share.
    pub claims: Vec<Volume>,
}

/// A volume.
pub(super) struct Volume {
    /// GiB.
    pub size: Decimal,
    pub class: Option<String>,
}

/// What the objects ask for, workload by workload.
pub(super) fn of(objects: &[Object], basis: Basis) -> Result<Vec<Demand>, CostError> {
    let mut all = Vec::new();
    for object in objects {
        all.extend(demand(object, objects, basis)?);
    }
    Ok(all)
}

fn demand(object: &Object, objects: &[Object], basis: Basis) -> Result<Option<Demand>, CostError> {
    let kind = object.kind.to_string();
    let reader = Reader { object, basis };
    let mut demand = Demand {
        component: if object.component.is_empty() { object.name.clone() } else { object.component.clone() },
        name: object.name.clone(),
        spot: false,
        per_node: kind == "DaemonSet",
        pods: Span { min: Decimal::ONE, max: Decimal::ONE },
        cpu: Decimal::ZERO,
        memory: Decimal::ZERO,
        volumes: Vec::new(),
        claims: Vec::new(),
        kind,
    };
    match demand.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Pooler" => {
            let pod = at(&object.body, "/spec/template/spec");
            if !demand.per_node {
                demand.pods = pods(object, objects);
            }
            demand.spot = is_spot(pod);
            demand.cpu = reader.pod(pod, "cpu")?;
            demand.memory = gib(reader.pod(pod, "memory")?);
            for claim in list(&object.body, "/spec/volumeClaimTemplates") {
                demand.volumes.extend(reader.volume(at(claim, "/spec"))?);
            }
        }
        // CloudNativePG's.
        "Cluster" => {
            demand.pods = fixed(at(&object.body, "/spec/instances").as_i64().unwrap_or(1));
            let resources = at(&object.body, "/spec");
            // Of a backup's container beside each server.
            let beside = objects.iter().find(|other| other.kind == Kind::ObjectStore);
            let beside = beside.filter(|_| !at(&object.body, "/spec/plugins").is_null());
            let beside = beside.map_or(&Value::Null, |it| at(&it.body, "/spec/instanceSidecarConfiguration"));
            demand.cpu = reader.container(resources, "cpu")? + reader.container(beside, "cpu")?;
            demand.memory = gib(reader.container(resources, "memory")? + reader.container(beside, "memory")?);
            for storage in ["/spec/storage", "/spec/walStorage"] {
                let storage = at(&object.body, storage);
                if let Some(size) = storage.get("size") {
                    let class = at(storage, "/storageClass").as_str().map(str::to_owned);
                    demand.volumes.push(Volume { size: gib(reader.read(size)?), class });
                }
            }
        }
        "PersistentVolumeClaim" => {
            demand.pods = fixed(0);
            demand.claims.extend(reader.volume(at(&object.body, "/spec"))?);
        }
        _ => return Ok(None),
    }
    Ok(Some(demand))
}

/// How many pods a workload has: what its autoscaler says, or what it says itself.
fn pods(workload: &Object, objects: &[Object]) -> Span {
    let scaler = objects.iter().find(|object| {
        let target = at(&object.body, "/spec/scaleTargetRef");
        let kind = target.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
        target.get("name").and_then(Value::as_str) == Some(workload.name.as_str())
            && kind == workload.kind.to_string()
    });
    let Some(scaler) = scaler else {
        let seed = workload.seed_replicas.map_or(1, i64::from);
        let replicas = ["/spec/replicas", "/spec/instances"];
        let replicas = replicas.into_iter().find_map(|field| at(&workload.body, field).as_i64());
        return fixed(replicas.unwrap_or(seed));
    };
    let number = |fields: [&str; 2], default: i64| {
        let spec = at(&scaler.body, "/spec");
        fields.iter().find_map(|field| spec.get(field)?.as_i64()).unwrap_or(default)
    };
    // An HPA begins at 1, KEDA at 0; its maximum is 100.
    let lowest = i64::from(scaler.kind.to_string() != "ScaledObject");
    Span {
        min: number(["minReplicas", "minReplicaCount"], lowest).into(),
        max: number(["maxReplicas", "maxReplicaCount"], 100).into(),
    }
}

fn fixed(count: i64) -> Span {
    Span { min: count.into(), max: count.into() }
}

/// Labels by which the clouds and Karpenter mark spot nodes.
const SPOT: [(&str, &str); 4] = [
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
];

/// Whether the pods can only run on spot nodes.
fn is_spot(pod: &Value) -> bool {
    let by_selector = |(key, value): (&str, &str)| {
        pod.get("nodeSelector").and_then(|selector| selector.get(key)).is_some_and(|found| found == value)
    };
    let terms =
        list(pod, "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    let by_affinity = |(key, value): (&str, &str)| {
        // Every term must ask for it: one of them is enough for the scheduler.
        !terms.is_empty()
            && terms.iter().all(|term| {
                list(term, "/matchExpressions").iter().any(|expression| {
                    expression["key"] == key
                        && expression["operator"] == "In"
                        && list(expression, "/values").iter().all(|found| found == value)
                })
            })
    };
    SPOT.into_iter().any(|mark| by_selector(mark) || by_affinity(mark))
}

struct Reader<'a> {
    object: &'a Object,
    basis: Basis,
}

impl Reader<'_> {
    /// What a pod asks for, as the scheduler reckons it.
    fn pod(&self, pod: &Value, what: &str) -> Result<Decimal, CostError> {
        let mut sidecars = Decimal::ZERO;
        let mut peak = Decimal::ZERO;
        for container in list(pod, "/initContainers") {
            let own = self.container(container, what)?;
            if container["restartPolicy"] == "Always" {
                sidecars += own;
            }
            peak = peak.max(if container["restartPolicy"] == "Always" { sidecars } else { sidecars + own });
        }
        let mut running = sidecars;
        for container in list(pod, "/containers") {
            running += self.container(container, what)?;
        }
        let overhead = match pod.get("overhead").and_then(|overhead| overhead.get(what)) {
            Some(quantity) => self.read(quantity)?,
            None => Decimal::ZERO,
        };
        Ok(running.max(peak) + overhead)
    }

    fn container(&self, container: &Value, what: &str) -> Result<Decimal, CostError> {
        let resources = at(container, "/resources");
        let fields = self.basis.fields();
        match fields.iter().find_map(|field| resources.get(field)?.get(what)) {
            Some(quantity) => self.read(quantity),
            None => Ok(Decimal::ZERO),
        }
    }

    fn volume(&self, claim: &Value) -> Result<Option<Volume>, CostError> {
        let Some(size) = claim.pointer("/resources/requests/storage") else { return Ok(None) };
        let class = at(claim, "/storageClassName").as_str().map(str::to_owned);
        Ok(Some(Volume { size: gib(self.read(size)?), class }))
    }

    fn read(&self, quantity: &Value) -> Result<Decimal, CostError> {
        let text = quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned);
        amount(&text).ok_or_else(|| CostError::Amount {
            object: format!("{} {}", self.object.kind, self.object.name),
            quantity: text,
        })
    }
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}
