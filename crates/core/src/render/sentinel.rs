//! The Sentinels of a replicated Redis: a `StatefulSet` of their own, so that they are spread and
//! counted apart from the servers.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec, Probe},
};

use super::{
    env, pod,
    redis::{
        PASSWORDS, config_map, encrypted, memory, own_host, prepare_container, run, talking, volumes,
        with_certificate,
    },
    scheduling,
    store::{AGENT, Store, container_port, port, probe, strings},
};
use crate::{
    kinds::Kind,
    object::Object,
    plan::{Plan, REDIS, REDIS_METRICS_PORT, REDIS_PORT, RedisPlan, SENTINEL, SENTINEL_PORT, SentinelPlan},
};

/// What the objects are called after the platform's name.
pub(super) const NAME: &str = SENTINEL;
/// Its configuration.
const FILE: &str = "sentinel.conf";
/// Milliseconds without an answer after which a Sentinel takes a server for lost.
const DOWN_AFTER: u32 = 5000;
/// Milliseconds within which a failover must end, or another is tried.
const FAILOVER_TIMEOUT: u32 = 60_000;

pub(super) fn render(redis_store: &Store, redis: &RedisPlan, sentinels: &SentinelPlan) -> Vec<Object> {
    let store = Store { name: SENTINEL, ..*redis_store };
    let ports = || vec![port("sentinel", SENTINEL_PORT)];
    let mut objects = vec![
        store.account(),
        config_map(&store, NAME, &[(FILE, &config(redis_store, redis, sentinels))]),
        store.service(NAME, ports(), store.selector()),
        store.headless_service(ports()),
        stateful_set(&store, redis, sentinels),
    ];
    objects.extend(store.budget(sentinels.instances));
    objects
}

/// Names instead of addresses: a pod that comes back has another address.
fn config(redis_store: &Store, redis: &RedisPlan, sentinels: &SentinelPlan) -> Vec<(String, String)> {
    let (name, first) = (&redis_store.plan.identity.name, redis_store.first_host());
    let listens = match redis.tls {
        None => vec![("port".to_owned(), SENTINEL_PORT.to_string())],
        Some(_) => encrypted(SENTINEL_PORT, false),
    };
    let lines = [
        ("dir", "/run/redis".to_owned()),
        ("sentinel", "resolve-hostnames yes".to_owned()),
        ("sentinel", "announce-hostnames yes".to_owned()),
        ("sentinel", format!("monitor {name} {first} {REDIS_PORT} {}", sentinels.quorum)),
        ("sentinel", format!("down-after-milliseconds {name} {DOWN_AFTER}")),
        ("sentinel", format!("failover-timeout {name} {FAILOVER_TIMEOUT}")),
        ("sentinel", format!("parallel-syncs {name} 1")),
    ];
    listens.into_iter().chain(lines.map(|(directive, value)| (directive.to_owned(), value))).collect()
}

fn stateful_set(store: &Store, redis: &RedisPlan, sentinels: &SentinelPlan) -> Object {
    let spec = store.set(sentinels.instances, template(store, redis, sentinels));
    let set = StatefulSet { metadata: store.metadata(NAME), spec: Some(spec), status: None };
    store.object(Kind::StatefulSet, &set)
}

fn template(store: &Store, redis: &RedisPlan, sentinels: &SentinelPlan) -> PodTemplateSpec {
    let plan = store.plan;
    let name = plan.identity.child(NAME);
    let mut spec: PodSpec = pod::restricted(plan, &name, redis.user, redis.group);
    let mut prepare = prepare_container(plan, redis, FILE, &watched(plan), variables(store));
    prepare.resources = Some(pod::resources(&sentinels.resources));
    spec.init_containers = Some(vec![prepare]);
    spec.containers = vec![server(store, redis, sentinels)];
    spec.volumes = Some(volumes(name, redis));
    scheduling::place(plan, SENTINEL, &redis.scheduling, sentinels.instances > 1, &mut spec);
    store.template(&redis.version, &sentinels.checksum, spec)
}

/// Under which name the servers are watched.
fn watched(plan: &Plan) -> Vec<String> {
    strings(&["--master-name", &plan.identity.name])
}

fn variables(store: &Store) -> Vec<EnvVar> {
    let mut variables = vec![env::pod_field("POD_IP", "status.podIP")];
    variables.extend(own_host(store));
    variables
}

fn server(store: &Store, redis: &RedisPlan, sentinels: &SentinelPlan) -> Container {
    let mut further = watched(store.plan);
    further.extend(memory(&Store { name: REDIS, ..*store }, redis));
    further.extend(strings(&["--port", &SENTINEL_PORT.to_string()]));
    further.extend(talking(store.plan, redis));
    Container {
        name: SENTINEL.to_owned(),
        image: Some(redis.image.clone()),
        image_pull_policy: Some(store.plan.pods.pull_policy.as_str().to_owned()),
        command: Some(run(FILE, &further)),
        ports: Some(vec![
            container_port("sentinel", SENTINEL_PORT),
            container_port("metrics", REDIS_METRICS_PORT),
        ]),
        env: Some(variables(store)),
        resources: Some(pod::resources(&sentinels.resources)),
        startup_probe: Some(check(store.plan, redis, "liveness", 60)),
        liveness_probe: Some(check(store.plan, redis, "liveness", 6)),
        readiness_probe: Some(check(store.plan, redis, "readiness", 3)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(with_certificate(
            redis,
            vec![
                pod::mount("agent", "/agent", true),
                pod::mount("config", "/config", true),
                pod::mount("passwords", PASSWORDS, true),
                // A Sentinel writes what it learns into its own configuration.
                pod::mount("run", "/run/redis", false),
            ],
        )),
        ..Container::default()
    }
}

fn check(plan: &Plan, redis: &RedisPlan, what: &str, failures: i32) -> Probe {
    let (port, talking) = (SENTINEL_PORT.to_string(), talking(plan, redis));
    let mut command = vec![AGENT, "redis", "probe", what, "--port", &port, "--passwords", PASSWORDS];
    command.extend(talking.iter().map(String::as_str));
    probe(&command, failures)
}
