//! The container runtime, decided.

use std::collections::BTreeMap;

use trading_api::{
    Quantity,
    network::EgressRule,
    scheduling::{LabelValue, Toleration},
};

use super::{ResourcesPlan, VolumePlan};

/// Name of the container runtime among components.
pub const RUNTIME: &str = "runtime";

/// A Docker daemon on every node.
#[derive(Clone, Debug)]
pub struct RuntimePlan {
    /// Full image reference.
    pub image: String,
    /// Release shown in labels and status.
    pub version: String,
    /// Resources of each daemon, its containers included.
    pub resources: ResourcesPlan,
    /// Secrets of the daemon and its clients, where they talk TLS.
    pub tls: Option<RuntimeTlsPlan>,
    /// Port of the daemon.
    pub port: i32,
    /// Volume that all nodes share.
    pub shared: Option<VolumePlan>,
    /// Most that images and containers may take on a node.
    pub local: Option<Quantity>,
    /// Addresses outside the cluster that it may reach.
    pub egress: Vec<EgressRule>,
    /// Nodes must have these labels.
    pub node_selector: BTreeMap<String, LabelValue>,
    /// Taints that are tolerated.
    pub tolerations: Vec<Toleration>,
    /// Digest of what the daemons consume.
    pub checksum: String,
    /// The administrator allows it.
    pub allowed: bool,
}

/// Secrets with `ca.crt`, `tls.crt` and `tls.key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeTlsPlan {
    /// Of the daemon.
    pub server: String,
    /// Of its clients.
    pub client: String,
}

impl RuntimeTlsPlan {
    /// The keys of both, and what Docker calls their files.
    pub const FILES: [(&'static str, &'static str); 3] =
        [("ca.crt", "ca.pem"), ("tls.crt", "cert.pem"), ("tls.key", "key.pem")];
}
