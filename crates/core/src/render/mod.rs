//! Stage two, pure: from the plan to the objects. One file for each kind or store.

mod accounts;
mod autoscaler;
mod backup;
mod certificate;
mod cilium;
mod config_map;
mod copies;
mod deployment;
mod disruption;
mod env;
mod external_secret;
mod ingress;
mod keda;
mod mesh;
mod meta;
mod monitoring;
mod network_policy;
mod pod;
mod pooler;
mod postgres;
mod postgres_cluster;
mod postgres_lease;
mod postgres_logins;
mod postgres_objects;
mod postgres_servers;
mod quota;
mod redis;
mod redis_users;
mod runtime;
mod scheduling;
mod sentinel;
mod service;
mod shared_volume;
mod store;
mod vertical;

use crate::{object::Object, plan::Plan};

pub use meta::selector;
pub(crate) use postgres_servers::access_file;
pub use redis::topology_digest;

/// Every object that the platform becomes, in the order of applying.
#[must_use]
pub fn render(plan: &Plan) -> Vec<Object> {
    let mut objects = Vec::new();
    objects.extend(quota::render(plan));
    objects.extend(external_secret::render(plan));
    objects.extend(monitoring::render(plan));
    objects.extend(network_policy::render(plan));
    objects.extend(cilium::render(plan));
    objects.extend(mesh::render(plan));
    objects.extend(ingress::render(plan));
    objects.extend(postgres::render(plan));
    if let Some(store) = &plan.redis {
        objects.extend(redis::render(plan, store));
    }
    objects.extend(runtime::render(plan));
    objects.extend(copies::render(plan));
    objects.extend(plan.shared_volumes.iter().map(|volume| shared_volume::render(plan, volume)));
    for component in &plan.components {
        objects.push(service::account(plan, component));
        objects.extend(config_map::render(plan, component));
        objects.extend(service::render(plan, component));
        objects.extend(disruption::render(plan, component));
        objects.push(deployment::render(plan, component));
        objects.extend(autoscaler::render(plan, component));
        objects.extend(keda::render(plan, component));
        objects.extend(vertical::render(plan, component));
    }
    objects.sort_by_cached_key(Object::key);
    objects
}
