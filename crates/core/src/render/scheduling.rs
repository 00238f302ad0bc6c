//! Where pods run.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    PodAntiAffinity, PodSpec, PreferredSchedulingTerm, Toleration, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};
use trading_api::scheduling::{
    self as api, AntiAffinityMode, NodeExpression, Scheduling, TaintEffect, TolerationOperator,
};

use super::meta::{matching, selector};
use crate::plan::Plan;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Writes the platform's placement and the component's own wishes into a pod, which may be one of several.
pub(super) fn place(plan: &Plan, component: &str, scheduling: &Scheduling, several: bool, pod: &mut PodSpec) {
    let mut node_selector = plan.pods.node_selector.clone();
    node_selector.extend(scheduling.node_selector.clone());
    pod.node_selector = some(node_selector.into_iter().map(|(key, value)| (key, value.0)).collect());
    pod.tolerations =
        some(plan.pods.tolerations.iter().chain(&scheduling.tolerations).map(toleration).collect::<Vec<_>>());
    pod.priority_class_name.clone_from(&scheduling.priority_class_name);
    pod.affinity = affinity(plan, component, scheduling, several);
    pod.topology_spread_constraints = some(spread(plan, component, scheduling, several));
}

fn some<T>(collection: T) -> Option<T>
where
    for<'a> &'a T: IntoIterator,
{
    let is_empty = (&collection).into_iter().next().is_none();
    (!is_empty).then_some(collection)
}

fn toleration(toleration: &api::Toleration) -> Toleration {
    Toleration {
        key: Some(toleration.key.clone()),
        operator: toleration.operator.map(|operator| {
            match operator {
                TolerationOperator::Equal => "Equal",
                TolerationOperator::Exists => "Exists",
            }
            .to_owned()
        }),
        value: toleration.value.as_ref().map(|value| value.0.clone()),
        effect: toleration.effect.map(|effect| {
            match effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            }
            .to_owned()
        }),
        toleration_seconds: toleration.toleration_seconds,
    }
}

fn affinity(plan: &Plan, component: &str, scheduling: &Scheduling, several: bool) -> Option<Affinity> {
    let node_affinity = node_affinity(plan, scheduling);
    let pod_anti_affinity = anti_affinity(plan, component, scheduling, several);
    (node_affinity.is_some() || pod_anti_affinity.is_some()).then_some(Affinity {
        node_affinity,
        pod_anti_affinity,
        pod_affinity: None,
    })
}

/// The component's terms, each narrowed to the region and zones of the platform.
fn node_affinity(plan: &Plan, scheduling: &Scheduling) -> Option<NodeAffinity> {
    let wished = scheduling.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let pinned: Vec<NodeSelectorRequirement> = plan
        .pods
        .pinned
        .iter()
        .map(|(key, values)| NodeSelectorRequirement {
            key: (*key).to_owned(),
            operator: "In".to_owned(),
            values: Some(values.clone()),
        })
        .collect();
    let mut terms: Vec<NodeSelectorTerm> = wished
        .and_then(|wished| wished.required_during_scheduling_ignored_during_execution.as_ref())
        .map(|required| required.node_selector_terms.iter().map(term).collect())
        .unwrap_or_default();
    if terms.is_empty() && !pinned.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in &mut terms {
        term.match_expressions.get_or_insert_default().extend(pinned.clone());
    }
    let preferred: Vec<PreferredSchedulingTerm> = wished
        .map(|wished| wished.preferred_during_scheduling_ignored_during_execution.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|preferred| PreferredSchedulingTerm {
            weight: preferred.weight,
            preference: term(&preferred.preference),
        })
        .collect();
    (!terms.is_empty() || !preferred.is_empty()).then_some(NodeAffinity {
        required_during_scheduling_ignored_during_execution: some(terms)
            .map(|node_selector_terms| NodeSelector { node_selector_terms }),
        preferred_during_scheduling_ignored_during_execution: some(preferred),
    })
}

fn term(term: &api::NodeSelectorTerm) -> NodeSelectorTerm {
    NodeSelectorTerm {
        match_expressions: Some(term.match_expressions.iter().map(requirement).collect()),
        match_fields: None,
    }
}

fn requirement(expression: &NodeExpression) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: expression.key.clone(),
        operator: format!("{:?}", expression.operator),
        values: some(expression.values.iter().map(|value| value.0.clone()).collect()),
    }
}

fn anti_affinity(
    plan: &Plan,
    component: &str,
    scheduling: &Scheduling,
    several: bool,
) -> Option<PodAntiAffinity> {
    let rule = scheduling.anti_affinity.as_ref();
    let is_apart = plan.pods.apart && several;
    let by_preset = if is_apart { AntiAffinityMode::Preferred } else { AntiAffinityMode::None };
    let mode = rule.map_or(by_preset, |rule| rule.mode);
    let term = PodAffinityTerm {
        label_selector: Some(matching(selector(&plan.identity.name, component))),
        topology_key: rule.and_then(|rule| rule.topology_key.clone()).unwrap_or_else(|| HOSTNAME.to_owned()),
        ..PodAffinityTerm::default()
    };
    match mode {
        AntiAffinityMode::None => None,
        AntiAffinityMode::Required => Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        }),
        AntiAffinityMode::Preferred => Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            ..PodAntiAffinity::default()
        }),
    }
}

fn spread(
    plan: &Plan,
    component: &str,
    scheduling: &Scheduling,
    several: bool,
) -> Vec<TopologySpreadConstraint> {
    let constraint = |max_skew, topology_key: &str, when: &str| TopologySpreadConstraint {
        label_selector: Some(matching(selector(&plan.identity.name, component))),
        max_skew,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: when.to_owned(),
        ..TopologySpreadConstraint::default()
    };
    let given: Vec<_> = scheduling
        .topology_spread_constraints
        .iter()
        .map(|spread| constraint(spread.max_skew, &spread.topology_key, spread.when_unsatisfiable.as_str()))
        .collect();
    let says_zone = given.iter().any(|spread| spread.topology_key == ZONE);
    let by_preset = (plan.pods.spread_over_zones && several && !says_zone)
        .then(|| constraint(1, ZONE, api::WhenUnsatisfiable::ScheduleAnyway.as_str()));
    given.into_iter().chain(by_preset).collect()
}
