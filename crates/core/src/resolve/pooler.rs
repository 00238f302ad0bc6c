//! Decides how the database's pooler runs, and whether clients are led to it yet.

use trading_api::{
    Quantity,
    component::Qos,
    image::Image,
    postgres::{Pooler, Postgres, PostgresMode},
    scheduling::Scheduling,
};

use super::{Context, image_reference, references};
use crate::plan::{POSTGRES, PasswordSource, PoolerPlan, ResourcesPlan};

/// The image that CloudNativePG makes of PgBouncer; nothing of it but the program is used.
const REPOSITORY: &str = "ghcr.io/cloudnative-pg/pgbouncer";
const TAG: &str = "1.25.1";
/// Cores that are requested, and its limit: PgBouncer has one thread.
const CPU: [&str; 2] = ["100m", "1"];
/// MiB of a pod without clients, and how many clients take one more: each has buffers and statements.
const MEMORY: i32 = 64;
const CLIENTS_OF_ONE: i32 = 64;
/// Key of its password among those of the logins, which servers' pods have mounted anyway.
const KEY: &str = "pooler";

pub(super) fn resolve(context: &mut Context, postgres: &Postgres) -> Option<PoolerPlan> {
    let pooler = postgres.pooler.as_ref()?;
    let (replicas, from) = (context.preset.replicas, context.preset_name());
    let instances = context.fill("postgres.pooler.instances", pooler.instances.as_ref(), replicas, &from);
    let max_clients = number(context, "maxClientConnections", pooler.max_client_connections, 1000);
    let is_managed = postgres.mode == PostgresMode::Managed;
    let (image, version) = image(pooler, is_managed);
    let secret = context.identity.child("postgres-logins");
    let namespace = context.identity.namespace_of(POSTGRES);
    let consumed = references::secret_key(namespace, &secret, KEY);
    Some(PoolerPlan {
        mode: pooler.pool_mode.unwrap_or_default(),
        instances,
        image,
        version,
        resources: resources(max_clients, postgres.qos),
        max_clients,
        pool_size: number(context, "defaultPoolSize", pooler.default_pool_size, 20),
        scheduling: beside(&postgres.scheduling),
        checksum: references::checksum(context.inputs, std::slice::from_ref(&consumed), None),
        password: is_managed.then(|| PasswordSource {
            is_there: references::is_there(context.inputs, &consumed),
            secret,
            key: KEY.to_owned(),
            generated: true,
        }),
        // Of a database that is only being made nothing is said, and clients wait for it anyway.
        is_accepted: context.inputs.told.as_ref().and_then(|told| told.pooler) != Some(false),
    })
}

/// What a pod needs for so many clients.
fn resources(clients: i32, qos: Option<Qos>) -> ResourcesPlan {
    let [request, limit] = CPU;
    let memory = Quantity(format!("{}Mi", MEMORY + clients / CLIENTS_OF_ONE));
    ResourcesPlan {
        cpu_request: Quantity::from(if qos == Some(Qos::Guaranteed) { limit } else { request }),
        cpu_limit: Quantity::from(limit),
        memory_request: memory.clone(),
        memory_limit: memory,
    }
}

/// On the servers' nodes; but they may be kept apart so strictly that no further pod fits while one is replaced.
fn beside(servers: &Scheduling) -> Scheduling {
    Scheduling { anti_affinity: None, topology_spread_constraints: Vec::new(), ..servers.clone() }
}

fn number(context: &mut Context, field: &str, given: Option<i32>, default: i32) -> i32 {
    context.fill(&format!("postgres.pooler.{field}"), given.as_ref(), default, "operator")
}

/// CloudNativePG chooses its own, which goes with its release, where none is given.
fn image(pooler: &Pooler, is_managed: bool) -> (Option<String>, String) {
    let default = Image { repository: REPOSITORY.to_owned(), tag: None, digest: None };
    let given = pooler.image.as_ref();
    let (image, version) = image_reference(given.unwrap_or(&default), None, TAG);
    ((is_managed || given.is_some()).then_some(image), version)
}
