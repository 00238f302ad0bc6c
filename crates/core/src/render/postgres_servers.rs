//! Postgres that the platform runs: one `StatefulSet` whose first pod is the primary, its
//! Services, configuration, passwords and budget.

use std::{collections::BTreeMap, fmt::Write};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{
        ConfigMap, ConfigMapVolumeSource, Container, PodSpec, PodTemplateSpec, Probe, Volume, VolumeMount,
    },
};
use trading_api::labels;

use super::{
    env, meta, pod, scheduling,
    store::{AGENT, Store, container_port, port, probe, strings},
};
use crate::{
    kinds::Kind,
    object::{Object, PASSWORD},
    plan::{POSTGRES, POSTGRES_PORT, POSTGRES_RO, Plan, PostgresPlan, PostgresServers},
};

/// All servers, for reading.
const ANY: &str = "postgres-r";
/// Role that replicas log in as.
const REPLICATION_ROLE: &str = "streaming_replica";
/// Below the volume's root: fsGroup opens that to the group, which Postgres refuses.
const DATA: &str = "/var/lib/postgresql/data/pgdata";
const DATA_VOLUME: &str = "/var/lib/postgresql/data";
const WAL: &str = "/var/lib/postgresql/wal/pg_wal";
const WAL_VOLUME: &str = "/var/lib/postgresql/wal";
const CONFIG: &str = "/run/postgres/postgresql.conf";
/// Seconds for a server to end its connections and write its last checkpoint.
const GRACE_SECONDS: i64 = 120;

pub(super) fn render(plan: &Plan, database: &PostgresPlan, servers: &PostgresServers) -> Vec<Object> {
    let store = Store { plan, name: POSTGRES, tier: meta::DATABASE };
    let ports = || vec![port("postgres", POSTGRES_PORT)];
    let mut objects = vec![
        store.account(),
        config(&store, servers),
        store.service(POSTGRES, ports(), primary(&store)),
        store.headless_service(ports()),
        stateful_set(&store, database, servers),
    ];
    if servers.instances > 1 {
        objects.push(store.service(POSTGRES_RO, ports(), replicas(&store)));
        objects.push(store.service(ANY, ports(), store.selector()));
    }
    objects.extend(secrets(&store, database, servers));
    objects.extend(store.budget(servers.instances, servers.disruption.as_ref()));
    objects
}

/// The first pod: in this release no other becomes the primary.
fn primary(store: &Store) -> BTreeMap<String, String> {
    let mut selector = store.selector();
    let first = format!("{}-0", store.plan.identity.child(POSTGRES));
    selector.insert(labels::POD_NAME.to_owned(), first);
    selector
}

/// Every pod starts with this label, and the operator takes it off the primary.
fn replicas(store: &Store) -> BTreeMap<String, String> {
    let mut selector = store.selector();
    selector.insert(labels::STORE_ROLE.to_owned(), labels::ROLE_REPLICA.to_owned());
    selector
}

fn secrets(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> [Object; 3] {
    let identity = &store.plan.identity;
    let host = format!("{}.{}.svc", identity.child(POSTGRES), identity.namespace_of(POSTGRES));
    let (owner, name) = (&servers.owner, &database.database);
    let secrets = &servers.passwords;
    let login = |role: &str| [("username", role.to_owned()), ("password", PASSWORD.to_owned())];
    [
        store.secret(&secrets.owner.secret).generated_once([
            ("username", owner.clone()),
            ("password", PASSWORD.to_owned()),
            ("host", host.clone()),
            ("port", POSTGRES_PORT.to_string()),
            ("dbname", name.clone()),
            ("uri", format!("postgresql://{owner}:{PASSWORD}@{host}:{POSTGRES_PORT}/{name}")),
        ]),
        store.secret(&secrets.superuser.secret).generated_once(login("postgres")),
        store.secret(&secrets.replication.secret).generated_once(login(REPLICATION_ROLE)),
    ]
}

fn config(store: &Store, servers: &PostgresServers) -> Object {
    let fixed = [
        ("listen_addresses", "*".to_owned()),
        ("port", POSTGRES_PORT.to_string()),
        ("unix_socket_directories", "/run/postgres".to_owned()),
        ("hba_file", "/config/pg_hba.conf".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("wal_level", "replica".to_owned()),
        ("hot_standby", "on".to_owned()),
        ("logging_collector", "off".to_owned()),
    ];
    let given = servers.parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let text = fixed.into_iter().chain(given).fold(String::new(), |mut text, (name, value)| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name} = '{value}'");
        text
    });
    let access = format!(
        "local all all peer\nhost replication {REPLICATION_ROLE} all scram-sha-256\nhost all all all scram-sha-256\n"
    );
    let map = ConfigMap {
        metadata: store.metadata(POSTGRES),
        data: Some(BTreeMap::from([
            ("postgresql.conf".to_owned(), text),
            ("pg_hba.conf".to_owned(), access),
        ])),
        ..ConfigMap::default()
    };
    store.object(Kind::ConfigMap, &map)
}

fn stateful_set(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Object {
    let mut metadata = store.metadata(POSTGRES);
    metadata.labels.get_or_insert_default().insert(labels::STORE_MODE.to_owned(), "Managed".to_owned());
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
    spec.init_containers = Some(vec![agent(plan, servers), prepare(store, database, servers)]);
    spec.containers = vec![server(plan, servers)];
    spec.volumes = Some(vec![
        pod::empty_dir("agent", None),
        // Replicas find their password there: memory only.
        pod::empty_dir("run", Some("Memory")),
        pod::shared_memory("shm"),
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
    ]);
    scheduling::place(plan, POSTGRES, &servers.scheduling, servers.apart, &mut spec);
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

/// Makes an empty volume a database: the first pod a new one, the others copies of it.
fn prepare(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Container {
    let (first, major) = (store.first_host(), servers.major.to_string());
    let mut command = strings(&[
        AGENT,
        "postgres",
        "prepare",
        "--major",
        &major,
        "--data",
        DATA,
        "--template",
        "/config/postgresql.conf",
        "--output",
        CONFIG,
        "--primary",
        &first,
        "--database",
        &database.database,
        "--owner",
        &servers.owner,
    ]);
    if servers.wal_storage.is_some() {
        command.extend(strings(&["--wal", WAL]));
    }
    let password =
        |name: &str, source: &crate::plan::PasswordSource| env::secret(name, &source.secret, &source.key);
    let secrets = &servers.passwords;
    let mut mounts = mounts(servers);
    mounts.push(pod::mount("run", "/run/postgres", false));
    Container {
        name: "prepare".to_owned(),
        image: Some(servers.image.clone()),
        image_pull_policy: Some(store.plan.pods.pull_policy.as_str().to_owned()),
        command: Some(command),
        env: Some(vec![
            env::pod_field("POD_NAME", "metadata.name"),
            password("OWNER_PASSWORD", &secrets.owner),
            password("SUPERUSER_PASSWORD", &secrets.superuser),
            password("REPLICATION_PASSWORD", &secrets.replication),
        ]),
        resources: Some(pod::resources(&servers.resources)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn mounts(servers: &PostgresServers) -> Vec<VolumeMount> {
    let mut mounts = vec![
        pod::mount("agent", "/agent", true),
        pod::mount("config", "/config", true),
        pod::mount("data", DATA_VOLUME, false),
        pod::mount("shm", "/dev/shm", false),
    ];
    mounts.extend(servers.wal_storage.as_ref().map(|_| pod::mount("wal", WAL_VOLUME, false)));
    mounts
}

fn server(plan: &Plan, servers: &PostgresServers) -> Container {
    let config = format!("config_file={CONFIG}");
    let mut mounts = mounts(servers);
    // The socket lies there too.
    mounts.push(pod::mount("run", "/run/postgres", false));
    Container {
        name: POSTGRES.to_owned(),
        image: Some(servers.image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(strings(&["postgres", "-D", DATA, "-c", &config])),
        ports: Some(vec![container_port("postgres", POSTGRES_PORT)]),
        resources: Some(pod::resources(&servers.resources)),
        // Recovery after a crash replays the log for minutes; only then may liveness kill.
        startup_probe: Some(check("liveness", 360)),
        liveness_probe: Some(check("liveness", 6)),
        readiness_probe: Some(check("readiness", 3)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn check(what: &str, failures: i32) -> Probe {
    probe(&[AGENT, "postgres", "probe", what, "--port", &POSTGRES_PORT.to_string()], failures)
}
