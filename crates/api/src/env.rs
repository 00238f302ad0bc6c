//! Environment variables and configuration files of a component.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::names::{DATA_KEY, DNS_SUBDOMAIN};

/// One environment variable: a value, or where it comes from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.value) || !has(self.valueFrom)")
    .message("set either value or valueFrom, not both")
    .field_path(".valueFrom"))]
pub struct EnvVar {
    /// Name, such as `LOG_LEVEL`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_]\w*$"))]
    pub name: String,
    /// Literal value. Not for secrets: use `valueFrom.secretKeyRef`.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where the value comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where an environment variable's value comes from: exactly one.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].exists_one(x, x)")
    .message("set exactly one of secretKeyRef, configMapKeyRef and fieldRef"))]
pub struct EnvVarSource {
    /// A key of a Secret in the component's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a ConfigMap in the component's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A field of the pod, such as `metadata.name` or `status.podIP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
}

/// A field of the pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// Path, such as `metadata.name`.
    #[schemars(
        length(min = 1, max = 200),
        regex(
            pattern = r"^(metadata\.(name|namespace|uid|(labels|annotations)\['([a-z0-9.-]+/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?'\])|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
        )
    )]
    pub field_path: String,
}

/// One key of a Secret or ConfigMap.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
    /// Start the pods even where the object or key is absent; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// One key of a Secret that has to be there.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret, in the store's namespace (the platform's where the store is elsewhere).
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// All keys of a Secret or ConfigMap as environment variables.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.configMapRef)")
    .message("set exactly one of secretRef and configMapRef"))]
pub struct EnvFrom {
    /// Put before every key; nothing by default.
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z_]\w*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A Secret of the component's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectRef>,
    /// A ConfigMap of the component's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ObjectRef>,
}

/// An object of the component's namespace.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Start the pods even where the object is absent; default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Configuration files: they become a ConfigMap, and a change of it rolls the pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFiles {
    /// Folder in the container where the files appear, read-only.
    #[schemars(length(min = 2, max = 200), regex(pattern = r"^/[^:]*[^:/]$"))]
    pub mount_path: String,
    /// The files. Not for secrets.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub files: Vec<ConfigFile>,
}

/// One configuration file.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// File name, such as `app.toml`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^\.?[-_a-zA-Z0-9]([-._a-zA-Z0-9]*[-_a-zA-Z0-9])?$")
    )]
    pub name: String,
    /// Content, at most 64 KiB.
    #[schemars(length(max = 65536))]
    pub content: String,
}
