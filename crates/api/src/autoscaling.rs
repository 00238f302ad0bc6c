//! Horizontal autoscaling of a component.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{component::ResourceAmounts, quantity::PositiveQuantity, scheduling::LabelValue};

/// Platform-wide switch of autoscaling.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingDefaults {
    /// Whether components with `autoscaling` get a HorizontalPodAutoscaler. Default: `false` in
    /// `Development`, where they stay at `minReplicas`, `true` elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What scales components that have no `metrics`: `HPA` (default) or `KEDA` (add-on). Those with
    /// `triggers` are always KEDA's, those with `metrics` the HPA's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Where KEDA asks Prometheus; default `http://prometheus-operated.monitoring.svc:9090`, the
    /// Prometheus operator's own Service.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^https?://[a-z0-9]([a-z0-9.:-]*[a-z0-9])?(/[A-Za-z0-9._/-]*)?$")
    )]
    #[x_kube(validation = Rule::new("!self.matches('^https?://(localhost|127[.]|169[.]254[.])')")
        .message("KEDA asks from its own pod: use the host of Prometheus, not loopback or link-local"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus_address: Option<String>,
}

/// What changes the number of pods.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
#[allow(clippy::upper_case_acronyms)] // their own names
pub enum Provider {
    /// Kubernetes' HorizontalPodAutoscaler.
    #[default]
    HPA,
    /// KEDA.
    KEDA,
}

/// How a component scales. The autoscaler owns the number of replicas.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas")
    .message("minReplicas must not be greater than maxReplicas")
    .field_path(".minReplicas"))]
#[x_kube(validation = Rule::new("has(self.cpu) || has(self.memory) || (has(self.metrics) ? self.metrics != [] : has(self.triggers) ? self.triggers != [] : false)")
    .message("set cpu, memory, metrics or triggers to scale on"))]
#[x_kube(validation = Rule::new("!has(self.metrics) || !has(self.triggers)")
    .message("metrics are the HPA's, triggers KEDA's, and only one can scale: remove one")
    .field_path(".triggers"))]
pub struct Autoscaling {
    /// Fewest replicas, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Most replicas, at least `minReplicas`, at most 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Target average use of the requested cpu in percent, such as 70.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i32>,
    /// Target average use of the requested memory in percent, such as 80.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i32>,
    /// Further metrics, in the shape of `autoscaling/v2`: `Pods` or `External`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub metrics: Vec<Metric>,
    /// Queues and queries to scale on with KEDA (add-on), beside `cpu` and `memory`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub triggers: Vec<Trigger>,
    /// How fast it scales up and down, in the shape of `autoscaling/v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

/// One metric to scale on.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == (has(self.pods) ? 'Pods' : '') + (has(self.external) ? 'External' : '')")
    .message("a metric needs exactly the block of its type: pods or external"))]
pub struct Metric {
    /// `Pods`: a metric of each pod, averaged. `External`: one of something outside.
    #[serde(rename = "type")]
    pub kind: MetricKind,
    /// For `Pods`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsMetric>,
    /// For `External`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<MetricSource>,
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum MetricKind {
    /// `custom.metrics.k8s.io`.
    Pods,
    /// `external.metrics.k8s.io`.
    External,
}

/// A metric of the pods and the value that is aimed at.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsMetric {
    /// Which metric.
    pub metric: MetricIdentifier,
    /// The value aimed at.
    pub target: AverageTarget,
}

/// The value that the average over the pods is brought to by scaling.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AverageTarget {
    /// `AverageValue`: a metric of pods has no other.
    #[serde(rename = "type")]
    pub kind: AverageTargetKind,
    /// Greater than 0.
    pub average_value: PositiveQuantity,
}

/// How a target of pods is compared.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum AverageTargetKind {
    /// The sum divided by the number of pods.
    AverageValue,
}

/// A metric and the value that is aimed at.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSource {
    /// Which metric.
    pub metric: MetricIdentifier,
    /// The value aimed at.
    pub target: MetricTarget,
}

/// A metric's name.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// Name, such as `requests_per_second`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9][-\w.:|]*$"))]
    pub name: String,
    /// Labels of the series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<MetricSelector>,
}

/// Labels that a series must have.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSelector {
    /// Label to value.
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, LabelValue>,
}

/// The value that a metric is brought to by scaling.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == (has(self.averageValue) ? 'AverageValue' : '') + (has(self.value) ? 'Value' : '')")
    .message("a target needs exactly the field of its type: averageValue or value"))]
pub struct MetricTarget {
    /// `AverageValue` (the sum divided by the number of pods) or `Value`.
    #[serde(rename = "type")]
    pub kind: MetricTargetKind,
    /// For `AverageValue`; greater than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_value: Option<PositiveQuantity>,
    /// For `Value`; greater than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<PositiveQuantity>,
}

/// How a target is compared.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum MetricTargetKind {
    /// The sum divided by the number of pods.
    AverageValue,
    /// The value as it is.
    Value,
}

/// Something that KEDA looks at, every 30 s.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.consumerGroup) || self.type == 'RedisStream'")
    .message("only a RedisStream has a consumerGroup: remove it")
    .field_path(".consumerGroup"))]
pub struct Trigger {
    /// `RedisList`: the length of a list in the platform's Redis. `RedisStream`: entries of a stream
    /// there. `Prometheus`: the result of a query.
    #[serde(rename = "type")]
    pub kind: TriggerKind,
    /// Key of the list or stream, or the query in PromQL, which gives one number.
    #[schemars(length(min = 1, max = 1024))]
    pub source: String,
    /// For `RedisStream`: only entries that this group has not read yet count (Redis 7). All entries
    /// where it is left out.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group: Option<String>,
    /// How much there may be for each pod.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub threshold: i32,
}

/// What a trigger reads.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum TriggerKind {
    /// Length of a Redis list.
    RedisList,
    /// Entries of a Redis stream.
    RedisStream,
    /// A query to Prometheus.
    Prometheus,
}

/// Larger or smaller requests of pods, as their use suggests. They stay at or below the limits in
/// `resources`, which stay as they are; with `qos: Guaranteed`, limits go with requests.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerticalScaling {
    /// `Recommend`: says what it would set (`kubectl describe vpa`). `Initial`: sets it for new pods.
    /// `Recreate`: replaces pods too, where there are at least two.
    pub mode: VerticalMode,
    /// What it sets, `cpu` and `memory` by default; not what `autoscaling` scales on.
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<SizedResource>>,
    /// Least that it sets; the limits of the container are the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_allowed: Option<ResourceAmounts>,
}

/// What becomes of a recommendation. Not `Off`, which YAML would read as a boolean.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum VerticalMode {
    /// It is shown.
    Recommend,
    /// New pods get it.
    Initial,
    /// Running pods are replaced.
    Recreate,
}

/// A resource, by Kubernetes' own name.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "")] // the field says it
pub enum SizedResource {
    /// Cores.
    Cpu,
    /// Bytes.
    Memory,
}

/// How fast scaling may go.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Up; Kubernetes' default: at once, by 4 pods or 100 % in 15 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// Down; Kubernetes' default: after 300 s, by 100 % in 15 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// Rules for one direction.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRules {
    /// Seconds over which recommendations are weighed, so that it does not flap; 0 to 3600, default
    /// 0 for up and 300 for down.
    #[schemars(range(min = 0, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i32>,
    /// Which policy counts: `Max` (default), `Min` or `Disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// Largest steps; Kubernetes' own where they are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub policies: Vec<ScalingPolicy>,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum SelectPolicy {
    /// The one that allows the largest step.
    Max,
    /// The one that allows the smallest step.
    Min,
    /// No scaling in this direction.
    Disabled,
}

/// The largest step in a period.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// `Pods` or `Percent`.
    #[serde(rename = "type")]
    pub kind: ScalingPolicyKind,
    /// Number of pods, or percent.
    #[schemars(range(min = 1, max = 100_000))]
    pub value: i32,
    /// Seconds of the period, 1 to 1800.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// Unit of a step.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum ScalingPolicyKind {
    /// A number of pods.
    Pods,
    /// Percent of the present number.
    Percent,
}
