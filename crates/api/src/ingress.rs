//! How the platform is reached from outside.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One Ingress for the platform's hosts.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// IngressClass; the cluster's default where it is left out.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Host names and what they lead to.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub hosts: Vec<IngressHost>,
    /// Certificate for all hosts; plain HTTP where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
}

/// One host name.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressHost {
    /// Fully qualified name; the first label may be `*`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
    )]
    #[x_kube(validation = Rule::new("!isIP(self)")
        .message("a host is a DNS name: addresses lead to the ingress controller by themselves"))]
    pub host: String,
    /// What each path leads to; default everything to the frontend (backend where there is none).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub paths: Vec<IngressPath>,
}

/// One path of a host.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressPath {
    /// Path, such as `/` or `/api`.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^/[A-Za-z0-9._~/-]*$"))]
    #[x_kube(validation = Rule::new("!self.contains('//') && !self.contains('/..') && !self.contains('/./')")
        .message("the path may not contain '//', '/./' or '/..'"))]
    pub path: String,
    /// `Prefix` (default) or `Exact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_type: Option<PathType>,
    /// Name of the component that answers; its first port is used.
    #[schemars(length(min = 1, max = 22))]
    pub component: String,
}

/// How a path matches.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum PathType {
    /// The path and everything below it.
    #[default]
    Prefix,
    /// The path alone.
    Exact,
}

/// Where the certificate comes from: exactly one.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) || has(self.clusterIssuer)")
    .message("set secretName (a Secret that holds the certificate) or clusterIssuer (cert-manager makes it)"))]
pub struct IngressTls {
    /// Secret of type `kubernetes.io/tls`; default `<platform>-tls` with a `clusterIssuer`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// cert-manager's `ClusterIssuer` that makes the certificate.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_issuer: Option<String>,
}
