//! `HorizontalPodAutoscalers`.

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, ExternalMetricSource, HPAScalingPolicy, HPAScalingRules,
        HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec,
        MetricIdentifier, MetricSpec, MetricTarget, PodsMetricSource, ResourceMetricSource,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use trading_api::autoscaling::{self as api, Autoscaling, MetricSource, Provider};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, Plan, Scaling},
};

pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    let Scaling::Auto(autoscaling, Provider::HPA) = &component.scaling else { return None };
    let autoscaler = HorizontalPodAutoscaler {
        metadata: meta::object(plan, &component.name, &component.name, meta::APPLICATION, Lifetime::Platform),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(Kind::Deployment.api_version()),
                kind: Kind::Deployment.to_string(),
                name: plan.identity.child(&component.name),
            },
            min_replicas: Some(autoscaling.min_replicas),
            max_replicas: autoscaling.max_replicas,
            metrics: Some(metrics(autoscaling)),
            behavior: autoscaling.behavior.as_ref().map(behavior),
        }),
        status: None,
    };
    Some(Object::new(Kind::HorizontalPodAutoscaler, &component.name, Lifetime::Platform, &autoscaler))
}

fn metrics(autoscaling: &Autoscaling) -> Vec<MetricSpec> {
    let utilization = |name: &str, percent: i32| MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: name.to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    let cpu = autoscaling.cpu.map(|percent| utilization("cpu", percent));
    let memory = autoscaling.memory.map(|percent| utilization("memory", percent));
    cpu.into_iter().chain(memory).chain(autoscaling.metrics.iter().map(further)).collect()
}

fn further(metric: &api::Metric) -> MetricSpec {
    MetricSpec {
        type_: format!("{:?}", metric.kind),
        pods: metric.pods.as_ref().map(|source| PodsMetricSource {
            metric: identifier(&source.metric),
            target: MetricTarget {
                type_: format!("{:?}", source.target.kind),
                average_value: Some((&source.target.average_value.0).into()),
                ..MetricTarget::default()
            },
        }),
        external: metric.external.as_ref().map(|source| ExternalMetricSource {
            metric: identifier(&source.metric),
            target: target(source),
        }),
        ..MetricSpec::default()
    }
}

fn identifier(metric: &api::MetricIdentifier) -> MetricIdentifier {
    MetricIdentifier {
        name: metric.name.clone(),
        selector: metric.selector.as_ref().map(|selector| LabelSelector {
            match_labels: Some(
                selector.match_labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
            ),
            ..LabelSelector::default()
        }),
    }
}

fn target(source: &MetricSource) -> MetricTarget {
    MetricTarget {
        type_: format!("{:?}", source.target.kind),
        average_value: source.target.average_value.as_ref().map(|value| (&value.0).into()),
        value: source.target.value.as_ref().map(|value| (&value.0).into()),
        average_utilization: None,
    }
}

pub(super) fn behavior(behavior: &api::Behavior) -> HorizontalPodAutoscalerBehavior {
    HorizontalPodAutoscalerBehavior {
        scale_up: behavior.scale_up.as_ref().map(rules),
        scale_down: behavior.scale_down.as_ref().map(rules),
    }
}

fn rules(rules: &api::ScalingRules) -> HPAScalingRules {
    let policies: Vec<HPAScalingPolicy> = rules
        .policies
        .iter()
        .map(|policy| HPAScalingPolicy {
            type_: format!("{:?}", policy.kind),
            value: policy.value,
            period_seconds: policy.period_seconds,
        })
        .collect();
    HPAScalingRules {
        stabilization_window_seconds: rules.stabilization_window_seconds,
        select_policy: rules.select_policy.map(|select| format!("{select:?}")),
        policies: (!policies.is_empty()).then_some(policies),
        ..HPAScalingRules::default()
    }
}
