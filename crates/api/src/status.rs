//! What the operator reports. Times, never ages: a platform at rest causes no writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator sees of the platform.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TradingPlatformStatus {
    /// Generation of the resource that the rest of the status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The release that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ready components of all, such as `4/5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// `Ready`, `Available`, `Reconciling`, `Stalled`, `Degraded`, `AutoscalingActive`,
    /// `CertificatesAvailable`, `AddOnsAvailable`, `VolumesExpandable`, `VolumeNearlyFull`,
    /// `CredentialsRotated`, `TLSRequired`, `BackupHealthy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Each component and store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub components: Vec<ComponentStatus>,
    /// Addresses at which the platform's parts answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub endpoints: Vec<Endpoint>,
    /// What was filled in because the resource leaves it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub effective: Vec<EffectiveValue>,
    /// What pods and volumes cost in a month of 730 hours, estimated from what they request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_monthly_cost: Option<CostEstimate>,
}

/// State of one component or store.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Name in the resource.
    pub name: String,
    /// Kind of the object that runs it.
    pub kind: String,
    /// `Ready`, `Progressing`, `Waiting` or `Failed`.
    pub state: String,
    /// Pods that are asked for.
    pub desired: i32,
    /// Pods that are ready, of any version.
    pub ready: i32,
    /// Release that all its pods run; absent while two run side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What is waited for, or what is wrong and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Servers of a store, as they say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
}

/// A server of a store.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its pod.
    pub name: String,
    /// `primary`, `master` or `replica`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `Ready`, `OutOfStep`, `Waiting`, `Failed` or `Silent`.
    pub state: String,
}

/// An address.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Component, store or host.
    pub name: String,
    /// Address, such as `https://app.example.com` or `shop-redis.prod.svc:6379`.
    pub address: String,
}

/// A value that was filled in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveValue {
    /// Field of the spec.
    pub field: String,
    /// Its value.
    pub value: String,
    /// Who chose it: `preset Production`, `role frontend` or `operator`.
    pub from: String,
}

/// An estimate, or why there is none.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostEstimate {
    /// At the fewest replicas, such as `512.40`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    /// At the most replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<String>,
    /// Currency, such as `USD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Source and date of the prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
    /// Why there is no estimate, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
