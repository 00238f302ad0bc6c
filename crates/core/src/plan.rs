//! The plan: the resource with every value decided, and nothing of Kubernetes' object shapes yet.

mod ingress;
pub mod monitoring;

use std::collections::BTreeMap;

use trading_api::{
    Quantity,
    autoscaling::Autoscaling,
    component::{Component, Port},
    deletion::{DataPolicy, Store},
    image::PullPolicy,
    network::{Cidr, EgressRule},
    placement::Quota,
    platform::Environment,
    postgres::SslMode,
    redis::{MaxmemoryPolicy, RedisMode},
    scheduling::{LabelValue, Scheduling, Toleration},
    secrets::ExternalSecret,
    status::EffectiveValue,
};

use crate::{add_ons::Capabilities, inputs::Reference, problem::Problem};
pub use ingress::{AlbPlan, ControllerPlan, CorsPlan, IngressPlan, Route, Stickiness, WebhooksPlan};
use monitoring::{MonitoringPlan, TelemetryPlan};

/// Name of the Redis store among components.
pub const REDIS: &str = "redis";
/// Name of the database among components.
pub const POSTGRES: &str = "postgres";
/// Port of a Redis server.
pub const REDIS_PORT: i32 = 6379;
/// Port on which the servers of a Redis Cluster talk to each other.
pub const REDIS_BUS_PORT: i32 = 16379;

/// A platform with every value decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who it is.
    pub identity: Identity,
    /// The preset it was filled from.
    pub environment: Environment,
    /// The release.
    pub version: String,
    /// Switches that every component gets as environment variables.
    pub features: Vec<(&'static str, String)>,
    /// Settings of every pod.
    pub pods: PodDefaults,
    /// The workloads, in the order of their roles.
    pub components: Vec<ComponentPlan>,
    /// Redis.
    pub redis: Option<RedisPlan>,
    /// The database.
    pub postgres: Option<PostgresPlan>,
    /// Access from outside.
    pub ingress: Option<IngressPlan>,
    /// Network policies, unless they are switched off.
    pub network: Option<NetworkPlan>,
    /// Quota of the namespace.
    pub quota: Option<Quota>,
    /// Scraping, alerts and dashboards.
    pub monitoring: Option<MonitoringPlan>,
    /// Traces and logs.
    pub telemetry: TelemetryPlan,
    /// Secrets that External Secrets fetches.
    pub external_secrets: Vec<ExternalSecretPlan>,
    /// What happens to data.
    pub data: DataPolicy,
    /// Stores that may go although they hold data.
    pub acknowledged: Vec<Store>,
    /// Which kinds of add-ons can be made.
    pub capabilities: Capabilities,
    /// What was filled in.
    pub effective: Vec<EffectiveValue>,
    /// What could not be decided well.
    pub problems: Vec<Problem>,
}

/// Who the platform is.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Name of the resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID; empty when rendering without a cluster.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Labels that its objects inherit.
    pub labels: BTreeMap<String, String>,
    /// Annotations that its objects inherit.
    pub annotations: BTreeMap<String, String>,
}

impl Identity {
    /// `<platform>-<suffix>`.
    #[must_use]
    pub fn child(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }
}

/// Settings of every pod.
#[derive(Clone, Debug)]
pub struct PodDefaults {
    /// When images are pulled.
    pub pull_policy: PullPolicy,
    /// Pull secrets.
    pub pull_secrets: Vec<String>,
    /// Image of the agent.
    pub agent_image: String,
    /// Nodes must have these labels.
    pub node_selector: BTreeMap<String, LabelValue>,
    /// Taints that are tolerated.
    pub tolerations: Vec<Toleration>,
    /// Region and zones that pods must stay in, by node label.
    pub pinned: Vec<(&'static str, Vec<String>)>,
    /// Spread over zones as far as possible.
    pub spread_over_zones: bool,
}

/// What a component is for; it fixes what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The user interface.
    Frontend,
    /// The API.
    Backend,
    /// Collects data from outside.
    Scraper,
    /// Works on queues.
    Worker,
    /// Anything else.
    Service,
}

/// A workload with every value decided.
#[derive(Clone, Debug)]
pub struct ComponentPlan {
    /// Name in the resource.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Full image reference.
    pub image: String,
    /// Release shown in labels and status.
    pub version: String,
    /// Ports.
    pub ports: Vec<Port>,
    /// How many pods.
    pub scaling: Scaling,
    /// Resources of the container.
    pub resources: ResourcesPlan,
    /// What it talks to.
    pub targets: Vec<Target>,
    /// Secrets and `ConfigMaps` it consumes.
    pub references: Vec<ConsumedReference>,
    /// Digest of what it consumes.
    pub checksum: String,
    /// Where the pods run.
    pub scheduling: Scheduling,
    /// Whether the pods of the component are kept apart as far as possible by preset.
    pub apart: bool,
    /// User of the container.
    pub user: i64,
    /// Group that owns volumes.
    pub group: i64,
    /// Everything that is passed on as the resource says it.
    pub spec: Component,
}

impl ComponentPlan {
    /// Its port `http`, or the first.
    #[must_use]
    pub fn main_port(&self) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == "http").or(self.ports.first())
    }
}

/// How many pods a component has.
#[derive(Clone, Debug)]
pub enum Scaling {
    /// So many.
    Fixed(i32),
    /// As many as the autoscaler says.
    Auto(Autoscaling),
}

impl Scaling {
    /// Fewest pods.
    #[must_use]
    pub fn min(&self) -> i32 {
        match self {
            Self::Fixed(replicas) => *replicas,
            Self::Auto(autoscaling) => autoscaling.min_replicas,
        }
    }
}

/// Resources of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourcesPlan {
    /// Requested cpu.
    pub cpu_request: Quantity,
    /// Requested memory.
    pub memory_request: Quantity,
    /// Most cpu.
    pub cpu_limit: Quantity,
    /// Most memory.
    pub memory_limit: Quantity,
}

/// Something that a component talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The platform's Redis.
    Redis,
    /// The platform's database.
    Postgres,
    /// Another component.
    Component(String),
}

/// A Secret or `ConfigMap` that a component consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedReference {
    /// Which.
    pub reference: Reference,
    /// Its keys; empty for all.
    pub keys: Vec<String>,
    /// Pods start without it.
    pub optional: bool,
}

/// Redis with every value decided.
#[derive(Clone, Debug)]
pub struct RedisPlan {
    /// Topology.
    pub mode: RedisMode,
    /// Full image reference.
    pub image: String,
    /// Release shown in labels and status.
    pub version: String,
    /// Number of servers.
    pub servers: i32,
    /// Resources of each server.
    pub resources: ResourcesPlan,
    /// Size of each volume.
    pub storage_size: Quantity,
    /// Class of each volume.
    pub storage_class: Option<String>,
    /// Lines of redis.conf but for secrets and addresses.
    pub config: Vec<(String, String)>,
    /// Where its password is.
    pub password: PasswordSource,
    /// Whether that holds one now.
    pub password_is_there: bool,
    /// Digest of what the servers consume.
    pub checksum: String,
    /// Where the servers run.
    pub scheduling: Scheduling,
    /// Whether the servers are kept apart as far as possible by preset.
    pub apart: bool,
    /// User of the server.
    pub user: i64,
    /// Group that owns the volume.
    pub group: i64,
    /// What may be away at once, where the resource says it.
    pub disruption: Option<trading_api::component::Disruption>,
    /// What happens when memory is full.
    pub maxmemory_policy: MaxmemoryPolicy,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSource {
    /// Secret.
    pub secret: String,
    /// Key in it.
    pub key: String,
    /// Made by the operator.
    pub generated: bool,
}

/// A Secret that External Secrets fetches.
#[derive(Clone, Debug)]
pub struct ExternalSecretPlan {
    /// The data store that logs in with it.
    pub store: Option<&'static str>,
    /// How often it is fetched.
    pub refresh_interval: String,
    /// The rest, as the resource says it.
    pub spec: ExternalSecret,
}

/// The database with every value decided.
#[derive(Clone, Debug)]
pub struct PostgresPlan {
    /// Host as the clients get it.
    pub host: Host,
    /// Port.
    pub port: i32,
    /// Database.
    pub database: String,
    /// TLS mode.
    pub ssl_mode: SslMode,
    /// Secret with the login.
    pub secret: String,
    /// Key of the user name.
    pub username_key: String,
    /// Key of the password.
    pub password_key: String,
    /// Address blocks; empty where only the name is known.
    pub cidrs: Vec<Cidr>,
}

/// A host outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A DNS name.
    Name(String),
    /// An address.
    Address(std::net::IpAddr),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Which flows are admitted.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// Where the traffic from outside comes from.
    pub ingress: Vec<IngressSource>,
    /// Namespace of monitoring; empty for none.
    pub monitoring_namespace: BTreeMap<String, String>,
}

/// Something that traffic from outside comes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressSource {
    /// Pods in namespaces with these labels.
    Namespace(BTreeMap<String, String>),
    /// Addresses.
    Block(Cidr),
}

impl NetworkPlan {
    /// Egress rules of a component, as the resource says them.
    #[must_use]
    pub fn egress(component: &ComponentPlan) -> &[EgressRule] {
        &component.spec.egress
    }
}
