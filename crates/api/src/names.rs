//! Forms of names that Kubernetes gives and takes.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of a namespace: a DNS label.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamespaceName(pub String);

impl JsonSchema for NamespaceName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NamespaceName".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 63,
            "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        })
    }
}

/// A DNS subdomain, as most objects are named: parts of letters, digits and dashes between dots.
pub const DNS_SUBDOMAIN: &str = r"^[a-z0-9]+((\.|-+)[a-z0-9]+)*$";

/// A key of a Secret or ConfigMap: neither `.` nor `..`, nor anything that begins with two dots.
pub const DATA_KEY: &str = r"^\.?[-\w][-.\w]*$";

/// A label's key: a name of at most 63 characters, with a DNS prefix or without.
pub const LABEL_KEY: &str = r"^([a-z0-9]+((\.|-+)[a-z0-9]+)*/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$";

/// CEL: whether `k` has the form of a label's key.
const IS_LABEL_KEY: &str =
    "k.matches('^([a-z0-9]+(([.]|-+)[a-z0-9]+)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')";

/// Every key of a map has the form of a label's key.
pub(crate) fn label_keys() -> Rule {
    Rule::new(format!("self.all(k, {IS_LABEL_KEY})")).message("use keys such as team or example.com/team")
}

/// As [`label_keys`], but for keys `k` of which the CEL in `refused` holds.
pub(crate) fn keys_but(refused: &str, why: &str) -> Rule {
    Rule::new(format!("self.all(k, {refused} ? false : {IS_LABEL_KEY})"))
        .message(format!("use keys such as team or example.com/team, {why}").as_str())
}

/// A host is a DNS name or an address, and nothing else that a URL has.
pub(crate) fn is_host() -> Rule {
    Rule::new("isIP(self) || self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$')")
        .message("host must be a DNS name or an IP address, without scheme, port or path")
}

/// A host is neither the pod itself nor what hands out the node's credentials.
pub(crate) fn is_outside() -> Rule {
    Rule::new("isIP(self) ? !(ip(self).isLoopback() || ip(self).isLinkLocalUnicast() || ip(self).isUnspecified() || self == 'fd00:ec2::254') : self.lowerAscii() != 'localhost'")
        .message("host must be reachable from the pods: not loopback, link-local, nor the cloud's metadata address")
}
