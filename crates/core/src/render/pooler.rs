//! PgBouncer between a database of the platform's own and its clients: a Deployment, its Service, configuration
//! and the Secret with which it logs in. It looks up clients' logins in the database, so a new one needs nothing
//! here. With CloudNativePG it is a `Pooler`, and all of that is CloudNativePG's.

use std::{collections::BTreeMap, fmt::Write};

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, Lifecycle, LifecycleHandler, PodSpec,
            PodTemplateSpec, Probe, Secret, SecretVolumeSource, Service, ServiceAccount, ServiceSpec,
            SleepAction, TCPSocketAction, Volume,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde_json::json;
use trading_api::labels;

use super::{
    certificate, mesh, meta, pod, scheduling,
    store::{AGENT, Store, container_port, port, strings},
};
use crate::{
    cnpg, digest,
    kinds::Kind,
    object::{Content, Lifetime, Object, PASSWORD},
    plan::{
        POOLER, POOLER_USER, POSTGRES, POSTGRES_PORT, PasswordSource, Plan, PoolerPlan, PostgresPlan,
        StoreCertificate, TlsPlan,
    },
    resolve::references,
    tls::Level,
};

/// What it looks up logins as, in the database; the agent of the primary makes it.
pub(super) const ROLE: &str = "trading_pooler";
const CONFIG: &str = "pgbouncer.ini";
const USERS: &str = "users.txt";
/// Seconds in which clients learn that a pod goes, before it ends their connections.
const LEAVING_SECONDS: i64 = 5;
/// Seconds for the transactions that are under way then.
const GRACE_SECONDS: i64 = 60;
/// A failover takes 15 s at least where the old primary is cut off: by then what leads to it is given up. And then
/// try again each second.
const PATIENCE: [(&str, &str); 7] = [
    ("server_login_retry", "1"),
    ("server_connect_timeout", "5"),
    ("tcp_keepidle", "5"),
    ("tcp_keepintvl", "3"),
    ("tcp_keepcnt", "3"),
    ("tcp_user_timeout", "12000"),
    ("dns_max_ttl", "5"),
];

pub(super) fn render(plan: &Plan, database: &PostgresPlan) -> Vec<Object> {
    let Some((pooler, password)) =
        database.pooler.as_ref().and_then(|pooler| Some((pooler, pooler.password.as_ref()?)))
    else {
        return Vec::new();
    };
    let text = config(plan, database, pooler);
    let mut objects = vec![
        object(
            Kind::ServiceAccount,
            &ServiceAccount {
                metadata: metadata(plan),
                automount_service_account_token: Some(false),
                ..ServiceAccount::default()
            },
        ),
        users(plan, pooler, password),
        object(Kind::Service, &service(plan)),
        object(Kind::Deployment, &deployment(plan, database, pooler, &digest::of(&json!(text)))),
        object(
            Kind::ConfigMap,
            &ConfigMap {
                metadata: metadata(plan),
                data: Some(BTreeMap::from([(CONFIG.to_owned(), text)])),
                ..ConfigMap::default()
            },
        ),
    ];
    objects.extend((pooler.instances > 1).then(|| object(Kind::PodDisruptionBudget, &budget(plan))));
    objects
}

/// It holds nothing that would be lost, so it goes with the platform.
fn metadata(plan: &Plan) -> ObjectMeta {
    meta::object(plan, POOLER, POOLER, meta::DATABASE, Lifetime::Platform)
}

fn object(kind: Kind, typed: &impl serde::Serialize) -> Object {
    Object::new(kind, POOLER, Lifetime::Platform, typed)
}

fn selector(plan: &Plan) -> BTreeMap<String, String> {
    meta::selector(&plan.identity.name, POOLER)
}

fn service(plan: &Plan) -> Service {
    Service {
        metadata: metadata(plan),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(plan)),
            ports: Some(vec![port("postgres", POSTGRES_PORT)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn budget(plan: &Plan) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(plan),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(meta::matching(selector(plan))),
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

/// As PgBouncer itself reads it: its own login alone. It looks again when the file changes.
fn users(plan: &Plan, pooler: &PoolerPlan, password: &PasswordSource) -> Object {
    let text = format!("\"{ROLE}\" \"{PASSWORD}\"\n");
    let mut metadata = metadata(plan);
    // It differs where another password is filled in.
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(labels::CONFIG_CHECKSUM.to_owned(), pooler.checksum.clone());
    let secret = Secret {
        metadata,
        data: Some(BTreeMap::from([(USERS.to_owned(), ByteString(Vec::new()))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let mut object = object(Kind::Secret, &secret);
    object.content = Content::FilledFrom {
        original: references::secret(plan.identity.namespace_of(POSTGRES), &password.secret),
        key: password.key.clone(),
        is_there: password.is_there,
        texts: BTreeMap::from([(USERS.to_owned(), text)]),
    };
    object
}

/// Clients, connections of one login, and of all logins: while they change there are two. One more is its own, by
/// which it looks them up.
fn limits(pooler: &PoolerPlan) -> [String; 3] {
    [pooler.max_clients, pooler.pool_size, pooler.pool_size + 1].map(|number| number.to_string())
}

fn config(plan: &Plan, database: &PostgresPlan, pooler: &PoolerPlan) -> String {
    let (name, host) = (&database.database, plan.identity.child(POSTGRES));
    let [clients, size, most] = limits(pooler);
    let settings = [
        ("listen_addr", "*".to_owned()),
        ("listen_port", POSTGRES_PORT.to_string()),
        // No socket, and no file but what is mounted.
        ("unix_socket_dir", String::new()),
        ("auth_type", "scram-sha-256".to_owned()),
        ("auth_file", format!("/users/{USERS}")),
        ("auth_user", ROLE.to_owned()),
        ("auth_query", format!("SELECT usename, passwd FROM {ROLE}.login($1)")),
        ("pool_mode", pooler.mode.as_pgbouncer().to_owned()),
        ("max_client_conn", clients),
        ("default_pool_size", size),
        ("max_db_connections", most),
        // What drivers say that means nothing to a pool.
        ("ignore_startup_parameters", "extra_float_digits,options".to_owned()),
        // The kubelet's probes and every client would fill the log.
        ("log_connections", "0".to_owned()),
        ("log_disconnections", "0".to_owned()),
        ("stats_period", "600".to_owned()),
    ];
    let head =
        format!("[databases]\n{name} = host={host} port={POSTGRES_PORT} dbname={name}\n\n[pgbouncer]\n");
    let tls = tls(database).into_iter().flat_map(encrypted);
    let patience = PATIENCE.map(|(setting, value)| (setting, value.to_owned()));
    settings.into_iter().chain(patience).chain(tls).fold(head, |mut text, (setting, value)| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}", format!("{setting} = {value}").trim_end());
        text
    })
}

/// TLS of the servers, which it passes on.
fn tls(database: &PostgresPlan) -> Option<&TlsPlan> {
    database.servers.as_ref()?.tls.as_ref()
}

/// It asks of servers and lets clients do what they are told to. It reads the files again when it is told to.
fn encrypted(tls: &TlsPlan) -> Vec<(&'static str, String)> {
    let is_required = tls.level == Level::Required;
    vec![
        ("client_tls_sslmode", if is_required { "require" } else { "allow" }.to_owned()),
        ("client_tls_cert_file", certificate::file(StoreCertificate::CERTIFICATE)),
        ("client_tls_key_file", certificate::file(StoreCertificate::KEY)),
        // It checks no client's, but reads a file all the same, and the default is not in every image.
        ("client_tls_ca_file", certificate::file(StoreCertificate::AUTHORITY)),
        ("server_tls_sslmode", if is_required { "verify-full" } else { "prefer" }.to_owned()),
        ("server_tls_ca_file", certificate::file(StoreCertificate::AUTHORITY)),
    ]
}

fn deployment(plan: &Plan, database: &PostgresPlan, pooler: &PoolerPlan, checksum: &str) -> Deployment {
    Deployment {
        metadata: metadata(plan),
        spec: Some(DeploymentSpec {
            replicas: Some(pooler.instances),
            selector: meta::matching(selector(plan)),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(plan, database, pooler, checksum),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn template(plan: &Plan, database: &PostgresPlan, pooler: &PoolerPlan, checksum: &str) -> PodTemplateSpec {
    let name = plan.identity.child(POOLER);
    let mut spec: PodSpec = pod::restricted(plan, &name, POOLER_USER, POOLER_USER);
    spec.termination_grace_period_seconds = Some(LEAVING_SECONDS + GRACE_SECONDS);
    spec.init_containers = Some(vec![agent(plan, pooler)]);
    spec.containers = vec![container(plan, database, pooler)];
    spec.volumes = Some(vec![
        pod::empty_dir("agent", None),
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "users".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(name),
                default_mode: Some(pod::GROUP_READS),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]);
    spec.volumes
        .get_or_insert_default()
        .extend(tls(database).map(|tls| certificate::volume(&tls.certificate)));
    scheduling::place(plan, POOLER, &pooler.scheduling, pooler.instances > 1, &mut spec);
    let store = Store { plan, name: POOLER, tier: meta::DATABASE };
    store.template(&pooler.version, checksum, spec)
}

fn agent(plan: &Plan, pooler: &PoolerPlan) -> Container {
    Container {
        name: "agent".to_owned(),
        image: Some(plan.pods.agent_image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(strings(&["/trading-agent", "install", "--binary", AGENT])),
        resources: Some(pod::resources(&pooler.resources)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![pod::mount("agent", "/agent", false)]),
        ..Container::default()
    }
}

/// The agent as the main process: a request to stop means to PgBouncer that it ends amid transactions.
fn container(plan: &Plan, database: &PostgresPlan, pooler: &PoolerPlan) -> Container {
    let config = format!("/config/{CONFIG}");
    let mut command = strings(&[AGENT, "postgres", "pool", "--config", &config]);
    let mut mounts = vec![
        pod::mount("agent", "/agent", true),
        pod::mount("config", "/config", true),
        pod::mount("users", "/users", true),
    ];
    if tls(database).is_some() {
        command.extend(strings(&["--tls", certificate::FOLDER]));
        mounts.push(certificate::mount());
    }
    Container {
        name: POOLER.to_owned(),
        image: pooler.image.clone(),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: Some(command),
        ports: Some(vec![container_port("postgres", POSTGRES_PORT)]),
        resources: Some(pod::resources(&pooler.resources)),
        // Of the database behind it nothing is asked: a restart would not mend that.
        liveness_probe: Some(answers(6)),
        readiness_probe: Some(answers(2)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LEAVING_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn answers(failures: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String("postgres".to_owned()), host: None }),
        period_seconds: Some(5),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// Keeps pods with these labels apart.
fn select(pod: &mut PodSpec, labels: &BTreeMap<String, String>) {
    let selector = || Some(meta::matching(labels.clone()));
    for constraint in pod.topology_spread_constraints.iter_mut().flatten() {
        constraint.label_selector = selector();
    }
    let Some(apart) = pod.affinity.as_mut().and_then(|affinity| affinity.pod_anti_affinity.as_mut()) else {
        return;
    };
    for term in apart.required_during_scheduling_ignored_during_execution.iter_mut().flatten() {
        term.label_selector = selector();
    }
    for preferred in apart.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten() {
        preferred.pod_affinity_term.label_selector = selector();
    }
}

/// CloudNativePG makes the pods, their Service of this name, and the login by which they look up others.
pub(super) fn of_cluster(plan: &Plan, database: &PostgresPlan) -> Option<Object> {
    let pooler = database.pooler.as_ref()?;
    let mut pod = PodSpec::default();
    scheduling::place(plan, POOLER, &pooler.scheduling, pooler.instances > 1, &mut pod);
    select(&mut pod, &cnpg::pooler(&plan.identity.child(POOLER)));
    pod.containers = vec![Container {
        name: cnpg::POOLER_CONTAINER.to_owned(),
        image: pooler.image.clone(),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        resources: Some(pod::resources(&pooler.resources)),
        ..Container::default()
    }];
    pod.image_pull_secrets = pod::restricted(plan, "", POOLER_USER, POOLER_USER).image_pull_secrets;
    let labels = mesh::labels(plan, meta::DATABASE);
    let mut template = json!({ "spec": pod });
    if !labels.is_empty() {
        template["metadata"] = json!({ "labels": labels });
    }
    let (kept, own) = (["max_client_conn", "default_pool_size", "max_db_connections"], limits(pooler));
    let parameters = kept.into_iter().zip(own).chain(PATIENCE.map(|(name, value)| (name, value.to_owned())));
    let spec = json!({
        "cluster": { "name": plan.identity.child(POSTGRES) },
        "type": "rw",
        "instances": pooler.instances,
        "template": template,
        "pgbouncer": {
            "poolMode": pooler.mode.as_pgbouncer(),
            "parameters": parameters.collect::<BTreeMap<_, _>>(),
        },
    });
    Some(object(Kind::Pooler, &json!({ "metadata": metadata(plan), "spec": spec })))
}
