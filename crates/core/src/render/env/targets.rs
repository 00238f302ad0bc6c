//! What a component learns of what it talks to.

use k8s_openapi::api::core::v1::EnvVar;
use trading_api::redis::RedisMode;

use super::{AUTHORITY_FILE, AUTHORITY_FOLDER, DOCKER_FOLDER, REDIS_AUTHORITY_FOLDER, literal, secret};
use crate::plan::{
    ComponentPlan, ExternalRedisPlan, Host, POSTGRES, POSTGRES_RO, Plan, PostgresPlan, REDIS, REDIS_PORT,
    RUNTIME, RedisPlan, RuntimePlan, SENTINEL, SENTINEL_PORT, Target,
};

/// A component as a client. Hosts and Secrets have other names where it lives in another namespace.
pub(super) struct Client<'a> {
    pub plan: &'a Plan,
    pub component: &'a ComponentPlan,
}

impl Client<'_> {
    /// The variables for one target.
    pub(super) fn variables(&self, target: &Target) -> Vec<EnvVar> {
        let plan = self.plan;
        match target {
            Target::Redis => {
                let own = plan.redis.iter().flat_map(|store| self.redis(store));
                own.chain(plan.external_redis.iter().flat_map(|redis| self.external_redis(redis))).collect()
            }
            Target::Postgres => plan.postgres.iter().flat_map(|database| self.postgres(database)).collect(),
            // With both, the writable one is the main one, and names the read-only one too.
            Target::PostgresReadOnly if self.component.targets.contains(&Target::Postgres) => Vec::new(),
            Target::PostgresReadOnly => {
                plan.postgres.iter().flat_map(|database| self.postgres_read_only(database)).collect()
            }
            Target::Runtime => plan.runtime.iter().flat_map(|runtime| self.runtime(runtime)).collect(),
            Target::Component(name) => self.other(name),
        }
    }

    fn host(&self, to: &str) -> String {
        self.plan.identity.host(&self.component.name, to)
    }

    fn login(&self, store: &str, secret: &str) -> String {
        self.plan.login(&self.component.name, store, secret)
    }

    fn redis(&self, store: &RedisPlan) -> Vec<EnvVar> {
        let host = self.host(REDIS);
        let login = self.login(REDIS, &store.password.secret);
        let password = secret("REDIS_PASSWORD", &login, &store.password.key);
        let mode = match store.mode {
            RedisMode::Replicated => {
                let tls =
                    store.tls.iter().flat_map(|_| [literal("REDIS_TLS", "true".to_owned()), authority()]);
                return self.sentinels(&host, password).into_iter().chain(tls).collect();
            }
            RedisMode::Cluster => "cluster",
            RedisMode::Standalone | RedisMode::External => "standalone",
        };
        let scheme = if store.tls.is_some() { "rediss" } else { "redis" };
        let mut all = at(scheme, &host, REDIS_PORT, mode);
        all.push(password);
        all.extend(store.tls.iter().map(|_| authority()));
        all
    }

    /// Which server takes writes is the Sentinels' to say, so no address of one is given for that: a
    /// client that does not ask them would write to a replica one day.
    fn sentinels(&self, host: &str, password: EnvVar) -> Vec<EnvVar> {
        vec![
            literal("REDIS_MODE", "sentinel".to_owned()),
            literal("REDIS_SENTINEL_HOST", self.host(SENTINEL)),
            literal("REDIS_SENTINEL_PORT", SENTINEL_PORT.to_string()),
            literal("REDIS_SENTINEL_MASTER", self.plan.identity.name.clone()),
            literal("REDIS_HOST_RO", host.to_owned()),
            literal("REDIS_PORT", REDIS_PORT.to_string()),
            password,
        ]
    }

    fn external_redis(&self, redis: &ExternalRedisPlan) -> Vec<EnvVar> {
        let scheme = if redis.tls { "rediss" } else { "redis" };
        let mode = if redis.cluster { "cluster" } else { "standalone" };
        let mut all = at(scheme, &redis.host.to_string(), redis.port, mode);
        all.extend(redis.username.clone().map(|name| literal("REDIS_USERNAME", name)));
        let password = redis.password.as_ref();
        all.extend(password.map(|(name, key)| secret("REDIS_PASSWORD", &self.login(REDIS, name), key)));
        all
    }

    fn postgres(&self, database: &PostgresPlan) -> Vec<EnvVar> {
        let service = database.entrance().unwrap_or(POSTGRES);
        let mut all = self.database_at(&self.seen(database, service, &database.host), database);
        // For what needs a session of its own where the pooler gives none: migrations, LISTEN.
        let direct = database.service().filter(|direct| *direct != service);
        all.extend(direct.map(|direct| literal("PGHOST_DIRECT", self.host(direct))));
        all.extend(self.read_only_host(database).map(|host| literal("PGHOST_RO", host)));
        all
    }

    /// For those that only read: the read replicas are the database.
    fn postgres_read_only(&self, database: &PostgresPlan) -> Vec<EnvVar> {
        let Some(host) = self.read_only_host(database) else { return self.postgres(database) };
        let mut all = self.database_at(&host, database);
        all.push(literal("PGHOST_RO", host));
        all
    }

    fn read_only_host(&self, database: &PostgresPlan) -> Option<String> {
        let host = database.read_only_host.as_ref()?;
        Some(self.seen(database, POSTGRES_RO, host))
    }

    /// A host of the database; servers of the platform are found by the name of their Service.
    fn seen(&self, database: &PostgresPlan, service: &str, host: &Host) -> String {
        if database.service().is_some() { self.host(service) } else { host.to_string() }
    }

    /// libpq's own names; the login is not in the URL, libpq takes it from the other variables.
    fn database_at(&self, host: &str, database: &PostgresPlan) -> Vec<EnvVar> {
        let login = self.login(POSTGRES, &database.secret);
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

    /// Docker's own names.
    fn runtime(&self, runtime: &RuntimePlan) -> Vec<EnvVar> {
        let mut all = vec![literal("DOCKER_HOST", format!("tcp://{}:{}", self.host(RUNTIME), runtime.port))];
        if runtime.tls.is_some() {
            all.push(literal("DOCKER_TLS_VERIFY", "1".to_owned()));
            all.push(literal("DOCKER_CERT_PATH", DOCKER_FOLDER.to_owned()));
        }
        all
    }

    fn other(&self, name: &str) -> Vec<EnvVar> {
        let port = self.plan.components.iter().find(|c| c.name == name).and_then(ComponentPlan::main_port);
        let Some(port) = port else { return Vec::new() };
        let (prefix, host) = (name.to_uppercase().replace('-', "_"), self.host(name));
        vec![
            literal(&format!("{prefix}_HOST"), host.clone()),
            literal(&format!("{prefix}_PORT"), port.container_port.to_string()),
            literal(&format!("{prefix}_URL"), format!("http://{host}:{}", port.container_port)),
        ]
    }
}

/// Whom clients of Redis trust. There is no name that all libraries know.
fn authority() -> EnvVar {
    literal("REDIS_TLS_CA_FILE", format!("{REDIS_AUTHORITY_FOLDER}/{AUTHORITY_FILE}"))
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

/// An IPv6 address stands in brackets.
fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
