//! Where the whole platform runs, and what it may use.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    component::{ResourceAmounts, not_above},
    names::{NamespaceName, keys_but},
    scheduling::{LabelValue, Toleration},
};

/// Where all pods of the platform run; components can narrow it further.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Region that pods must stay in (data residency): `topology.kubernetes.io/region`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<LabelValue>,
    /// Zones that pods must stay in: `topology.kubernetes.io/zone`; all where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub zones: Vec<LabelValue>,
    /// Spread every component's pods evenly over the zones, as far as nodes allow. Default:
    /// `true` in `Production` and `Staging`, `false` in `Development`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_over_zones: Option<bool>,
    /// `PreferClose`: who calls a component gets a pod of its own zone where there is a ready one.
    /// It saves the cost and time of crossing zones, and loads pods unevenly where callers are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
    /// Labels that every node of the platform must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = keys_but("k == 'kubernetes.io/hostname'", "not kubernetes.io/hostname: nodes can't be picked by name"))]
    pub node_selector: BTreeMap<String, LabelValue>,
    /// Namespaces of components and stores that live outside the platform's own, by name
    /// (`frontend`, `redis`, `postgres`, `runtime`, a service). Each must allow it:
    /// `kubectl label namespace NAMESPACE platform.trading/allows=OWN-NAMESPACE.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub namespaces: BTreeMap<String, NamespaceName>,
    /// Taints that all pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
}

/// Which pods of a Service are preferred, as Kubernetes calls it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum TrafficDistribution {
    /// Those of the caller's zone.
    PreferClose,
}

/// What most of them count: known without a regular expression, which offline validation and the operator
/// compile for every key.
const COMMON_QUOTA_KEYS: &str = "'limits.cpu','limits.memory','persistentvolumeclaims','pods','requests.cpu','requests.memory','requests.storage'";

/// What a `ResourceQuota` can count.
const QUOTA_KEY: &str = "^((requests[.]|limits[.])?(cpu|memory|ephemeral-storage)|requests[.](storage|[a-z][-a-z0-9.]*/[a-z][-a-z0-9.]*)|pods|services([.](loadbalancers|nodeports))?|persistentvolumeclaims|configmaps|secrets|replicationcontrollers|resourcequotas|count/[a-z]+([.][a-z][-a-z0-9.]*)?|[a-z0-9][-a-z0-9.]*[.]storageclass[.]storage[.]k8s[.]io/(requests[.]storage|persistentvolumeclaims))$";

/// A `ResourceQuota` and a `LimitRange` for the platform's namespace. They count for everything in the
/// namespace, so only one platform of a namespace may ask for them. What the platform asks for at
/// its maximum is compared with them first.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.hard) ? self.hard != {} : false) || has(self.container)")
    .message("set hard (bounds of the namespace), container (bounds of each container) or both"))]
pub struct Quota {
    /// Upper bounds, such as `requests.cpu: 20` or `pods: 60`.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new(format!("self.all(k, k in[{COMMON_QUOTA_KEYS}]||k.matches('{QUOTA_KEY}'))"))
        .message("keys are those of a ResourceQuota, such as requests.cpu, limits.memory, pods, requests.storage or count/deployments.apps"))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hard: BTreeMap<String, Quantity>,
    /// Bounds of each container of the namespace (a `LimitRange`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerLimits>,
}

/// Bounds of each container.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)")
    .message("set min, max or both"))]
#[x_kube(validation = not_above("min", "max")
    .message("min may not be above max"))]
pub struct ContainerLimits {
    /// Least that a container may request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<ResourceAmounts>,
    /// Most that a container may have as its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<ResourceAmounts>,
}
