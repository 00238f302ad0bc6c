//! What scales pods.

use trading_api::{
    autoscaling::{
        Autoscaling, AverageTarget, AverageTargetKind, Behavior, Metric, MetricIdentifier, MetricKind,
        MetricSelector, MetricSource, MetricTarget, MetricTargetKind, PodsMetric, ScalingPolicy,
        ScalingPolicyKind, ScalingRules, SelectPolicy, SizedResource, Trigger, TriggerKind, VerticalMode,
        VerticalScaling,
    },
    component::ResourceAmounts,
    quantity::PositiveQuantity,
};

use super::amounts::{CPU, MEMORY, quantity};
use super::names::labels;
use crate::tape::Tape;

pub(super) fn vertical_scaling(tape: &mut Tape, autoscaling: Option<&Autoscaling>) -> VerticalScaling {
    let modes = [VerticalMode::Recommend, VerticalMode::Initial, VerticalMode::Recreate];
    let mut given = VerticalScaling {
        mode: tape.copy(&modes),
        resources: tape.maybe(60, |tape| {
            if tape.chance(50) {
                vec![SizedResource::Cpu, SizedResource::Memory]
            } else {
                vec![tape.copy(&[SizedResource::Cpu, SizedResource::Memory])]
            }
        }),
        min_allowed: tape.maybe(50, |tape| ResourceAmounts {
            cpu: tape.maybe(70, |tape| quantity(tape.pick(&CPU))),
            memory: tape.maybe(70, |tape| quantity(tape.pick(&MEMORY))),
        }),
    };
    let scaled = autoscaling.is_some_and(|scaling| scaling.cpu.is_some() || scaling.memory.is_some());
    if scaled {
        given.mode = VerticalMode::Recommend;
    }
    given
}

fn trigger(tape: &mut Tape, has_redis: bool) -> Trigger {
    let kinds = [TriggerKind::Prometheus, TriggerKind::RedisList, TriggerKind::RedisStream];
    let kind = tape.copy(if has_redis { &kinds } else { &kinds[..1] });
    let group = if kind == TriggerKind::RedisStream { 50 } else { 0 };
    Trigger {
        kind,
        source: tape.pick(&["orders", "sum(a{b=\"c\"})", "{orders}:'x'"]).to_owned(),
        consumer_group: tape.maybe(group, |_| "workers".to_owned()),
        threshold: tape.between(1, 1_000_000_000),
    }
}

pub(super) fn autoscaling(tape: &mut Tape, has_redis: bool) -> Autoscaling {
    let min_replicas = tape.copy(&[1, 2, 3, 500, 1000]);
    let triggers =
        if tape.chance(30) { tape.list(3, |tape, _| trigger(tape, has_redis)) } else { Vec::new() };
    let mut autoscaling = Autoscaling {
        min_replicas,
        max_replicas: tape.between(min_replicas, 1000),
        cpu: tape.maybe(60, |tape| tape.between(1, 1000)),
        memory: tape.maybe(30, |tape| tape.between(1, 1000)),
        metrics: if triggers.is_empty() { tape.list(3, |tape, _| metric(tape)) } else { Vec::new() },
        triggers,
        behavior: tape.maybe(30, |tape| Behavior {
            scale_up: tape.maybe(60, scaling_rules),
            scale_down: tape.maybe(60, scaling_rules),
        }),
    };
    if autoscaling.memory.is_none() && autoscaling.metrics.is_empty() && autoscaling.triggers.is_empty() {
        autoscaling.cpu.get_or_insert(70);
    }
    autoscaling
}

pub(super) fn metric(tape: &mut Tape) -> Metric {
    let kind = tape.copy(&[MetricKind::Pods, MetricKind::External]);
    let target = tape.pick(&["1", "1500m", "1e3"]);
    let metric = MetricIdentifier {
        name: tape.pick(&["requests_per_second", "q:len|orders", "9.-"]).to_owned(),
        selector: tape.maybe(30, |tape| MetricSelector { match_labels: labels(tape, 2) }),
    };
    let target = || PositiveQuantity(quantity(target));
    let (pods, external) = match kind {
        MetricKind::Pods => {
            let target = AverageTarget { kind: AverageTargetKind::AverageValue, average_value: target() };
            (Some(PodsMetric { metric, target }), None)
        }
        MetricKind::External => {
            let is_value = tape.chance(50);
            let target = MetricTarget {
                kind: if is_value { MetricTargetKind::Value } else { MetricTargetKind::AverageValue },
                average_value: (!is_value).then(target),
                value: is_value.then(target),
            };
            (None, Some(MetricSource { metric, target }))
        }
    };
    Metric { kind, pods, external }
}

fn scaling_rules(tape: &mut Tape) -> ScalingRules {
    ScalingRules {
        stabilization_window_seconds: tape.maybe(50, |tape| tape.between(0, 3600)),
        select_policy: tape
            .maybe(50, |tape| tape.copy(&[SelectPolicy::Max, SelectPolicy::Min, SelectPolicy::Disabled])),
        policies: tape.list(2, |tape, _| ScalingPolicy {
            kind: tape.copy(&[ScalingPolicyKind::Pods, ScalingPolicyKind::Percent]),
            value: tape.between(1, 100_000),
            period_seconds: tape.between(1, 1800),
        }),
    }
}
