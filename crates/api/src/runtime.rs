//! Docker-in-Docker on every node.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    component::Resources,
    image::Image,
    names::{DNS_SUBDOMAIN, label_keys},
    network::EgressRule,
    redis::Storage,
    scheduling::{LabelValue, Toleration},
};

/// A Docker daemon on every node (`runtime` in `connectsTo`): components reach the one on their own
/// node. Its pods are privileged: the operator must run with `--allow-container-runtime`, and the
/// namespace admit them. Images and containers stay on the node.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.sharedVolume) == has(oldSelf.sharedVolume)")
    .message("sharedVolume can't be added or removed later: what containers wrote would be missed")
    .field_path(".sharedVolume"))]
pub struct ContainerRuntime {
    /// Image; default `docker:28-dind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What the daemon of a node asks for and may use, its containers included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Mutual TLS on port 2376. Without it everybody who gets past the network policies is root
    /// on port 2375.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RuntimeTls>,
    /// Volume that all nodes share (`ReadWriteMany`), at `/shared`: each node has a folder of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_volume: Option<Storage>,
    /// Most that images and containers may take on a node; no bound where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_storage: Option<Quantity>,
    /// Addresses outside the cluster that it and its containers may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<EgressRule>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = label_keys())]
    pub node_selector: BTreeMap<String, LabelValue>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
}

/// Certificates of the daemon and of its clients: Secrets with `ca.crt`, `tls.crt` and `tls.key`,
/// as cert-manager makes them, in the daemon's namespace.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeTls {
    /// Secret of the daemon.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub server_secret_name: String,
    /// Secret of the clients; components get it at `DOCKER_CERT_PATH`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub client_secret_name: String,
}
