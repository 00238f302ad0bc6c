//! Redis: one `StatefulSet`, its Services, configuration, password and budget.

use std::fmt::Write;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{
        ConfigMap, ConfigMapVolumeSource, Container, EnvVar, KeyToPath, PodSpec, PodTemplateSpec, Probe,
        SecretVolumeSource, ServicePort, Volume, VolumeMount,
    },
};
use trading_api::{labels, redis::RedisMode};

use super::{
    certificate, env, meta, pod, redis_users, scheduling, sentinel,
    store::{AGENT, Store, container_port, port, probe, strings},
};
use crate::{
    digest,
    kinds::Kind,
    object::{Object, PASSWORD},
    plan::{
        ClusterPlan, Plan, REDIS, REDIS_BUS_PORT, REDIS_METRICS_PORT, REDIS_PORT, RedisPlan, SENTINEL_PORT,
        StoreCertificate,
    },
    tls::Level,
};

/// Seconds for a replica to take over (at most 25, the agent's default) and for the server to write
/// its last data; a full append-only file takes a while.
const GRACE_SECONDS: i64 = 60;
/// Where the passwords are.
pub(super) const PASSWORDS: &str = "/passwords";

pub(super) fn render(plan: &Plan, redis: &RedisPlan) -> Vec<Object> {
    let store = Store { plan, name: REDIS, tier: meta::CACHE };
    let topology = redis.cluster.map(|cluster| topology(&store, cluster));
    let config = config(redis);
    let mut files = vec![("redis.conf", config.as_slice())];
    files.extend(topology.as_deref().map(|lines| ("cluster", lines)));
    let users: Vec<_> =
        redis.users.iter().map(|user| (user.account.name.clone(), user.rules.clone())).collect();
    files.extend((!users.is_empty()).then_some(("users", users.as_slice())));
    let mut objects = vec![
        store.account(),
        config_map(&store, REDIS, &files),
        store.service(REDIS, vec![port("redis", REDIS_PORT)], store.selector()),
        store.headless_service(ports(redis)),
        stateful_set(&store, redis),
    ];
    if redis.password.generated {
        objects.push(password(&store, redis));
    }
    objects.extend(redis_users::render(&store, redis));
    objects.extend(redis.tls.as_ref().map(|tls| certificate::render(&store, tls)));
    // With fewer masters than a majority a cluster stops.
    objects.extend(store.budget(redis.servers));
    if let Some(sentinels) = &redis.sentinel {
        objects.extend(sentinel::render(&store, redis, sentinels));
    }
    objects
}

/// Made once. What it holds later is [`crate::redis_password`]'s.
fn password(store: &Store, redis: &RedisPlan) -> Object {
    let password = (redis.password.key.as_str(), PASSWORD.to_owned());
    let secret = store.secret(&redis.password.secret);
    match redis.passwords.wished {
        1 => secret.generated_once([password]),
        wished => secret.generated_once([password, ("generation", wished.to_string())]),
    }
}

/// All that is in redis.conf but for secrets and addresses.
fn config(redis: &RedisPlan) -> Vec<(String, String)> {
    let lines = redis.config.iter();
    if redis.tls.is_none() {
        return lines.cloned().collect();
    }
    let others = lines.filter(|(directive, _)| directive != "port").cloned();
    others.chain(encrypted(REDIS_PORT, redis.cluster.is_some())).collect()
}

/// What has a server or Sentinel listen with TLS alone, and use it towards others.
pub(super) fn encrypted(port: i32, is_of_cluster: bool) -> Vec<(String, String)> {
    let mut lines = vec![
        ("port", "0".to_owned()),
        ("tls-port", port.to_string()),
        ("tls-cert-file", certificate::file(StoreCertificate::CERTIFICATE)),
        ("tls-key-file", certificate::file(StoreCertificate::KEY)),
        ("tls-ca-cert-file", certificate::file(StoreCertificate::AUTHORITY)),
        // Who may come in is the passwords' matter.
        ("tls-auth-clients", "no".to_owned()),
        ("tls-replication", "yes".to_owned()),
    ];
    if is_of_cluster {
        // Clients are led to names, for which the certificate is.
        lines.extend([
            ("tls-cluster", "yes".to_owned()),
            ("cluster-preferred-endpoint-type", "hostname".to_owned()),
        ]);
    }
    lines.into_iter().map(|(directive, value)| (directive.to_owned(), value)).collect()
}

/// How an agent talks to servers with certificates.
pub(super) fn talking(plan: &Plan, redis: &RedisPlan) -> Vec<String> {
    let name = plan.identity.child(REDIS);
    let arguments = redis.tls.iter().flat_map(|_| ["--tls", certificate::FOLDER, "--tls-name", &name]);
    arguments.map(str::to_owned).collect()
}

type Lines = [(String, String)];

/// Configuration files without secrets, one directive a line.
pub(super) fn config_map(store: &Store, suffix: &str, files: &[(&str, &Lines)]) -> Object {
    let data = files.iter().map(|(file, lines)| ((*file).to_owned(), text(lines)));
    let map =
        ConfigMap { metadata: store.metadata(suffix), data: Some(data.collect()), ..ConfigMap::default() };
    store.object(Kind::ConfigMap, &map)
}

fn text(lines: &Lines) -> String {
    lines.iter().fold(String::new(), |mut text, (directive, value)| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{directive} {value}");
        text
    })
}

/// Digest of the file that says how the cluster should be, where there is one.
#[must_use]
pub fn topology_digest(plan: &Plan) -> Option<String> {
    let store = Store { plan, name: REDIS, tier: meta::CACHE };
    let lines = topology(&store, plan.redis.as_ref()?.cluster?);
    Some(digest::of_bytes(text(&lines).as_bytes()))
}

/// How the agents should make a cluster of the servers.
fn topology(store: &Store, cluster: ClusterPlan) -> Vec<(String, String)> {
    let host = format!("{}-{{}}.{}", store.plan.identity.child(REDIS), store.domain());
    [
        ("shards", cluster.shards.to_string()),
        ("replicas-per-shard", cluster.replicas_per_shard.to_string()),
        ("host", host),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn ports(redis: &RedisPlan) -> Vec<ServicePort> {
    let mut ports = vec![port("redis", REDIS_PORT), port("metrics", REDIS_METRICS_PORT)];
    if redis.cluster.is_some() {
        ports.push(port("bus", REDIS_BUS_PORT));
    }
    ports
}

fn stateful_set(store: &Store, redis: &RedisPlan) -> Object {
    let mut metadata = store.metadata(REDIS);
    metadata
        .labels
        .get_or_insert_default()
        .insert(labels::STORE_MODE.to_owned(), redis.mode.as_str().to_owned());
    if redis.tls.is_some() {
        let level = Level::Required.as_str().to_owned();
        metadata.annotations.get_or_insert_default().insert(labels::TLS.to_owned(), level);
    }
    let mut spec = store.set(redis.servers, template(store, redis));
    spec.volume_claim_templates =
        Some(vec![store.claim("data", &redis.storage_size, redis.storage_class.as_ref())]);
    store.object(Kind::StatefulSet, &StatefulSet { metadata, spec: Some(spec), status: None })
}

fn template(store: &Store, redis: &RedisPlan) -> PodTemplateSpec {
    let plan = store.plan;
    let name = plan.identity.child(REDIS);
    let mut spec: PodSpec = pod::restricted(plan, &name, redis.user, redis.group);
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    spec.init_containers = Some(vec![prepare(store, redis)]);
    spec.containers = vec![server(store, redis)];
    let mut volumes = volumes(name, redis);
    volumes.push(redis_users::volume(plan));
    spec.volumes = Some(volumes);
    scheduling::place(plan, REDIS, &redis.scheduling, redis.servers > 1, &mut spec);
    store.template(&redis.version, &redis.checksum, spec)
}

/// The agent, the configuration without secrets, the passwords, and the configuration with them.
pub(super) fn volumes(config_map: String, redis: &RedisPlan) -> Vec<Volume> {
    let mut volumes = vec![
        passwords(redis),
        pod::empty_dir("agent", None),
        // The composed configuration holds the password: memory only.
        pod::empty_dir("run", Some("Memory")),
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: config_map, ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
    ];
    volumes.extend(redis.tls.as_ref().map(certificate::volume));
    volumes
}

/// A file, because it changes in running pods: of a generated one there are several while it is replaced.
fn passwords(redis: &RedisPlan) -> Volume {
    let source = &redis.password;
    let renamed = KeyToPath { key: source.key.clone(), path: "password".to_owned(), mode: None };
    Volume {
        name: "passwords".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(source.secret.clone()),
            items: (!source.generated).then(|| vec![renamed]),
            default_mode: Some(pod::GROUP_READS),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Leaves the agent for the server's container, and composes redis.conf with the password and the
/// server's own address, so that what is wrong with it stops the pod before the server.
fn prepare(store: &Store, redis: &RedisPlan) -> Container {
    prepare_container(store.plan, redis, "redis.conf", &place(store, redis), variables(store, redis))
}

/// Where the server finds its master.
fn place(store: &Store, redis: &RedisPlan) -> Vec<String> {
    if redis.mode != RedisMode::Replicated {
        return Vec::new();
    }
    let identity = &store.plan.identity;
    let sentinels = format!("{}:{SENTINEL_PORT}", identity.child(sentinel::NAME));
    let first = store.first_host();
    strings(&["--first-master", &first, "--sentinels", &sentinels, "--master-name", &identity.name])
}

/// Where to ask who was master, where the Sentinels have forgotten.
pub(super) fn memory(store: &Store, redis: &RedisPlan) -> Vec<String> {
    strings(&["--agents", &store.domain(), "--servers", &redis.servers.to_string()])
}

/// Where the server is reached.
fn variables(store: &Store, redis: &RedisPlan) -> Vec<EnvVar> {
    let mut variables = vec![env::pod_field("POD_IP", "status.podIP")];
    if redis.servers > 1 {
        variables.extend(own_host(store));
    }
    variables
}

/// The pod's name in DNS, as `POD_HOST`.
pub(super) fn own_host(store: &Store) -> [EnvVar; 2] {
    [
        env::pod_field("POD_NAME", "metadata.name"),
        env::literal("POD_HOST", format!("$(POD_NAME).{}", store.domain())),
    ]
}

pub(super) fn prepare_container(
    plan: &Plan,
    redis: &RedisPlan,
    file: &str,
    further: &[String],
    variables: Vec<EnvVar>,
) -> Container {
    let mut command = strings(&["/trading-agent", "redis", "prepare"]);
    command.extend(composing(file));
    command.extend(strings(&["--binary", AGENT]));
    command.extend(talking(plan, redis));
    command.extend_from_slice(further);
    Container {
        name: "prepare".to_owned(),
        image: Some(plan.pods.agent_image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(command),
        env: Some(variables),
        resources: Some(pod::resources(&redis.resources)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(with_certificate(
            redis,
            vec![
                pod::mount("agent", "/agent", false),
                pod::mount("config", "/config", true),
                pod::mount("passwords", PASSWORDS, true),
                pod::mount("run", "/run/redis", false),
            ],
        )),
        ..Container::default()
    }
}

/// The same mounts, and the certificate where there is one.
pub(super) fn with_certificate(redis: &RedisPlan, mut mounts: Vec<VolumeMount>) -> Vec<VolumeMount> {
    mounts.extend(redis.tls.as_ref().map(|_| certificate::mount()));
    mounts
}

/// From which template to which file.
fn composing(file: &str) -> Vec<String> {
    let (template, output) = (format!("/config/{file}"), format!("/run/redis/{file}"));
    strings(&["--template", &template, "--output", &output, "--passwords", PASSWORDS])
}

/// The agent as the main process, with the server or Sentinel as its child.
pub(super) fn run(file: &str, further: &[String]) -> Vec<String> {
    let mut command = strings(&[AGENT, "redis", "run"]);
    command.extend(composing(file));
    command.extend_from_slice(further);
    command
}

fn server(store: &Store, redis: &RedisPlan) -> Container {
    let mut ports = vec![container_port("redis", REDIS_PORT), container_port("metrics", REDIS_METRICS_PORT)];
    let mut further = place(store, redis);
    further.extend(talking(store.plan, redis));
    further.extend(strings(&["--users", "/config/users", "--user-passwords", redis_users::FOLDER]));
    if redis.sentinel.is_some() {
        further.extend(memory(store, redis));
        // Beside the data, where Redis' own files have other names.
        further.extend(strings(&["--note", "/data/master"]));
    }
    if redis.cluster.is_some() {
        ports.push(container_port("bus", REDIS_BUS_PORT));
        further.extend(strings(&["--cluster", "/config/cluster"]));
    }
    Container {
        name: REDIS.to_owned(),
        image: Some(redis.image.clone()),
        image_pull_policy: Some(store.plan.pods.pull_policy.as_str().to_owned()),
        command: Some(run("redis.conf", &further)),
        ports: Some(ports),
        env: Some(variables(store, redis)),
        resources: Some(pod::resources(&redis.resources)),
        // Loading a large append-only file takes minutes; only then may liveness kill.
        startup_probe: Some(check(store.plan, redis, "liveness", 180)),
        liveness_probe: Some(check(store.plan, redis, "liveness", 6)),
        readiness_probe: Some(check(store.plan, redis, "readiness", 3)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(with_certificate(
            redis,
            vec![
                pod::mount("agent", "/agent", true),
                pod::mount("config", "/config", true),
                pod::mount("data", "/data", false),
                pod::mount("passwords", PASSWORDS, true),
                pod::mount("run", "/run/redis", false),
                pod::mount("users", redis_users::FOLDER, true),
            ],
        )),
        ..Container::default()
    }
}

fn check(plan: &Plan, redis: &RedisPlan, what: &str, failures: i32) -> Probe {
    let (port, talking) = (REDIS_PORT.to_string(), talking(plan, redis));
    let mut command = vec![AGENT, "redis", "probe", what, "--port", &port, "--passwords", PASSWORDS];
    if redis.cluster.is_some() {
        command.push("--cluster");
    }
    command.extend(talking.iter().map(String::as_str));
    probe(&command, failures)
}
