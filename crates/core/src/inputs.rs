//! Everything that a platform depends on and that is not in its resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    add_ons::Capabilities,
    members::{Members, Scope},
    storage::StorageClasses,
    tls::Level,
    told::Told,
};

/// A Secret or ConfigMap that pods consume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// What it is.
    pub kind: ReferenceKind,
    /// Namespace of the pods that consume it.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Kinds that pods consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

impl ReferenceKind {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// What is known of a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceState {
    /// It is not there.
    Absent,
    /// It is there, with a digest of each key's value.
    Present(BTreeMap<String, String>),
}

/// Ports of the Kubernetes API in most clusters: behind its Service, and of its servers.
pub const API_SERVER_PORTS: [u16; 2] = [443, 6443];

/// Namespace of the operator where its documentation is followed.
pub const NAMESPACE: &str = "trading-system";

/// Settings of the operator itself.
#[derive(Clone, Debug)]
pub struct OperatorSettings {
    /// Image that holds the agent for data store pods.
    pub agent_image: String,
    /// Namespace of its pod, from which it asks the servers of data stores how they are; `None` where it runs in
    /// none.
    pub namespace: Option<String>,
    /// Ports of the Kubernetes API, behind its Service too. Policies can't name it, and where it is
    /// differs from cluster to cluster.
    pub api_server_ports: Vec<u16>,
    /// Which data stores are asked how they are.
    pub scope: Scope,
    /// The administrator allows container runtimes, whose pods are privileged.
    pub allow_container_runtime: bool,
}

impl Default for OperatorSettings {
    fn default() -> Self {
        Self {
            namespace: Some(NAMESPACE.to_owned()),
            agent_image: format!("trading-platform-operator:{}", env!("CARGO_PKG_VERSION")),
            api_server_ports: API_SERVER_PORTS.into(),
            scope: Scope::default(),
            allow_container_runtime: true,
        }
    }
}

/// Inputs of [`crate::resolve::resolve`].
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The time.
    pub now: Timestamp,
    /// Settings of the operator.
    pub operator: OperatorSettings,
    /// State of the Secrets and ConfigMaps; `None` where it is not known, as when rendering
    /// without a cluster: everything is then assumed to be there.
    pub references: Option<BTreeMap<Reference, ReferenceState>>,
    /// Which kinds of add-ons the cluster serves.
    pub capabilities: Capabilities,
    /// Other namespaces that allow the platform's tiers; `None` where it is not known: all do.
    pub allowing: Option<BTreeSet<String>>,
    /// Classes of volumes; `None` where they are not known: nothing is said of them.
    pub storage_classes: Option<Arc<StorageClasses>>,
    /// What the primary of the database says, where there is one.
    pub told: Option<Told>,
    /// How far TLS to the database was when its servers were applied last; `None` without TLS or servers.
    pub tls: Option<Level>,
    /// No pod is left that has another login to the database than the newest.
    pub settled: bool,
    /// What the servers of data stores say of themselves.
    pub members: Arc<Members>,
}

impl Inputs {
    /// For rendering without a cluster.
    #[must_use]
    pub fn offline(now: Timestamp) -> Self {
        Self {
            now,
            operator: OperatorSettings::default(),
            references: None,
            capabilities: Capabilities::All,
            allowing: None,
            storage_classes: None,
            told: None,
            tls: None,
            settled: false,
            members: Arc::default(),
        }
    }
}
