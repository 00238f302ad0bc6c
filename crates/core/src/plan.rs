//! The plan: the resource with every value decided, and nothing of Kubernetes' object shapes yet.

mod backup;
mod cloudnative;
mod component;
mod ingress;
pub mod monitoring;
mod network;
mod pooler;
mod postgres;
mod redis;
mod runtime;
mod stores;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use trading_api::{
    deletion::{DataPolicy, Store},
    image::PullPolicy,
    mesh::Mesh,
    placement::{Quota, TrafficDistribution},
    platform::{Environment, SharedVolume},
    scheduling::{LabelValue, Toleration},
    secrets::ExternalSecret,
    status::EffectiveValue,
};

use crate::{
    add_ons::Capabilities,
    inputs::Reference,
    kinds::Kind,
    members::{Members, Scope},
    object::Key,
    problem::Problem,
    storage::StorageClasses,
};
pub use backup::{BACKUPS, BackupPlan};
pub use cloudnative::{CLUSTER_RO, CLUSTER_RW, DatabaseCluster};
pub use component::{ComponentPlan, ConsumedReference, ResourcesPlan, Role, Scaling, Target};
pub use ingress::{
    AlbPlan, CertificatePlan, ControllerPlan, CorsPlan, IngressPlan, Route, Stickiness, WebhooksPlan,
};
use monitoring::{MonitoringPlan, TelemetryPlan};
pub use network::{Host, IngressSource, NetworkPlan};
pub use pooler::{POOLER, POOLER_USER, PoolerPlan};
pub use postgres::{
    DatabasePlan, LoginsPlan, POSTGRES, POSTGRES_AGENT_PORT, POSTGRES_ANY, POSTGRES_PORT, POSTGRES_RO,
    POSTGRES_ROLES, PostgresPasswords, PostgresPlan, PostgresServers, RolePlan, TlsPlan,
};
pub use redis::{
    ClusterPlan, ExternalRedisPlan, HeldPasswords, REDIS, REDIS_BUS_PORT, REDIS_METRICS_PORT, REDIS_PORT,
    REDIS_USERS, RedisPasswords, RedisPlan, RedisUserPlan, SENTINEL, SENTINEL_PORT, SentinelPlan,
};
pub use runtime::{RUNTIME, RuntimePlan, RuntimeTlsPlan};
pub use stores::{AccountPlan, PasswordSource, STORES, StoreCertificate, StoreFacts, VolumePlan, store_of};

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
    /// What the servers of its stores say of themselves.
    pub members: Arc<Members>,
    /// Which of them are asked.
    pub scope: Scope,
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

/// How the name ends of the Service that gives each pod of a store a name.
pub const HEADLESS: &str = "headless";

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
            POSTGRES_RO | CLUSTER_RW | POOLER => POSTGRES,
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

    /// What follows the name of a store's pod in the pod's DNS name.
    #[must_use]
    pub fn domain(&self, store: &str) -> String {
        format!("{}-{HEADLESS}.{}.svc", self.child(store), self.namespace_of(store))
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
    /// Several pods are kept on different nodes as far as possible, where nothing else is said of them.
    pub apart: bool,
    /// Several pods are spread over zones as far as possible.
    pub spread_over_zones: bool,
    /// Which pods of components' Services are preferred.
    pub traffic_distribution: Option<TrafficDistribution>,
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
}
