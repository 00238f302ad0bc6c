//! Container images: where they come from and which release they are.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::DNS_SUBDOMAIN;

/// Settings for the images of every pod of the platform, generated Jobs included.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageDefaults {
    /// Registry put before every repository of the platform's own components, such as
    /// `registry.example.com/team`. Data stores name theirs in full.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9._-]+)*$")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// When the kubelet pulls: `Always`, `IfNotPresent` (default) or `Never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of Secrets of type `kubernetes.io/dockerconfigjson` for every pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub pull_secrets: Vec<String>,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum PullPolicy {
    /// At every start of a container.
    Always,
    /// Only where the node lacks it.
    IfNotPresent,
    /// Never; the node must have it.
    Never,
}

impl PullPolicy {
    /// As the pod spec writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// An image: its repository, and a tag or a digest where it is not the platform's version.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tag) || !has(self.digest)")
    .message("set either tag or digest, not both")
    .field_path(".digest"))]
pub struct Image {
    /// Repository without tag, such as `tradewizard/backend`.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!self.matches('.*:[^/]*$')")
        .message("the repository must not carry a tag: put it into tag"))]
    pub repository: String,
    /// Tag; `spec.version` where it is left out (data stores: a version known to work).
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^\w[\w.-]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Digest `sha256:…` instead of a tag.
    #[schemars(regex(pattern = r"^sha256:[a-f0-9]{64}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
