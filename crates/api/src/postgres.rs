//! Postgres of the platform.

use std::collections::BTreeMap;

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    component::{Qos, Resources},
    env::SecretKey,
    image::Image,
    names::{DATA_KEY, DNS_SUBDOMAIN, is_host, is_outside},
    network::Cidr,
    redis::Storage,
    scheduling::Scheduling,
};

/// The platform's database: run in its namespace, or outside. Volumes outlive the platform unless
/// `spec.deletion.data` is `Delete`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == oldSelf.mode")
    .message("mode can't be changed while data is there: make a second platform with the new mode and move the data")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("(self.mode == 'External') == has(self.external)")
    .message("mode External needs external (where the database is), and the other modes must not have it")
    .field_path(".external"))]
#[x_kube(validation = Rule::new("self.mode != 'External' || !(has(self.instances) || has(self.synchronous) || has(self.version) || has(self.image) || has(self.resources) || has(self.qos) || has(self.storage) || has(self.walStorage) || has(self.parameters) || has(self.pooler) || has(self.credentials) || has(self.tls) || has(self.database) || has(self.owner) || has(self.runAsUser) || has(self.fsGroup) || has(self.affinity) || has(self.antiAffinity) || has(self.topologySpreadConstraints) || has(self.nodeSelector) || has(self.tolerations) || has(self.priorityClassName))")
    .message("with mode External somebody else runs the database: remove everything but external")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode == 'External' || has(self.version)")
    .message("modes Managed and CloudNativePG need version: the major version decides the format of the data")
    .field_path(".version"))]
#[x_kube(validation = Rule::new("self.mode != 'CloudNativePG' || !(has(self.runAsUser) || has(self.fsGroup) || has(self.credentials) || has(self.tls))")
    .message("CloudNativePG chooses the user and makes certificates itself: remove runAsUser and fsGroup, tls, and credentials, which are for mode Managed")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode != 'CloudNativePG' || !has(self.image) || !has(self.image.tag) || self.image.tag.matches('^[0-9]{2}([.-].*)?$')")
    .message("CloudNativePG reads the version from image.tag: begin it with that, such as 16.4-standard-trixie")
    .field_path(".image"))]
#[x_kube(validation = Rule::new("!has(self.synchronous) || !self.synchronous || has(self.instances) && self.instances > 1")
    .message("synchronous needs instances: 2 or more")
    .field_path(".synchronous"))]
#[x_kube(validation = Rule::new("!has(self.synchronous) || !self.synchronous || !has(self.parameters) || !('synchronous_commit' in self.parameters) || self.parameters['synchronous_commit'] in ['on', 'remote_apply']")
    .message("with synchronous, commits wait for a replica: use synchronous_commit 'on' or remote_apply, or remove it")
    .field_path(".parameters"))]
#[x_kube(validation = Rule::new("!has(self.version) || !has(oldSelf.version) || self.version == oldSelf.version")
    .message("version can't be changed in this release: data of one major version can't be read by another")
    .field_path(".version"))]
#[x_kube(validation = Rule::new("!has(self.version) || !has(self.image) || !has(self.image.tag) || !self.image.tag.matches('^[0-9]{2}([.-].*)?$') || int(self.image.tag.substring(0, 2)) == self.version")
    .message("image.tag is of another major version than version: make them agree")
    .field_path(".image"))]
#[x_kube(validation = Rule::new("(has(self.image) && has(self.image.tag) && self.image.tag.contains('alpine')) == (has(oldSelf.image) && has(oldSelf.image.tag) && oldSelf.image.tag.contains('alpine'))")
    .message("an alpine image sorts text otherwise than a Debian one, so indexes would be corrupt: stay with the kind of image")
    .field_path(".image"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage)")
    .message("storage can't be added or removed later: volumes that hold data would not match")
    .field_path(".storage"))]
#[x_kube(validation = Rule::new("has(self.walStorage) == has(oldSelf.walStorage)")
    .message("walStorage can't be added or removed later: volumes that hold data would not match")
    .field_path(".walStorage"))]
#[x_kube(validation = Rule::new("(has(self.database) ? self.database : 'app') == (has(oldSelf.database) ? oldSelf.database : 'app') && (has(self.owner) ? self.owner : 'app') == (has(oldSelf.owner) ? oldSelf.owner : 'app')")
    .message("database and owner can't be changed later: they were made with the data")
    .field_path(".database"))]
#[x_kube(validation = Rule::new("(has(self.credentials) ? self.credentials.generation : 1) >= (has(oldSelf.credentials) ? oldSelf.credentials.generation : 1)")
    .message("credentials.generation can only be raised: passwords of earlier generations are refused by now")
    .field_path(".credentials"))]
#[x_kube(validation = Rule::new("self.mode == 'Managed' || !(has(self.extensions) || has(self.databases) || has(self.roles))")
    .message("extensions, databases and roles are made in mode Managed alone: remove them, and make them in the database")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("!has(self.roles) || !self.roles.exists(k, (k + '_login_').startsWith((has(self.owner) ? self.owner : 'app') + '_login_'))")
    .message("a role must not be called as owner, or as its later logins (owner_login_2): choose another name")
    .field_path(".roles"))]
#[x_kube(validation = Rule::new("!has(self.databases) || !((has(self.database) ? self.database : 'app') in self.databases)")
    .message("the platform's own database is made anyway: remove it from databases; its extensions are postgres.extensions")
    .field_path(".databases"))]
#[x_kube(validation = Rule::new("!has(self.databases) || self.databases.all(k, !has(self.databases[k].owner) || self.databases[k].owner == (has(self.owner) ? self.owner : 'app') || has(self.roles) && self.databases[k].owner in self.roles)")
    .message("a database belongs to owner or to one of roles: declare the role, or leave it out")
    .field_path(".databases"))]
#[x_kube(validation = pools_fit())]
pub struct Postgres {
    /// `Managed`: one primary with read replicas in the platform's namespace. `CloudNativePG`: the
    /// same, run by that operator. `External`: a database that runs elsewhere, described in
    /// `external`. It can't be changed later.
    pub mode: PostgresMode,
    /// Where the database is and how to log in, in mode `External`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalPostgres>,
    /// Servers: one primary, the others read replicas; default 1.
    #[schemars(range(min = 1, max = 9))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// Commits wait until a replica has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronous: Option<bool>,
    /// Major version, such as 16; needed but in mode `External`. It can't be changed later.
    #[schemars(range(min = 14, max = 18))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// Image; default `postgres:<version>`. Any official image works; those with `alpine` in the
    /// tag run as user 70. CloudNativePG needs images of its own; default
    /// `ghcr.io/cloudnative-pg/postgresql:<version>-standard-trixie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What each server asks for and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// `Guaranteed`: what is requested is raised to the limits, in every container of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<Qos>,
    /// Volume of each server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// A volume of its own for the write-ahead log; it lies with the data where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_storage: Option<Storage>,
    /// Parameters of postgresql.conf, such as `work_mem: 16MB`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new(format!("self.all(k, k.matches('^({PARAMETERS})$'))"))
        .message("a parameter is unknown or the operator's own (paths, ports, TLS, replication, archiving): see docs/postgres.md for those that can be set"))]
    pub parameters: BTreeMap<String, ParameterValue>,
    /// PgBouncer in front of the primary, which `connectsTo: [postgres]` then leads to; none where it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooler: Option<Pooler>,
    /// With what clients log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PostgresCredentials>,
    /// TLS between clients and servers, with certificates that the operator makes and renews; none where it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<PostgresTls>,
    /// Database that is made with the first start; default `app`. It can't be changed later.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    #[x_kube(validation = Rule::new("!(self in ['postgres', 'template0', 'template1', 'pgbouncer'])")
        .message("the name is one of Postgres' or PgBouncer's own databases: choose another"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Role that owns the database and that clients log in as; default `app`. It can't be
    /// changed later.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    #[x_kube(validation = Rule::new("!self.matches('^(postgres|streaming_replica|trading_pooler|public|none|pg_.*)$')")
        .message("the name is one of Postgres' or the operator's own roles: choose another"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Extensions of `database`, such as `pg_trgm`; the image must have them. None is ever dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63), regex(pattern = EXTENSION)))]
    pub extensions: Vec<String>,
    /// Further databases, by name. One that is removed here stays, with its data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-z_][a-z0-9_]{0,62}$') && !(k in ['postgres', 'template0', 'template1', 'pgbouncer']))")
        .message("names of databases are lower-case letters, digits and underscores, at most 63, and not Postgres' or PgBouncer's own"))]
    pub databases: BTreeMap<String, PostgresDatabase>,
    /// Further roles that log in, by name. One that is removed here is refused, and keeps what it owns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$') && !k.matches('^(postgres|streaming_replica|trading_pooler|public|none|pg_.*)$'))")
        .message("names of roles are lower-case letters, digits and underscores, at most 32, and not Postgres' or the operator's own"))]
    pub roles: BTreeMap<String, PostgresRole>,
    /// Numeric user of the server, which must be in the image's /etc/passwd; default that of the
    /// official images: 999, or 70 with `alpine` in the tag.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Group that owns the volumes; default as `runAsUser`.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// Where the servers may run.
    #[serde(flatten)]
    pub scheduling: Scheduling,
}

/// Connections of a server that poolers leave to others: people, agents, `PGHOST_DIRECT`.
pub const CONNECTIONS_LEFT: i32 = 10;

/// CEL: what the poolers open together is less than what the server takes.
fn pools_fit() -> Rule {
    Rule::new(format!(
        "!has(self.pooler) || (has(self.pooler.instances) ? self.pooler.instances : 2) * (has(self.pooler.defaultPoolSize) ? self.pooler.defaultPoolSize : 20) <= (has(self.parameters) && 'max_connections' in self.parameters && self.parameters['max_connections'].matches('^[0-9]{{1,6}}$') ? int(self.parameters['max_connections']) : 100) - {CONNECTIONS_LEFT}"
    ))
    .message("pooler.instances × defaultPoolSize must be at least 10 less than parameters.max_connections (100 where it is left out): lower one, or raise the other")
    .field_path(".pooler")
}

/// PgBouncer in front of a database.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct Pooler {
    /// For how long a client has a connection to the server: `Transaction` (default) or `Session`, which is for
    /// clients that use LISTEN, SET or advisory locks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_mode: Option<PoolMode>,
    /// Pods; default 2, and 1 in Development.
    #[schemars(range(min = 1, max = 9))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// Image with PgBouncer; default `ghcr.io/cloudnative-pg/pgbouncer:1.25.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Clients of each pod at most, by which its memory is reckoned; default 1000.
    #[schemars(range(min = 10, max = 20000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_client_connections: Option<i32>,
    /// Connections of each pod to the server at most; default 20.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_pool_size: Option<i32>,
}

/// For how long a client has a connection to the server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum PoolMode {
    /// For a transaction.
    #[default]
    Transaction,
    /// As long as the client is connected.
    Session,
}

impl PoolMode {
    /// As PgBouncer writes it.
    #[must_use]
    pub fn as_pgbouncer(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }
}

/// Parameters that a platform may set, as alternatives of a pattern. Everything else is the operator's, or
/// could load code, open files or lose data.
pub const PARAMETERS: &str = "autovacuum|autovacuum_analyze_scale_factor|autovacuum_analyze_threshold|autovacuum_max_workers|autovacuum_naptime|autovacuum_vacuum_cost_delay|autovacuum_vacuum_cost_limit|autovacuum_vacuum_scale_factor|autovacuum_vacuum_threshold|autovacuum_work_mem|checkpoint_completion_target|checkpoint_timeout|deadlock_timeout|default_statistics_target|default_transaction_isolation|effective_cache_size|effective_io_concurrency|hot_standby_feedback|idle_in_transaction_session_timeout|idle_session_timeout|jit|lock_timeout|log_autovacuum_min_duration|log_checkpoints|log_connections|log_disconnections|log_lock_waits|log_min_duration_statement|log_statement|log_temp_files|log_timezone|maintenance_io_concurrency|maintenance_work_mem|max_connections|max_locks_per_transaction|max_parallel_maintenance_workers|max_parallel_workers|max_parallel_workers_per_gather|max_prepared_transactions|max_replication_slots|max_standby_archive_delay|max_standby_streaming_delay|max_wal_senders|max_wal_size|max_worker_processes|min_wal_size|random_page_cost|seq_page_cost|shared_buffers|statement_timeout|synchronous_commit|tcp_keepalives_count|tcp_keepalives_idle|tcp_keepalives_interval|temp_buffers|temp_file_limit|timezone|track_activity_query_size|track_functions|track_io_timing|vacuum_cost_delay|vacuum_cost_limit|wal_buffers|wal_compression|wal_keep_size|work_mem";

/// A value in postgresql.conf: one line of printable characters without quotes and backslashes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct ParameterValue(pub String);

impl JsonSchema for ParameterValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ParameterValue".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "pattern": "^-?[A-Za-z0-9][A-Za-z0-9 ._:/-]*$",
        })
    }
}

/// With what clients log in to a database of the platform's own.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct PostgresCredentials {
    /// Raise it for a new login and password: clients get them once the servers accept them, and the old ones
    /// are refused once no pod has them. The first is 1.
    #[schemars(range(min = 1, max = 999))]
    pub generation: u32,
    /// Key of a Secret with the password of this generation, which is taken over when the generation begins; by
    /// default one is generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKey>,
}

/// TLS of a database of the platform's own.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct PostgresTls {
    /// `Offered`: clients that ask for TLS get it. `Required`: clients of the platform check the servers'
    /// certificate, and then connections without TLS are refused, whoever makes them.
    pub mode: PostgresTlsMode,
}

/// Who has to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum PostgresTlsMode {
    /// Who wants to.
    Offered,
    /// Everybody.
    Required,
}

/// As Postgres' own and others are called; they come from the image.
const EXTENSION: &str = r"^[a-z][a-z0-9_-]*$";

/// A further database.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct PostgresDatabase {
    /// Role that it belongs to: `owner` (default) or one of `roles`.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its extensions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63), regex(pattern = EXTENSION)))]
    pub extensions: Vec<String>,
}

/// A further role that logs in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct PostgresRole {
    /// Rights that it has in all databases, by the roles of Postgres' own that have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub member_of: Vec<PredefinedRole>,
    /// Most connections at once.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i32>,
    /// Key of a Secret with its password; by default one is generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKey>,
}

/// Roles that come with every version of Postgres and lead neither to files nor to programs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "snake_case")]
pub enum PredefinedRole {
    /// Reads every table.
    PgReadAllData,
    /// Writes every table.
    PgWriteAllData,
    /// Sees what the server does.
    PgMonitor,
}

/// Who runs the database.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum PostgresMode {
    /// The platform.
    Managed,
    /// CloudNativePG, for the platform.
    CloudNativePG,
    /// Somebody else.
    External,
}

/// A database outside the cluster.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caSecretRef) || (has(self.sslMode) ? self.sslMode.startsWith('Verify') : false)")
    .message("caSecretRef is used with sslMode VerifyCa or VerifyFull alone: set one of them, or remove caSecretRef")
    .field_path(".caSecretRef"))]
pub struct ExternalPostgres {
    /// DNS name or IP address. Clients get it as it is, so that TLS names fit; the Service
    /// `<platform>-postgres` points there too.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = is_host())]
    #[x_kube(validation = is_outside())]
    pub host: String,
    /// The same for read replicas, which `connectsTo: [postgres-ro]` leads to; none where it is
    /// left out.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = is_host())]
    #[x_kube(validation = is_outside())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_host: Option<String>,
    /// Port; default 5432.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_$-]*$"))]
    pub database: String,
    /// TLS as in libpq: `Require` (default) encrypts, `VerifyCa` checks the authority too,
    /// `VerifyFull` also the host name; `Prefer` and `Disable` admit plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_mode: Option<SslMode>,
    /// Certificate authority of the database, for `VerifyCa` and `VerifyFull`: a key of a Secret.
    /// Components get it as a file (`PGSSLROOTCERT`); the system's authorities where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaRef>,
    /// Secret with the login.
    pub credentials_secret_ref: CredentialsRef,
    /// Address blocks of the database for the network policy. Where they are left out and `host`
    /// is a name, the policy admits the port to any address but the cloud's metadata service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub cidrs: Vec<Cidr>,
}

/// libpq's sslmode.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it.
    Prefer,
    /// TLS, the certificate unchecked.
    Require,
    /// TLS, the certificate's authority checked.
    VerifyCa,
    /// TLS, authority and host name checked.
    VerifyFull,
}

impl SslMode {
    /// As libpq writes it.
    #[must_use]
    pub fn as_libpq(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// One key of a Secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in it; default `ca.crt`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A Secret with a user name and a password.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key of the user name; default `username`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,
    /// Key of the password; default `password`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,
}
