//! Postgres that the platform runs: one `StatefulSet` whose pods agree by a Lease who is primary,
//! its Services, configuration, passwords and budget.

use std::{collections::BTreeMap, fmt::Write};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{
        ConfigMap, ConfigMapVolumeSource, Container, EnvVar, PodSpec, PodTemplateSpec, ServicePort, Volume,
        VolumeMount,
    },
};
use trading_api::labels;
use trading_report::POSTGRES_ACCESS;

use super::{
    certificate, env, meta, pod, pooler, postgres_lease, postgres_logins, postgres_objects, scheduling,
    store::{AGENT, Store, container_port, http_probe, port, strings},
};
use crate::{
    kinds::Kind,
    object::Object,
    plan::{
        POSTGRES, POSTGRES_AGENT_PORT, POSTGRES_ANY, POSTGRES_PORT, POSTGRES_RO, PasswordSource, Plan,
        PostgresPlan, PostgresServers,
    },
    tls::Level,
};

/// Role that replicas log in as.
pub(super) const REPLICATION_ROLE: &str = "streaming_replica";
/// Below the volume's root: fsGroup opens that to the group, which Postgres refuses.
const DATA: &str = "/var/lib/postgresql/data/pgdata";
const DATA_VOLUME: &str = "/var/lib/postgresql/data";
const WAL: &str = "/var/lib/postgresql/wal/pg_wal";
const WAL_VOLUME: &str = "/var/lib/postgresql/wal";
const CONFIG: &str = "/run/postgres/postgresql.conf";
/// Servers and their hosts. Not in the pods' template, so that adding a server restarts no other.
const MEMBERS: &str = "members";
/// Which login of the owner the servers are to accept, and where the passwords are. Not in the template either.
const LOGIN: &str = "login";
const PASSWORDS: &str = "/passwords";
/// Databases, extensions and roles that they are to have, and where the roles' passwords are. Nor this.
const OBJECTS: &str = "objects";
const ROLES: &str = "/roles";
/// The role of the pooler, where there is one; agents look for it beside the login.
const POOLED: &str = "pooler";
/// Where clients of the Kubernetes API look.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Name of the agent's port.
const METRICS: &str = "metrics";
/// Seconds for a server to end its connections, write its last checkpoint and give its replicas
/// everything; a replica takes over when that is done.
const GRACE_SECONDS: i64 = 120;

pub(super) fn render(plan: &Plan, database: &PostgresPlan, servers: &PostgresServers) -> Vec<Object> {
    let store = Store { plan, name: POSTGRES, tier: meta::DATABASE };
    let ports = || vec![port("postgres", POSTGRES_PORT)];
    // One server is the primary without anybody saying so.
    let primary =
        if servers.instances > 1 { of_role(&store, labels::ROLE_PRIMARY) } else { store.selector() };
    let mut objects = vec![
        store.account(),
        config(&store, database, servers),
        store.service(POSTGRES, ports(), primary),
        store.headless_service(all_ports()),
        stateful_set(&store, database, servers),
    ];
    objects.extend(postgres_lease::render(&store));
    if servers.instances > 1 {
        objects.push(store.service(POSTGRES_RO, ports(), of_role(&store, labels::ROLE_REPLICA)));
        objects.push(store.service(POSTGRES_ANY, ports(), store.selector()));
    }
    objects.extend(postgres_logins::render(&store, database, servers));
    objects.extend(postgres_objects::render(&store, servers));
    objects.extend(servers.tls.as_ref().map(|tls| certificate::render(&store, &tls.certificate)));
    objects.extend(store.budget(servers.instances));
    objects
}

fn all_ports() -> Vec<ServicePort> {
    vec![port("postgres", POSTGRES_PORT), port(METRICS, POSTGRES_AGENT_PORT)]
}

/// Every pod starts as a replica; the operator labels who holds the Lease as primary.
fn of_role(store: &Store, role: &str) -> BTreeMap<String, String> {
    let mut selector = store.selector();
    selector.insert(labels::STORE_ROLE.to_owned(), role.to_owned());
    selector
}

fn config(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Object {
    // Where it listens, whom it follows and what commits wait for is the agent's.
    let fixed = [
        ("hba_file", format!("/config/{POSTGRES_ACCESS}")),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("logging_collector", "off".to_owned()),
    ];
    let given = servers.parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let text = fixed.into_iter().chain(given).fold(String::new(), |mut text, (name, value)| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name} = '{value}'");
        text
    });
    let mut data = BTreeMap::from([
        ("postgresql.conf".to_owned(), text),
        (POSTGRES_ACCESS.to_owned(), access_file(servers)),
        (MEMBERS.to_owned(), members(store, servers)),
        (LOGIN.to_owned(), postgres_logins::file(&servers.logins)),
        (OBJECTS.to_owned(), postgres_objects::file(servers)),
    ]);
    data.extend(database.pooler.as_ref().map(|_| (POOLED.to_owned(), pooler::ROLE.to_owned() + "\n")));
    let map = ConfigMap { metadata: store.metadata(POSTGRES), data: Some(data), ..ConfigMap::default() };
    store.object(Kind::ConfigMap, &map)
}

/// Who may connect, and how: the text of `pg_hba.conf`.
pub(crate) fn access_file(servers: &PostgresServers) -> String {
    let is_required = servers.tls.as_ref().is_some_and(|tls| tls.level == Level::Required);
    let host = if is_required { "hostssl" } else { "host" };
    // Who reaches the socket is in the server's own container and runs as its user, which images
    // call otherwise.
    format!(
        "local all all trust\n{host} replication {REPLICATION_ROLE} all scram-sha-256\n{host} all all all scram-sha-256\n"
    )
}

/// One `name=host` a line.
fn members(store: &Store, servers: &PostgresServers) -> String {
    let (set, domain) = (store.plan.identity.child(POSTGRES), store.domain());
    (0..servers.instances).fold(String::new(), |mut text, number| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{set}-{number}={set}-{number}.{domain}");
        text
    })
}

fn stateful_set(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Object {
    let mut metadata = store.metadata(POSTGRES);
    metadata.labels.get_or_insert_default().insert(labels::STORE_MODE.to_owned(), "Managed".to_owned());
    let level = servers.tls.as_ref().map(|tls| (labels::TLS.to_owned(), tls.level.as_str().to_owned()));
    if let Some(level) = level {
        metadata.annotations.get_or_insert_default().extend([level]);
    }
    let mut spec = store.set(servers.instances, template(store, database, servers));
    let mut claims = vec![store.claim("data", &servers.storage.size, servers.storage.class.as_ref())];
    claims.extend(servers.wal_storage.as_ref().map(|wal| store.claim("wal", &wal.size, wal.class.as_ref())));
    spec.volume_claim_templates = Some(claims);
    store.object(Kind::StatefulSet, &StatefulSet { metadata, spec: Some(spec), status: None })
}

fn template(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> PodTemplateSpec {
    let plan = store.plan;
    let name = plan.identity.child(POSTGRES);
    let mut spec: PodSpec = pod::restricted(plan, &name, servers.user, servers.group);
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    spec.init_containers = Some(vec![agent(plan, servers)]);
    spec.containers = vec![server(plan, database, servers)];
    spec.volumes = Some(vec![
        pod::empty_dir("agent", None),
        // The socket and the replicas' password are there: memory only.
        pod::empty_dir("run", Some("Memory")),
        pod::shared_memory("shm"),
        postgres_lease::token("token"),
        postgres_logins::volume("passwords", store),
        postgres_objects::volume(plan),
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
    ]);
    spec.volumes
        .get_or_insert_default()
        .extend(servers.tls.as_ref().map(|tls| certificate::volume(&tls.certificate)));
    scheduling::place(plan, POSTGRES, &servers.scheduling, servers.instances > 1, &mut spec);
    let mut template = store.template(&servers.version, &servers.checksum, spec);
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.insert(labels::STORE_ROLE.to_owned(), labels::ROLE_REPLICA.to_owned());
    }
    template
}

/// Leaves the agent where the database's own image can run it.
fn agent(plan: &Plan, servers: &PostgresServers) -> Container {
    Container {
        name: "agent".to_owned(),
        image: Some(plan.pods.agent_image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(strings(&["/trading-agent", "install", "--binary", AGENT])),
        resources: Some(pod::resources(&servers.resources)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![pod::mount("agent", "/agent", false)]),
        ..Container::default()
    }
}

/// The agent as the main process, with the server as its child.
fn run(plan: &Plan, database: &PostgresPlan, servers: &PostgresServers) -> Vec<String> {
    let (lease, major) = (postgres_lease::name(plan), servers.major.to_string());
    let mut command = strings(&[
        AGENT,
        "postgres",
        "run",
        "--major",
        &major,
        "--data",
        DATA,
        "--template",
        "/config/postgresql.conf",
        "--output",
        CONFIG,
        "--members",
        &format!("/config/{MEMBERS}"),
        "--login",
        &format!("/config/{LOGIN}"),
        "--passwords",
        PASSWORDS,
        "--objects",
        &format!("/config/{OBJECTS}"),
        "--roles",
        ROLES,
        "--lease",
        &lease,
        "--database",
        &database.database,
        "--owner",
        &servers.owner,
    ]);
    if servers.wal_storage.is_some() {
        command.extend(strings(&["--wal", WAL]));
    }
    if servers.synchronous {
        command.push("--synchronous".to_owned());
    }
    if servers.tls.is_some() {
        let access = format!("/config/{POSTGRES_ACCESS}");
        command.extend(strings(&["--tls", certificate::FOLDER, "--access", &access]));
    }
    command
}

/// Who it is, and the passwords of those that it makes with a database.
fn variables(servers: &PostgresServers) -> Vec<EnvVar> {
    let secrets = &servers.passwords;
    let password = |name: &str, source: &PasswordSource| env::secret(name, &source.secret, &source.key);
    vec![
        env::pod_field("POD_NAME", "metadata.name"),
        env::pod_field("POD_UID", "metadata.uid"),
        env::pod_field("POD_NAMESPACE", "metadata.namespace"),
        password("OWNER_PASSWORD", &secrets.owner),
        password("SUPERUSER_PASSWORD", &secrets.superuser),
        password("REPLICATION_PASSWORD", &secrets.replication),
    ]
}

fn mounts(servers: &PostgresServers) -> Vec<VolumeMount> {
    let mut mounts = vec![
        pod::mount("agent", "/agent", true),
        pod::mount("config", "/config", true),
        pod::mount("data", DATA_VOLUME, false),
        pod::mount("run", "/run/postgres", false),
        pod::mount("shm", "/dev/shm", false),
        pod::mount("token", TOKEN, true),
        pod::mount("passwords", PASSWORDS, true),
        pod::mount("roles", ROLES, true),
    ];
    mounts.extend(servers.wal_storage.as_ref().map(|_| pod::mount("wal", WAL_VOLUME, false)));
    mounts.extend(servers.tls.as_ref().map(|_| certificate::mount()));
    mounts
}

fn server(plan: &Plan, database: &PostgresPlan, servers: &PostgresServers) -> Container {
    let live = |failures| Some(http_probe("/live", METRICS, failures));
    Container {
        name: POSTGRES.to_owned(),
        image: Some(servers.image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(run(plan, database, servers)),
        env: Some(variables(servers)),
        ports: Some(vec![
            container_port("postgres", POSTGRES_PORT),
            container_port(METRICS, POSTGRES_AGENT_PORT),
        ]),
        resources: Some(pod::resources(&servers.resources)),
        // The agent lives while its server copies, rewinds or replays for hours.
        startup_probe: live(60),
        liveness_probe: live(6),
        readiness_probe: Some(http_probe("/ready", METRICS, 3)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts(servers)),
        ..Container::default()
    }
}
