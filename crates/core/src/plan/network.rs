//! What is outside, and who may talk to whom.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use trading_api::network::Cidr;

/// A host outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A DNS name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// Namespace of CloudNativePG's operator, where it runs the database; empty for none.
    pub cnpg_namespace: BTreeMap<String, String>,
    /// Namespace from which the operator asks the servers of data stores how they are.
    pub operator_namespace: Option<String>,
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
