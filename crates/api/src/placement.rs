//! Where the whole platform runs, and what it may use.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
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
    /// Labels that every node of the platform must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("!('kubernetes.io/hostname' in self)")
        .message("a platform may not pick nodes by name: select them by a label that describes them"))]
    pub node_selector: BTreeMap<String, LabelValue>,
    /// Taints that all pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
}

/// A ResourceQuota for the platform's namespace. It counts for everything in the namespace, so
/// only one platform of a namespace may ask for it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Upper bounds, such as `requests.cpu: 20` or `pods: 60`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^(requests[.]|limits[.])?[a-z][-a-z0-9.]*(/[a-z][-a-z0-9.]*)?$'))")
        .message("keys are those of a ResourceQuota, such as requests.cpu, limits.memory, pods or requests.storage"))]
    pub hard: BTreeMap<String, Quantity>,
}
