//! Stage one, pure: decides every value that the resource leaves open. The only place where
//! defaults live.

mod accounts;
pub(crate) mod backup;
mod certificate;
mod cloudnative;
pub(crate) mod component;
pub mod directives;
mod external_secrets;
mod ingress;
mod monitoring;
pub mod network;
mod pooler;
mod postgres;
mod postgres_logins;
mod postgres_objects;
mod postgres_tls;
mod preset;
pub mod redis;
mod redis_passwords;
pub mod references;
mod runtime;

use std::{collections::BTreeMap, sync::Arc};

use trading_api::{
    TradingPlatform, TradingPlatformSpec,
    autoscaling::TriggerKind,
    image::{Image, PullPolicy},
    network::Cidr,
    placement::Placement,
    platform::Environment,
    scheduling::LabelValue,
    status::EffectiveValue,
};

use crate::{
    inputs::Inputs,
    plan::{
        ComponentPlan, ExternalRedisPlan, Host, Identity, POSTGRES, Plan, PodDefaults, PostgresPlan, REDIS,
        RUNTIME, RedisPlan, RuntimePlan,
    },
    problem::Problem,
};
use preset::Preset;

/// What components can connect to besides each other.
struct Stores {
    redis: Option<RedisPlan>,
    external_redis: Option<ExternalRedisPlan>,
    postgres: Option<PostgresPlan>,
    runtime: Option<RuntimePlan>,
}

/// Collects what is filled in and what goes wrong on the way.
struct Context<'a> {
    spec: &'a TradingPlatformSpec,
    identity: &'a Identity,
    inputs: &'a Inputs,
    preset: Preset,
    effective: Vec<EffectiveValue>,
    problems: Vec<Problem>,
}

impl Context<'_> {
    /// The value that the resource gives, or the default, noted down with its origin.
    fn fill<T: Clone + ToString>(&mut self, field: &str, given: Option<&T>, default: T, from: &str) -> T {
        if let Some(value) = given {
            return value.clone();
        }
        self.effective.push(EffectiveValue {
            field: field.to_owned(),
            value: default.to_string(),
            from: from.to_owned(),
        });
        default
    }

    fn preset_name(&self) -> String {
        format!("preset {}", self.preset.environment.as_str())
    }
}

/// Decides every value.
#[must_use]
pub fn resolve(platform: &TradingPlatform, inputs: &Inputs) -> Plan {
    let spec = &platform.spec;
    let identity = identity(platform);
    let environment = spec.environment.unwrap_or_default();
    let mut context = Context {
        spec,
        identity: &identity,
        inputs,
        preset: Preset::of(environment),
        effective: Vec::new(),
        problems: Vec::new(),
    };
    if spec.environment.is_none() {
        context.effective.push(EffectiveValue {
            field: "environment".to_owned(),
            value: Environment::default().as_str().to_owned(),
            from: "operator".to_owned(),
        });
    }

    let features = features(&mut context);
    let pods = pod_defaults(&mut context);
    let stores = Stores {
        redis: spec.redis.as_ref().and_then(|redis| redis::resolve(&mut context, redis)),
        external_redis: spec.redis.as_ref().and_then(|redis| redis::resolve_external(&mut context, redis)),
        postgres: spec.postgres.as_ref().and_then(|postgres| postgres::resolve(&mut context, postgres)),
        runtime: spec.container_runtime.as_ref().map(|given| runtime::resolve(&mut context, given)),
    };
    let components = component::resolve_all(&mut context, &stores);
    let copies = references::copies(&context, &components, &stores);
    let external_secrets = external_secrets::resolve_all(&mut context, &stores, &components);
    let ingress = spec.ingress.as_ref().map(|ingress| ingress::resolve(&mut context, ingress, &components));
    let network = network::policies(&mut context, ingress.as_ref(), &stores, &components);
    let monitoring = monitoring::resolve(&mut context, &components);
    let prometheus_address = prometheus_address(&mut context, &components);
    let telemetry = monitoring::telemetry(&mut context, network.as_ref());
    let deletion = spec.deletion.clone().unwrap_or_default();
    let Context { mut effective, problems, .. } = context;
    effective.sort_by(|a, b| a.field.cmp(&b.field));

    Plan {
        environment,
        version: spec.version.clone(),
        features,
        pods,
        components,
        redis: stores.redis,
        external_redis: stores.external_redis,
        postgres: stores.postgres,
        runtime: stores.runtime,
        allowing: inputs.allowing.clone(),
        storage_classes: inputs.storage_classes.clone(),
        members: Arc::clone(&inputs.members),
        scope: inputs.operator.scope.clone(),
        copies,
        ingress,
        network,
        mesh: spec.mesh.clone(),
        prometheus_address,
        shared_volumes: spec.shared_volumes.clone(),
        quota: spec.quota.clone(),
        external_secrets,
        monitoring,
        telemetry,
        data: deletion.data.unwrap_or_default(),
        acknowledged: deletion.acknowledge_store_removal,
        capabilities: inputs.capabilities.clone(),
        effective,
        problems,
        identity,
    }
}

/// Where the Prometheus operator's instances answer, in the namespace that monitoring usually has.
const PROMETHEUS: &str = "http://prometheus-operated.monitoring.svc:9090";

fn prometheus_address(context: &mut Context, components: &[ComponentPlan]) -> String {
    let defaults = context.spec.autoscaling.as_ref();
    let given = defaults.and_then(|defaults| defaults.prometheus_address.clone());
    let asks = |component: &ComponentPlan| component.scaling.looks_at(|kind| kind == TriggerKind::Prometheus);
    if given.is_none() && !components.iter().any(asks) {
        return PROMETHEUS.to_owned();
    }
    context.fill("autoscaling.prometheusAddress", given.as_ref(), PROMETHEUS.to_owned(), "operator")
}

fn identity(platform: &TradingPlatform) -> Identity {
    let metadata = &platform.metadata;
    let inherited = platform.spec.inherited_metadata.clone().unwrap_or_default();
    let pick = |from: Option<&BTreeMap<String, String>>, keys: &[String]| {
        from.into_iter()
            .flatten()
            .filter(|(key, _)| keys.contains(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let namespace = metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Identity {
        name: metadata.name.clone().unwrap_or_default(),
        tiers: tiers(platform, &namespace),
        namespace,
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        labels: pick(metadata.labels.as_ref(), &inherited.labels),
        annotations: pick(metadata.annotations.as_ref(), &inherited.annotations),
    }
}

/// What lives in other namespaces than the platform's own. For what is not there, no consent is needed.
fn tiers(platform: &TradingPlatform, own: &str) -> BTreeMap<String, String> {
    let spec = &platform.spec;
    let is_there = |name: &str| match name {
        "frontend" => spec.frontend.is_some(),
        "backend" => spec.backend.is_some(),
        "scraper" => spec.scraper.is_some(),
        "worker" => spec.worker.is_some(),
        REDIS => spec.redis.is_some(),
        POSTGRES => spec.postgres.is_some(),
        RUNTIME => spec.container_runtime.is_some(),
        service => spec.services.iter().any(|known| known.name == service),
    };
    let given = spec.placement.iter().flat_map(|placement| &placement.namespaces);
    given
        .filter(|(name, namespace)| namespace.0 != own && is_there(name))
        .map(|(component, namespace)| (component.clone(), namespace.0.clone()))
        .collect()
}

fn features(context: &mut Context) -> Vec<(&'static str, String)> {
    let given = context.spec.features.clone().unwrap_or_default();
    let (preset, from) = (context.preset, context.preset_name());
    let debug = context.fill("features.debug", given.debug.as_ref(), preset.debug, &from);
    let mock = given.mock_external_services;
    let mock = context.fill("features.mockExternalServices", mock.as_ref(), preset.mock, &from);
    let mut switches = vec![
        ("PLATFORM_ENVIRONMENT", preset.environment.as_str().to_lowercase()),
        ("DEBUG", debug.to_string()),
        ("MOCK_EXTERNAL_SERVICES", mock.to_string()),
    ];
    let logs = context.spec.monitoring.as_ref().and_then(|monitoring| monitoring.logs.as_ref());
    let format = logs.and_then(|logs| logs.format).map(|format| format.as_str().to_owned());
    switches.extend(format.map(|format| ("LOG_FORMAT", format)));
    switches
}

fn pod_defaults(context: &mut Context) -> PodDefaults {
    let image = context.spec.image.clone().unwrap_or_default();
    let placement = context.spec.placement.clone().unwrap_or_default();
    let (preset, from) = (context.preset, context.preset_name());
    PodDefaults {
        pull_policy: image.pull_policy.unwrap_or(PullPolicy::IfNotPresent),
        pull_secrets: image.pull_secrets,
        agent_image: context.inputs.operator.agent_image.clone(),
        pinned: pinned(&placement),
        apart: preset.spread,
        spread_over_zones: context.fill(
            "placement.spreadOverZones",
            placement.spread_over_zones.as_ref(),
            preset.spread,
            &from,
        ),
        traffic_distribution: placement.traffic_distribution,
        node_selector: placement.node_selector,
        tolerations: placement.tolerations,
    }
}

fn pinned(placement: &Placement) -> Vec<(&'static str, Vec<String>)> {
    let values = |labels: &[LabelValue]| labels.iter().map(|label| label.0.clone()).collect::<Vec<_>>();
    [
        ("topology.kubernetes.io/region", values(placement.region.as_slice())),
        ("topology.kubernetes.io/zone", values(&placement.zones)),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .collect()
}

/// Address blocks for the network policy: those that are given, or the hosts' own where all of
/// them are addresses.
fn blocks(context: &mut Context, path: &str, hosts: &[&Host], given: &[Cidr]) -> Vec<Cidr> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let own: Option<Vec<Cidr>> = hosts.iter().map(|host| own_block(host)).collect();
    own.unwrap_or_else(|| {
        let wide = "any address but the cloud's metadata service, for want of address blocks";
        context.fill(&format!("{path}.cidrs"), None, wide.to_owned(), "operator");
        Vec::new()
    })
}

fn own_block(host: &Host) -> Option<Cidr> {
    match host {
        Host::Name(_) => None,
        Host::Address(address) => {
            Some(Cidr(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })))
        }
    }
}

fn host_of(text: &str) -> Host {
    text.parse().map_or_else(|_| Host::Name(text.to_owned()), Host::Address)
}

/// The full reference of an image and the release that it stands for.
fn image_reference(image: &Image, registry: Option<&str>, default_tag: &str) -> (String, String) {
    let repository = match registry {
        Some(registry) => format!("{}/{}", registry.trim_end_matches('/'), image.repository),
        None => image.repository.clone(),
    };
    match (&image.digest, &image.tag) {
        (Some(digest), _) => {
            let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
            (format!("{repository}@{digest}"), short)
        }
        (None, tag) => {
            let tag = tag.as_deref().unwrap_or(default_tag);
            (format!("{repository}:{tag}"), label_safe(tag))
        }
    }
}

/// A tag as a label's value: at most 63 characters, ending in a letter or digit.
fn label_safe(tag: &str) -> String {
    let cut: String = tag.chars().take(63).collect();
    cut.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
