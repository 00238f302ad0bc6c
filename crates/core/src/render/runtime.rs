//! The container runtime: a `DaemonSet` of Docker daemons, its Service, shared volume and policy's
//! other end.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
        core::v1::{
            Container, EmptyDirVolumeSource, EnvVar, KeyToPath, PersistentVolumeClaim,
            PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            SecretVolumeSource, SecurityContext, Service, ServiceAccount, ServiceSpec, TCPSocketAction,
            Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use trading_api::{labels, scheduling::Scheduling};

use super::{
    env, meta, pod, scheduling,
    store::{claim_spec, container_port, port, strings},
};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{Plan, RUNTIME, RuntimePlan, RuntimeTlsPlan},
};

/// Where the daemon keeps images and containers: on the node, because two daemons that share it
/// destroy it.
const DATA_ROOT: &str = "/var/lib/docker";
/// Where the volume that all nodes share is.
const SHARED: &str = "/shared";
/// Where the daemon's certificate is.
const CERTIFICATES: &str = "/certs/server";
/// Seconds for the daemon to stop its containers.
const GRACE_SECONDS: i64 = 60;

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let Some(runtime) = &plan.runtime else { return Vec::new() };
    let mut objects = vec![account(plan), service(plan, runtime), daemon_set(plan, runtime)];
    objects.extend(claim(plan, runtime));
    objects
}

fn metadata(plan: &Plan, lifetime: Lifetime) -> ObjectMeta {
    meta::object(plan, RUNTIME, RUNTIME, meta::RUNTIME, lifetime)
}

fn account(plan: &Plan) -> Object {
    let account = ServiceAccount {
        metadata: metadata(plan, Lifetime::Platform),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Object::new(Kind::ServiceAccount, RUNTIME, Lifetime::Platform, &account)
}

/// Leads a pod to the daemon on its own node: containers that it starts must find its files there.
fn service(plan: &Plan, runtime: &RuntimePlan) -> Object {
    let service = Service {
        metadata: metadata(plan, Lifetime::Platform),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            internal_traffic_policy: Some("Local".to_owned()),
            selector: Some(meta::selector(&plan.identity.name, RUNTIME)),
            ports: Some(vec![port("docker", runtime.port)]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Object::new(Kind::Service, RUNTIME, Lifetime::Platform, &service)
}

fn claim(plan: &Plan, runtime: &RuntimePlan) -> Option<Object> {
    let volume = runtime.shared.as_ref()?;
    let claim = PersistentVolumeClaim {
        metadata: metadata(plan, Lifetime::Store),
        spec: Some(claim_spec("ReadWriteMany", &volume.size, volume.class.as_ref())),
        status: None,
    };
    Some(Object::new(Kind::PersistentVolumeClaim, RUNTIME, Lifetime::Store, &claim))
}

fn daemon_set(plan: &Plan, runtime: &RuntimePlan) -> Object {
    let set = DaemonSet {
        metadata: metadata(plan, Lifetime::Platform),
        spec: Some(DaemonSetSpec {
            selector: meta::matching(meta::selector(&plan.identity.name, RUNTIME)),
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    // Two daemons would fight for the node's folders.
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            template: template(plan, runtime),
            ..DaemonSetSpec::default()
        }),
        status: None,
    };
    Object::new(Kind::DaemonSet, RUNTIME, Lifetime::Platform, &set)
}

fn template(plan: &Plan, runtime: &RuntimePlan) -> PodTemplateSpec {
    // The one exception from `restricted`: a daemon that makes containers can't be closed down.
    let mut spec: PodSpec = pod::restricted(plan, &plan.identity.child(RUNTIME), 0, 0);
    spec.security_context = Some(PodSecurityContext::default());
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    spec.containers = vec![daemon(plan, runtime)];
    spec.volumes = Some(volumes(plan, runtime));
    let placed = Scheduling {
        node_selector: runtime.node_selector.clone(),
        tolerations: runtime.tolerations.clone(),
        ..Scheduling::default()
    };
    scheduling::place(plan, RUNTIME, &placed, false, &mut spec);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(meta::pod_labels(plan, RUNTIME, meta::RUNTIME, &runtime.version)),
            annotations: Some(BTreeMap::from([(
                labels::CONFIG_CHECKSUM.to_owned(),
                runtime.checksum.clone(),
            )])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

fn daemon(plan: &Plan, runtime: &RuntimePlan) -> Container {
    let listen = format!("--host=tcp://0.0.0.0:{}", runtime.port);
    let mut args = strings(&["dockerd", "--host=unix:///var/run/docker.sock", &listen]);
    if runtime.tls.is_some() {
        let file = |flag: &str, name: &str| format!("--{flag}={CERTIFICATES}/{name}");
        args.push("--tlsverify".to_owned());
        args.extend([file("tlscacert", "ca.pem"), file("tlscert", "cert.pem"), file("tlskey", "key.pem")]);
    } else {
        // Docker waits 15 s at every start to discourage it; the policies stand before this port.
        args.push("--tls=false".to_owned());
    }
    Container {
        name: RUNTIME.to_owned(),
        image: Some(runtime.image.clone()),
        image_pull_policy: Some(plan.pods.pull_policy.as_str().to_owned()),
        args: Some(args),
        ports: Some(vec![container_port("docker", runtime.port)]),
        env: Some(variables()),
        resources: Some(pod::resources(&runtime.resources)),
        startup_probe: Some(answers(30)),
        liveness_probe: Some(answers(6)),
        readiness_probe: Some(answers(3)),
        security_context: Some(SecurityContext { privileged: Some(true), ..SecurityContext::default() }),
        volume_mounts: Some(mounts(runtime)),
        ..Container::default()
    }
}

fn variables() -> Vec<EnvVar> {
    vec![
        // The image's entrypoint would make certificates of its own.
        env::literal("DOCKER_TLS_CERTDIR", String::new()),
        env::pod_field("NODE_NAME", "spec.nodeName"),
    ]
}

fn answers(failures: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String("docker".to_owned()), host: None }),
        period_seconds: Some(5),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn mounts(runtime: &RuntimePlan) -> Vec<VolumeMount> {
    let mut mounts = vec![pod::mount("images", DATA_ROOT, false)];
    mounts.extend(runtime.shared.as_ref().map(|_| VolumeMount {
        sub_path_expr: Some("$(NODE_NAME)".to_owned()),
        ..pod::mount("shared", SHARED, false)
    }));
    mounts.extend(runtime.tls.as_ref().map(|_| pod::mount("certificates", CERTIFICATES, true)));
    mounts
}

fn volumes(plan: &Plan, runtime: &RuntimePlan) -> Vec<Volume> {
    let images = Volume {
        name: "images".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: runtime.local.as_ref().map(Quantity::from),
        }),
        ..Volume::default()
    };
    let shared = runtime.shared.as_ref().map(|_| Volume {
        name: "shared".to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: plan.identity.child(RUNTIME),
            read_only: None,
        }),
        ..Volume::default()
    });
    let certificates = runtime.tls.as_ref().map(|tls| certificates("certificates", &tls.server));
    [images].into_iter().chain(shared).chain(certificates).collect()
}

/// A Secret with a certificate, its files named as Docker names them.
pub(super) fn certificates(volume: &str, secret: &str) -> Volume {
    let items = RuntimeTlsPlan::FILES.map(|(key, path)| KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode: None,
    });
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(items.into()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
