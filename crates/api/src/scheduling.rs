//! Where pods may run.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{DNS_SUBDOMAIN, LABEL_KEY, keys_but};

/// Scheduling of a component's pods; the same fields for applications and data stores.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Which nodes the pods need or prefer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Keeps the component's own pods apart. Default: `Preferred` by node in `Production` and
    /// `Staging`, `None` in `Development`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AntiAffinity>,
    /// How evenly the component's pods are spread; the pods are selected by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into(), "whenUnsatisfiable".into()]))]
    pub topology_spread_constraints: Vec<TopologySpread>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = keys_but("k == 'kubernetes.io/hostname'", "not kubernetes.io/hostname: nodes can't be picked by name"))]
    pub node_selector: BTreeMap<String, LabelValue>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Name of a PriorityClass. The `system-` classes are refused.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    #[x_kube(validation = Rule::new("!self.startsWith('system-')")
        .message("the system- priority classes are the cluster's own: use another class"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

/// A label's value, at most 63 characters.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelValue(pub String);

impl JsonSchema for LabelValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LabelValue".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 63,
            "pattern": r"^(([A-Za-z0-9][-\w.]*)?[A-Za-z0-9])?$",
        })
    }
}

/// Node affinity, in Kubernetes' shape.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// Rules about the node's labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
}

/// Rules about the node's labels.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAffinity {
    /// The node must match one of the terms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
    /// Matching nodes are preferred by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub preferred_during_scheduling_ignored_during_execution: Vec<PreferredTerm>,
}

/// Terms of which one must match.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector {
    /// Alternatives.
    #[schemars(length(min = 1, max = 8))]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// Expressions that must all match.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelectorTerm {
    /// Expressions over node labels.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(e, e.key != 'kubernetes.io/hostname')")
        .message("nodes can't be picked by name: use another label"))]
    pub match_expressions: Vec<NodeExpression>,
}

/// A weighted preference.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredTerm {
    /// 1–100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// What is preferred.
    pub preference: NodeSelectorTerm,
}

/// One expression over a node label.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator.contains('Exist') == (has(self.values) ? self.values == [] : true) ? !self.operator.matches('^[GL]t') || (self.values.size() == 1 ? self.values[0].matches('^[0-9]+$') : false) : false")
    .message("In and NotIn need values, Gt and Lt one whole number, the others none")
    .field_path(".values"))]
pub struct NodeExpression {
    /// Label key.
    #[schemars(length(min = 1, max = 316), regex(pattern = LABEL_KEY))]
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
    pub operator: NodeOperator,
    /// Values for `In`, `NotIn`, `Gt` and `Lt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values: Vec<LabelValue>,
}

/// Operator of a node expression.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum NodeOperator {
    /// One of the values.
    #[default]
    In,
    /// None of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// Greater than the one value, as an integer.
    Gt,
    /// Less than the one value, as an integer.
    Lt,
}

/// Keeps pods of one component apart.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AntiAffinity {
    /// `Required`: never together; `Preferred`: apart where possible; `None`: anywhere, whatever `topologyKey`.
    pub mode: AntiAffinityMode,
    /// Node label that says what "together" means; default `kubernetes.io/hostname`.
    #[schemars(length(min = 1, max = 316), regex(pattern = LABEL_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_key: Option<String>,
}

/// How strictly pods are kept apart.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum AntiAffinityMode {
    /// Never together.
    Required,
    /// Apart where possible.
    Preferred,
    /// Anywhere.
    None,
}

/// How evenly pods are spread over a topology.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// Largest difference in pods between two domains.
    #[schemars(range(min = 1, max = 100))]
    pub max_skew: i32,
    /// Node label that names the domain, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316), regex(pattern = LABEL_KEY))]
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens to a pod that would break the spread.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum WhenUnsatisfiable {
    /// It waits.
    DoNotSchedule,
    /// It runs on the least bad node.
    ScheduleAnyway,
}

impl WhenUnsatisfiable {
    /// As the pod spec writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DoNotSchedule => "DoNotSchedule",
            Self::ScheduleAnyway => "ScheduleAnyway",
        }
    }
}

/// A taint that pods tolerate.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.key.matches('^node-role[.]kubernetes[.]io/(control-plane|master)$')")
    .message("a platform may not run on control-plane nodes: tolerate another taint")
    .field_path(".key"))]
#[x_kube(validation = Rule::new("!has(self.value) || !has(self.operator) || self.operator != 'Exists'")
    .message("operator Exists has no value: remove value")
    .field_path(".value"))]
#[x_kube(validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) ? self.effect == 'NoExecute' : false)")
    .message("set effect NoExecute, or remove tolerationSeconds")
    .field_path(".tolerationSeconds"))]
pub struct Toleration {
    /// Key of the taint. It can't be left out: that would tolerate every taint.
    #[schemars(length(min = 1, max = 316), regex(pattern = LABEL_KEY))]
    pub key: String,
    /// `Equal` (default) or `Exists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint, for `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<LabelValue>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; all where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// How long a pod stays on a node that gets a `NoExecute` taint, in seconds.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration matches.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum TolerationOperator {
    /// Key and value are equal.
    Equal,
    /// The key is there.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum TaintEffect {
    /// No new pods.
    NoSchedule,
    /// New pods elsewhere where possible.
    PreferNoSchedule,
    /// Running pods leave.
    NoExecute,
}
