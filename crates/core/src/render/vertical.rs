//! `VerticalPodAutoscalers`: what pods should request.

use serde_json::{Map, Value, json};
use trading_api::{
    Quantity,
    autoscaling::{SizedResource, VerticalMode},
    component::{Qos, ResourceAmounts},
};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, Plan},
};

pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    let given = component.spec.vertical_scaling.as_ref()?;
    let mode = match given.mode {
        VerticalMode::Recommend => "Off",
        VerticalMode::Initial => "Initial",
        VerticalMode::Recreate => "Recreate",
    };
    let both = vec![SizedResource::Cpu, SizedResource::Memory];
    let limits = &component.resources;
    let mut policy = json!({
        "containerName": component.name,
        "controlledResources": given.resources.as_ref().unwrap_or(&both),
        // Limits are what quotas and costs are reckoned with.
        "controlledValues": match component.spec.qos {
            Some(Qos::Guaranteed) => "RequestsAndLimits",
            None => "RequestsOnly",
        },
        "maxAllowed": { "cpu": limits.cpu_limit, "memory": limits.memory_limit },
    });
    let least = least(component, given.min_allowed.as_ref());
    if !least.is_empty() {
        policy["minAllowed"] = Value::Object(least);
    }
    let name = &component.name;
    let object = json!({
        "metadata": meta::object(plan, name, name, meta::APPLICATION, Lifetime::Platform),
        "spec": {
            "targetRef": {
                "apiVersion": Kind::Deployment.api_version(),
                "kind": Kind::Deployment.to_string(),
                "name": plan.identity.child(name),
            },
            "updatePolicy": { "updateMode": mode },
            "resourcePolicy": {
                // What others put beside the application keeps its size.
                "containerPolicies": [policy, { "containerName": "*", "mode": "Off" }],
            },
        },
    });
    Some(Object::new(Kind::VerticalPodAutoscaler, name, Lifetime::Platform, &object))
}

/// The least amounts; a least above the limit could never be had.
fn least(component: &ComponentPlan, given: Option<&ResourceAmounts>) -> Map<String, Value> {
    let limits = &component.resources;
    let amounts = given.map(|given| {
        [("cpu", &given.cpu, &limits.cpu_limit), ("memory", &given.memory, &limits.memory_limit)]
    });
    let lower = |amount: &Quantity, limit: &Quantity| {
        if amount.value() > limit.value() { limit.clone() } else { amount.clone() }
    };
    amounts
        .into_iter()
        .flatten()
        .filter_map(|(what, amount, limit)| Some((what.to_owned(), json!(lower(amount.as_ref()?, limit)))))
        .collect()
}
