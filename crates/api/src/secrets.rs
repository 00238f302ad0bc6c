//! Secrets that come from outside the cluster.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Secrets of the platform.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Secrets {
    /// Secrets that External Secrets (add-on) fetches from a secrets manager. What consumes one
    /// waits until it is there, and rolls when it changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub external: Vec<ExternalSecret>,
}

/// One Secret that is fetched from a secrets manager.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecret {
    /// Name of the Secret that is made in the platform's namespace; it goes when its entry goes.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Where it comes from.
    pub store_ref: StoreRef,
    /// How often it is fetched, such as `15s` or `1h`; default `1h`. `0` fetches it once.
    #[schemars(length(min = 1, max = 12), regex(pattern = r"^(0|([0-9]{1,5}(h|m|s))+)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<String>,
    /// Its keys.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["secretKey".into()]))]
    pub data: Vec<ExternalKey>,
}

/// A store of External Secrets.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreRef {
    /// Name of the store.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::names::DNS_SUBDOMAIN))]
    pub name: String,
    /// `SecretStore` (default; in the platform's namespace) or `ClusterSecretStore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<StoreKind>,
}

/// Kind of a store.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum StoreKind {
    /// In the platform's namespace.
    #[default]
    SecretStore,
    /// The cluster's.
    ClusterSecretStore,
}

impl StoreKind {
    /// As External Secrets writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretStore => "SecretStore",
            Self::ClusterSecretStore => "ClusterSecretStore",
        }
    }
}

/// One key of the Secret and its source.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalKey {
    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub secret_key: String,
    /// Its source.
    pub remote_ref: RemoteRef,
}

/// An entry of a secrets manager.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteRef {
    /// Name of the entry, such as `prod/shop/stripe`.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// Property within the entry; the whole entry where it is left out.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Version of the entry; the newest where it is left out.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
