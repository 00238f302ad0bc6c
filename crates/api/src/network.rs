//! Which traffic is allowed.

use std::{borrow::Cow, collections::BTreeMap};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{names::label_keys, scheduling::LabelValue};

/// Network policies of the platform: everything is denied but the declared flows.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether policies are made; default `true`. Without them the rest of this rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Labels of the namespace in which the ingress controller runs; default the namespaces of
    /// the Gateways, or `kubernetes.io/metadata.name: ingress-nginx`. None for an ALB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = label_keys())]
    pub ingress_namespace_labels: BTreeMap<String, LabelValue>,
    /// Address blocks from which a load balancer or a controller on the nodes' network reaches the
    /// pods, such as the subnets of an ALB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ingress_cidrs: Vec<Cidr>,
    /// Labels of the namespace in which monitoring runs; its pods may reach every port of the
    /// platform's components. Nothing is admitted where it is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = label_keys())]
    pub monitoring_namespace_labels: BTreeMap<String, LabelValue>,
    /// Labels of the namespace in which KEDA runs, which looks at queues in Redis; default
    /// `kubernetes.io/metadata.name: keda`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = label_keys())]
    pub keda_namespace_labels: BTreeMap<String, LabelValue>,
    /// Labels of the namespace in which CloudNativePG's operator runs; default
    /// `kubernetes.io/metadata.name: cnpg-system`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = label_keys())]
    pub cnpg_namespace_labels: BTreeMap<String, LabelValue>,
}

/// Addresses outside the cluster that a component may reach.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.fqdn)")
    .message("set exactly one of cidr and fqdn: ports alone would open the whole world"))]
#[x_kube(validation = Rule::new("!has(self.except) || (has(self.cidr) ? !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e) || (cidr(self.cidr).containsIP(cidr(e).ip()) ? cidr(self.cidr).prefixLength() < cidr(e).prefixLength() : false)) : false)")
    .message("each block of except must lie within cidr and be smaller than it")
    .field_path(".except"))]
pub struct EgressRule {
    /// Address block, such as `203.0.113.0/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Cidr>,
    /// Name, such as `api.example.com` or `*.example.com`. Only Cilium knows names: without it they
    /// stay closed.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
    )]
    #[x_kube(validation = Rule::new("!isIP(self)").message("an address is a block of one: set cidr instead"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// Blocks within it that stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub except: Vec<Cidr>,
    /// Ports; all where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<EgressPort>,
}

/// A port outside the cluster.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPort {
    /// Number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `TCP` (default) or `UDP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
#[allow(clippy::upper_case_acronyms)] // as Kubernetes writes them
pub enum Protocol {
    /// TCP.
    #[default]
    TCP,
    /// UDP.
    UDP,
}

impl Protocol {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TCP => "TCP",
            Self::UDP => "UDP",
        }
    }
}

/// An address block in CIDR notation, IPv4 or IPv6.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Cidr(pub String);

impl JsonSchema for Cidr {
    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 43,
            "x-kubernetes-validations": [{
                // Texts are compared: the cost of comparing blocks has no bound on apiserver 1.31.
                "rule": "isCIDR(self) ? self == string(cidr(self).masked()) : false",
                "message": "use a block such as 203.0.113.0/24 or 2001:db8::/32, in short form, bits after the prefix 0",
            }],
        })
    }
}
