//! How the platform is reached from outside.

mod rules;
mod settings;

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use settings::{
    Alb, Cors, FrameOptions, Hsts, IngressAnnotation, Method, ParentRef, RateLimit, ReferrerPolicy, Scheme,
    SecurityHeaders, SessionAffinity, Webhooks,
};

/// The platform's hosts, and how the controller of the cluster serves them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::parents())]
#[x_kube(validation = rules::redirect_of_gateway())]
#[x_kube(validation = rules::tls_of_gateway())]
#[x_kube(validation = rules::rates_of_gateway())]
#[x_kube(validation = rules::stickiness_of_gateway())]
#[x_kube(validation = rules::timeout_of_gateway())]
#[x_kube(validation = rules::webhooks_of_gateway())]
#[x_kube(validation = rules::class_of_a_class())]
#[x_kube(validation = rules::alb_of_alb())]
#[x_kube(validation = rules::tls_of_alb())]
#[x_kube(validation = rules::redirect_of_alb())]
#[x_kube(validation = rules::rates_of_alb())]
#[x_kube(validation = rules::cookie_of_alb())]
#[x_kube(validation = rules::headers_of_alb())]
#[x_kube(validation = rules::origins_of_alb())]
#[x_kube(validation = rules::webhooks_of_alb())]
#[x_kube(validation = rules::known_controller())]
#[x_kube(validation = rules::nothing_without_object())]
#[x_kube(validation = rules::annotations())]
#[x_kube(validation = rules::webhook_paths())]
pub struct Ingress {
    /// What leads traffic to the hosts: `Gateway` (Gateway API), `ALB` (AWS Load
    /// Balancer Controller), `Nginx` (ingress-nginx, unmaintained since March 2026) or `None` (no
    /// object; something else leads to the Services). Left out: a plain Ingress for any controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// IngressClass; default `nginx` or `alb` by the controller, or the cluster's default.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Gateways that the hosts are attached to; for `Gateway`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names and what they lead to.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub hosts: Vec<IngressHost>,
    /// Certificate for all hosts, of `Nginx` or a plain Ingress; plain HTTP where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// Settings of the load balancer; for `ALB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alb: Option<Alb>,
    /// Answers HTTP with a redirect to HTTPS; default `true` with a certificate. `Nginx` without
    /// `tls`: TLS ends at a load balancer that tells so (proxy protocol or forwarded headers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_redirect: Option<bool>,
    /// Limits for each client address; for `Nginx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Keeps a client at one pod by a cookie, as web sockets may need; for `Nginx` and `ALB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Seconds that a connection, such as a web socket, may be silent; default the controller's 60.
    /// For `Nginx` and `ALB`.
    #[schemars(range(min = 1, max = 4000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<i32>,
    /// Headers of every answer. ingress-nginx serves the hosts only where its administrator lists
    /// these headers in `global-allowed-response-headers`.
    #[schemars(extend("minProperties" = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_headers: Option<SecurityHeaders>,
    /// Pages of other origins that may call the platform. The components behind the hosts get the
    /// origins as `CORS_ALLOWED_ORIGINS`; with an ALB they answer the browsers themselves. `Gateway`
    /// needs Gateway API 1.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Further annotations from a list of harmless ones, see docs/network.md.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub annotations: BTreeMap<String, IngressAnnotation>,
    /// An Ingress of its own for calls from known addresses, with the class, certificate, timeout
    /// and annotations of this one; for `Nginx` and `ALB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Webhooks>,
}

/// What leads traffic to the hosts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum Controller {
    /// Gateway API.
    Gateway,
    /// AWS Load Balancer Controller.
    #[serde(rename = "ALB")]
    Alb,
    /// ingress-nginx.
    Nginx,
    /// Something else.
    None,
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
    #[x_kube(validation = Rule::new("!self.matches('//|/[.][.]|/[.]/')")
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

/// Where the certificate comes from.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) || has(self.clusterIssuer)")
    .message("set secretName (a Secret that holds the certificate) or clusterIssuer (cert-manager makes it)"))]
pub struct IngressTls {
    /// Secret of type `kubernetes.io/tls`; default `<platform>-tls` with a `clusterIssuer`.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// cert-manager's `ClusterIssuer` that makes the certificate.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_issuer: Option<String>,
}
