//! `PodDisruptionBudgets` of components.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use trading_api::component::Disruption;

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, Plan},
};

/// None where there may be a single pod: it would block every node drain for ever.
pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    if component.scaling.min() < 2 {
        return None;
    }
    let budget = PodDisruptionBudget {
        metadata: meta::object(plan, &component.name, &component.name, meta::APPLICATION, Lifetime::Platform),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(meta::matching(meta::selector(&plan.identity.name, &component.name))),
            // A pod that is not ready protects nothing; it must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..spec(component.spec.disruption.as_ref())
        }),
        status: None,
    };
    Some(Object::new(Kind::PodDisruptionBudget, &component.name, Lifetime::Platform, &budget))
}

/// The bounds of a budget; one pod at a time where nothing is said.
fn spec(given: Option<&Disruption>) -> PodDisruptionBudgetSpec {
    match given {
        None => PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            ..PodDisruptionBudgetSpec::default()
        },
        Some(given) => PodDisruptionBudgetSpec {
            min_available: given.min_available.as_ref().map(|value| value.0.clone()),
            max_unavailable: given.max_unavailable.as_ref().map(|value| value.0.clone()),
            ..PodDisruptionBudgetSpec::default()
        },
    }
}
