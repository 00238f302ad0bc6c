//! Arbitrary platforms that admission lets through, valid by construction: every field, every
//! mode, names and lists at their limits.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use trading_api::{
    Quantity, TradingPlatform, TradingPlatformSpec,
    autoscaling::{
        Autoscaling, AutoscalingDefaults, Behavior, Metric, MetricIdentifier, MetricKind, MetricSelector,
        MetricSource, MetricTarget, MetricTargetKind, Provider, ScalingPolicy, ScalingPolicyKind,
        ScalingRules, SelectPolicy, SizedResource, Trigger, TriggerKind, VerticalMode, VerticalScaling,
    },
    component::{
        AnnotationValue, ClientAffinity, Component, Disruption, Mount, PodMetadata, Port, Qos,
        ResourceAmounts, Resources, Service, ServiceAccountSettings, UpdateStrategy,
    },
    deletion::{DataPolicy, Deletion, Store},
    env::{ConfigFile, ConfigFiles, EnvFrom, EnvVar, EnvVarSource, FieldRef, KeyRef, ObjectRef},
    image::{Image, ImageDefaults, PullPolicy},
    ingress::{
        Alb, Controller, Cors, FrameOptions, Hsts, Ingress, IngressAnnotation, IngressHost, IngressPath,
        IngressTls, Method, ParentRef, PathType, RateLimit, ReferrerPolicy, Scheme, SecurityHeaders,
        SessionAffinity, Webhooks,
    },
    int_or_percent::{IntOrPercent, PositiveIntOrPercent},
    mesh::{CircuitBreaker, Mesh, MutualTls, Retries},
    monitoring::{
        Alert, AlertName, AlertRule, Dashboards, LatencyObjective, LogFormat, Logs, MetricName, MetricNames,
        Monitoring, Objectives, OtlpProtocol, Panel, ScrapeTarget, Severity, Tracing,
    },
    names::NamespaceName,
    network::{Cidr, EgressPort, EgressRule, NetworkPolicySettings, Protocol},
    placement::{ContainerLimits, Placement, Quota},
    platform::{Environment, Features, InheritedMetadata, SharedVolume},
    postgres::{CaRef, CredentialsRef, ExternalPostgres, ParameterValue, Postgres, PostgresMode, SslMode},
    probe::{Probe, Probes},
    quantity::PositiveQuantity,
    redis::{
        AppendFsync, ConfigValue, ExternalRedis, MaxmemoryPolicy, Redis, RedisAuth, RedisMode,
        RedisPersistence, Sentinel, Storage,
    },
    runtime::{ContainerRuntime, RuntimeTls},
    scheduling::{
        Affinity, AntiAffinity, AntiAffinityMode, LabelValue, NodeAffinity, NodeExpression, NodeOperator,
        NodeSelector, NodeSelectorTerm, PreferredTerm, Scheduling, TaintEffect, Toleration,
        TolerationOperator, TopologySpread, WhenUnsatisfiable,
    },
    secrets::{ExternalKey, ExternalSecret, RemoteRef, Secrets, StoreKind, StoreRef},
};

use crate::tape::Tape;

const ROLES: [&str; 4] = ["frontend", "backend", "scraper", "worker"];
/// Amounts in ascending order, in all notations.
const CPU: [&str; 14] =
    ["0", "1n", "100u", "1m", "50m", "0.1", "100m", "250m", ".5", "500m", "1", "1.5", "2", "1e1"];
const MEMORY: [&str; 14] = [
    "0", "1k", "1Ki", "64Mi", "100M", "128Mi", "256Mi", "512Mi", "1e9", "1Gi", "1.5Gi", "2Gi", "64Gi", "1Ei",
];
/// Of which each is below the next, and the smallest runs a Redis.
const REDIS_MEMORY: [&str; 6] = ["32Mi", "64Mi", "100M", "1Gi", "1.5Gi", "64Gi"];
const LABEL_KEYS: [&str; 6] =
    ["team", "app", "example.com/tier", "a.b-c_d", "topology.kubernetes.io/zone", "x"];
const ANNOTATION_KEYS: [&str; 4] = ["note", "example.com/owner", "prometheus.io/port", "a.b-c_d"];
pub const NAMES: [&str; 4] = ["db", "a", "registry.example.com", "s-1"];
/// Keys of Secrets and `ConfigMaps`.
pub const KEYS: [&str; 4] = ["password", "k", ".dotted_Key-1", "tls.crt"];
const TEXTS: [&str; 6] = ["", "a", "'\"$();\\\n{}", "$(REDIS_PASSWORD)", "é ✓", "- yes: no #"];

/// Any platform.
pub fn platform(tape: &mut Tape) -> TradingPlatform {
    let roles: Vec<&str> = ROLES.into_iter().filter(|_| tape.chance(45)).collect();
    let services = service_names(tape, roles.is_empty());
    let redis = tape.maybe(60, redis);
    let postgres = tape.maybe(60, postgres);
    let mut targets: Vec<&str> = roles.clone();
    targets.extend(services.iter().map(String::as_str));
    targets.extend(redis.as_ref().map(|_| "redis"));
    targets.extend(postgres.as_ref().map(|_| "postgres"));
    let container_runtime = tape.maybe(20, container_runtime);
    targets.extend(container_runtime.as_ref().map(|_| "runtime"));
    targets.extend(postgres.as_ref().filter(|postgres| reads_elsewhere(postgres)).map(|_| "postgres-ro"));
    let shared_volumes = shared_volumes(tape);

    let mut role =
        |name: &str| roles.contains(&name).then(|| component(tape, name, &targets, &shared_volumes));
    let [frontend, backend, scraper, worker] = ROLES.map(&mut role);
    let services: Vec<Service> = services
        .iter()
        .map(|name| Service {
            name: name.clone(),
            component: component(tape, name, &targets, &shared_volumes),
        })
        .collect();
    let names: Vec<String> = roles
        .iter()
        .map(|&role| role.to_owned())
        .chain(services.iter().map(|service| service.name.clone()))
        .collect();
    let mut spec = TradingPlatformSpec {
        environment: tape.maybe(80, |tape| {
            tape.copy(&[Environment::Production, Environment::Staging, Environment::Development])
        }),
        version: version(tape),
        image: tape.maybe(30, image_defaults),
        features: tape.maybe(20, |tape| Features {
            debug: tape.maybe(50, |tape| tape.chance(50)),
            mock_external_services: tape.maybe(50, |tape| tape.chance(50)),
        }),
        frontend,
        backend,
        scraper,
        worker,
        services,
        redis,
        postgres,
        container_runtime,
        shared_volumes,
        ingress: None,
        network_policy: tape.maybe(30, |tape| NetworkPolicySettings {
            enabled: tape.maybe(50, |tape| tape.chance(70)),
            ingress_namespace_labels: labels(tape, 3),
            ingress_cidrs: cidrs(tape),
            monitoring_namespace_labels: labels(tape, 3),
            keda_namespace_labels: labels(tape, 2),
        }),
        autoscaling: tape.maybe(30, |tape| AutoscalingDefaults {
            enabled: tape.maybe(80, |tape| tape.chance(50)),
            provider: tape.maybe(50, |tape| tape.copy(&[Provider::HPA, Provider::KEDA])),
            prometheus_address: tape.maybe(30, |tape| {
                tape.pick(&["http://prometheus:9090", "https://p.example.com/a"]).to_owned()
            }),
        }),
        mesh: tape.maybe(20, mesh),
        placement: tape.maybe(30, placement),
        quota: tape.maybe(30, quota),
        monitoring: tape.maybe(40, |tape| monitoring(tape, &names)),
        secrets: tape.maybe(30, secrets),
        deletion: tape.maybe(30, |tape| Deletion {
            data: tape.maybe(70, |tape| tape.copy(&[DataPolicy::Retain, DataPolicy::Delete])),
            acknowledge_store_removal: [Store::Redis, Store::Postgres]
                .into_iter()
                .filter(|_| tape.chance(50))
                .collect(),
        }),
        inherited_metadata: tape.maybe(30, |tape| InheritedMetadata {
            labels: unique(tape, 4, &LABEL_KEYS),
            annotations: unique(tape, 4, &ANNOTATION_KEYS),
        }),
    };
    if tape.chance(20) {
        let tiers = tiers(tape, &spec);
        spec.placement.get_or_insert_default().namespaces = tiers;
    }
    spec.ingress = tape.maybe(50, |tape| tape_ingress(tape, &spec)).flatten();
    if spec.ingress.as_ref().is_some_and(|ingress| ingress.controller == Some(Controller::Alb)) {
        let settings = spec.network_policy.get_or_insert_default();
        if settings.enabled != Some(false) && settings.ingress_cidrs.is_empty() {
            settings.ingress_cidrs.push(Cidr("10.0.0.0/16".to_owned()));
        }
    }
    let mut platform = TradingPlatform { metadata: metadata(tape), spec, status: None };
    if tape.chance(5) {
        // Nothing but names at their limits.
        platform.metadata.name = Some("a".repeat(40));
    }
    platform
}

fn monitoring(tape: &mut Tape, names: &[String]) -> Monitoring {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let metric =
        |tape: &mut Tape| tape.maybe(40, |tape| MetricName(tape.pick(&["m", "a:b_total"]).to_owned()));
    Monitoring {
        enabled: tape.maybe(50, |tape| tape.chance(80)),
        labels: labels(tape, 2).into_iter().filter(|(key, _)| !is_ours(key)).collect(),
        scrape: tape.maybe(50, |tape| {
            let targets = unique(tape, 4, &all).into_iter();
            targets
                .map(|component| {
                    let number = tape.maybe(30, |tape| tape.between(1, 65535));
                    let name = if number.is_some() { 0 } else { 30 };
                    ScrapeTarget {
                        component,
                        port: tape.maybe(name, |tape| tape.pick(&["http", "nowhere"]).to_owned()),
                        port_number: number,
                        path: tape.maybe(30, |_| "/stats/prometheus".to_owned()),
                        interval: tape.maybe(30, |_| "15s".to_owned()),
                    }
                })
                .collect()
        }),
        metrics: tape.maybe(60, |tape| MetricNames {
            requests: metric(tape),
            request_errors: metric(tape),
            status_label: metric(tape),
            request_duration: metric(tape),
            cache_hit_rate: metric(tape),
            queue_depth: metric(tape),
            database_up: metric(tape),
            database_errors: metric(tape),
            pool_in_use: metric(tape),
            pool_size: metric(tape),
            payments: metric(tape),
            payment_failures: metric(tape),
            failed_logins: metric(tape),
            audit_errors: metric(tape),
            cost: metric(tape),
        }),
        alerts: if tape.chance(50) {
            vec![Alert {
                name: tape.copy(&[AlertName::QueueDepth, AlertName::Latency]),
                enabled: tape.maybe(30, |tape| tape.chance(50)),
                threshold: tape.maybe(50, |tape| i64::from(tape.between(0, 1_000_000))),
                for_: tape.maybe(50, |_| "5m".to_owned()),
                severity: tape.maybe(50, |tape| tape.copy(&SEVERITIES)),
                labels: alert_labels(tape),
            }]
        } else {
            Vec::new()
        },
        alert_labels: alert_labels(tape),
        dashboards: tape.maybe(50, |tape| Dashboards {
            enabled: tape.maybe(50, |tape| tape.chance(80)),
            labels: labels(tape, 2).into_iter().filter(|(key, _)| !is_ours(key)).collect(),
            business: tape.list(2, |tape, index| Panel {
                title: format!("{}{index}", tape.pick(&TEXTS)),
                expr: tape.pick(&["up", "sum(a{b=\"c\"})"]).to_owned(),
            }),
        }),
        objectives: tape.maybe(40, |tape| Objectives {
            availability: Some("99.9".to_owned()),
            latency: tape.maybe(50, |tape| LatencyObjective {
                milliseconds: tape.between(1, 600_000),
                percent: "95".to_owned(),
            }),
        }),
        rules: tape.list(2, |tape, index| AlertRule {
            name: format!("Own{index}"),
            expr: tape.pick(&["up == 0", "vector(1)"]).to_owned(),
            for_: tape.maybe(50, |_| "5m".to_owned()),
            severity: tape.maybe(50, |tape| tape.copy(&SEVERITIES)),
            labels: alert_labels(tape),
            summary: tape.maybe(50, |tape| tape.pick(&TEXTS[1..]).to_owned()),
            description: tape.maybe(50, |tape| tape.pick(&TEXTS[1..]).to_owned()),
        }),
        tracing: tape.maybe(40, |tape| Tracing {
            endpoint: tape.pick(&["http://jaeger.observability:4317", "https://10.0.0.1:4318/v1"]).to_owned(),
            sampling_percent: tape.maybe(50, |tape| tape.between(0, 100)),
            protocol: tape.maybe(50, |tape| tape.copy(&[OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf])),
            namespace_labels: labels(tape, 2),
        }),
        logs: tape.maybe(40, |tape| Logs {
            format: tape.maybe(50, |tape| tape.copy(&[LogFormat::Json, LogFormat::Text])),
            retention_days: tape.maybe(50, |tape| tape.between(1, 3650)),
        }),
    }
}

const SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::Warning, Severity::Info];

fn alert_labels(tape: &mut Tape) -> BTreeMap<String, LabelValue> {
    let keys = unique(tape, 2, &["team", "receiver", "_x1"]);
    keys.into_iter().map(|key| (key, LabelValue("trading".to_owned()))).collect()
}

fn is_ours(key: &str) -> bool {
    key.starts_with("app.kubernetes.io/") || key.starts_with("platform.trading/")
}

/// Some make the Secrets that components and stores consume.
fn secrets(tape: &mut Tape) -> Secrets {
    let external = unique(tape, 3, &NAMES)
        .into_iter()
        .map(|name| ExternalSecret {
            name,
            store_ref: StoreRef {
                name: "vault".to_owned(),
                kind: tape
                    .maybe(50, |tape| tape.copy(&[StoreKind::SecretStore, StoreKind::ClusterSecretStore])),
            },
            refresh_interval: tape.maybe(50, |tape| tape.pick(&["15s", "1h30m", "0"]).to_owned()),
            data: [tape.pick(&KEYS).to_owned()]
                .into_iter()
                .map(|secret_key| ExternalKey {
                    secret_key,
                    remote_ref: RemoteRef {
                        key: tape.pick(&["prod/shop", "a b{{ }}"]).to_owned(),
                        property: tape.maybe(50, |tape| tape.pick(&["p", "$.x"]).to_owned()),
                        version: tape.maybe(20, |_| "3".to_owned()),
                    },
                })
                .collect(),
        })
        .collect();
    Secrets { external }
}

fn metadata(tape: &mut Tape) -> ObjectMeta {
    ObjectMeta {
        name: Some(dns_label(tape, 40)),
        namespace: Some(tape.pick(&["default", "trading", "ns"]).to_owned()),
        uid: tape.maybe(80, |_| "0b5e5c1e-5f0e-4b0e-9a5f-0123456789ab".to_owned()),
        generation: tape.maybe(80, |tape| i64::from(tape.between(1, 9))),
        labels: tape.maybe(50, |tape| plain(labels(tape, 4))),
        annotations: tape.maybe(50, |tape| {
            unique(tape, 4, &ANNOTATION_KEYS)
                .into_iter()
                .map(|key| (key, tape.pick(&TEXTS).to_owned()))
                .collect()
        }),
        ..ObjectMeta::default()
    }
}

fn plain(labels: BTreeMap<String, LabelValue>) -> BTreeMap<String, String> {
    labels.into_iter().map(|(key, value)| (key, value.0)).collect()
}

/// Between one character and `longest`, the first a letter.
fn dns_label(tape: &mut Tape, longest: usize) -> String {
    const MIDDLE: &str = "hop-eu--west-1a-0-x9-production-7--z-b-c-d-e";
    let length = if tape.chance(20) { longest } else { 1 + tape.below(longest) };
    let first = tape.pick(&["s", "a", "z"]);
    if length == 1 {
        return first.to_owned();
    }
    format!("{first}{}{}", &MIDDLE[..length - 2], tape.pick(&["a", "0", "9"]))
}

/// Up to 24 names; at least one where there is no role.
fn service_names(tape: &mut Tape, wanted: bool) -> Vec<String> {
    let count = match tape.below(20) {
        0..=10 => 0,
        11..=18 => 1 + tape.below(3),
        _ => 5 + tape.below(20),
    };
    let count = if wanted { count.max(1) } else { count };
    let mut names = BTreeSet::new();
    for index in 0..count {
        let odd = [
            "tls",
            "headless",
            "auth",
            "api",
            "frontend-2",
            "redis2",
            "rediscache",
            "ingress-2",
            "quota-2",
            "config",
            "data",
            "tmp",
            "agent",
            "postgres2",
            "default",
            "a",
        ];
        let name = if tape.chance(30) { tape.pick(&odd).to_owned() } else { dns_label(tape, 20) };
        // The number keeps them apart; it makes the longest 22 characters long.
        let name = if names.contains(&name) || tape.chance(50) { format!("{name}{index}") } else { name };
        names.insert(name);
    }
    names.into_iter().filter(|name| name.len() <= 22 && !is_reserved(name)).collect()
}

fn is_reserved(name: &str) -> bool {
    ROLES.contains(&name)
        || ["redis", "postgres", "runtime", "ingress", "quota", "sentinel", "default-deny"].contains(&name)
        || name.starts_with("redis-")
        || name.starts_with("postgres-")
        || name.starts_with("sentinel-")
}

fn version(tape: &mut Tape) -> String {
    let long = "1.".repeat(31) + "1";
    tape.pick(&["1", "2.0.0", "v1.0-rc.1_x", &long]).to_owned()
}

fn image(tape: &mut Tape) -> Image {
    let long = format!("a{}z", "/b".repeat(99));
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let long_tag = "T-._".repeat(32);
    let (tag, digest) = match tape.below(4) {
        0 | 1 => (None, None),
        2 => (Some(tape.pick(&["1", "_", "7.4-alpine", "__-", &long_tag]).to_owned()), None),
        _ => (None, Some(digest)),
    };
    Image {
        repository: tape.pick(&["shop/app", "ab", "registry.example.com:5000/a/b", &long]).to_owned(),
        tag,
        digest,
    }
}

fn image_defaults(tape: &mut Tape) -> ImageDefaults {
    ImageDefaults {
        registry: tape
            .maybe(50, |tape| tape.pick(&["registry.example.com", "r:5000", "r.io/a/b_c"]).to_owned()),
        pull_policy: tape
            .maybe(50, |tape| tape.copy(&[PullPolicy::IfNotPresent, PullPolicy::Always, PullPolicy::Never])),
        pull_secrets: unique(tape, 4, &NAMES),
    }
}

/// Some of the items, each once.
fn unique(tape: &mut Tape, most: usize, items: &[&str]) -> Vec<String> {
    let chosen: BTreeSet<&str> = tape.list(most, |tape, _| tape.pick(items)).into_iter().collect();
    chosen.into_iter().map(str::to_owned).collect()
}

fn label_value(tape: &mut Tape) -> LabelValue {
    let long = "x".repeat(63);
    LabelValue(tape.pick(&["a", "", "A.b_c-9", "true", &long]).to_owned())
}

fn labels(tape: &mut Tape, most: usize) -> BTreeMap<String, LabelValue> {
    unique(tape, most, &LABEL_KEYS).into_iter().map(|key| (key, label_value(tape))).collect()
}

fn annotations(tape: &mut Tape) -> BTreeMap<String, AnnotationValue> {
    unique(tape, 3, &ANNOTATION_KEYS)
        .into_iter()
        .map(|key| (key, AnnotationValue(tape.pick(&TEXTS).to_owned())))
        .collect()
}

fn shared_volumes(tape: &mut Tape) -> Vec<SharedVolume> {
    unique(tape, 3, &["logs", "a", "fifteen-letters"])
        .into_iter()
        .map(|name| SharedVolume {
            name,
            size: quantity(tape.pick(&["1Gi", "1Mi", "1e12"])),
            storage_class_name: tape.maybe(50, |tape| tape.pick(&NAMES).to_owned()),
        })
        .collect()
}

/// Where each appears; the folders are apart from all others.
fn mounts(tape: &mut Tape, shared: &[SharedVolume]) -> Vec<Mount> {
    unique(tape, 3, &["/logs", "/mnt/a", "/m"])
        .into_iter()
        .map(|mount_path| {
            let own = if shared.is_empty() {
                None
            } else {
                tape.maybe(70, |tape| shared[tape.below(shared.len())].name.clone())
            };
            let claim_name = if own.is_some() { None } else { Some(tape.pick(&NAMES).to_owned()) };
            let read_only = tape.maybe(30, |tape| tape.chance(50));
            Mount { mount_path, shared_volume: own, claim_name, read_only }
        })
        .collect()
}

fn component(tape: &mut Tape, name: &str, targets: &[&str], shared: &[SharedVolume]) -> Component {
    let ports = ports(tape);
    let has_default_port = ["frontend", "backend", "scraper"].contains(&name);
    let port_names: Vec<String> = if ports.is_empty() && has_default_port {
        vec!["http".to_owned()]
    } else {
        ports.iter().map(|port| port.name.clone()).collect()
    };
    let autoscaling = tape.maybe(30, |tape| autoscaling(tape, targets.contains(&"redis")));
    let vertical_scaling = tape.maybe(20, |tape| vertical_scaling(tape, autoscaling.as_ref()));
    let others: Vec<&str> = targets.iter().copied().filter(|target| *target != name).collect();
    Component {
        image: image(tape),
        command: tape.list(3, |tape, _| tape.pick(&TEXTS).to_owned()),
        args: tape.list(3, |tape, _| tape.pick(&TEXTS).to_owned()),
        ports,
        replicas: if autoscaling.is_some() {
            None
        } else {
            tape.maybe(50, |tape| tape.copy(&[1, 0, 2, 3, 1000]))
        },
        resources: tape.maybe(50, |tape| resources(tape, &CPU, &MEMORY)),
        qos: tape.maybe(20, |_| Qos::Guaranteed),
        volumes: if tape.chance(20) { mounts(tape, shared) } else { Vec::new() },
        session_affinity: if port_names.is_empty() {
            None
        } else {
            tape.maybe(20, |tape| ClientAffinity {
                timeout_seconds: tape.maybe(50, |tape| tape.between(1, 86_400)),
            })
        },
        probes: tape.maybe(40, |tape| Probes {
            startup: tape.maybe(40, |tape| probe(tape, &port_names)),
            liveness: tape.maybe(60, |tape| probe(tape, &port_names)),
            readiness: tape.maybe(60, |tape| probe(tape, &port_names)),
        }),
        env: env(tape),
        env_from: tape.list(3, |tape, _| env_from(tape)),
        config: tape.maybe(20, config),
        connects_to: tape.maybe(
            40,
            |tape| {
                if others.is_empty() { Vec::new() } else { unique(tape, 6, &others) }
            },
        ),
        egress: tape.list(3, |tape, _| egress(tape)),
        autoscaling,
        vertical_scaling,
        disruption: tape.maybe(30, disruption),
        run_as_user: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        fs_group: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        scratch: unique(tape, 3, &["/tmp", "/var/cache", "/x", "/app/.next/cache"]),
        termination_grace_period_seconds: tape
            .maybe(20, |tape| i64::from(tape.copy(&[1, 2, 5, 6, 30, 3600]))),
        update_strategy: tape.maybe(20, update_strategy),
        pod_metadata: tape
            .maybe(20, |tape| PodMetadata { labels: labels(tape, 3), annotations: annotations(tape) }),
        service_account: tape.maybe(20, |tape| ServiceAccountSettings { annotations: annotations(tape) }),
        scheduling: scheduling(tape),
    }
}

fn ports(tape: &mut Tape) -> Vec<Port> {
    let protocol = |tape: &mut Tape| tape.maybe(50, |tape| tape.copy(&[Protocol::TCP, Protocol::UDP]));
    let mut ports = tape.list(3, |tape, index| {
        // 0 leaves room for the largest number; the index keeps numbers and names apart.
        let container_port = tape.copy(&[80, 443, 8080, 65_525]) + i32::try_from(index).expect("few ports");
        let name = tape.pick(&["http", "a", "fifteen-letter", "9p"]);
        let name =
            if index == 0 { name.to_owned() } else { format!("{}{index}", &name[..name.len().min(12)]) };
        Port { name, container_port, protocol: protocol(tape) }
    });
    let mut seen = BTreeSet::new();
    ports.retain(|port| seen.insert(port.container_port));
    if tape.chance(10) {
        // One number for both protocols.
        let both = [("dns", None), ("dns-udp", Some(Protocol::UDP))];
        ports.extend(both.map(|(name, protocol)| Port {
            name: name.to_owned(),
            container_port: 53,
            protocol,
        }));
    }
    ports
}

fn quantity(text: &str) -> Quantity {
    Quantity::from(text)
}

/// Requests at or below limits.
fn resources(tape: &mut Tape, cpu: &[&str], memory: &[&str]) -> Resources {
    let mut pair = |amounts: &[&str]| {
        let low = tape.below(amounts.len());
        let high = low + tape.below(amounts.len() - low);
        [low, high].map(|index| tape.maybe(70, |_| quantity(amounts[index])))
    };
    let ([cpu_request, cpu_limit], [memory_request, memory_limit]) = (pair(cpu), pair(memory));
    Resources {
        requests: tape.maybe(80, |_| ResourceAmounts { cpu: cpu_request, memory: memory_request }),
        limits: tape.maybe(80, |_| ResourceAmounts { cpu: cpu_limit, memory: memory_limit }),
    }
}

fn probe(tape: &mut Tape, ports: &[String]) -> Probe {
    let (path, exec) = match tape.below(3) {
        0 => (None, None),
        1 => (Some(tape.pick(&["/", "/health?full=1#x"]).to_owned()), None),
        _ => (None, Some(vec![tape.pick(&TEXTS).to_owned()])),
    };
    let port = if exec.is_some() || ports.is_empty() {
        None
    } else {
        tape.maybe(50, |tape| ports[tape.below(ports.len())].clone())
    };
    Probe {
        path,
        exec,
        port,
        initial_delay_seconds: tape.maybe(30, |tape| tape.between(0, 3600)),
        period_seconds: tape.maybe(30, |tape| tape.between(1, 3600)),
        timeout_seconds: tape.maybe(30, |tape| tape.between(1, 3600)),
        failure_threshold: tape.maybe(30, |tape| tape.between(1, 1000)),
    }
}

fn key_ref(tape: &mut Tape) -> KeyRef {
    KeyRef {
        name: tape.pick(&NAMES).to_owned(),
        key: tape.pick(&KEYS).to_owned(),
        optional: tape.maybe(30, |tape| tape.chance(50)),
    }
}

fn env(tape: &mut Tape) -> Vec<EnvVar> {
    let names = ["LEVEL", "_a1", "REDIS_HOST", "DEBUG", "PGPASSWORD", "BACKEND_URL"];
    unique(tape, 4, &names)
        .into_iter()
        .map(|name| {
            let (value, value_from) = match tape.below(3) {
                0 => (None, None),
                1 => (Some(tape.pick(&TEXTS).to_owned()), None),
                _ => (None, Some(env_source(tape))),
            };
            EnvVar { name, value, value_from }
        })
        .collect()
}

fn env_source(tape: &mut Tape) -> EnvVarSource {
    let paths =
        ["metadata.name", "metadata.labels['app.kubernetes.io/version']", "status.podIPs", "spec.nodeName"];
    match tape.below(3) {
        0 => EnvVarSource { secret_key_ref: Some(key_ref(tape)), ..EnvVarSource::default() },
        1 => EnvVarSource { config_map_key_ref: Some(key_ref(tape)), ..EnvVarSource::default() },
        _ => EnvVarSource {
            field_ref: Some(FieldRef { field_path: tape.pick(&paths).to_owned() }),
            ..EnvVarSource::default()
        },
    }
}

fn env_from(tape: &mut Tape) -> EnvFrom {
    let object =
        ObjectRef { name: tape.pick(&NAMES).to_owned(), optional: tape.maybe(30, |tape| tape.chance(50)) };
    let (secret_ref, config_map_ref) =
        if tape.chance(50) { (None, Some(object)) } else { (Some(object), None) };
    EnvFrom { prefix: tape.maybe(30, |_| "P_".to_owned()), secret_ref, config_map_ref }
}

fn config(tape: &mut Tape) -> ConfigFiles {
    let mut names = unique(tape, 4, &["app.toml", ".hidden", "X_1-2.y"]);
    if names.is_empty() {
        names.push("a".to_owned());
    }
    ConfigFiles {
        // Apart from scratch folders and volumes: nothing can be mounted twice.
        mount_path: tape.pick(&["/etc/app", "/c"]).to_owned(),
        files: names
            .into_iter()
            .map(|name| ConfigFile { name, content: tape.pick(&TEXTS).to_owned() })
            .collect(),
    }
}

fn egress(tape: &mut Tape) -> EgressRule {
    let blocks = [
        ("203.0.113.0/24", "203.0.113.128/25"),
        ("0.0.0.0/0", "169.254.169.254/32"),
        ("2001:db8::/32", "2001:db8:1::/48"),
        ("::/0", "fd00::/8"),
    ];
    let (cidr, except) = tape.copy(&blocks);
    let fqdn = tape.maybe(30, |tape| tape.pick(&["api.example.com", "*.example.com"]).to_owned());
    let is_block = fqdn.is_none();
    EgressRule {
        cidr: is_block.then(|| Cidr(cidr.to_owned())),
        fqdn,
        except: if is_block && tape.chance(30) { vec![Cidr(except.to_owned())] } else { Vec::new() },
        ports: tape.list(2, |tape, _| EgressPort {
            port: tape.copy(&[443, 1, 65535]),
            protocol: tape.maybe(50, |tape| tape.copy(&[Protocol::TCP, Protocol::UDP])),
        }),
    }
}

fn mesh(tape: &mut Tape) -> Mesh {
    let bound = |tape: &mut Tape| tape.maybe(50, |tape| tape.between(1, 1000));
    let mut breaker = CircuitBreaker {
        max_connections: bound(tape),
        max_pending_requests: bound(tape),
        consecutive_errors: bound(tape),
        ejection_seconds: None,
        max_database_connections: Some(tape.between(1, 1_000_000)),
    };
    breaker.ejection_seconds = breaker.consecutive_errors.and_then(|_| bound(tape));
    Mesh {
        revision: tape.maybe(30, |tape| tape.pick(&["1-27", "canary"]).to_owned()),
        mtls: tape.maybe(50, |tape| tape.copy(&[MutualTls::Permissive, MutualTls::Strict])),
        retries: tape.maybe(50, |tape| Retries {
            attempts: tape.between(0, 10),
            per_try_timeout_seconds: tape.maybe(50, |tape| tape.between(1, 300)),
        }),
        circuit_breaker: tape.maybe(50, |_| breaker),
    }
}

fn vertical_scaling(tape: &mut Tape, autoscaling: Option<&Autoscaling>) -> VerticalScaling {
    let modes = [VerticalMode::Recommend, VerticalMode::Initial, VerticalMode::Recreate];
    let mut given = VerticalScaling {
        mode: tape.copy(&modes),
        resources: tape.maybe(60, |tape| {
            if tape.chance(50) {
                vec![SizedResource::Cpu, SizedResource::Memory]
            } else {
                vec![tape.copy(&[SizedResource::Cpu, SizedResource::Memory])]
            }
        }),
        min_allowed: tape.maybe(50, |tape| ResourceAmounts {
            cpu: tape.maybe(70, |tape| quantity(tape.pick(&CPU))),
            memory: tape.maybe(70, |tape| quantity(tape.pick(&MEMORY))),
        }),
    };
    let scaled = autoscaling.is_some_and(|scaling| scaling.cpu.is_some() || scaling.memory.is_some());
    if scaled {
        given.mode = VerticalMode::Recommend;
    }
    given
}

fn trigger(tape: &mut Tape, has_redis: bool) -> Trigger {
    let kinds = [TriggerKind::Prometheus, TriggerKind::RedisList, TriggerKind::RedisStream];
    let kind = tape.copy(if has_redis { &kinds } else { &kinds[..1] });
    let group = if kind == TriggerKind::RedisStream { 50 } else { 0 };
    Trigger {
        kind,
        source: tape.pick(&["orders", "sum(a{b=\"c\"})", "{orders}:'x'"]).to_owned(),
        consumer_group: tape.maybe(group, |_| "workers".to_owned()),
        threshold: tape.between(1, 1_000_000_000),
    }
}

fn autoscaling(tape: &mut Tape, has_redis: bool) -> Autoscaling {
    let min_replicas = tape.copy(&[1, 2, 3, 500, 1000]);
    let triggers =
        if tape.chance(30) { tape.list(3, |tape, _| trigger(tape, has_redis)) } else { Vec::new() };
    let mut autoscaling = Autoscaling {
        min_replicas,
        max_replicas: tape.between(min_replicas, 1000),
        cpu: tape.maybe(60, |tape| tape.between(1, 1000)),
        memory: tape.maybe(30, |tape| tape.between(1, 1000)),
        metrics: if triggers.is_empty() { tape.list(3, |tape, _| metric(tape)) } else { Vec::new() },
        triggers,
        behavior: tape.maybe(30, |tape| Behavior {
            scale_up: tape.maybe(60, scaling_rules),
            scale_down: tape.maybe(60, scaling_rules),
        }),
    };
    if autoscaling.memory.is_none() && autoscaling.metrics.is_empty() && autoscaling.triggers.is_empty() {
        autoscaling.cpu.get_or_insert(70);
    }
    autoscaling
}

fn metric(tape: &mut Tape) -> Metric {
    let kind = tape.copy(&[MetricKind::Pods, MetricKind::External]);
    let target = tape.pick(&["1", "1500m", "1e3"]);
    let is_value = kind == MetricKind::External && tape.chance(50);
    let source = MetricSource {
        metric: MetricIdentifier {
            name: tape.pick(&["requests_per_second", "q:len|orders", "9.-"]).to_owned(),
            selector: tape.maybe(30, |tape| MetricSelector { match_labels: labels(tape, 2) }),
        },
        target: MetricTarget {
            kind: if is_value { MetricTargetKind::Value } else { MetricTargetKind::AverageValue },
            average_value: (!is_value).then(|| PositiveQuantity(quantity(target))),
            value: is_value.then(|| PositiveQuantity(quantity(target))),
        },
    };
    let (pods, external) = match kind {
        MetricKind::Pods => (Some(source), None),
        MetricKind::External => (None, Some(source)),
    };
    Metric { kind, pods, external }
}

fn scaling_rules(tape: &mut Tape) -> ScalingRules {
    ScalingRules {
        stabilization_window_seconds: tape.maybe(50, |tape| tape.between(0, 3600)),
        select_policy: tape
            .maybe(50, |tape| tape.copy(&[SelectPolicy::Max, SelectPolicy::Min, SelectPolicy::Disabled])),
        policies: tape.list(2, |tape, _| ScalingPolicy {
            kind: tape.copy(&[ScalingPolicyKind::Pods, ScalingPolicyKind::Percent]),
            value: tape.between(1, 100_000),
            period_seconds: tape.between(1, 1800),
        }),
    }
}

fn percent(number: i32) -> IntOrPercent {
    IntOrPercent(IntOrString::String(format!("{number}%")))
}

fn number(number: i32) -> IntOrPercent {
    IntOrPercent(IntOrString::Int(number))
}

fn share(tape: &mut Tape, least: i32) -> IntOrPercent {
    if tape.chance(50) { percent(tape.between(least, 100)) } else { number(tape.between(least, 1000)) }
}

fn disruption(tape: &mut Tape) -> Disruption {
    if tape.chance(50) {
        Disruption { min_available: Some(share(tape, 0)), max_unavailable: None }
    } else {
        Disruption { min_available: None, max_unavailable: Some(PositiveIntOrPercent(share(tape, 1).0)) }
    }
}

fn update_strategy(tape: &mut Tape) -> UpdateStrategy {
    match tape.below(4) {
        0 => UpdateStrategy::default(),
        1 => UpdateStrategy { max_surge: Some(share(tape, 1)), max_unavailable: None },
        2 => UpdateStrategy { max_surge: None, max_unavailable: Some(share(tape, 0)) },
        _ => UpdateStrategy {
            max_surge: Some(if tape.chance(50) { percent(0) } else { number(0) }),
            max_unavailable: Some(share(tape, 1)),
        },
    }
}

fn scheduling(tape: &mut Tape) -> Scheduling {
    if !tape.chance(40) {
        return Scheduling::default();
    }
    Scheduling {
        affinity: tape.maybe(30, |tape| Affinity { node_affinity: tape.maybe(80, node_affinity) }),
        anti_affinity: tape.maybe(40, |tape| AntiAffinity {
            mode: tape.copy(&[
                AntiAffinityMode::Preferred,
                AntiAffinityMode::Required,
                AntiAffinityMode::None,
            ]),
            topology_key: tape.maybe(50, |tape| tape.pick(&LABEL_KEYS).to_owned()),
        }),
        topology_spread_constraints: topology_spread(tape),
        node_selector: labels(tape, 2),
        tolerations: tape.list(2, |tape, _| toleration(tape)),
        priority_class_name: tape.maybe(20, |tape| tape.pick(&["high", "low.1"]).to_owned()),
    }
}

fn topology_spread(tape: &mut Tape) -> Vec<TopologySpread> {
    unique(tape, 3, &LABEL_KEYS)
        .into_iter()
        .map(|topology_key| TopologySpread {
            max_skew: tape.between(1, 100),
            topology_key,
            when_unsatisfiable: tape
                .copy(&[WhenUnsatisfiable::ScheduleAnyway, WhenUnsatisfiable::DoNotSchedule]),
        })
        .collect()
}

fn node_affinity(tape: &mut Tape) -> NodeAffinity {
    NodeAffinity {
        required_during_scheduling_ignored_during_execution: tape.maybe(60, |tape| NodeSelector {
            node_selector_terms: (0..=tape.below(3)).map(|_| term(tape)).collect(),
        }),
        preferred_during_scheduling_ignored_during_execution: tape
            .list(2, |tape, _| PreferredTerm { weight: tape.between(1, 100), preference: term(tape) }),
    }
}

fn term(tape: &mut Tape) -> NodeSelectorTerm {
    NodeSelectorTerm { match_expressions: (0..=tape.below(2)).map(|_| expression(tape)).collect() }
}

fn expression(tape: &mut Tape) -> NodeExpression {
    let operator = tape.copy(&[
        NodeOperator::In,
        NodeOperator::NotIn,
        NodeOperator::Exists,
        NodeOperator::DoesNotExist,
        NodeOperator::Gt,
        NodeOperator::Lt,
    ]);
    let values = match operator {
        NodeOperator::In | NodeOperator::NotIn => (0..=tape.below(2)).map(|_| label_value(tape)).collect(),
        NodeOperator::Exists | NodeOperator::DoesNotExist => Vec::new(),
        NodeOperator::Gt | NodeOperator::Lt => vec![LabelValue("8".to_owned())],
    };
    NodeExpression { key: tape.pick(&LABEL_KEYS).to_owned(), operator, values }
}

fn toleration(tape: &mut Tape) -> Toleration {
    let operator = tape.maybe(60, |tape| tape.copy(&[TolerationOperator::Equal, TolerationOperator::Exists]));
    let effect = tape.maybe(60, |tape| {
        tape.copy(&[TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute])
    });
    Toleration {
        key: tape.pick(&LABEL_KEYS).to_owned(),
        operator,
        value: if operator == Some(TolerationOperator::Exists) { None } else { tape.maybe(50, label_value) },
        effect,
        toleration_seconds: if effect == Some(TaintEffect::NoExecute) {
            tape.maybe(50, |tape| i64::from(tape.between(0, i32::MAX - 1)))
        } else {
            None
        },
    }
}

/// With nothing but what is said of it.
fn bare_redis(mode: RedisMode) -> Redis {
    Redis {
        mode,
        image: None,
        instances: None,
        sentinel: None,
        external: None,
        shards: None,
        replicas_per_shard: None,
        resources: None,
        qos: None,
        storage: None,
        persistence: None,
        maxmemory: None,
        maxmemory_policy: None,
        auth: None,
        config: BTreeMap::new(),
        disruption: None,
        run_as_user: None,
        fs_group: None,
        scheduling: Scheduling::default(),
    }
}

const HOSTS: [&str; 5] = ["db.example.com", "db", "192.0.2.5", "2001:db8::5", "256.1.1.1"];

fn host(tape: &mut Tape) -> String {
    let long = format!("{}com", "a.".repeat(125));
    if tape.chance(10) { long } else { tape.pick(&HOSTS).to_owned() }
}

fn external_redis(tape: &mut Tape) -> Redis {
    Redis {
        external: Some(ExternalRedis {
            host: host(tape),
            port: tape.maybe(40, |tape| tape.copy(&[6379, 1, 65535])),
            tls: tape.maybe(50, |tape| tape.chance(50)),
            cluster_mode: tape.maybe(50, |tape| tape.chance(50)),
            username: tape.maybe(30, |tape| tape.pick(&["app", "a.b_c-9"]).to_owned()),
            cidrs: cidrs(tape),
        }),
        auth: tape.maybe(50, |tape| RedisAuth { password_secret_ref: key_ref(tape) }),
        ..bare_redis(RedisMode::External)
    }
}

fn sentinel(tape: &mut Tape) -> Sentinel {
    let instances = tape.maybe(50, |tape| tape.copy(&[3, 5, 7]));
    Sentinel {
        instances,
        quorum: tape.maybe(50, |tape| tape.between(1, instances.unwrap_or(3))),
        resources: tape.maybe(50, |tape| resources(tape, &CPU, &MEMORY)),
    }
}

fn storage(tape: &mut Tape) -> Storage {
    Storage {
        size: quantity(tape.pick(&["1Gi", "1Mi", "1e12", "2.5Ti"])),
        storage_class_name: tape.maybe(50, |tape| tape.pick(&NAMES).to_owned()),
    }
}

fn redis(tape: &mut Tape) -> Redis {
    let mode =
        tape.copy(&[RedisMode::Standalone, RedisMode::Cluster, RedisMode::Replicated, RedisMode::External]);
    if mode == RedisMode::External {
        return external_redis(tape);
    }
    let is_cluster = mode == RedisMode::Cluster;
    let is_replicated = mode == RedisMode::Replicated;
    let resources = tape.maybe(60, |tape| resources(tape, &CPU, &REDIS_MEMORY));
    let limit = resources.as_ref().and_then(|all| all.limits.as_ref()?.memory.clone());
    let most = limit.map_or(REDIS_MEMORY.len(), |limit| {
        REDIS_MEMORY.iter().position(|amount| *amount == limit.0).expect("one of them")
    });
    Redis {
        mode,
        image: tape.maybe(50, image),
        shards: if is_cluster { tape.maybe(50, |tape| tape.copy(&[3, 4, 100])) } else { None },
        replicas_per_shard: if is_cluster { tape.maybe(50, |tape| tape.between(0, 5)) } else { None },
        resources,
        qos: tape.maybe(20, |_| Qos::Guaranteed),
        instances: if is_replicated { tape.maybe(50, |tape| tape.between(2, 9)) } else { None },
        sentinel: if is_replicated { tape.maybe(50, sentinel) } else { None },
        external: None,
        storage: tape.maybe(50, storage),
        persistence: tape.maybe(30, |tape| RedisPersistence {
            append_only: tape.maybe(50, |tape| tape.chance(50)),
            append_fsync: tape.maybe(50, |tape| {
                tape.copy(&[AppendFsync::EverySec, AppendFsync::Always, AppendFsync::Never])
            }),
        }),
        maxmemory: if most == 0 {
            None
        } else {
            tape.maybe(30, |tape| quantity(REDIS_MEMORY[tape.below(most)]))
        },
        maxmemory_policy: tape.maybe(50, |tape| {
            use MaxmemoryPolicy as P;
            tape.copy(&[
                P::VolatileLru,
                P::NoEviction,
                P::VolatileLfu,
                P::VolatileTtl,
                P::VolatileRandom,
                P::AllkeysLru,
                P::AllkeysLfu,
                P::AllkeysRandom,
            ])
        }),
        auth: tape.maybe(30, |tape| RedisAuth { password_secret_ref: key_ref(tape) }),
        config: unique(tape, 3, &["timeout", "cluster-node-timeout", "notify-keyspace-events"])
            .into_iter()
            .map(|directive| (directive, ConfigValue(tape.pick(&["300", "KEA", "a b:c/d"]).to_owned())))
            .collect(),
        disruption: tape.maybe(30, disruption),
        run_as_user: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        fs_group: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        scheduling: scheduling(tape),
    }
}

/// Whether something else than the primary can be read from.
fn reads_elsewhere(postgres: &Postgres) -> bool {
    let outside = postgres.external.as_ref().is_some_and(|external| external.read_only_host.is_some());
    outside || postgres.instances.is_some_and(|instances| instances > 1)
}

fn postgres(tape: &mut Tape) -> Postgres {
    let mode = tape.copy(&[PostgresMode::External, PostgresMode::Managed]);
    if mode == PostgresMode::Managed {
        return managed_postgres(tape);
    }
    Postgres {
        mode,
        external: Some(external_postgres(tape)),
        instances: None,
        synchronous: None,
        version: None,
        image: None,
        resources: None,
        qos: None,
        storage: None,
        wal_storage: None,
        parameters: BTreeMap::new(),
        database: None,
        owner: None,
        disruption: None,
        run_as_user: None,
        fs_group: None,
        scheduling: Scheduling::default(),
    }
}

fn managed_postgres(tape: &mut Tape) -> Postgres {
    let instances = tape.maybe(60, |tape| tape.copy(&[1, 2, 3, 9]));
    Postgres {
        mode: PostgresMode::Managed,
        external: None,
        instances,
        synchronous: tape.maybe(40, |tape| instances.is_some_and(|it| it > 1) && tape.chance(70)),
        version: Some(tape.between(14, 18)),
        image: tape.maybe(40, image),
        resources: tape.maybe(60, |tape| resources(tape, &CPU, &MEMORY)),
        qos: tape.maybe(20, |_| Qos::Guaranteed),
        storage: tape.maybe(50, storage),
        wal_storage: tape.maybe(30, storage),
        parameters: unique(tape, 3, &["work_mem", "shared_buffers", "log_min_duration_statement"])
            .into_iter()
            .map(|name| (name, ParameterValue(tape.pick(&["16MB", "-1", "a b:c/d"]).to_owned())))
            .collect(),
        database: tape.maybe(40, |tape| tape.pick(&["shop", "_a1"]).to_owned()),
        owner: tape.maybe(40, |tape| tape.pick(&["shop", "_a1"]).to_owned()),
        disruption: tape.maybe(30, disruption),
        run_as_user: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        fs_group: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        scheduling: scheduling(tape),
    }
}

fn external_postgres(tape: &mut Tape) -> ExternalPostgres {
    let ssl_mode = tape.maybe(50, |tape| {
        use SslMode as S;
        tape.copy(&[S::Require, S::Disable, S::Prefer, S::VerifyCa, S::VerifyFull])
    });
    let verifies = matches!(ssl_mode, Some(SslMode::VerifyCa | SslMode::VerifyFull));
    ExternalPostgres {
        host: host(tape),
        read_only_host: tape.maybe(30, host),
        port: tape.maybe(40, |tape| tape.copy(&[5432, 1, 65535])),
        database: tape.pick(&["shop", "_a$-1"]).to_owned(),
        ssl_mode,
        ca_secret_ref: if verifies {
            tape.maybe(50, |tape| CaRef {
                name: tape.pick(&NAMES).to_owned(),
                key: tape.maybe(30, |tape| tape.pick(&KEYS).to_owned()),
            })
        } else {
            None
        },
        credentials_secret_ref: CredentialsRef {
            name: tape.pick(&NAMES).to_owned(),
            username_key: tape.maybe(30, |tape| tape.pick(&KEYS).to_owned()),
            password_key: tape.maybe(30, |tape| tape.pick(&KEYS).to_owned()),
        },
        cidrs: cidrs(tape),
    }
}

/// `None` where nothing has a port.
fn tape_ingress(tape: &mut Tape, spec: &TradingPlatformSpec) -> Option<Ingress> {
    let has_default = spec.frontend.is_some() || spec.backend.is_some();
    let roles = [("frontend", &spec.frontend), ("backend", &spec.backend), ("scraper", &spec.scraper)];
    let mut reachable: Vec<&str> =
        roles.into_iter().filter(|(_, component)| component.is_some()).map(|(name, _)| name).collect();
    reachable.extend(spec.worker.iter().filter(|worker| !worker.ports.is_empty()).map(|_| "worker"));
    let with_ports = spec.services.iter().filter(|service| !service.component.ports.is_empty());
    reachable.extend(with_ports.map(|service| service.name.as_str()));
    if reachable.is_empty() {
        return None;
    }
    let mut hosts = unique(tape, 3, &["shop.example.com", "*.example.com"]);
    if hosts.is_empty() {
        hosts.push("x1.y-z".to_owned());
    }
    let hosts = hosts
        .into_iter()
        .map(|host| {
            let mut paths = unique(tape, 3, &["/", "/api", "/~a/b.c_d-e/"]);
            if paths.is_empty() && !has_default {
                paths.push("/".to_owned());
            }
            IngressHost { host, paths: routes(tape, paths, &reachable) }
        })
        .collect();
    let plain = Ingress { hosts, ..Ingress::default() };
    Some(match tape.below(5) {
        0 => Ingress { tls: tape.maybe(50, tls), class_name: class_name(tape), ..plain },
        1 => Ingress { controller: Some(Controller::None), ..plain },
        2 => nginx(tape, plain, &reachable),
        3 => alb(tape, plain, &reachable),
        _ => gateway(tape, plain),
    })
}

fn routes(tape: &mut Tape, paths: Vec<String>, reachable: &[&str]) -> Vec<IngressPath> {
    let route = |path| IngressPath {
        path,
        path_type: tape.maybe(50, |tape| tape.copy(&[PathType::Prefix, PathType::Exact])),
        component: tape.pick(reachable).to_owned(),
    };
    paths.into_iter().map(route).collect()
}

fn class_name(tape: &mut Tape) -> Option<String> {
    tape.maybe(50, |tape| tape.pick(&NAMES).to_owned())
}

fn tls(tape: &mut Tape) -> IngressTls {
    let secret_name = tape.maybe(60, |tape| tape.pick(&NAMES).to_owned());
    let issuer = tape.maybe(40, |tape| tape.pick(&NAMES).to_owned());
    let cluster_issuer = if secret_name.is_none() { issuer.or(Some("a".to_owned())) } else { issuer };
    IngressTls { secret_name, cluster_issuer }
}

fn annotations_of(tape: &mut Tape, keys: &[&str]) -> BTreeMap<String, IngressAnnotation> {
    unique(tape, 2, keys)
        .into_iter()
        .map(|key| (key, IngressAnnotation(tape.pick(&["8m", "a=b,c=d", "200-299"]).to_owned())))
        .collect()
}

fn nginx(tape: &mut Tape, ingress: Ingress, reachable: &[&str]) -> Ingress {
    let keys = ["nginx.ingress.kubernetes.io/proxy-body-size", "external-dns.alpha.kubernetes.io/ttl"];
    Ingress {
        controller: Some(Controller::Nginx),
        class_name: class_name(tape),
        tls: tape.maybe(50, tls),
        https_redirect: tape.maybe(50, |tape| tape.chance(50)),
        rate_limit: tape.maybe(50, |tape| RateLimit {
            requests_per_second: Some(tape.between(1, 9)),
            burst_multiplier: tape.maybe(50, |tape| tape.between(1, 9)),
            connections: tape.maybe(50, |tape| tape.between(1, 9)),
        }),
        session_affinity: tape.maybe(50, |tape| SessionAffinity {
            cookie_name: tape.maybe(50, |tape| tape.pick(&["a", "route_-1"]).to_owned()),
            ..affinity(tape)
        }),
        idle_timeout_seconds: tape.maybe(50, |tape| tape.between(1, 4000)),
        security_headers: tape.maybe(50, security_headers),
        cors: tape.maybe(50, cors),
        annotations: annotations_of(tape, &keys),
        webhooks: tape.maybe(50, |tape| webhooks(tape, reachable)),
        ..ingress
    }
}

fn alb(tape: &mut Tape, ingress: Ingress, reachable: &[&str]) -> Ingress {
    let certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/1-a".to_owned();
    let acl = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1-a".to_owned();
    let certificate_arns = tape.list(1, |_, _| certificate.clone());
    let headers = tape.maybe(50, |tape| SecurityHeaders { referrer_policy: None, ..security_headers(tape) });
    Ingress {
        controller: Some(Controller::Alb),
        class_name: class_name(tape),
        https_redirect: tape.maybe(50, |tape| tape.chance(50) && !certificate_arns.is_empty()),
        alb: Some(Alb {
            certificate_arns,
            ssl_policy: tape.maybe(50, |_| "ELBSecurityPolicy-TLS13-1-3-2021-06".to_owned()),
            web_acl_arn: tape.maybe(50, |_| acl),
            scheme: tape.maybe(50, |tape| tape.copy(&[Scheme::Internal, Scheme::InternetFacing])),
        }),
        session_affinity: tape.maybe(50, affinity),
        idle_timeout_seconds: tape.maybe(50, |tape| tape.between(1, 4000)),
        security_headers: headers.filter(|headers| *headers != SecurityHeaders::default()),
        cors: tape.maybe(50, |tape| Cors { allowed_origins: cors(tape).allowed_origins, ..Cors::default() }),
        annotations: annotations_of(tape, &["alb.ingress.kubernetes.io/success-codes"]),
        webhooks: tape.maybe(50, |tape| webhooks(tape, reachable)),
        ..ingress
    }
}

fn gateway(tape: &mut Tape, ingress: Ingress) -> Ingress {
    let redirects = tape.chance(30);
    let parent = |tape: &mut Tape, name: &str| ParentRef {
        name: name.to_owned(),
        namespace: tape.maybe(50, |tape| tape.pick(&["edge", "a"]).to_owned()),
        section_name: (redirects || tape.chance(50)).then(|| "https".to_owned()),
        http_section_name: (redirects || tape.chance(20)).then(|| "http".to_owned()),
    };
    let mut parent_refs = vec![parent(tape, "gateway")];
    parent_refs.extend(tape.maybe(30, |tape| parent(tape, "b.c")));
    Ingress {
        controller: Some(Controller::Gateway),
        parent_refs,
        https_redirect: tape.maybe(80, |_| redirects),
        security_headers: tape.maybe(50, security_headers),
        cors: tape.maybe(50, cors),
        annotations: annotations_of(tape, &["external-dns.alpha.kubernetes.io/ttl"]),
        ..ingress
    }
}

fn affinity(tape: &mut Tape) -> SessionAffinity {
    SessionAffinity { cookie_name: None, max_age_seconds: tape.maybe(50, |tape| tape.between(1, 604_800)) }
}

/// At least `X-Content-Type-Options`, or an ALB's would be empty.
fn security_headers(tape: &mut Tape) -> SecurityHeaders {
    SecurityHeaders {
        hsts: tape.maybe(50, |tape| Hsts {
            max_age_seconds: tape.maybe(50, |tape| tape.between(0, 9)),
            include_sub_domains: tape.maybe(50, |tape| tape.chance(50)),
            preload: tape.maybe(50, |tape| tape.chance(50)),
        }),
        content_security_policy: tape.maybe(50, |_| "default-src 'self'; frame-ancestors 'none'".to_owned()),
        frame_options: tape.maybe(50, |tape| tape.copy(&[FrameOptions::Deny, FrameOptions::SameOrigin])),
        no_sniff: Some(tape.chance(50)),
        referrer_policy: tape.maybe(50, |tape| {
            tape.copy(&[
                ReferrerPolicy::NoReferrer,
                ReferrerPolicy::SameOrigin,
                ReferrerPolicy::StrictOrigin,
                ReferrerPolicy::StrictOriginWhenCrossOrigin,
            ])
        }),
    }
}

fn cors(tape: &mut Tape) -> Cors {
    let origins = ["https://a.example.com", "http://localhost:3000", "https://*.example.com"];
    let mut allowed_origins = unique(tape, 3, &origins);
    if allowed_origins.is_empty() {
        allowed_origins.push("https://a.example.com".to_owned());
    }
    Cors {
        allowed_origins,
        allowed_methods: if tape.chance(50) { vec![Method::GET, Method::POST] } else { Vec::new() },
        allowed_headers: unique(tape, 2, &["X-A", "Content-Type"]),
        allow_credentials: tape.maybe(50, |tape| tape.chance(50)),
        max_age_seconds: tape.maybe(50, |tape| tape.between(1, 86400)),
    }
}

fn webhooks(tape: &mut Tape, reachable: &[&str]) -> Webhooks {
    let paths = vec!["/webhooks/a".to_owned(), "/webhooks/b".to_owned()];
    Webhooks {
        hosts: vec![IngressHost {
            host: "hooks.example.com".to_owned(),
            paths: routes(tape, paths, reachable),
        }],
        allowed_source_ranges: vec![Cidr("192.0.2.0/24".to_owned()), Cidr("2001:db8::1/128".to_owned())],
    }
}

fn cidrs(tape: &mut Tape) -> Vec<Cidr> {
    tape.list(2, |tape, _| Cidr(tape.pick(&["192.0.2.0/24", "2001:db8::/64"]).to_owned()))
}

fn placement(tape: &mut Tape) -> Placement {
    Placement {
        region: tape.maybe(50, label_value),
        zones: tape.list(3, |tape, _| label_value(tape)),
        spread_over_zones: tape.maybe(50, |tape| tape.chance(50)),
        node_selector: labels(tape, 2),
        tolerations: tape.list(2, |tape, _| toleration(tape)),
        namespaces: BTreeMap::new(),
    }
}

/// Some of what the platform has lives elsewhere, but for what mounts a volume of the platform's own.
fn tiers(tape: &mut Tape, spec: &TradingPlatformSpec) -> BTreeMap<String, NamespaceName> {
    let stays = |component: &Option<Component>| {
        component.iter().flat_map(|component| &component.volumes).any(|volume| volume.shared_volume.is_some())
    };
    let roles = [&spec.frontend, &spec.backend, &spec.scraper, &spec.worker];
    let roles = ROLES.into_iter().zip(roles).filter(|(_, component)| !stays(component));
    let services = spec.services.iter().filter(|service| !stays(&Some(service.component.clone())));
    let mut names: Vec<String> = roles.map(|(name, _)| name.to_owned()).collect();
    names.extend(services.map(|service| service.name.clone()));
    names.extend(["redis", "postgres", "runtime"].map(str::to_owned));
    names.retain(|_| tape.chance(40));
    names.into_iter().map(|name| (name, NamespaceName(tape.pick(&["data", "edge"]).to_owned()))).collect()
}

fn container_runtime(tape: &mut Tape) -> ContainerRuntime {
    ContainerRuntime {
        image: tape.maybe(50, image),
        resources: tape.maybe(50, |tape| resources(tape, &CPU, &MEMORY)),
        tls: tape.maybe(50, |_| RuntimeTls {
            server_secret_name: "db".to_owned(),
            client_secret_name: "a".to_owned(),
        }),
        shared_volume: tape.maybe(50, storage),
        local_storage: tape.maybe(50, |tape| quantity(tape.pick(&MEMORY))),
        egress: tape.list(3, |tape, _| egress(tape)),
        node_selector: labels(tape, 2),
        tolerations: tape.list(2, |tape, _| toleration(tape)),
    }
}

fn quota(tape: &mut Tape) -> Quota {
    let keys = ["pods", "requests.cpu", "limits.memory", "requests.nvidia.com/gpu", "count/deployments.apps"];
    let container = tape.maybe(30, |tape| {
        let amounts = |tape: &mut Tape| ResourceAmounts {
            cpu: tape.maybe(80, |tape| quantity(tape.pick(&CPU))),
            memory: tape.maybe(80, |tape| quantity(tape.pick(&MEMORY))),
        };
        let (min, max) = (tape.maybe(60, amounts), tape.maybe(60, amounts));
        // Both could contradict each other.
        let max = if min.is_none() { max.or(Some(ResourceAmounts::default())) } else { None };
        ContainerLimits { min, max }
    });
    let mut chosen = unique(tape, 4, &keys);
    if chosen.is_empty() && container.is_none() {
        chosen.push("pods".to_owned());
    }
    Quota {
        hard: chosen.into_iter().map(|key| (key, quantity(tape.pick(&["10", "0", "1e3", "2k"])))).collect(),
        container,
    }
}
