//! What one controller or another can do with the hosts.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::IngressHost;
use crate::network::Cidr;

/// A Gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    pub name: String,
    /// Its namespace; default the platform's. It must admit routes from the platform's namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Listener, such as that for HTTPS; all where it is left out.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Listener for HTTP, for `httpsRedirect`.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_section_name: Option<String>,
}

/// Settings of an Application Load Balancer. Its targets are the pods' addresses.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.sslPolicy) || (has(self.certificateArns) ? self.certificateArns != [] : false)")
    .message("sslPolicy is for HTTPS alone: set certificateArns, or remove it")
    .field_path(".sslPolicy"))]
pub struct Alb {
    /// Certificates of ACM or IAM; plain HTTP where they are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(
            length(max = 256),
            regex(
                pattern = r"^arn:aws[a-z-]*:(acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+|iam::[0-9]{12}:server-certificate/[A-Za-z0-9_+=.@/-]+)$"
            )
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub certificate_arns: Vec<String>,
    /// Protocols and ciphers; default `ELBSecurityPolicy-TLS13-1-2-2021-06` (TLS 1.2 and 1.3).
    #[schemars(length(max = 100), regex(pattern = r"^ELBSecurityPolicy-[A-Za-z0-9-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_policy: Option<String>,
    /// Web ACL of WAF (version 2); the place for rate limits.
    #[schemars(
        length(max = 256),
        regex(
            pattern = r"^arn:aws[a-z-]*:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/[A-Za-z0-9_-]+/[a-f0-9-]+$"
        )
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_acl_arn: Option<String>,
    /// `Internal` (default) or `InternetFacing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
}

/// Where a load balancer is reached from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum Scheme {
    /// The VPC.
    #[default]
    Internal,
    /// Everywhere.
    InternetFacing,
}

/// What one client address may do; more is answered with 503.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.requestsPerSecond) || has(self.connections)")
    .message("set requestsPerSecond, connections or both"))]
#[x_kube(validation = Rule::new("!has(self.burstMultiplier) || has(self.requestsPerSecond)")
    .message("it multiplies requestsPerSecond: set that, or remove burstMultiplier")
    .field_path(".burstMultiplier"))]
pub struct RateLimit {
    /// Requests a second, counted by each pod of the controller.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<i32>,
    /// How many times as many may come in a burst; default 5.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_multiplier: Option<i32>,
    /// Connections at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i32>,
}

/// Stickiness by cookie.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// Name of the cookie; for `Nginx`, default `route`. An ALB uses `AWSALB`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_name: Option<String>,
    /// How long the cookie lasts; default 86400, a day.
    #[schemars(range(min = 1, max = 604_800))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<i32>,
}

/// Headers that tell browsers to be careful.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityHeaders {
    /// `Strict-Transport-Security`: only HTTPS from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// `Content-Security-Policy`, such as `default-src 'self'; frame-ancestors 'none'`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[A-Za-z0-9 ;':/.*_=+?&%#@~-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_security_policy: Option<String>,
    /// `X-Frame-Options`: `Deny` or `SameOrigin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_options: Option<FrameOptions>,
    /// `X-Content-Type-Options: nosniff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_sniff: Option<bool>,
    /// `Referrer-Policy`; not for `ALB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer_policy: Option<ReferrerPolicy>,
}

/// `Strict-Transport-Security`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hsts {
    /// Default 31536000, a year.
    #[schemars(range(min = 0, max = 63_072_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<i32>,
    /// Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_sub_domains: Option<bool>,
    /// Default `false`. Browsers that ship the list keep it for months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preload: Option<bool>,
}

/// Who may show the platform in a frame.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum FrameOptions {
    /// Nobody.
    Deny,
    /// Its own pages.
    SameOrigin,
}

/// What other sites learn of where a visitor comes from.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the values say it
pub enum ReferrerPolicy {
    /// Nothing.
    NoReferrer,
    /// Only the platform's own pages.
    SameOrigin,
    /// The host.
    StrictOrigin,
    /// The host; the platform's own pages everything.
    StrictOriginWhenCrossOrigin,
}

/// Cross-origin requests.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.allowCredentials) || !self.allowCredentials || !('*' in self.allowedOrigins)")
    .message("with allowCredentials, name the origins instead of '*': browsers refuse both together")
    .field_path(".allowedOrigins"))]
pub struct Cors {
    /// Origins, such as `https://app.example.com`, or `*`.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(max = 261),
            regex(pattern = r"^(\*|https?://(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?)$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_origins: Vec<String>,
    /// Default `GET`, `POST`, `PUT`, `PATCH`, `DELETE` and `OPTIONS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_methods: Vec<Method>,
    /// Request headers; default `Authorization`, `Content-Type` and `X-Requested-With`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64), regex(pattern = r"^[A-Za-z0-9-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_headers: Vec<String>,
    /// Whether cookies and logins are sent along; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// How long browsers keep the answer; default 3600.
    #[schemars(range(min = 1, max = 86400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<i32>,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // their names are enough
#[allow(missing_docs, clippy::upper_case_acronyms)] // as HTTP writes them
pub enum Method {
    GET,
    HEAD,
    POST,
    PUT,
    PATCH,
    DELETE,
    OPTIONS,
}

/// An annotation's value, without characters that mean something to a proxy's configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct IngressAnnotation(pub String);

impl JsonSchema for IngressAnnotation {
    fn schema_name() -> Cow<'static, str> {
        "IngressAnnotation".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": "^[A-Za-z0-9 ,.:/_=*@%+-]+$",
        })
    }
}

/// Paths that only known addresses may call.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhooks {
    /// Hosts and their paths.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub hosts: Vec<IngressHost>,
    /// Address blocks of the callers. The controller must see their addresses: behind another load
    /// balancer it needs the proxy protocol or forwarded headers.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.all(r, !r.endsWith('/0'))")
        .message("a block of all addresses keeps nobody out: list those of the callers"))]
    pub allowed_source_ranges: Vec<Cidr>,
}
