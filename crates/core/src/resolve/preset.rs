//! What each environment fills in.

use trading_api::{
    Quantity,
    component::{Qos, Resources},
    platform::Environment,
};

use super::Context;
use crate::plan::ResourcesPlan;

/// Values of one environment.
#[allow(clippy::struct_excessive_bools)] // a table of switches, not a state
#[derive(Clone, Copy, Debug)]
pub(super) struct Preset {
    /// Which.
    pub environment: Environment,
    /// Components with `autoscaling` scale.
    pub autoscaling: bool,
    /// Replicas of frontend and backend.
    pub replicas: i32,
    /// Pods of a component are kept apart and spread over zones.
    pub spread: bool,
    /// Prometheus scrapes it.
    pub monitoring: bool,
    /// `DEBUG`.
    pub debug: bool,
    /// `MOCK_EXTERNAL_SERVICES`.
    pub mock: bool,
    /// Requests and limits of a container: cpu, memory, cpu, memory.
    pub resources: [&'static str; 4],
    /// Size of a data store's volume.
    pub storage: &'static str,
}

impl Preset {
    pub(super) const fn of(environment: Environment) -> Self {
        let large = Self {
            environment,
            autoscaling: true,
            replicas: 2,
            spread: true,
            monitoring: true,
            debug: false,
            mock: false,
            resources: ["100m", "256Mi", "500m", "512Mi"],
            storage: "10Gi",
        };
        match environment {
            Environment::Production => large,
            Environment::Staging => Self { mock: true, ..large },
            Environment::Development => Self {
                autoscaling: false,
                replicas: 1,
                spread: false,
                monitoring: false,
                debug: true,
                resources: ["50m", "128Mi", "250m", "256Mi"],
                storage: "1Gi",
                ..large
            },
        }
    }
}

/// Requests and limits; a request that is left out is at most the limit that is given, and the
/// other way round. `Guaranteed` raises requests to the limits.
pub(super) fn resources(
    context: &mut Context,
    path: &str,
    given: Option<&Resources>,
    qos: Option<Qos>,
) -> ResourcesPlan {
    let from = context.preset_name();
    let defaults = context.preset.resources.map(Quantity::from);
    let plan = within(context, path, given, defaults, &from);
    match qos {
        Some(Qos::Guaranteed) => ResourcesPlan {
            cpu_request: plan.cpu_limit.clone(),
            memory_request: plan.memory_limit.clone(),
            ..plan
        },
        None => plan,
    }
}

/// Requests and limits with other defaults than the preset's.
pub(super) fn within(
    context: &mut Context,
    path: &str,
    given: Option<&Resources>,
    defaults: [Quantity; 4],
    from: &str,
) -> ResourcesPlan {
    let requests = given.and_then(|r| r.requests.clone()).unwrap_or_default();
    let limits = given.and_then(|r| r.limits.clone()).unwrap_or_default();
    let [cpu_request, memory_request, cpu_limit, memory_limit] = defaults;

    let mut pair =
        |what: &str, request: Option<Quantity>, limit: Option<Quantity>, low: Quantity, high: Quantity| {
            let low = smaller(low, limit.as_ref());
            let high = greater(high, request.as_ref());
            (
                context.fill(&format!("{path}.resources.requests.{what}"), request.as_ref(), low, from),
                context.fill(&format!("{path}.resources.limits.{what}"), limit.as_ref(), high, from),
            )
        };
    let (cpu_request, cpu_limit) = pair("cpu", requests.cpu, limits.cpu, cpu_request, cpu_limit);
    let (memory_request, memory_limit) =
        pair("memory", requests.memory, limits.memory, memory_request, memory_limit);
    ResourcesPlan { cpu_request, memory_request, cpu_limit, memory_limit }
}

fn smaller(default: Quantity, bound: Option<&Quantity>) -> Quantity {
    match bound {
        Some(bound) if bound.value() < default.value() => bound.clone(),
        _ => default,
    }
}

fn greater(default: Quantity, bound: Option<&Quantity>) -> Quantity {
    match bound {
        Some(bound) if bound.value() > default.value() => bound.clone(),
        _ => default,
    }
}
