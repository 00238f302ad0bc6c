//! The plan: the resource with every value decided, and nothing of Kubernetes' object shapes yet.

mod ingress;
pub mod monitoring;
mod runtime;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use trading_api::{
    Quantity,
    autoscaling::{Autoscaling, Provider, TriggerKind},
    component::{Component, Port},
    deletion::{DataPolicy, Store},
    image::PullPolicy,
    mesh::Mesh,
    network::{Cidr, EgressRule},
    placement::Quota,
    platform::{Environment, SharedVolume},
    postgres::SslMode,
    redis::{MaxmemoryPolicy, RedisMode},
    scheduling::{LabelValue, Scheduling, Toleration},
    secrets::ExternalSecret,
    status::EffectiveValue,
};

use crate::{
    add_ons::Capabilities, inputs::Reference, kinds::Kind, object::Key, problem::Problem,
    storage::StorageClasses,
};
pub use ingress::{AlbPlan, ControllerPlan, CorsPlan, IngressPlan, Route, Stickiness, WebhooksPlan};
use monitoring::{MonitoringPlan, TelemetryPlan};
pub use runtime::{RUNTIME, RuntimePlan, RuntimeTlsPlan};

/// Name of the Redis store among components.
pub const REDIS: &str = "redis";
/// Name of the database among components.
pub const POSTGRES: &str = "postgres";
/// Name of the Sentinels among components.
pub const SENTINEL: &str = "sentinel";
/// What a component connects to for the read replicas of the database.
pub const POSTGRES_RO: &str = "postgres-ro";
/// Port of a Postgres server.
pub const POSTGRES_PORT: i32 = 5432;
/// Port at which the agent of a Postgres server tells its health, metrics and status.
pub const POSTGRES_AGENT_PORT: i32 = 8008;
/// Port of a Sentinel.
pub const SENTINEL_PORT: i32 = 26379;
/// Port of a Redis server.
pub const REDIS_PORT: i32 = 6379;
/// Port on which the servers of a Redis Cluster talk to each other.
pub const REDIS_BUS_PORT: i32 = 16379;
/// Port of the metrics of a Redis server and of a Sentinel.
pub const REDIS_METRICS_PORT: i32 = 9121;

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
    /// Redis that the platform runs.
    pub redis: Option<RedisPlan>,
    /// Redis that somebody else runs.
    pub external_redis: Option<ExternalRedisPlan>,
    /// The database.
    pub postgres: Option<PostgresPlan>,
    /// Docker daemons.
    pub runtime: Option<RuntimePlan>,
    /// Access from outside.
    pub ingress: Option<IngressPlan>,
    /// Network policies, unless they are switched off.
    pub network: Option<NetworkPlan>,
    /// The service mesh.
    pub mesh: Option<Mesh>,
    /// Where KEDA asks Prometheus.
    pub prometheus_address: String,
    /// Volumes that components share.
    pub shared_volumes: Vec<SharedVolume>,
    /// Quota of the namespace.
    pub quota: Option<Quota>,
    /// Scraping, alerts and dashboards.
    pub monitoring: Option<MonitoringPlan>,
    /// Traces and logs.
    pub telemetry: TelemetryPlan,
    /// Secrets that External Secrets fetches.
    pub external_secrets: Vec<ExternalSecretPlan>,
    /// Other namespaces that allow the platform's tiers; `None` for all.
    pub allowing: Option<BTreeSet<String>>,
    /// Classes of volumes; `None` where they are not known.
    pub storage_classes: Option<Arc<StorageClasses>>,
    /// Secrets of stores that components in other namespaces consume.
    pub copies: Vec<CopyPlan>,
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
    /// Namespaces of components and stores that live elsewhere, by their names.
    pub tiers: BTreeMap<String, String>,
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

    /// Where a component or store lives.
    #[must_use]
    pub fn namespace_of(&self, component: &str) -> &str {
        let of = match component {
            SENTINEL => REDIS,
            POSTGRES_RO => POSTGRES,
            other => other,
        };
        self.tiers.get(of).unwrap_or(&self.namespace)
    }

    /// All namespaces that the platform lives in, its own first.
    #[must_use]
    pub fn namespaces(&self) -> Vec<&str> {
        let mut others: Vec<&str> = self.tiers.values().map(String::as_str).collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|namespace| *namespace != self.namespace);
        std::iter::once(self.namespace.as_str()).chain(others).collect()
    }

    /// Names the object of a component or store that has its name.
    #[must_use]
    pub fn key(&self, kind: Kind, component: &str) -> Key {
        Key::new(kind, self.namespace_of(component), self.child(component))
    }

    /// Under which name pods of a component reach the Service of another, or of a store.
    #[must_use]
    pub fn host(&self, from: &str, to: &str) -> String {
        let (name, namespace) = (self.child(to), self.namespace_of(to));
        if self.namespace_of(from) == namespace { name } else { format!("{name}.{namespace}.svc") }
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
    /// Seconds for which a pod still serves after it was asked to stop.
    pub pre_stop: Option<i64>,
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
    /// As many as this autoscaler says.
    Auto(Autoscaling, Provider),
}

impl Scaling {
    /// Most pods.
    #[must_use]
    pub fn max(&self) -> i32 {
        match self {
            Self::Fixed(replicas) => *replicas,
            Self::Auto(autoscaling, _) => autoscaling.max_replicas,
        }
    }

    /// Fewest pods.
    #[must_use]
    pub fn min(&self) -> i32 {
        match self {
            Self::Fixed(replicas) => *replicas,
            Self::Auto(autoscaling, _) => autoscaling.min_replicas,
        }
    }

    /// Whether it looks at something that is read so.
    #[must_use]
    pub fn looks_at(&self, is_read: impl Fn(TriggerKind) -> bool) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Auto(autoscaling, _) => autoscaling.triggers.iter().any(|trigger| is_read(trigger.kind)),
        }
    }

    /// Whether it looks at queues in Redis.
    #[must_use]
    pub fn looks_at_redis(&self) -> bool {
        self.looks_at(|kind| kind != TriggerKind::Prometheus)
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
    /// Its read replicas.
    PostgresReadOnly,
    /// The Docker daemon of the node.
    Runtime,
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
    /// How they make a cluster, in mode `Cluster`.
    pub cluster: Option<ClusterPlan>,
    /// The Sentinels, in mode `Replicated`.
    pub sentinel: Option<SentinelPlan>,
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
    /// Whether the Secret holds one now.
    pub is_there: bool,
}

/// A Redis Cluster with every value decided.
#[derive(Clone, Copy, Debug)]
pub struct ClusterPlan {
    /// Masters.
    pub shards: i32,
    /// Replicas of each.
    pub replicas_per_shard: i32,
}

/// The Sentinels with every value decided.
#[derive(Clone, Debug)]
pub struct SentinelPlan {
    /// How many.
    pub instances: i32,
    /// How many must agree.
    pub quorum: i32,
    /// Resources of each.
    pub resources: ResourcesPlan,
    /// Digest of what they consume.
    pub checksum: String,
}

/// Redis that somebody else runs.
#[derive(Clone, Debug)]
pub struct ExternalRedisPlan {
    /// Host as the clients get it.
    pub host: Host,
    /// Port.
    pub port: i32,
    /// Clients use TLS.
    pub tls: bool,
    /// It is a Redis Cluster.
    pub cluster: bool,
    /// User of the access control list.
    pub username: Option<String>,
    /// Secret and key of the password, where there is one.
    pub password: Option<(String, String)>,
    /// Address blocks; empty where only the name is known.
    pub cidrs: Vec<Cidr>,
}

/// A Secret that is copied to where pods consume it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// Whose login it is.
    pub store: &'static str,
    /// Where the copy goes.
    pub namespace: String,
    /// What the copy is called after the platform's name.
    pub suffix: String,
    /// The original.
    pub original: Reference,
    /// The keys that are copied.
    pub keys: Vec<String>,
    /// Digest of their values.
    pub checksum: String,
    /// The original has them all now.
    pub is_there: bool,
}

/// A Secret that External Secrets fetches.
#[derive(Clone, Debug)]
pub struct ExternalSecretPlan {
    /// The data store that logs in with it.
    pub store: Option<&'static str>,
    /// Where it is consumed.
    pub namespaces: Vec<String>,
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
    /// Host of the read replicas as the clients get it.
    pub read_only_host: Option<Host>,
    /// Secret and key of the certificate authority.
    pub ca: Option<(String, String)>,
    /// The servers, where the platform runs them.
    pub servers: Option<PostgresServers>,
}

/// Servers of the database with every value decided.
#[derive(Clone, Debug)]
pub struct PostgresServers {
    /// How many; one of them is the primary.
    pub instances: i32,
    /// Commits wait until a replica has them.
    pub synchronous: bool,
    /// Major version.
    pub major: i32,
    /// Full image reference.
    pub image: String,
    /// Release shown in labels and status.
    pub version: String,
    /// Role that owns the database.
    pub owner: String,
    /// Resources of each server.
    pub resources: ResourcesPlan,
    /// Size and class of each data volume.
    pub storage: VolumePlan,
    /// The same for the write-ahead log, where it has a volume of its own.
    pub wal_storage: Option<VolumePlan>,
    /// Lines of postgresql.conf but for secrets.
    pub parameters: Vec<(String, String)>,
    /// Passwords of the owner, the superuser and the replicas.
    pub passwords: PostgresPasswords,
    /// Digest of what the servers consume.
    pub checksum: String,
    /// Where the servers run.
    pub scheduling: Scheduling,
    /// Whether the servers are kept apart as far as possible by preset.
    pub apart: bool,
    /// User of the server.
    pub user: i64,
    /// Group that owns the volumes.
    pub group: i64,
    /// What may be away at once, where the resource says it.
    pub disruption: Option<trading_api::component::Disruption>,
}

/// Where the passwords of a database are; all generated.
#[derive(Clone, Debug)]
pub struct PostgresPasswords {
    /// Of the role that clients log in as.
    pub owner: PasswordSource,
    /// Of the superuser.
    pub superuser: PasswordSource,
    /// Of the role that replicas log in as.
    pub replication: PasswordSource,
}

impl PostgresPasswords {
    /// All three.
    #[must_use]
    pub fn all(&self) -> [&PasswordSource; 3] {
        [&self.owner, &self.superuser, &self.replication]
    }
}

/// A volume of a data store.
#[derive(Clone, Debug)]
pub struct VolumePlan {
    /// Size.
    pub size: Quantity,
    /// Class; the cluster's default where it is left out.
    pub class: Option<String>,
}

/// What must hold of a data store that the platform runs, whichever it is.
#[derive(Clone, Debug)]
pub struct StoreFacts<'a> {
    /// Which.
    pub store: Store,
    /// Name among components.
    pub name: &'static str,
    /// Topology, as the resource writes it.
    pub mode: &'static str,
    /// Where its passwords are.
    pub passwords: Vec<&'a PasswordSource>,
}

/// Every data store that a platform can run, with its name among components and the word for it.
pub const STORES: [(Store, &str, &str); 2] =
    [(Store::Redis, REDIS, "Redis"), (Store::Postgres, POSTGRES, "Postgres")];

/// The store that a component is a part of.
#[must_use]
pub fn store_of(component: &str) -> Option<Store> {
    match component {
        REDIS | SENTINEL => Some(Store::Redis),
        POSTGRES => Some(Store::Postgres),
        _ => None,
    }
}

impl Plan {
    /// Name under which a component finds a Secret of a store: its own, or that of the copy.
    #[must_use]
    pub fn login(&self, component: &str, store: &str, secret: &str) -> String {
        let (here, there) = (self.identity.namespace_of(component), self.identity.namespace_of(store));
        let is_it = |copy: &&CopyPlan| {
            copy.namespace == here && copy.original.namespace == there && copy.original.name == secret
        };
        let copy = self.copies.iter().find(is_it);
        copy.map_or_else(|| secret.to_owned(), |copy| self.identity.child(&copy.suffix))
    }

    /// The data stores that the platform runs.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreFacts<'_>> {
        let redis = self.redis.as_ref().map(|redis| StoreFacts {
            store: Store::Redis,
            name: REDIS,
            mode: redis.mode.as_str(),
            passwords: vec![&redis.password],
        });
        let servers = self.postgres.as_ref().and_then(|database| database.servers.as_ref());
        let postgres = servers.map(|servers| StoreFacts {
            store: Store::Postgres,
            name: POSTGRES,
            mode: "Managed",
            passwords: servers.passwords.all().to_vec(),
        });
        redis.into_iter().chain(postgres).collect()
    }

    /// Whether the platform runs this store.
    #[must_use]
    pub fn runs(&self, store: Store) -> bool {
        self.stores().iter().any(|facts| facts.store == store)
    }
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
    /// Namespace of KEDA, where it looks at queues in Redis; empty for none.
    pub keda_namespace: BTreeMap<String, String>,
    /// Ports of the Kubernetes API.
    pub api_server_ports: Vec<i32>,
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
