//! Decides what a component runs, how often and what it talks to.

use trading_api::{
    autoscaling::{Autoscaling, Provider},
    component::{Component, Port},
};

use super::{Context, Stores, image_reference, preset, references};
use crate::{
    plan::{ComponentPlan, POSTGRES, POSTGRES_RO, REDIS, RUNTIME, Role, Scaling, Target},
    problem::Problem,
};

/// User of a container that does not say otherwise: that of the official Node image.
const DEFAULT_USER: i64 = 1000;

/// Seconds for which a pod still serves after it was asked to stop, while load balancers and
/// kube-proxy learn that it is leaving. Without it a rollout loses requests.
const PRE_STOP_SECONDS: i64 = 5;
/// Kubernetes' own default; written down because the pre-stop sleep counts against it.
pub(crate) const GRACE_SECONDS: i64 = 30;

pub(super) fn resolve_all(context: &mut Context, stores: &Stores) -> Vec<ComponentPlan> {
    let spec = context.spec;
    let roles = [
        ("frontend", Role::Frontend, spec.frontend.as_ref()),
        ("backend", Role::Backend, spec.backend.as_ref()),
        ("scraper", Role::Scraper, spec.scraper.as_ref()),
        ("worker", Role::Worker, spec.worker.as_ref()),
    ];
    let roles = roles.into_iter().filter_map(|(name, role, component)| Some((name, role, component?)));
    let services = spec.services.iter().map(|s| (s.name.as_str(), Role::Service, &s.component));
    roles
        .chain(services)
        .map(|(name, role, component)| resolve(context, name, role, component, stores))
        .collect()
}

fn resolve(
    context: &mut Context,
    name: &str,
    role: Role,
    component: &Component,
    stores: &Stores,
) -> ComponentPlan {
    let path = match role {
        Role::Service => format!("services[{name}]"),
        _ => name.to_owned(),
    };
    let registry = context.spec.image.as_ref().and_then(|image| image.registry.as_deref());
    let (image, version) = image_reference(&component.image, registry, &context.spec.version);
    let targets = targets(context, role, component);
    let scaling = scaling(context, &path, role, component);
    let several = are_several(&scaling);
    let user = component.run_as_user.unwrap_or(DEFAULT_USER);
    let references = references::consumed(context.identity, name, component, &targets, stores);
    let checksum = references::checksum(context.inputs, &references, component.config.as_ref());
    references::report_missing(context, name, &references);
    report_unreachable(context, name, component);
    context.problems.extend(drains_blocked(name, &path, component, scaling.min()));

    ComponentPlan {
        name: name.to_owned(),
        role,
        image,
        version,
        ports: ports(role, component),
        pre_stop: pre_stop(component),
        resources: preset::resources(context, &path, component.resources.as_ref(), component.qos),
        targets,
        references,
        checksum,
        scheduling: component.scheduling.clone(),
        several,
        user,
        group: component.fs_group.unwrap_or(user),
        scaling,
        spec: component.clone(),
    }
}

/// Reason of the problem that a component can't have a volume where it is; it waits.
pub const UNREACHABLE: &str = "SharedVolumeUnreachable";

/// A claim is mounted only in its own namespace.
fn report_unreachable(context: &mut Context, name: &str, component: &Component) {
    let namespace = context.identity.namespace_of(name);
    if namespace == context.identity.namespace {
        return;
    }
    let shared = component.volumes.iter().find_map(|volume| volume.shared_volume.as_ref());
    let problem = shared.map(|volume| {
        let message = format!(
            "{name} lives in namespace {namespace:?}, where shared volume {volume:?} can't be mounted: take {name} out of placement.namespaces, or the volume out of {name}.volumes"
        );
        Problem::of(name, UNREACHABLE, message)
    });
    context.problems.extend(problem);
}

/// Reason of the warning that no node can be drained on which pods of a component run.
pub const DRAINS_BLOCKED: &str = "DrainsBlocked";

/// With so few pods as there may be, none may be away.
fn drains_blocked(name: &str, path: &str, component: &Component, fewest: i32) -> Option<Problem> {
    let stay = component.disruption.as_ref()?.min_available.as_ref()?;
    let staying = stay.of(fewest);
    // A single pod has no budget.
    (fewest > 1 && staying >= fewest).then(|| {
        let message = format!(
            "{path}.disruption.minAvailable keeps {staying} pods, and while there are only {fewest}, no node with one of them can be drained: lower it to {} or less, or have more pods",
            fewest - 1
        );
        Problem::of(name, DRAINS_BLOCKED, message).as_warning()
    })
}

/// A second of the grace period is left for the stop itself.
fn pre_stop(component: &Component) -> Option<i64> {
    let grace = component.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS);
    Some(PRE_STOP_SECONDS.min(grace - 1)).filter(|seconds| *seconds > 0)
}

fn ports(role: Role, component: &Component) -> Vec<Port> {
    let default = match role {
        Role::Frontend => Some(3000),
        Role::Backend | Role::Scraper => Some(8080),
        Role::Worker | Role::Service => None,
    };
    if !component.ports.is_empty() {
        return component.ports.clone();
    }
    default
        .map(|container_port| Port { name: "http".to_owned(), container_port, protocol: None })
        .into_iter()
        .collect()
}

fn targets(context: &mut Context, role: Role, component: &Component) -> Vec<Target> {
    let spec = context.spec;
    if let Some(given) = &component.connects_to {
        return given
            .iter()
            .map(|target| match target.as_str() {
                REDIS => Target::Redis,
                POSTGRES => Target::Postgres,
                POSTGRES_RO => Target::PostgresReadOnly,
                RUNTIME => Target::Runtime,
                other => Target::Component(other.to_owned()),
            })
            .collect();
    }
    let redis = spec.redis.is_some().then_some(Target::Redis);
    let postgres = spec.postgres.is_some().then_some(Target::Postgres);
    match role {
        Role::Frontend if spec.backend.is_some() => vec![Target::Component("backend".to_owned())],
        Role::Frontend | Role::Service => Vec::new(),
        Role::Backend | Role::Scraper | Role::Worker => redis.into_iter().chain(postgres).collect(),
    }
}

fn scaling(context: &mut Context, path: &str, role: Role, component: &Component) -> Scaling {
    let (preset, from) = (context.preset, context.preset_name());
    if let Some(autoscaling) = &component.autoscaling {
        let enabled = context.spec.autoscaling.as_ref().and_then(|defaults| defaults.enabled);
        if context.fill(&format!("{path}.autoscaling.enabled"), enabled.as_ref(), preset.autoscaling, &from) {
            return Scaling::Auto(autoscaling.clone(), provider(context, autoscaling));
        }
        return Scaling::Fixed(autoscaling.min_replicas);
    }
    let default = match role {
        Role::Frontend | Role::Backend => preset.replicas,
        Role::Scraper | Role::Worker | Role::Service => 1,
    };
    Scaling::Fixed(context.fill(&format!("{path}.replicas"), component.replicas.as_ref(), default, &from))
}

/// What an autoscaler can't read decides, or else the platform's choice.
fn provider(context: &Context, autoscaling: &Autoscaling) -> Provider {
    if !autoscaling.triggers.is_empty() {
        return Provider::KEDA;
    }
    let chosen = context.spec.autoscaling.as_ref().and_then(|defaults| defaults.provider);
    if autoscaling.metrics.is_empty() { chosen.unwrap_or_default() } else { Provider::HPA }
}

fn are_several(scaling: &Scaling) -> bool {
    match scaling {
        Scaling::Fixed(replicas) => *replicas > 1,
        Scaling::Auto(autoscaling, _) => autoscaling.max_replicas > 1,
    }
}
