//! Redis of the platform.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    component::{Qos, Resources},
    env::SecretKey,
    image::Image,
    names::{DNS_SUBDOMAIN, is_host, is_outside},
    network::Cidr,
    quantity::at_least_1_mi,
    scheduling::Scheduling,
};

/// Redis: run in the platform's namespace, or outside. Its volumes outlive the platform unless
/// `spec.deletion.data` is `Delete`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == oldSelf.mode")
    .message("mode can't be changed while data is there: make a second platform with the new mode and move the data")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode == 'Cluster' || !(has(self.shards) || has(self.replicasPerShard))")
    .message("shards and replicasPerShard are for mode Cluster: remove them")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode == 'Replicated' || !(has(self.instances) || has(self.sentinel))")
    .message("instances and sentinel are for mode Replicated: remove them")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("(has(self.instances) ? self.instances : 3) >= (has(oldSelf.instances) ? oldSelf.instances : 3)")
    .message("instances can't be lowered in this release: the server that goes could be the master")
    .field_path(".instances"))]
#[x_kube(validation = Rule::new("(self.mode == 'External') == has(self.external)")
    .message("mode External needs external (where Redis is), and the other modes must not have it")
    .field_path(".external"))]
#[x_kube(validation = Rule::new("self.mode != 'External' || !(has(self.image) || has(self.resources) || has(self.qos) || has(self.storage) || has(self.persistence) || has(self.maxmemory) || has(self.maxmemoryPolicy) || has(self.config) || has(self.runAsUser) || has(self.fsGroup) || has(self.affinity) || has(self.antiAffinity) || has(self.topologySpreadConstraints) || has(self.nodeSelector) || has(self.tolerations) || has(self.priorityClassName) || has(self.users) || has(self.tls) || has(self.auth) && has(self.auth.generation))")
    .message("with mode External somebody else runs the servers: remove everything but external and auth.passwordSecretRef")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("has(self.tls) == has(oldSelf.tls)")
    .message("tls can't be added or removed later: servers with it and without it don't understand each other; make a second platform and move the data")
    .field_path(".tls"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage)")
    .message("storage can't be added or removed later: volumes that hold data would not match")
    .field_path(".storage"))]
#[x_kube(validation = Rule::new("!has(self.maxmemory) || !has(self.resources) || !has(self.resources.limits) || !has(self.resources.limits.memory) || quantity(string(self.maxmemory)).compareTo(quantity(string(self.resources.limits.memory))) < 0")
    .message("maxmemory must be below resources.limits.memory, or the kernel kills the server before it evicts: lower it, or raise the limit")
    .field_path(".maxmemory"))]
#[x_kube(validation = Rule::new("!has(self.config) || ['maxmemory', 'maxmemory-policy', 'appendonly', 'appendfsync', 'requirepass', 'masterauth', 'dir', 'port', 'bind', 'protected-mode', 'cluster-enabled', 'cluster-config-file', 'cluster-port', 'cluster-replica-no-failover', 'cluster-slave-no-failover', 'masteruser', 'dbfilename', 'appendfilename', 'appenddirname', 'rename-command', 'include', 'loadmodule', 'aclfile', 'user', 'daemonize', 'save', 'logfile', 'pidfile', 'unixsocket', 'tls-port', 'enable-debug-command', 'enable-module-command', 'enable-protected-configs', 'replicaof', 'slaveof'].all(k, !(k in self.config)) && !self.config.exists(k, k.matches('^(tls|(cluster|replica|slave)-announce)-'))")
    .message("config may not set what the operator manages (ports, addresses, files, snapshots, passwords, cluster, TLS) or what has a field of its own (maxmemory, maxmemoryPolicy, persistence): remove it")
    .field_path(".config"))]
pub struct Redis {
    /// `Standalone`: one server. `Replicated`: one master and its replicas, watched by Sentinels.
    /// `Cluster`: `shards` masters with `replicasPerShard` replicas each (Redis Cluster; clients must
    /// speak its protocol). `External`: somebody else runs it, see `external`. It can't be changed later.
    pub mode: RedisMode,
    /// Image; default `redis:7.4-alpine`. Any official Redis image of version 7 works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Servers in mode `Replicated`, the master included; default 3. It can be raised later.
    #[schemars(range(min = 2, max = 9))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// The Sentinels in mode `Replicated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// Where Redis is, in mode `External`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
    /// Masters of a cluster; default 3, at most 100. It can be changed later: keys move while the cluster serves.
    #[schemars(range(max = 100))]
    #[x_kube(validation = Rule::new("self >= 3").message("a Redis Cluster needs at least 3 shards to have a majority"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,
    /// Replicas of each master, 0 to 5; default 1. It can be changed later. With 0, the loss of a pod takes a
    /// part of the keys away.
    #[schemars(range(min = 0, max = 5))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas_per_shard: Option<i32>,
    /// What each server asks for and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// `Guaranteed`: what is requested is raised to the limits, in every container of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<Qos>,
    /// Volume of each server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What is written to the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<RedisPersistence>,
    /// Memory for data, such as `256Mi`; default 75 % of the container's memory limit. It must stay below the limit.
    #[x_kube(validation = at_least_1_mi("maxmemory"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory: Option<Quantity>,
    /// What happens when `maxmemory` is reached; default `VolatileLru`: only keys with a time to
    /// live are evicted. The `Allkeys` policies may evict queues and idempotency keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_policy: Option<MaxmemoryPolicy>,
    /// Password; generated once and kept in the Secret `<platform>-redis-auth` where it is left
    /// out. In mode `External` there is none where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RedisAuth>,
    /// TLS to and between servers and Sentinels, with certificates that the operator makes and renews; none where it
    /// is left out. It can't be added or removed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
    /// Further users, by name: each may do what is written here and nothing administrative. They come and go
    /// while servers run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$') && k != 'default')")
        .message("names of users are lower-case letters, digits and dashes, at most 32, and not 'default', which is the operator's"))]
    pub users: BTreeMap<String, RedisUser>,
    /// Further lines of redis.conf, directive to value, such as `timeout: "300"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-z][a-z-]*$'))")
        .message("directives are lower-case words such as 'timeout' or 'lua-time-limit'"))]
    pub config: BTreeMap<String, ConfigValue>,
    /// Numeric user of the server; default 999, the user of the official images.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Group that owns the volume; default as `runAsUser`.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// Where the servers may run.
    #[serde(flatten)]
    pub scheduling: Scheduling,
}

/// TLS of Redis.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// `Required`: connections without TLS are refused.
    pub mode: RedisTlsMode,
}

/// Who has to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum RedisTlsMode {
    /// Everybody.
    Required,
}

/// Topology of Redis.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum RedisMode {
    /// One server.
    Standalone,
    /// One master with replicas, and Sentinels.
    Replicated,
    /// Redis Cluster.
    Cluster,
    /// Somebody else runs it.
    External,
}

impl RedisMode {
    /// As the resource writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "Standalone",
            Self::Replicated => "Replicated",
            Self::Cluster => "Cluster",
            Self::External => "External",
        }
    }
}

/// The Sentinels: they watch the servers, and make a replica the master where the master is lost.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.quorum) || self.quorum <= (has(self.instances) ? self.instances : 3)")
    .message("quorum is greater than the number of Sentinels, so that a lost master would never be replaced: lower it, or raise instances")
    .field_path(".quorum"))]
pub struct Sentinel {
    /// Number of Sentinels: 3 (default), 5 or 7.
    #[schemars(range(min = 3, max = 7))]
    #[x_kube(validation = Rule::new("self % 2 == 1").message("use an odd number: with an even one, half could disagree with the other half"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// Sentinels that must agree that the master is lost; default the majority.
    #[schemars(range(min = 1, max = 7))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<i32>,
    /// What each Sentinel asks for and may use; default 50m–100m cpu and 64Mi–128Mi memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// Redis that runs elsewhere.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRedis {
    /// DNS name or IP address; clients get it as it is, so that TLS names fit.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = is_host())]
    #[x_kube(validation = is_outside())]
    pub host: String,
    /// Port; default 6379.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Whether clients use TLS (`rediss://`); default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Whether it is a Redis Cluster; clients are told (`REDIS_MODE=cluster`). Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_mode: Option<bool>,
    /// User of the access control list; the default user where it is left out.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its address blocks for the network policy. Where they are left out and `host` is a name,
    /// the policy admits the port to any address but the cloud's metadata service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub cidrs: Vec<Cidr>,
}

/// A data store's volume.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')")
    .message("the storage class of existing volumes can't be changed: make a second platform with the new class and move the data")
    .field_path(".storageClassName"))]
pub struct Storage {
    /// Size of each server's volume, such as `10Gi`. It can grow, where the storage class lets volumes
    /// grow; servers keep running.
    #[x_kube(validation = at_least_1_mi("a volume"))]
    #[x_kube(validation = Rule::new("!quantity(string(self)).isLessThan(quantity(string(oldSelf)))")
        .message("volumes can't shrink: keep the size, or make a second platform and move the data"))]
    pub size: Quantity,
    /// StorageClass; the cluster's default where it is left out. It can't be changed later.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// What Redis writes to its volume.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.appendFsync) || !has(self.appendOnly) || self.appendOnly")
    .message("there is no append-only file: remove appendFsync, or appendOnly: false")
    .field_path(".appendFsync"))]
pub struct RedisPersistence {
    /// Append-only file: every write is logged; default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_only: Option<bool>,
    /// When the log reaches the disk: `Always` (no acknowledged write is lost), `EverySec`
    /// (default; up to a second may be lost) or `Never` (the kernel decides).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_fsync: Option<AppendFsync>,
}

/// When the append-only file is synced.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum AppendFsync {
    /// Before each acknowledgement.
    Always,
    /// Once a second.
    EverySec,
    /// When the kernel likes (Redis' `no`, which YAML would read as a boolean).
    Never,
}

/// What Redis does when its memory is full.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum MaxmemoryPolicy {
    /// Refuse writes.
    NoEviction,
    /// Least recently used keys that have a time to live.
    VolatileLru,
    /// Least frequently used keys that have a time to live.
    VolatileLfu,
    /// Keys closest to their end.
    VolatileTtl,
    /// Random keys that have a time to live.
    VolatileRandom,
    /// Least recently used of all keys.
    AllkeysLru,
    /// Least frequently used of all keys.
    AllkeysLfu,
    /// Random keys.
    AllkeysRandom,
}

/// What a user of Redis may do.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisUser {
    /// Patterns of keys, such as `orders:*`; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128), regex(pattern = ACL_PATTERN)))]
    pub keys: Vec<String>,
    /// Patterns of channels; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128), regex(pattern = ACL_PATTERN)))]
    pub channels: Vec<String>,
    /// Commands (`+get`) and categories (`+@read`) that it may and (`-del`) may not use, in order.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 2, max = 64), regex(pattern = r"^[+-]@?[a-z][a-z|_-]*$"))
    )]
    pub commands: Vec<String>,
    /// Key of a Secret that holds its password; default `password` of `<platform>-redis-user-<name>`, which is
    /// generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKey>,
}

/// Printable characters without spaces, quotes and backslashes.
const ACL_PATTERN: &str = r"^[!#-&(-\[\]-~]+$";

/// Where Redis' password comes from.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.passwordSecretRef) != has(self.generation)")
    .message("auth has passwordSecretRef (a password of yours) or generation (generated ones): remove the other"))]
pub struct RedisAuth {
    /// Key of a Secret that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKey>,
    /// Raise it for a new password: clients get it once all servers take it, and the old one is refused once no
    /// pod has it. The first is 1.
    #[schemars(range(min = 1, max = 999))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("generation can only be raised: earlier passwords are refused by now"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

/// A value in redis.conf: one line of printable characters without quotes and backslashes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct ConfigValue(pub String);

impl JsonSchema for ConfigValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ConfigValue".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": "^[A-Za-z0-9][A-Za-z0-9 ._:/-]*$",
        })
    }
}
