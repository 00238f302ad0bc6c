//! Arbitrary platforms that admission lets through, valid by construction: every field, every
//! mode, names and lists at their limits.

mod amounts;
mod autoscaling;
mod component;
mod ingress;
mod monitoring;
mod names;
mod network;
mod placement;
mod scheduling;
mod stores;

use trading_api::{
    TradingPlatform, TradingPlatformSpec,
    autoscaling::{AutoscalingDefaults, Provider},
    component::Service,
    deletion::{DataPolicy, Deletion, Store},
    ingress::Controller,
    network::{Cidr, NetworkPolicySettings},
    platform::{Environment, Features, InheritedMetadata},
    postgres::PostgresMode,
    secrets::{ExternalKey, ExternalSecret, RemoteRef, Secrets, StoreKind, StoreRef},
};

use crate::tape::Tape;
use component::{component, image_defaults, shared_volumes};
use ingress::tape_ingress;
use monitoring::monitoring;
use names::{ANNOTATION_KEYS, LABEL_KEYS, labels, metadata, service_names, unique, version};
pub use names::{KEYS, NAMES};
use network::{cidrs, mesh};
use placement::{container_runtime, placement, quota, tiers};
use stores::{backup, postgres, reads_elsewhere, redis};

const ROLES: [&str; 4] = ["frontend", "backend", "scraper", "worker"];

/// An ALB reaches pods from blocks that the policies are told of.
fn admit_alb(spec: &mut TradingPlatformSpec) {
    if spec.ingress.as_ref().is_some_and(|ingress| ingress.controller == Some(Controller::Alb)) {
        let settings = spec.network_policy.get_or_insert_default();
        if settings.enabled != Some(false) && settings.ingress_cidrs.is_empty() {
            settings.ingress_cidrs.push(Cidr("10.0.0.0/16".to_owned()));
        }
    }
}

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
    let has_database = postgres.as_ref().is_some_and(|database| database.mode != PostgresMode::External);
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
            cnpg_namespace_labels: labels(tape, 2),
        }),
        autoscaling: tape.maybe(30, |tape| AutoscalingDefaults {
            enabled: tape.maybe(80, |tape| tape.chance(50)),
            provider: tape.maybe(50, |tape| tape.copy(&[Provider::HPA, Provider::KEDA])),
            prometheus_address: tape.maybe(30, |tape| {
                tape.pick(&["http://prometheus:9090", "https://p.example.com/a"]).to_owned()
            }),
        }),
        mesh: tape.maybe(20, |tape| mesh(tape, has_database)),
        placement: tape.maybe(30, placement),
        quota: tape.maybe(30, quota),
        backup: None,
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
    if spec.postgres.as_ref().is_some_and(|database| database.mode == PostgresMode::CloudNativePG) {
        spec.backup = tape.maybe(50, backup);
    }
    spec.ingress = tape.maybe(50, |tape| tape_ingress(tape, &spec)).flatten();
    admit_alb(&mut spec);
    without_needless_egress(&mut spec);
    let mut platform = TradingPlatform { metadata: metadata(tape), spec, status: None };
    if tape.chance(5) {
        // Nothing but names at their limits.
        platform.metadata.name = Some("a".repeat(40));
    }
    platform
}

/// Without policies nothing is said of what components may reach.
fn without_needless_egress(spec: &mut TradingPlatformSpec) {
    if spec.network_policy.as_ref().is_some_and(|settings| settings.enabled == Some(false)) {
        let roles = [&mut spec.frontend, &mut spec.backend, &mut spec.scraper, &mut spec.worker];
        let components = roles.into_iter().flatten();
        let services = spec.services.iter_mut().map(|service| &mut service.component);
        components.chain(services).for_each(|component| component.egress.clear());
        if let Some(runtime) = &mut spec.container_runtime {
            runtime.egress.clear();
        }
    }
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
