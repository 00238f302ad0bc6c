//! Environment variables of a component: switches, addresses of what it talks to, and its own.
//! The names are documented in `docs/environment.md`.

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    SecretEnvSource, SecretKeySelector,
};
use trading_api::{
    env::{self as api, KeyRef},
    redis::RedisMode,
};

use crate::plan::{
    ComponentPlan, ExternalRedisPlan, Host, POSTGRES, POSTGRES_RO, Plan, PostgresPlan, REDIS, REDIS_PORT,
    RUNTIME, RedisPlan, RuntimePlan, SENTINEL, SENTINEL_PORT, Target,
};

/// Where the certificate authority of the database is in a component's container.
pub(super) const AUTHORITY_FOLDER: &str = "/etc/platform/postgres";
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
    for target in &component.targets {
        match target {
            Target::Redis => {
                all.extend(plan.redis.iter().flat_map(|store| redis(plan, component, store)));
                all.extend(
                    plan.external_redis.iter().flat_map(|redis| external_redis(plan, component, redis)),
                );
            }
            Target::Postgres => {
                all.extend(plan.postgres.iter().flat_map(|database| postgres(plan, component, database)));
            }
            // With both, the writable one is the main one, and names the read-only one too.
            Target::PostgresReadOnly if component.targets.contains(&Target::Postgres) => {}
            Target::PostgresReadOnly => {
                all.extend(
                    plan.postgres.iter().flat_map(|database| postgres_read_only(plan, component, database)),
                );
            }
            Target::Runtime => all.extend(plan.runtime.iter().flat_map(|it| runtime(plan, component, it))),
            Target::Component(name) => all.extend(other(plan, component, name)),
        }
    }
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

fn redis(plan: &Plan, component: &ComponentPlan, store: &RedisPlan) -> Vec<EnvVar> {
    let host = plan.identity.host(&component.name, REDIS);
    let login = plan.login(&component.name, REDIS, &store.password.secret);
    let password = secret("REDIS_PASSWORD", &login, &store.password.key);
    let mode = match store.mode {
        RedisMode::Replicated => return sentinels(plan, component, &host, password),
        RedisMode::Cluster => "cluster",
        RedisMode::Standalone | RedisMode::External => "standalone",
    };
    let mut all = at("redis", &host, REDIS_PORT, mode);
    all.push(password);
    all
}

/// Which server takes writes is the Sentinels' to say, so no address of one is given for that: a
/// client that does not ask them would write to a replica one day.
fn sentinels(plan: &Plan, component: &ComponentPlan, host: &str, password: EnvVar) -> Vec<EnvVar> {
    vec![
        literal("REDIS_MODE", "sentinel".to_owned()),
        literal("REDIS_SENTINEL_HOST", plan.identity.host(&component.name, SENTINEL)),
        literal("REDIS_SENTINEL_PORT", SENTINEL_PORT.to_string()),
        literal("REDIS_SENTINEL_MASTER", plan.identity.name.clone()),
        literal("REDIS_HOST_RO", host.to_owned()),
        literal("REDIS_PORT", REDIS_PORT.to_string()),
        password,
    ]
}

fn external_redis(plan: &Plan, component: &ComponentPlan, redis: &ExternalRedisPlan) -> Vec<EnvVar> {
    let (scheme, mode) =
        (if redis.tls { "rediss" } else { "redis" }, if redis.cluster { "cluster" } else { "standalone" });
    let mut all = at(scheme, &redis.host.to_string(), redis.port, mode);
    all.extend(redis.username.clone().map(|name| literal("REDIS_USERNAME", name)));
    all.extend(
        redis
            .password
            .iter()
            .map(|(name, key)| secret("REDIS_PASSWORD", &plan.login(&component.name, REDIS, name), key)),
    );
    all
}

fn at(scheme: &str, host: &str, port: i32, mode: &str) -> Vec<EnvVar> {
    vec![
        literal("REDIS_HOST", host.to_owned()),
        literal("REDIS_PORT", port.to_string()),
        literal("REDIS_URL", format!("{scheme}://{}:{port}", in_url(host))),
        literal("REDIS_TLS", (scheme == "rediss").to_string()),
        literal("REDIS_MODE", mode.to_owned()),
    ]
}

fn postgres(plan: &Plan, component: &ComponentPlan, database: &PostgresPlan) -> Vec<EnvVar> {
    let read_only = read_only_host(plan, component, database);
    let mut all =
        database_at(plan, component, &seen(plan, component, database, POSTGRES, &database.host), database);
    all.extend(read_only.map(|host| literal("PGHOST_RO", host)));
    all
}

/// For those that only read: the read replicas are the database.
fn postgres_read_only(plan: &Plan, component: &ComponentPlan, database: &PostgresPlan) -> Vec<EnvVar> {
    let Some(host) = read_only_host(plan, component, database) else {
        return postgres(plan, component, database);
    };
    let mut all = database_at(plan, component, &host, database);
    all.push(literal("PGHOST_RO", host));
    all
}

fn read_only_host(plan: &Plan, component: &ComponentPlan, database: &PostgresPlan) -> Option<String> {
    let host = database.read_only_host.as_ref()?;
    Some(seen(plan, component, database, POSTGRES_RO, host))
}

/// A host of the database as the component reaches it: servers of the platform may be in another
/// namespace.
fn seen(plan: &Plan, component: &ComponentPlan, database: &PostgresPlan, name: &str, host: &Host) -> String {
    match database.servers {
        Some(_) => plan.identity.host(&component.name, name),
        None => host.to_string(),
    }
}

/// libpq's own names; the login is not in the URL, libpq takes it from the other variables.
fn database_at(plan: &Plan, component: &ComponentPlan, host: &str, database: &PostgresPlan) -> Vec<EnvVar> {
    let login = plan.login(&component.name, POSTGRES, &database.secret);
    let PostgresPlan { port, database: name, ssl_mode, .. } = database;
    let mode = ssl_mode.as_libpq();
    let mut all = vec![
        literal("PGHOST", host.to_owned()),
        literal("PGPORT", port.to_string()),
        literal("PGDATABASE", name.clone()),
        literal("PGSSLMODE", mode.to_owned()),
        literal("DATABASE_URL", format!("postgresql://{}:{port}/{name}?sslmode={mode}", in_url(host))),
        secret("PGUSER", &login, &database.username_key),
        secret("PGPASSWORD", &login, &database.password_key),
    ];
    if database.ca.is_some() {
        all.push(literal("PGSSLROOTCERT", format!("{AUTHORITY_FOLDER}/{AUTHORITY_FILE}")));
    }
    all
}

/// An IPv6 address stands in brackets.
fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Docker's own names.
fn runtime(plan: &Plan, component: &ComponentPlan, runtime: &RuntimePlan) -> Vec<EnvVar> {
    let host = plan.identity.host(&component.name, RUNTIME);
    let mut all = vec![literal("DOCKER_HOST", format!("tcp://{host}:{}", runtime.port))];
    if runtime.tls.is_some() {
        all.push(literal("DOCKER_TLS_VERIFY", "1".to_owned()));
        all.push(literal("DOCKER_CERT_PATH", DOCKER_FOLDER.to_owned()));
    }
    all
}

fn other(plan: &Plan, component: &ComponentPlan, name: &str) -> Vec<EnvVar> {
    let port = plan.components.iter().find(|c| c.name == name).and_then(ComponentPlan::main_port);
    let Some(port) = port else { return Vec::new() };
    let prefix = name.to_uppercase().replace('-', "_");
    let host = plan.identity.host(&component.name, name);
    vec![
        literal(&format!("{prefix}_HOST"), host.clone()),
        literal(&format!("{prefix}_PORT"), port.container_port.to_string()),
        literal(&format!("{prefix}_URL"), format!("http://{host}:{}", port.container_port)),
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
