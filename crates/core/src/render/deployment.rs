//! Deployments: the pods of a component.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMapVolumeSource, Container, ContainerPort, ExecAction, HTTPGetAction, KeyToPath, Lifecycle,
            LifecycleHandler, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Probe, SecretVolumeSource,
            SleepAction, Sysctl, TCPSocketAction, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use trading_api::{
    component::{Mount, Port},
    labels, probe as api,
};

use super::{env, mesh, meta, pod, runtime, scheduling};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, POSTGRES, Plan, REDIS, RUNTIME, Scaling, StoreCertificate, Target},
    resolve::component::GRACE_SECONDS,
};

/// For how long a pod runs that nothing else tells of, until it counts: what ends at once has ended by then.
const RUNS_SECONDS: i32 = 10;

/// Lower ports are for root alone, as Linux is set by default.
const FIRST_UNPRIVILEGED: i32 = 1024;

pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Object {
    let replicas = match &component.scaling {
        Scaling::Fixed(replicas) => Some(*replicas),
        Scaling::Auto(..) => None,
    };
    let seed = match &component.scaling {
        Scaling::Fixed(_) => None,
        Scaling::Auto(autoscaling, _) => Some(autoscaling.min_replicas),
    };
    let template = template(plan, component);
    let deployment = Deployment {
        metadata: meta::object(plan, &component.name, &component.name, meta::APPLICATION, Lifetime::Platform),
        spec: Some(DeploymentSpec {
            replicas,
            selector: meta::matching(meta::active_selector(plan, &component.name)),
            strategy: Some(strategy(component)),
            // Kubernetes takes a container without probes for ready as soon as it has started, and would stop
            // the one before for it.
            min_ready_seconds: (!is_probed(&template)).then_some(RUNS_SECONDS),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    Object::new(Kind::Deployment, &component.name, Lifetime::Platform, &deployment).seeded(seed)
}

fn is_probed(template: &PodTemplateSpec) -> bool {
    let mut containers = template.spec.iter().flat_map(|spec| &spec.containers);
    containers.any(|container| container.readiness_probe.is_some() || container.startup_probe.is_some())
}

fn strategy(component: &ComponentPlan) -> DeploymentStrategy {
    let given = component.spec.update_strategy.clone().unwrap_or_default();
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(given.max_surge.map_or(IntOrString::Int(1), |value| value.0)),
            max_unavailable: Some(given.max_unavailable.map_or(IntOrString::Int(0), |value| value.0)),
        }),
    }
}

fn template(plan: &Plan, component: &ComponentPlan) -> PodTemplateSpec {
    let name = plan.identity.child(&component.name);
    let mut spec = pod::restricted(plan, &name, component.user, component.group);
    let (volumes, mounts) = volumes(plan, &name, component);
    if component.ports.iter().any(|port| port.container_port < FIRST_UNPRIVILEGED)
        && let Some(security) = &mut spec.security_context
    {
        // Nobody here is root; `restricted` allows this setting.
        security.sysctls = Some(vec![Sysctl {
            name: "net.ipv4.ip_unprivileged_port_start".to_owned(),
            value: "0".to_owned(),
        }]);
    }
    spec.containers = vec![container(plan, component, mounts)];
    spec.volumes = Some(volumes);
    spec.termination_grace_period_seconds =
        Some(component.spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS));
    scheduling::place(plan, &component.name, &component.scheduling, component.several, &mut spec);
    PodTemplateSpec { metadata: Some(pod_metadata(plan, component)), spec: Some(spec) }
}

fn pod_metadata(plan: &Plan, component: &ComponentPlan) -> ObjectMeta {
    let given = component.spec.pod_metadata.clone().unwrap_or_default();
    let mut all: BTreeMap<String, String> =
        given.labels.into_iter().map(|(key, value)| (key, value.0)).collect();
    all.extend(meta::pod_labels(plan, &component.name, meta::APPLICATION, &component.version));
    all.extend(meta::active_selector(plan, &component.name));
    let retention = plan.telemetry.log_retention_days;
    all.extend(retention.map(|days| (labels::LOG_RETENTION.to_owned(), format!("{days}d"))));
    let mut annotations: BTreeMap<String, String> =
        given.annotations.into_iter().map(|(key, value)| (key, value.0)).collect();
    if let Some((key, value)) = mesh::annotations(plan) {
        annotations.entry(key).or_insert(value);
    }
    annotations.insert(labels::CONFIG_CHECKSUM.to_owned(), component.checksum.clone());
    ObjectMeta { labels: Some(all), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn volumes(plan: &Plan, name: &str, component: &ComponentPlan) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes = vec![pod::empty_dir("tmp", None)];
    let mut mounts = vec![pod::mount("tmp", "/tmp", false)];
    let scratch = component.spec.scratch.iter().filter(|path| path.as_str() != "/tmp");
    for (index, path) in scratch.enumerate() {
        let volume = format!("scratch-{index}");
        volumes.push(pod::empty_dir(&volume, None));
        mounts.push(pod::mount(&volume, path, false));
    }
    if let Some(config) = &component.spec.config {
        volumes.push(Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: name.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        });
        mounts.push(pod::mount("config", &config.mount_path, true));
    }
    for (index, given) in component.spec.volumes.iter().enumerate() {
        let volume = format!("volume-{index}");
        volumes.push(claimed(plan, &volume, given));
        mounts.push(pod::mount(&volume, &given.mount_path, given.read_only.unwrap_or(false)));
    }
    if let Some((secret, key)) = authority(plan, component) {
        volumes.push(trusted("postgres-ca", plan.login(&component.name, POSTGRES, secret), key));
        mounts.push(pod::mount("postgres-ca", env::AUTHORITY_FOLDER, true));
    }
    let tls = plan.redis.iter().filter_map(|redis| redis.tls.as_ref());
    for tls in tls.filter(|_| component.targets.contains(&Target::Redis)) {
        let secret = plan.login(&component.name, REDIS, &tls.secret);
        volumes.push(trusted("redis-ca", secret, StoreCertificate::AUTHORITY));
        mounts.push(pod::mount("redis-ca", env::REDIS_AUTHORITY_FOLDER, true));
    }
    let tls = plan.runtime.iter().filter_map(|runtime| runtime.tls.as_ref());
    for tls in tls.filter(|_| component.targets.contains(&Target::Runtime)) {
        let client = plan.login(&component.name, RUNTIME, &tls.client);
        volumes.push(runtime::certificates("docker", &client));
        mounts.push(pod::mount("docker", env::DOCKER_FOLDER, true));
    }
    (volumes, mounts)
}

/// Whom clients of a store trust.
fn trusted(name: &str, secret: String, key: &str) -> Volume {
    let item = KeyToPath { key: key.to_owned(), path: env::AUTHORITY_FILE.to_owned(), mode: None };
    let source = SecretVolumeSource {
        secret_name: Some(secret),
        items: Some(vec![item]),
        ..SecretVolumeSource::default()
    };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}

/// A claim of the platform's own, or one that was there before.
fn claimed(plan: &Plan, volume: &str, given: &Mount) -> Volume {
    let own = given.shared_volume.as_ref().map(|name| plan.identity.child(name));
    let claim_name = own.or_else(|| given.claim_name.clone()).unwrap_or_default();
    Volume {
        name: volume.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name,
            read_only: given.read_only.filter(|read_only| *read_only),
        }),
        ..Volume::default()
    }
}

/// Secret and key of the database's certificate authority, for who talks to the database.
fn authority<'a>(plan: &'a Plan, component: &ComponentPlan) -> Option<&'a (String, String)> {
    let talks =
        component.targets.iter().any(|target| matches!(target, Target::Postgres | Target::PostgresReadOnly));
    plan.postgres.as_ref().filter(|_| talks)?.ca.as_ref()
}

fn container(plan: &Plan, component: &ComponentPlan, mounts: Vec<VolumeMount>) -> Container {
    let spec = &component.spec;
    let ports = &component.ports;
    let given = spec.probes.clone().unwrap_or_default();
    let default = api::Probe::default();
    Container {
        name: component.name.clone(),
        image: Some(component.image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        command: (!spec.command.is_empty()).then(|| spec.command.clone()),
        args: (!spec.args.is_empty()).then(|| spec.args.clone()),
        ports: (!ports.is_empty()).then(|| ports.iter().map(container_port).collect()),
        env: Some(env::variables(plan, component)),
        env_from: env::sources(component),
        resources: Some(pod::resources(&component.resources)),
        startup_probe: given.startup.as_ref().and_then(|given| probe(given, component)),
        liveness_probe: given.liveness.as_ref().and_then(|given| probe(given, component)),
        readiness_probe: given
            .readiness
            .as_ref()
            .or(first_tcp(component).map(|_| &default))
            .and_then(|given| probe(given, component)),
        lifecycle: component.pre_stop.filter(|_| !ports.is_empty()).map(pre_stop),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn container_port(port: &Port) -> ContainerPort {
    ContainerPort {
        name: Some(port.name.clone()),
        container_port: port.container_port,
        protocol: Some(port.protocol.unwrap_or_default().as_str().to_owned()),
        ..ContainerPort::default()
    }
}

fn pre_stop(seconds: i64) -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// Nothing answers the kubelet on a port of UDP.
fn first_tcp(component: &ComponentPlan) -> Option<&Port> {
    component
        .main_port()
        .filter(|port| port.is_tcp())
        .or_else(|| component.ports.iter().find(|port| port.is_tcp()))
}

fn probe(given: &api::Probe, component: &ComponentPlan) -> Option<Probe> {
    let main = first_tcp(component).or(component.main_port()).map(|port| port.name.clone());
    let port = given.port.clone().or(main).map(IntOrString::String);
    let mut probe = Probe {
        // The apiserver keeps no 0.
        initial_delay_seconds: given.initial_delay_seconds.filter(|seconds| *seconds > 0),
        period_seconds: given.period_seconds,
        timeout_seconds: given.timeout_seconds,
        failure_threshold: given.failure_threshold,
        ..Probe::default()
    };
    match (&given.exec, &given.path) {
        (Some(command), _) => probe.exec = Some(ExecAction { command: Some(command.clone()) }),
        (None, Some(path)) => {
            probe.http_get =
                Some(HTTPGetAction { path: Some(path.clone()), port: port?, ..HTTPGetAction::default() });
        }
        (None, None) => probe.tcp_socket = Some(TCPSocketAction { port: port?, host: None }),
    }
    Some(probe)
}
