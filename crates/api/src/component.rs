//! A component: one workload of the platform.

use std::collections::BTreeMap;

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    autoscaling::{Autoscaling, VerticalScaling},
    env::{ConfigFiles, EnvFrom, EnvVar},
    image::Image,
    int_or_percent::{IntOrPercent, IntOrShare, PositiveIntOrPercent},
    names::{DNS_SUBDOMAIN, keys_but},
    network::{EgressRule, Protocol},
    probe::Probes,
    scheduling::{LabelValue, Scheduling},
};

/// A workload of the platform. The role (frontend, backend, …) fixes what is left out.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = replicas_or_autoscaling())]
#[x_kube(validation = scaled_one_way())]
#[x_kube(validation = probe_ports())]
#[x_kube(validation = folders_apart())]
pub struct Component {
    /// The image; its tag is `spec.version` unless it says otherwise.
    pub image: Image,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments of the entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Ports that the container listens on; each is a port of the Service too. Default: `http`
    /// on 3000 for the frontend, on 8080 for backend and scraper; none for workers and services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, q.containerPort != p.containerPort ? false : (has(q.protocol) ? q.protocol : 'TCP') == (has(p.protocol) ? p.protocol : 'TCP')))")
        .message("each containerPort may be listed once for a protocol"))]
    pub ports: Vec<Port>,
    /// Number of pods, 0 to 1000, where nothing scales it; default 1, or 2 for frontend and backend in
    /// `Production` and `Staging`.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What a pod asks for and may use; what is left out comes from the environment's preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// `Guaranteed`: what is requested is raised to the limits, in every container of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<Qos>,
    /// Health checks. Left out, `http` or the first port of TCP is asked for; a pod without ports counts once it has
    /// run for 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Environment variables, added to those for the stores that it connects to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Secrets and ConfigMaps whose keys all become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<EnvFrom>,
    /// Configuration files; they become a ConfigMap, and a change of it rolls the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigFiles>,
    /// What the component talks to: `redis`, `postgres` or other components by name. It gets
    /// their addresses as environment variables, and the network policy admits exactly these
    /// flows. Default: frontend → backend; backend, scraper and worker → the stores there are.
    #[schemars(length(max = 32), inner(length(min = 1, max = 22)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects_to: Option<Vec<String>>,
    /// Addresses outside the cluster that it may reach; none where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<EgressRule>,
    /// Horizontal autoscaling; `replicas` must then be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Right-sizing of what pods request, by the Vertical Pod Autoscaler (add-on).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertical_scaling: Option<VerticalScaling>,
    /// How many pods a node drain may take at once; default one, and no limit where there is only one
    /// replica, which would block the drain for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// Numeric user of the container; default 1000. Root is refused.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Group that owns mounted volumes; default as `runAsUser`.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// Folders that the container may write to, besides `/tmp`; the rest of its root file system is
    /// read-only. They are emptied when the pod ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 200), regex(pattern = r"^/[^:]*[^:/]$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(p, !p.contains('..'))")
        .message("folders are given as they are, without '..'"))]
    pub scratch: Vec<String>,
    /// Volumes that several pods share, and where they appear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".into()]))]
    pub volumes: Vec<Mount>,
    /// Keeps each client address at one pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<ClientAffinity>,
    /// Seconds between the request to stop and the kill, 1 to 3600; default 30.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// How a new version replaces the old; default one more pod at a time, none fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// Labels and annotations for the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// The pods' ServiceAccount; it has no rights in the cluster and no token is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountSettings>,
    /// Where the pods may run.
    #[serde(flatten)]
    pub scheduling: Scheduling,
}

const PROBE_PORTS: &str = "a probe names a port that is not there: use the name of one of ports";

/// A probe's port must be there; a component without `ports` has at most the role's `http`.
fn probe_ports() -> Rule {
    let named = ["startup", "liveness", "readiness"]
        .map(|probe| format!("(has(q.{probe}) ? (has(q.{probe}.port) ? [q.{probe}.port] : []) : [])"))
        .join(" + ");
    let there =
        "(has(self.ports) ? self.ports != [] : false) ? self.ports.exists(p, p.name == n) : n == 'http'";
    Rule::new(format!("!has(self.probes) || [self.probes].all(q, ({named}).all(n, {there}))"))
        .message(PROBE_PORTS)
        .field_path(".probes")
}

/// CEL: a component that has no port of TCP unless it names one is probed by a command.
pub(crate) fn probed_without_port(component: &str) -> Rule {
    let by_command =
        ["startup", "liveness", "readiness"].map(|probe| format!("!has(q.{probe}) || has(q.{probe}.exec)"));
    let absent = if component == "self" { String::new() } else { format!("!has({component}) || ") };
    Rule::new(format!(
        "{absent}!has({component}.probes) || (has({component}.ports) ? {component}.ports.exists(p, !has(p.protocol) || p.protocol == 'TCP') : false) || [{component}.probes].all(q, [{}].all(x, x))",
        by_command.join(", ")
    ))
    .message("there is no port (TCP) to probe: set ports, or exec in each probe")
}

/// Said of a component whose Service would have no port.
pub(crate) const AFFINITY_WITHOUT_PORT: &str =
    "sessionAffinity is a setting of the Service, and a component without ports has none: set ports";

/// What is mounted has a folder of its own.
fn folders_apart() -> Rule {
    let mounted = "(has(self.config) ? [self.config.mountPath] : []) + (has(self.volumes) ? self.volumes.map(v, v.mountPath) : [])";
    Rule::new(format!("[{mounted}].all(m, m.all(p, !(p in ['/tmp'] + (has(self.scratch) ? self.scratch : [])) ? m.exists_one(q, q == p) : false))"))
        .message("config.mountPath and volumes need folders of their own, not /tmp nor one of scratch")
}

fn replicas_or_autoscaling() -> Rule {
    Rule::new("!has(self.autoscaling) || !has(self.replicas)")
        .message("with autoscaling, set minReplicas and maxReplicas instead of replicas")
        .field_path(".replicas")
}

/// More pods and larger pods are two answers to one number: they would chase each other.
fn scaled_one_way() -> Rule {
    Rule::new("!has(self.verticalScaling) || !has(self.autoscaling) || self.verticalScaling.mode == 'Recommend' || (has(self.verticalScaling.resources) ? self.verticalScaling.resources : ['cpu', 'memory']).all(r, r == 'cpu' ? !has(self.autoscaling.cpu) : !has(self.autoscaling.memory))")
        .message("autoscaling scales on this: name the other in resources, or use mode Recommend")
        .field_path(".verticalScaling")
}

/// A further component, with a name of its own. Fields as in `spec.backend`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = replicas_or_autoscaling())]
#[x_kube(validation = scaled_one_way())]
#[x_kube(validation = probe_ports())]
#[x_kube(validation = folders_apart())]
#[x_kube(validation = probed_without_port("self").field_path(".probes"))]
#[x_kube(validation = Rule::new("!has(self.sessionAffinity) || (has(self.ports) ? self.ports != [] : false)")
    .message(AFFINITY_WITHOUT_PORT)
    .field_path(".sessionAffinity"))]
pub struct Service {
    /// Name, unique in the platform; objects are called `<platform>-<name>`.
    #[schemars(length(min = 1, max = 22), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!self.matches('^(frontend|backend|scraper|worker|runtime|ingress|quota|default-deny|(redis|postgres|sentinel)(-.*)?)$')")
        .message("the name is taken by a role or a data store of the platform: choose another"))]
    pub name: String,
    /// The workload.
    #[serde(flatten)]
    pub component: Component,
}

/// A port of a container and of its Service.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Name, such as `http`.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z0-9]*[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Number; the Service listens on the same.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: i32,
    /// `TCP` (default) or `UDP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

impl Port {
    /// Whether it is a port of TCP.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.protocol.unwrap_or_default() == Protocol::TCP
    }
}

/// Quality of service of a pod.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum Qos {
    /// Requests equal limits.
    Guaranteed,
}

/// Where a volume comes from and where it appears.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.sharedVolume) != has(self.claimName)")
    .message("set exactly one of sharedVolume and claimName"))]
pub struct Mount {
    /// Folder in the container.
    #[schemars(length(min = 2, max = 200), regex(pattern = r"^/[^:]*[^:/]$"))]
    pub mount_path: String,
    /// Name of an entry of `spec.sharedVolumes`.
    #[schemars(length(min = 1, max = 15))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_volume: Option<String>,
    /// A volume claim of the namespace that is there already; it must allow several pods.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_name: Option<String>,
    /// Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// How long a client stays at a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAffinity {
    /// Seconds since its last connection; default 10800.
    #[schemars(range(min = 1, max = 86400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

/// No amount in one block is greater than that in the other. Paths are written out: apiserver 1.31 knows
/// nothing of the size of what a variable stands for, and refuses the rule as too costly.
pub(crate) fn not_above(low: &str, high: &str) -> Rule {
    let [cpu, memory] = ["cpu", "memory"].map(|what| {
        let [low, high] = [low, high].map(|block| format!("self.{block}.{what}"));
        format!(
            "(!has({low}) || !has({high}) || !quantity(string({low})).isGreaterThan(quantity(string({high}))))"
        )
    });
    Rule::new(format!("!has(self.{low}) || !has(self.{high}) || ({cpu} ? {memory} : false)"))
}

/// Compute resources of a container.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = not_above("requests", "limits")
    .message("requests must not be greater than limits (cpu, memory)")
    .field_path(".requests"))]
pub struct Resources {
    /// What the scheduler reserves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceAmounts>,
    /// What the container may use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceAmounts>,
}

/// Amounts of cpu and memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceAmounts {
    /// Cores, such as `500m` or `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes, such as `512Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// How many pods may be away at once by choice (a drain, an eviction).
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)")
    .message("set exactly one of minAvailable and maxUnavailable"))]
pub struct Disruption {
    /// Pods that must stay, as a number or a percentage below 100: with all of them, no node could be drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrShare>,
    /// Pods that may be away, as a number such as `1` or a percentage such as `25%`; not 0, which
    /// would block every node drain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<PositiveIntOrPercent>,
}

/// Surge and unavailability of a rolling update.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.maxSurge) ? self.maxSurge : 1, has(self.maxUnavailable) ? self.maxUnavailable : 0].exists(x, x == 0 ? false : x != '0%')")
    .message("with maxSurge 0 nothing could be replaced: set maxUnavailable to at least 1")
    .field_path(".maxSurge"))]
pub struct UpdateStrategy {
    /// Pods above the wished number during an update; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrPercent>,
    /// Pods that may be missing during an update; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
}

/// Labels and annotations for pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels; the operator's own keys can't be replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = keys_but("k.matches('^(app[.]kubernetes[.]io|platform[.]trading)/')", "none under app.kubernetes.io/ or platform.trading/"))]
    pub labels: BTreeMap<String, LabelValue>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = keys_but("k.startsWith('platform.trading/')", "none under platform.trading/"))]
    pub annotations: BTreeMap<String, AnnotationValue>,
}

/// An annotation's value, at most 4096 characters.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct AnnotationValue(pub String);

impl JsonSchema for AnnotationValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AnnotationValue".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "maxLength": 4096})
    }
}

/// Settings of the generated ServiceAccount.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSettings {
    /// Annotations, such as the cloud role that the pods assume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = keys_but("k.startsWith('platform.trading/')", "none under platform.trading/"))]
    pub annotations: BTreeMap<String, AnnotationValue>,
}
