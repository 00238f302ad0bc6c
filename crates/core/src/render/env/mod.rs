//! Environment variables of a component: switches, addresses of what it talks to, and its own.
//! The names are documented in `docs/environment.md`.

mod targets;

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    SecretEnvSource, SecretKeySelector,
};
use trading_api::env::{self as api, KeyRef};

use crate::plan::{ComponentPlan, Plan};
use targets::Client;

/// Where the certificate authority of the database is in a component's container.
pub(super) const AUTHORITY_FOLDER: &str = "/etc/platform/postgres";
/// The same of Redis.
pub(super) const REDIS_AUTHORITY_FOLDER: &str = "/etc/platform/redis";
/// And what the file is called.
pub(super) const AUTHORITY_FILE: &str = "ca.crt";

/// Where the certificate for the container runtime is.
pub(super) const DOCKER_FOLDER: &str = "/etc/platform/docker";

/// All variables; one that the component sets itself replaces ours.
pub(super) fn variables(plan: &Plan, component: &ComponentPlan) -> Vec<EnvVar> {
    let own: Vec<EnvVar> = component.spec.env.iter().map(own_variable).collect();
    let mut all: Vec<EnvVar> = switches(plan);
    all.extend(tracing(plan, component));
    all.extend(origins(plan, component));
    let client = Client { plan, component };
    all.extend(component.targets.iter().flat_map(|target| client.variables(target)));
    all.retain(|ours| own.iter().all(|theirs| theirs.name != ours.name));
    all.extend(own);
    all
}

/// Secrets and `ConfigMaps` whose keys all become variables.
pub(super) fn sources(component: &ComponentPlan) -> Option<Vec<EnvFromSource>> {
    let sources: Vec<EnvFromSource> = component
        .spec
        .env_from
        .iter()
        .map(|from| EnvFromSource {
            prefix: from.prefix.clone(),
            secret_ref: from
                .secret_ref
                .as_ref()
                .map(|secret| SecretEnvSource { name: secret.name.clone(), optional: secret.optional }),
            config_map_ref: from
                .config_map_ref
                .as_ref()
                .map(|map| ConfigMapEnvSource { name: map.name.clone(), optional: map.optional }),
        })
        .collect();
    (!sources.is_empty()).then_some(sources)
}

fn switches(plan: &Plan) -> Vec<EnvVar> {
    plan.features.iter().map(|(name, value)| literal(name, value.clone())).collect()
}

/// Pages that may call a component behind the ingress. Web sockets too, whose origin no proxy checks.
fn origins(plan: &Plan, component: &ComponentPlan) -> Option<EnvVar> {
    let ingress = plan.ingress.as_ref()?;
    let is_behind = ingress.routes().any(|route| route.component == component.name);
    let cors = ingress.cors.as_ref().filter(|_| is_behind)?;
    Some(literal("CORS_ALLOWED_ORIGINS", cors.origins.join(",")))
}

/// OpenTelemetry's own names.
fn tracing(plan: &Plan, component: &ComponentPlan) -> Vec<EnvVar> {
    let Some(tracing) = &plan.telemetry.tracing else { return Vec::new() };
    let identity = &plan.identity;
    let attributes = format!(
        "service.namespace={},service.version={},deployment.environment.name={},k8s.namespace.name={}",
        identity.name,
        component.version,
        plan.environment.as_str().to_lowercase(),
        identity.namespace_of(&component.name)
    );
    let percent = tracing.sampling_percent;
    vec![
        literal("OTEL_EXPORTER_OTLP_ENDPOINT", tracing.endpoint.clone()),
        literal("OTEL_EXPORTER_OTLP_PROTOCOL", tracing.protocol.as_str().to_owned()),
        literal("OTEL_SERVICE_NAME", identity.child(&component.name)),
        literal("OTEL_RESOURCE_ATTRIBUTES", attributes),
        literal("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        literal("OTEL_TRACES_SAMPLER_ARG", format!("{}.{:02}", percent / 100, percent % 100)),
    ]
}

/// A variable with a value.
pub(super) fn literal(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

/// A variable from a Secret.
pub(super) fn secret(name: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// A variable from a field of the pod.
pub(super) fn pod_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: None }),
            ..EnvVarSource::default()
        }),
    }
}

fn own_variable(variable: &api::EnvVar) -> EnvVar {
    EnvVar {
        name: variable.name.clone(),
        value: variable.value.clone(),
        value_from: variable.value_from.as_ref().map(|source| EnvVarSource {
            secret_key_ref: source.secret_key_ref.as_ref().map(|KeyRef { name, key, optional }| {
                SecretKeySelector { name: name.clone(), key: key.clone(), optional: *optional }
            }),
            config_map_key_ref: source.config_map_key_ref.as_ref().map(|KeyRef { name, key, optional }| {
                ConfigMapKeySelector { name: name.clone(), key: key.clone(), optional: *optional }
            }),
            field_ref: source
                .field_ref
                .as_ref()
                .map(|field| ObjectFieldSelector { field_path: field.field_path.clone(), api_version: None }),
            ..EnvVarSource::default()
        }),
    }
}
