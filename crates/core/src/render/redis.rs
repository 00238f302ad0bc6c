//! Redis: one `StatefulSet`, its Services, configuration, password and budget.

use std::{collections::BTreeMap, fmt::Write};

use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
            StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, ExecAction, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, Secret, Service, ServiceAccount,
            ServicePort, ServiceSpec, Volume, VolumeResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use trading_api::{labels, redis::RedisMode};

use super::{disruption, env, meta, pod, scheduling};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{Plan, REDIS, REDIS_BUS_PORT, REDIS_PORT, RedisPlan},
};

const AGENT: &str = "/agent/trading-agent";
/// Seconds for a server to write its last data; a full append-only file takes a while.
const GRACE_SECONDS: i64 = 60;

pub(super) fn render(plan: &Plan, store: &RedisPlan) -> Vec<Object> {
    let mut objects = vec![
        account(plan),
        config(plan, store),
        client_service(plan),
        headless_service(plan, store),
        stateful_set(plan, store),
    ];
    objects.extend(password(plan, store));
    objects.extend(budget(plan, store));
    objects
}

fn metadata(plan: &Plan, suffix: &str) -> ObjectMeta {
    meta::object(plan, suffix, REDIS, meta::CACHE, Lifetime::Store)
}

fn object(kind: Kind, typed: &impl serde::Serialize) -> Object {
    Object::new(kind, REDIS, Lifetime::Store, typed)
}

fn account(plan: &Plan) -> Object {
    object(
        Kind::ServiceAccount,
        &ServiceAccount {
            metadata: metadata(plan, REDIS),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
    )
}

fn config(plan: &Plan, store: &RedisPlan) -> Object {
    let text = store.config.iter().fold(String::new(), |mut text, (directive, value)| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{directive} {value}");
        text
    });
    object(
        Kind::ConfigMap,
        &ConfigMap {
            metadata: metadata(plan, REDIS),
            data: Some(BTreeMap::from([("redis.conf".to_owned(), text)])),
            ..ConfigMap::default()
        },
    )
}

fn password(plan: &Plan, store: &RedisPlan) -> Option<Object> {
    if !store.password.generated {
        return None;
    }
    let secret = Secret {
        metadata: metadata(plan, "redis-auth"),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    Some(object(Kind::Secret, &secret).generated_once(&[&store.password.key]))
}

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

fn client_service(plan: &Plan) -> Object {
    object(
        Kind::Service,
        &Service {
            metadata: metadata(plan, REDIS),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                selector: Some(meta::selector(&plan.identity.name, REDIS)),
                ports: Some(vec![port("redis", REDIS_PORT)]),
                ..ServiceSpec::default()
            }),
            status: None,
        },
    )
}

/// Gives each server a name of its own, before it is ready too: the servers of a cluster must
/// find each other to become ready.
fn headless_service(plan: &Plan, store: &RedisPlan) -> Object {
    let mut ports = vec![port("redis", REDIS_PORT)];
    if store.mode == RedisMode::Cluster {
        ports.push(port("bus", REDIS_BUS_PORT));
    }
    object(
        Kind::Service,
        &Service {
            metadata: metadata(plan, "redis-headless"),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                selector: Some(meta::selector(&plan.identity.name, REDIS)),
                ports: Some(ports),
                ..ServiceSpec::default()
            }),
            status: None,
        },
    )
}

/// One server at a time where there are several. With fewer masters than a majority the cluster
/// stops, so more is only allowed where the resource says so.
fn budget(plan: &Plan, store: &RedisPlan) -> Option<Object> {
    if store.servers < 2 {
        return None;
    }
    let budget = PodDisruptionBudget {
        metadata: metadata(plan, REDIS),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(meta::matching(meta::selector(&plan.identity.name, REDIS))),
            ..disruption::spec(store.disruption.as_ref())
        }),
        status: None,
    };
    Some(object(Kind::PodDisruptionBudget, &budget))
}

fn stateful_set(plan: &Plan, store: &RedisPlan) -> Object {
    let mut metadata = metadata(plan, REDIS);
    metadata
        .labels
        .get_or_insert_default()
        .insert(labels::STORE_MODE.to_owned(), store.mode.as_str().to_owned());
    object(
        Kind::StatefulSet,
        &StatefulSet {
            metadata,
            spec: Some(StatefulSetSpec {
                replicas: Some(store.servers),
                service_name: Some(plan.identity.child("redis-headless")),
                selector: meta::matching(meta::selector(&plan.identity.name, REDIS)),
                // Servers of a cluster need each other to become ready: all start at once.
                pod_management_policy: Some("Parallel".to_owned()),
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: Some(RollingUpdateStatefulSetStrategy {
                        partition: Some(0),
                        ..RollingUpdateStatefulSetStrategy::default()
                    }),
                }),
                persistent_volume_claim_retention_policy: Some(
                    StatefulSetPersistentVolumeClaimRetentionPolicy {
                        when_deleted: Some("Retain".to_owned()),
                        when_scaled: Some("Retain".to_owned()),
                    },
                ),
                template: template(plan, store),
                volume_claim_templates: Some(vec![claim(plan, store)]),
                ..StatefulSetSpec::default()
            }),
            status: None,
        },
    )
}

/// Immutable once made, so it carries nothing that may change: no UID, no release.
fn claim(plan: &Plan, store: &RedisPlan) -> PersistentVolumeClaim {
    let mut all = meta::selector(&plan.identity.name, REDIS);
    all.insert(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned());
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".to_owned()), labels: Some(all), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: store.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), (&store.storage_size).into())])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn template(plan: &Plan, store: &RedisPlan) -> PodTemplateSpec {
    let name = plan.identity.child(REDIS);
    let mut spec: PodSpec = pod::restricted(plan, &name, store.user, store.group);
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    spec.init_containers = Some(vec![prepare(plan, store)]);
    spec.containers = vec![server(plan, store)];
    spec.volumes = Some(vec![
        pod::empty_dir("agent", None),
        // The composed configuration holds the password: memory only.
        pod::empty_dir("run", Some("Memory")),
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
    ]);
    scheduling::place(plan, REDIS, &store.scheduling, store.apart, &mut spec);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(meta::pod_labels(plan, REDIS, meta::CACHE, &store.version)),
            annotations: Some(BTreeMap::from([(labels::CONFIG_CHECKSUM.to_owned(), store.checksum.clone())])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

/// Composes redis.conf with the password and the pod's address, and leaves the agent for probes.
fn prepare(plan: &Plan, store: &RedisPlan) -> Container {
    Container {
        name: "prepare".to_owned(),
        image: Some(plan.pods.agent_image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(strings(&[
            "/trading-agent",
            "redis",
            "prepare",
            "--template",
            "/config/redis.conf",
            "--output",
            "/run/redis/redis.conf",
            "--binary",
            AGENT,
        ])),
        env: Some(vec![
            env::secret("REDIS_PASSWORD", &store.password.secret, &store.password.key),
            env::pod_field("POD_IP", "status.podIP"),
        ]),
        resources: Some(pod::resources(&store.resources)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![
            pod::mount("agent", "/agent", false),
            pod::mount("config", "/config", true),
            pod::mount("run", "/run/redis", false),
        ]),
        ..Container::default()
    }
}

fn server(plan: &Plan, store: &RedisPlan) -> Container {
    let mut ports = vec![container_port("redis", REDIS_PORT)];
    if store.mode == RedisMode::Cluster {
        ports.push(container_port("bus", REDIS_BUS_PORT));
    }
    Container {
        name: REDIS.to_owned(),
        image: Some(store.image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(strings(&["redis-server", "/run/redis/redis.conf"])),
        ports: Some(ports),
        env: Some(vec![env::secret("REDIS_PASSWORD", &store.password.secret, &store.password.key)]),
        resources: Some(pod::resources(&store.resources)),
        // Loading a large append-only file takes minutes; only then may liveness kill.
        startup_probe: Some(Probe { failure_threshold: Some(180), ..probe(store, "liveness") }),
        liveness_probe: Some(Probe { failure_threshold: Some(6), ..probe(store, "liveness") }),
        readiness_probe: Some(Probe { failure_threshold: Some(3), ..probe(store, "readiness") }),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![
            pod::mount("agent", "/agent", true),
            pod::mount("data", "/data", false),
            pod::mount("run", "/run/redis", true),
        ]),
        ..Container::default()
    }
}

fn probe(store: &RedisPlan, what: &str) -> Probe {
    let port = REDIS_PORT.to_string();
    let mut command = strings(&[AGENT, "redis", "probe", what, "--port", &port]);
    if store.mode == RedisMode::Cluster {
        command.push("--cluster".to_owned());
    }
    Probe {
        exec: Some(ExecAction { command: Some(command) }),
        period_seconds: Some(5),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn container_port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
