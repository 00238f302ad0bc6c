//! Workloads.

use std::collections::BTreeSet;

use trading_api::{
    component::{
        ClientAffinity, Component, Disruption, Mount, PodMetadata, Port, Qos, ServiceAccountSettings,
        UpdateStrategy,
    },
    env::{ConfigFile, ConfigFiles, EnvFrom, EnvVar, EnvVarSource, FieldRef, KeyRef, ObjectRef, SecretKey},
    image::{Image, ImageDefaults, PullPolicy},
    int_or_percent::{IntOrShare, PositiveIntOrPercent},
    network::Protocol,
    platform::SharedVolume,
    probe::{Probe, Probes},
};

use super::amounts::{CPU, MEMORY, number, percent, quantity, resources, share};
use super::autoscaling::{autoscaling, vertical_scaling};
use super::names::{KEYS, NAMES, TEXTS, annotations, labels, unique};
use super::network::egress;
use super::scheduling::scheduling;
use crate::tape::Tape;

pub(super) fn image(tape: &mut Tape) -> Image {
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

pub(super) fn image_defaults(tape: &mut Tape) -> ImageDefaults {
    ImageDefaults {
        registry: tape
            .maybe(50, |tape| tape.pick(&["registry.example.com", "r:5000", "r.io/a/b_c"]).to_owned()),
        pull_policy: tape
            .maybe(50, |tape| tape.copy(&[PullPolicy::IfNotPresent, PullPolicy::Always, PullPolicy::Never])),
        pull_secrets: unique(tape, 4, &NAMES),
    }
}

pub(super) fn shared_volumes(tape: &mut Tape) -> Vec<SharedVolume> {
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

pub(super) fn component(tape: &mut Tape, name: &str, targets: &[&str], shared: &[SharedVolume]) -> Component {
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

fn probe(tape: &mut Tape, ports: &[String]) -> Probe {
    let by_command = ports.is_empty() || tape.chance(30);
    let (path, exec) = match if by_command { 2 } else { tape.below(2) } {
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

pub(super) fn secret_key(tape: &mut Tape) -> SecretKey {
    SecretKey { name: tape.pick(&NAMES).to_owned(), key: tape.pick(&KEYS).to_owned() }
}

fn key_ref(tape: &mut Tape) -> KeyRef {
    let SecretKey { name, key } = secret_key(tape);
    KeyRef { name, key, optional: tape.maybe(30, |tape| tape.chance(50)) }
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

pub(super) fn disruption(tape: &mut Tape) -> Disruption {
    if tape.chance(50) {
        let least = Some(share(tape, 0)).filter(|given| *given != percent(100)).unwrap_or(percent(99));
        Disruption { min_available: Some(IntOrShare(least.0)), max_unavailable: None }
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
