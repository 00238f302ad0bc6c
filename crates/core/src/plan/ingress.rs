//! Access from outside.

use std::collections::BTreeMap;

use trading_api::{
    ingress::{ParentRef, PathType, RateLimit, Scheme},
    network::Cidr,
};

use crate::inputs::Reference;

/// Access from outside.
#[derive(Clone, Debug)]
pub struct IngressPlan {
    /// Who serves it.
    pub controller: ControllerPlan,
    /// `IngressClass`.
    pub class_name: Option<String>,
    /// Hosts and paths.
    pub hosts: Vec<(String, Vec<Route>)>,
    /// Secret with the certificate.
    pub tls_secret: Option<String>,
    /// cert-manager's issuer.
    pub cluster_issuer: Option<String>,
    /// The certificates of all hosts, in each namespace that they lead to.
    pub certificates: Vec<CertificatePlan>,
    /// Whether HTTP is answered with a redirect to HTTPS; `None` leaves it to the controller.
    pub https_redirect: Option<bool>,
    /// Limits for each client.
    pub rate_limit: Option<RateLimit>,
    /// Stickiness.
    pub stickiness: Option<Stickiness>,
    /// Seconds that a connection may be silent.
    pub idle_timeout: Option<i32>,
    /// Headers of every answer, by name.
    pub headers: Vec<(&'static str, String)>,
    /// Cross-origin requests.
    pub cors: Option<CorsPlan>,
    /// Further annotations.
    pub annotations: BTreeMap<String, String>,
    /// Calls from known addresses.
    pub webhooks: Option<WebhooksPlan>,
}

impl IngressPlan {
    /// Every route, those of webhooks included.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        let webhooks = self.webhooks.iter().flat_map(|webhooks| &webhooks.hosts);
        self.hosts.iter().chain(webhooks).flat_map(|(_, routes)| routes)
    }

    /// Whether clients come by HTTPS; `None` where only the Gateway knows.
    #[must_use]
    pub fn is_https(&self) -> Option<bool> {
        let redirects = self.https_redirect == Some(true);
        match &self.controller {
            ControllerPlan::Gateway(_) | ControllerPlan::None => redirects.then_some(true),
            ControllerPlan::Alb(alb) => Some(!alb.certificate_arns.is_empty()),
            ControllerPlan::Any | ControllerPlan::Nginx => Some(redirects || self.tls_secret.is_some()),
        }
    }
}

/// A Secret with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificatePlan {
    /// The Secret.
    pub reference: Reference,
    /// It exists, or nobody has looked yet.
    pub is_there: bool,
}

/// Who serves the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerPlan {
    /// Any controller of Ingresses.
    Any,
    /// ingress-nginx.
    Nginx,
    /// An Application Load Balancer.
    Alb(AlbPlan),
    /// Gateways.
    Gateway(Vec<ParentRef>),
    /// Something that needs no object.
    None,
}

/// An Application Load Balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlbPlan {
    /// Certificates; plain HTTP without.
    pub certificate_arns: Vec<String>,
    /// Protocols and ciphers, where there is a certificate.
    pub ssl_policy: Option<String>,
    /// Web ACL.
    pub web_acl_arn: Option<String>,
    /// Where it is reached from.
    pub scheme: Scheme,
}

/// Stickiness by cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stickiness {
    /// Name of the cookie.
    pub cookie: String,
    /// How long it lasts.
    pub max_age: i32,
}

/// Cross-origin requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsPlan {
    /// Origins.
    pub origins: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Request headers.
    pub headers: Vec<String>,
    /// Whether cookies and logins are sent along.
    pub credentials: bool,
    /// How long browsers keep the answer.
    pub max_age: i32,
}

/// Calls from known addresses.
#[derive(Clone, Debug)]
pub struct WebhooksPlan {
    /// Hosts and paths.
    pub hosts: Vec<(String, Vec<Route>)>,
    /// Who may call.
    pub ranges: Vec<Cidr>,
    /// Secret with the certificate.
    pub tls_secret: Option<String>,
}

/// One path.
#[derive(Clone, Debug)]
pub struct Route {
    /// Path.
    pub path: String,
    /// How it matches.
    pub path_type: PathType,
    /// Component.
    pub component: String,
    /// Port of its Service.
    pub port: i32,
}
