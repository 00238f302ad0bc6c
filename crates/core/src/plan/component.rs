//! Workloads.

use trading_api::{
    Quantity,
    autoscaling::{Autoscaling, Provider, TriggerKind},
    component::{Component, Port},
    scheduling::Scheduling,
};

use crate::inputs::Reference;

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
    /// Whether there can be several pods.
    pub several: bool,
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
