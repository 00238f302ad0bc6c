//! Namespaces, quotas and the container runtime.

use std::collections::BTreeMap;

use trading_api::{
    TradingPlatformSpec,
    component::{Component, ResourceAmounts},
    names::NamespaceName,
    placement::{ContainerLimits, Placement, Quota, TrafficDistribution},
    runtime::{ContainerRuntime, RuntimeTls},
};

use super::ROLES;
use super::amounts::{CPU, MEMORY, quantity, resources};
use super::component::image;
use super::names::{label_value, labels, unique};
use super::network::egress;
use super::scheduling::toleration;
use super::stores::storage;
use crate::tape::Tape;

pub(super) fn placement(tape: &mut Tape) -> Placement {
    Placement {
        region: tape.maybe(50, label_value),
        zones: tape.list(3, |tape, _| label_value(tape)),
        spread_over_zones: tape.maybe(50, |tape| tape.chance(50)),
        traffic_distribution: tape.maybe(30, |_| TrafficDistribution::PreferClose),
        node_selector: labels(tape, 2),
        tolerations: tape.list(2, |tape, _| toleration(tape)),
        namespaces: BTreeMap::new(),
    }
}

/// Some of what the platform has lives elsewhere, but for what mounts a volume of the platform's own.
pub(super) fn tiers(tape: &mut Tape, spec: &TradingPlatformSpec) -> BTreeMap<String, NamespaceName> {
    let stays = |component: &Option<Component>| {
        component.iter().flat_map(|component| &component.volumes).any(|volume| volume.shared_volume.is_some())
    };
    let roles = [&spec.frontend, &spec.backend, &spec.scraper, &spec.worker];
    let roles =
        ROLES.into_iter().zip(roles).filter(|(_, component)| component.is_some() && !stays(component));
    let services = spec.services.iter().filter(|service| !stays(&Some(service.component.clone())));
    let mut names: Vec<String> = roles.map(|(name, _)| name.to_owned()).collect();
    names.extend(services.map(|service| service.name.clone()));
    names.extend(["redis", "postgres", "runtime"].map(str::to_owned));
    names.retain(|_| tape.chance(40));
    names.into_iter().map(|name| (name, NamespaceName(tape.pick(&["data", "edge"]).to_owned()))).collect()
}

pub(super) fn container_runtime(tape: &mut Tape) -> ContainerRuntime {
    ContainerRuntime {
        image: tape.maybe(50, image),
        resources: tape.maybe(50, |tape| resources(tape, &CPU, &MEMORY)),
        tls: tape.maybe(50, |_| RuntimeTls {
            server_secret_name: "db".to_owned(),
            client_secret_name: "a".to_owned(),
        }),
        shared_volume: tape.maybe(50, storage),
        local_storage: tape.maybe(50, |tape| quantity(tape.pick(&MEMORY))),
        egress: tape.list(3, |tape, _| egress(tape)),
        node_selector: labels(tape, 2),
        tolerations: tape.list(2, |tape, _| toleration(tape)),
    }
}

pub(super) fn quota(tape: &mut Tape) -> Quota {
    let keys = ["pods", "requests.cpu", "limits.memory", "requests.nvidia.com/gpu", "count/deployments.apps"];
    let container = tape.maybe(30, |tape| {
        let amounts = |tape: &mut Tape| ResourceAmounts {
            cpu: tape.maybe(80, |tape| quantity(tape.pick(&CPU))),
            memory: tape.maybe(80, |tape| quantity(tape.pick(&MEMORY))),
        };
        let (min, max) = (tape.maybe(60, amounts), tape.maybe(60, amounts));
        // Both could contradict each other.
        let max = if min.is_none() { max.or(Some(ResourceAmounts::default())) } else { None };
        ContainerLimits { min, max }
    });
    let mut chosen = unique(tape, 4, &keys);
    if chosen.is_empty() && container.is_none() {
        chosen.push("pods".to_owned());
    }
    Quota {
        hard: chosen.into_iter().map(|key| (key, quantity(tape.pick(&["10", "0", "1e3", "2k"])))).collect(),
        container,
    }
}
