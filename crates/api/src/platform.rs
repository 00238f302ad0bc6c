//! The root of the resource.

use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    autoscaling::AutoscalingDefaults,
    backup::Backup,
    component::{AFFINITY_WITHOUT_PORT, Component, Service, probed_without_port},
    deletion::Deletion,
    image::ImageDefaults,
    ingress::Ingress,
    mesh::Mesh,
    monitoring::Monitoring,
    names::DNS_SUBDOMAIN,
    network::NetworkPolicySettings,
    placement::{Placement, Quota},
    postgres::Postgres,
    quantity::at_least_1_mi,
    redis::Redis,
    runtime::ContainerRuntime,
    secrets::Secrets,
    status::TradingPlatformStatus,
};

/// Longest name of a platform: with the longest component (22) and a dash it fills the 63
/// characters of a Service's name, and `<name>-redis` stays below the 52 of a StatefulSet.
pub const MAX_NAME: usize = 40;

/// A whole trading platform: its services, data stores, scaling, network and safeguards. One
/// resource describes one environment; the operator makes the cluster match it and keeps it so.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[kube(
    group = "platform.trading",
    version = "v1alpha1",
    kind = "TradingPlatform",
    plural = "tradingplatforms",
    doc = "A whole trading platform: its services, data stores, scaling, network and safeguards. One resource describes one environment; the operator makes the cluster match it and keeps it so.",
    shortname = "tp",
    category = "trading",
    namespaced,
    status = "TradingPlatformStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name must have at most 40 characters: names of Services and pods are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must start with a letter and contain only lower-case letters, digits and dashes: names of Services are made from it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Components", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.conditions[?(@.type==\"Ready\")].lastTransitionTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.frontend) || has(self.backend) || has(self.scraper) || has(self.worker) || (has(self.services) ? self.services != [] : false)")
    .message("a platform needs at least one component: frontend, backend, scraper, worker or an entry of services"))]
#[x_kube(validation = Rule::new("!(has(self.environment) && self.environment == 'Development') || has(oldSelf.environment) && oldSelf.environment == 'Development' || !(has(self.redis) && has(oldSelf.redis) && self.redis.mode != 'External' && !has(self.redis.storage) || has(self.postgres) && has(oldSelf.postgres) && self.postgres.mode != 'External' && !has(self.postgres.storage))")
    .message("environment can't become Development while a store has no storage of its own: its volumes would have to shrink from 10Gi to 1Gi, and can't: stay, or make a second platform and move the data")
    .field_path(".environment"))]
#[x_kube(validation = known_targets())]
#[x_kube(validation = known_components())]
#[x_kube(validation = Rule::new("!has(self.ingress) || has(self.frontend) || has(self.backend) || self.ingress.hosts.all(h, has(h.paths) ? h.paths != [] : false)")
    .message("a host without paths leads to the frontend or backend, and there is neither: set paths")
    .field_path(".ingress"))]
#[x_kube(validation = paths_lead_to_ports())]
#[x_kube(validation = Rule::new("!has(self.ingress) || !has(self.ingress.controller) || self.ingress.controller != 'ALB' || (has(self.networkPolicy) ? (has(self.networkPolicy.enabled) ? !self.networkPolicy.enabled : false) || (has(self.networkPolicy.ingressCidrs) ? self.networkPolicy.ingressCidrs != [] : false) : false)")
    .message("an ALB reaches the pods from addresses of its VPC: set networkPolicy.ingressCidrs to the blocks of its subnets")
    .field_path(".networkPolicy"))]
#[x_kube(validation = known_volumes())]
#[x_kube(validation = egress_is_kept())]
#[x_kube(validation = probed_without_port("self.worker").field_path(".worker.probes"))]
#[x_kube(validation = breaks_to_a_database())]
#[x_kube(validation = Rule::new("!has(self.worker) || !has(self.worker.sessionAffinity) || (has(self.worker.ports) ? self.worker.ports != [] : false)")
    .message(AFFINITY_WITHOUT_PORT)
    .field_path(".worker.sessionAffinity"))]
#[x_kube(validation = known_tiers())]
#[x_kube(validation = queues_are_somewhere())]
#[x_kube(validation = stores_stay())]
#[x_kube(validation = Rule::new("!has(self.backup) || (has(self.postgres) ? self.postgres.mode == 'CloudNativePG' : false)")
    .message("in this release CloudNativePG makes the backups: use postgres.mode CloudNativePG, or remove backup")
    .field_path(".backup"))]
pub struct TradingPlatformSpec {
    /// Preset that fills what the resource leaves out: `Production` (default; spread over zones
    /// and nodes, autoscaling), `Staging` (as production, external services mocked) or
    /// `Development` (fixed at the fewest replicas, small, debug mode).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The release: image tag of every component that does not name its own.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"))]
    pub version: String,
    /// Settings for the images of every pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageDefaults>,
    /// Switches that applications get as environment variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// The user interface. Port 3000, connects to the backend. Fields as in `spec.backend`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<Component>,
    /// The API. Port 8080, connects to the stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Component>,
    /// Collects data from outside. Port 8080, connects to the stores; reaches only the addresses
    /// in its `egress`. Fields as in `spec.backend`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scraper: Option<Component>,
    /// Works on queues. No port, connects to the stores. Fields as in `spec.backend`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<Component>,
    /// Further components, each with a name of its own. Fields as in `spec.backend`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub services: Vec<Service>,
    /// Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Postgres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// A Docker daemon on every node, for platforms that run containers of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<ContainerRuntime>,
    /// Volumes that pods of several components and nodes share, such as logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub shared_volumes: Vec<SharedVolume>,
    /// How the platform is reached from outside; only inside the cluster where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Network policies; on unless they are switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySettings>,
    /// Platform-wide switch of autoscaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingDefaults>,
    /// Istio (add-on), with sidecars beside the components' pods; its CNI plugin is needed. None where it is
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Mesh>,
    /// Where the platform runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// A ResourceQuota for the namespace; none where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How the platform is watched; not at all where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// Secrets that come from outside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Secrets>,
    /// Backups of the database with its write-ahead log, to bring it back to any moment. They need
    /// `postgres.mode: CloudNativePG` and its Barman Cloud plugin (add-ons). Redis is not among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Safeguards for data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// Labels and annotations of this resource that its objects (not its pods) get too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited_metadata: Option<InheritedMetadata>,
}

/// The four components that have a role.
const ROLES: [&str; 4] = ["frontend", "backend", "scraper", "worker"];

/// CEL: names of the components that are there.
fn components() -> String {
    let roles = ROLES.map(|role| format!(" + (has(self.{role}) ? ['{role}'] : [])"));
    format!("(has(self.services) ? self.services.map(s, s.name) : []){}", roles.concat())
}

/// CEL: whether `check` holds for the role and each service. In it, `{c}` stands for the component, and
/// `{name}` for its name.
fn of_every_component(check: &str) -> String {
    let of = |c: &str, name: &str| check.replace("{c}", c).replace("{name}", name);
    let roles = ROLES
        .map(|role| format!("!has(self.{role}) || {}, ", of(&format!("self.{role}"), &format!("'{role}'"))));
    format!(
        "[{}!has(self.services) || self.services.all(c, {})].all(x, x)",
        roles.concat(),
        of("c", "c.name")
    )
}

/// A component talks to others that are there, and to stores.
fn known_targets() -> Rule {
    let read_only = "has(self.postgres) ? (has(self.postgres.instances) ? self.postgres.instances != 1 : has(self.postgres.external) ? has(self.postgres.external.readOnlyHost) : false) : false";
    let known = format!(
        "{} + (has(self.redis) ? ['redis'] : []) + (has(self.postgres) ? ['postgres'] : []) + (({read_only}) ? ['postgres-ro'] : []) + (has(self.containerRuntime) ? ['runtime'] : [])",
        components()
    );
    let each =
        of_every_component("!has({c}.connectsTo) || {c}.connectsTo.all(t, t != {name} ? t in n : false)");
    Rule::new(format!("[{known}].all(n, {each})"))
        .message("connectsTo of a component names the component itself or what the platform does not have: use redis, postgres, postgres-ro (with read replicas), runtime or a component that is there")
}

/// CEL: whether `component` is fine for every path of the hosts.
fn of_every_path(hosts: &str, component: &str) -> String {
    format!("{hosts}.all(h, !has(h.paths) || h.paths.all(p, {component}))")
}

/// Paths and scrape targets lead to components that are there.
fn known_components() -> Rule {
    let [hosts, webhooks] = ["ingress", "ingress.webhooks"]
        .map(|block| of_every_path(&format!("self.{block}.hosts"), "p.component in n"));
    Rule::new(format!(
        "[{}].all(n, [!has(self.ingress) || {hosts}, !has(self.ingress) || !has(self.ingress.webhooks) || {webhooks}, !has(self.monitoring) || !has(self.monitoring.scrape) || self.monitoring.scrape.all(t, t.component in n)].all(x, x))",
        components()
    ))
    .message("a path of ingress (or its webhooks) or monitoring.scrape leads to a component that the platform does not have: use the name of a component that is there")
}

/// What has a namespace of its own is there; stores may be on their way out.
fn known_tiers() -> Rule {
    Rule::new(format!(
        "!has(self.placement) || !has(self.placement.namespaces) || [{} + ['redis', 'postgres', 'runtime']].all(n, self.placement.namespaces.all(k, k in n))",
        components()
    ))
    .message("placement.namespaces names what the platform does not have: use redis, postgres, runtime or a component that is there")
    .field_path(".placement.namespaces")
}

/// Paths lead to components with a port.
fn paths_lead_to_ports() -> Rule {
    let [hosts, webhooks] = ["ingress", "ingress.webhooks"]
        .map(|block| of_every_path(&format!("self.{block}.hosts"), "!(p.component in n)"));
    let portless = |of: &str| format!("!has({of}.ports) || {of}.ports == []");
    Rule::new(format!(
        "!has(self.ingress) || [((has(self.worker) ? {} : false) ? ['worker'] : []) + (has(self.services) ? self.services.filter(s, {}).map(s, s.name) : [])].all(n, [{hosts}, !has(self.ingress.webhooks) || {webhooks}].all(x, x))",
        portless("self.worker"),
        portless("s")
    ))
    .message("a path leads to a component without a port: give the component a port")
    .field_path(".ingress")
}

/// Volumes that several components share are there.
fn known_volumes() -> Rule {
    let each = of_every_component(
        "!has({c}.volumes) || {c}.volumes.all(v, !has(v.sharedVolume) || v.sharedVolume in n)",
    );
    Rule::new(format!("[has(self.sharedVolumes) ? self.sharedVolumes.map(s, s.name) : []].all(n, {each})"))
        .message("volumes of a component names a sharedVolume that the platform does not have: add it to spec.sharedVolumes")
}

/// What a component may reach is said only where policies keep it to that.
fn egress_is_kept() -> Rule {
    let none = |of: &str| format!("!has({of}.egress) || {of}.egress == []");
    let each = of_every_component(&none("{c}"));
    let runtime = none("self.containerRuntime");
    Rule::new(format!(
        "!has(self.networkPolicy) || !has(self.networkPolicy.enabled) || self.networkPolicy.enabled || ({each} ? !has(self.containerRuntime) || {runtime} : false)"
    ))
    .message("without network policies everything may be reached: remove egress of every component, or enabled: false")
    .field_path(".networkPolicy")
}

/// A data store can't move to another namespace: its volumes would stay behind.
fn stores_stay() -> Rule {
    let namespace = |of: &str| {
        let there = format!("{of}.placement.namespaces");
        format!("(has({of}.placement) && has({there}) && k in {there} ? {there}[k] : '')")
    };
    let absent = |store: &str| format!("!has(self.{store}) || !has(oldSelf.{store})");
    Rule::new(format!(
        "['redis', 'postgres'].all(k, (k == 'redis' ? {} : {}) || {} == {})",
        absent("redis"),
        absent("postgres"),
        namespace("self"),
        namespace("oldSelf")
    ))
    .message("the namespace of redis or postgres can't be changed while it is there: its volumes would stay behind")
    .field_path(".placement")
}

/// A circuit to a database breaks where the platform has its own.
fn breaks_to_a_database() -> Rule {
    Rule::new("!has(self.mesh) || !has(self.mesh.circuitBreaker) || !has(self.mesh.circuitBreaker.maxDatabaseConnections) || (has(self.postgres) ? self.postgres.mode != 'External' : false)")
        .message("there is no database of the platform's own: remove maxDatabaseConnections")
        .field_path(".mesh.circuitBreaker.maxDatabaseConnections")
}

/// A trigger on a list or stream needs a Redis that it is in.
fn queues_are_somewhere() -> Rule {
    let each = of_every_component(
        "!has({c}.autoscaling) || !has({c}.autoscaling.triggers) || {c}.autoscaling.triggers.all(t, t.type == 'Prometheus')",
    );
    Rule::new(format!("has(self.redis) || {each}"))
    .message("a trigger looks at a list or stream in Redis, and the platform has none: add spec.redis, or scale on something else")
    .field_path(".redis")
}

/// A volume that many pods may write at once. It outlives the platform unless `spec.deletion.data` is
/// `Delete`, and stays when it is removed from the list.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')")
    .message("the storage class of an existing volume can't be changed: add a volume with the new class and move the data")
    .field_path(".storageClassName"))]
pub struct SharedVolume {
    /// Name; the claim is called `<platform>-<name>`.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Size, such as `10Gi`. It can only grow, and only where the storage class allows it.
    #[x_kube(validation = at_least_1_mi("a volume"))]
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0")
        .message("a volume can't shrink: set size to at least what it was"))]
    pub size: Quantity,
    /// StorageClass that offers `ReadWriteMany`; the cluster's default where it is left out. It
    /// can't be changed later.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// Which preset fills what the resource leaves out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum Environment {
    /// Small and fixed, debug mode.
    Development,
    /// As production, external services mocked.
    Staging,
    /// Everything.
    #[default]
    Production,
}

impl Environment {
    /// As the resource writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "Development",
            Self::Staging => "Staging",
            Self::Production => "Production",
        }
    }
}

/// Switches that every component gets as environment variables.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// `DEBUG`; default `true` in `Development`, `false` elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
    /// `MOCK_EXTERNAL_SERVICES`; default `true` in `Staging`, `false` elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock_external_services: Option<bool>,
}

/// Keys of the resource's own labels and annotations that are passed on.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InheritedMetadata {
    /// Label keys, such as `team`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 316)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("!self.exists(k, k.startsWith('app.kubernetes.io/') || k.startsWith('platform.trading/'))")
        .message("labels under app.kubernetes.io/ and platform.trading/ are the operator's"))]
    pub labels: Vec<String>,
    /// Annotation keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 316)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('platform.trading/') && k != 'kubectl.kubernetes.io/last-applied-configuration')")
        .message("annotations under platform.trading/ and kubectl's own can't be passed on"))]
    pub annotations: Vec<String>,
}
