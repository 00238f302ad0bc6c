//! Redis of the platform.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    component::{Disruption, Resources},
    env::KeyRef,
    image::Image,
    scheduling::Scheduling,
};

/// Redis in the platform's namespace. Its volumes outlive the platform unless
/// `spec.deletion.data` is `Delete`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == oldSelf.mode")
    .message("mode can't be changed while data is there: make a second platform with the new mode and move the data")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode == 'Cluster' || (!has(self.shards) && !has(self.replicasPerShard))")
    .message("shards and replicasPerShard are for mode Cluster: remove them")
    .field_path(".mode"))]
#[x_kube(validation = Rule::new("(has(self.shards) ? self.shards : 3) == (has(oldSelf.shards) ? oldSelf.shards : 3) && (has(self.replicasPerShard) ? self.replicasPerShard : 1) == (has(oldSelf.replicasPerShard) ? oldSelf.replicasPerShard : 1)")
    .message("shards and replicasPerShard can't be changed in this release: keys would have to be moved between servers")
    .field_path(".shards"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage)")
    .message("storage can't be added or removed later: volumes that hold data would not match")
    .field_path(".storage"))]
#[x_kube(validation = Rule::new("!has(self.maxmemory) || !has(self.resources) || !has(self.resources.limits) || !has(self.resources.limits.memory) || quantity(string(self.maxmemory)).compareTo(quantity(string(self.resources.limits.memory))) < 0")
    .message("maxmemory must be below resources.limits.memory: the kernel would kill the server before it evicts")
    .field_path(".maxmemory"))]
#[x_kube(validation = Rule::new("!has(self.config) || ['maxmemory', 'maxmemory-policy', 'appendonly', 'appendfsync', 'requirepass', 'masterauth', 'dir', 'port', 'bind', 'protected-mode', 'cluster-enabled', 'cluster-config-file', 'cluster-announce-ip', 'rename-command', 'include', 'loadmodule', 'aclfile', 'user', 'daemonize', 'save', 'logfile', 'pidfile', 'unixsocket', 'tls-port', 'enable-debug-command', 'enable-module-command', 'enable-protected-configs'].all(k, !(k in self.config))")
    .message("config may not set what the operator manages (ports, paths, passwords, cluster) or what has a field of its own (maxmemory, maxmemoryPolicy, persistence)")
    .field_path(".config"))]
pub struct Redis {
    /// `Standalone`: one server. `Cluster`: `shards` masters with `replicasPerShard` replicas
    /// each (Redis Cluster; clients must speak its protocol). It can't be changed later.
    pub mode: RedisMode,
    /// Image; default `redis:7.4-alpine`. Any official Redis image of version 7 works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Masters of a cluster; default 3.
    #[schemars(range(max = 100))]
    #[x_kube(validation = Rule::new("self >= 3").message("a Redis Cluster needs at least 3 shards to have a majority"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,
    /// Replicas of each master; default 1. With 0, the loss of a pod takes a part of the keys away.
    #[schemars(range(min = 0, max = 5))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas_per_shard: Option<i32>,
    /// What each server asks for and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Volume of each server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What is written to the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<RedisPersistence>,
    /// Memory for data; default 75 % of the container's memory limit. It must stay below the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory: Option<Quantity>,
    /// What happens when `maxmemory` is reached; default `VolatileLru`: only keys with a time to
    /// live are evicted. The `Allkeys` policies may evict queues and idempotency keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_policy: Option<MaxmemoryPolicy>,
    /// Password; generated once and kept in the Secret `<platform>-redis-auth` where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RedisAuth>,
    /// Further lines of redis.conf, directive to value, such as `timeout: "300"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[a-z][a-z-]*$'))")
        .message("directives are lower-case words such as 'timeout' or 'lua-time-limit'"))]
    pub config: BTreeMap<String, ConfigValue>,
    /// How many servers a node drain may take at once; default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
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

/// Topology of Redis.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum RedisMode {
    /// One server.
    Standalone,
    /// Redis Cluster.
    Cluster,
}

impl RedisMode {
    /// As the resource writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "Standalone",
            Self::Cluster => "Cluster",
        }
    }
}

/// A data store's volume.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')")
    .message("the storage class of existing volumes can't be changed: make a second platform with the new class and move the data")
    .field_path(".storageClassName"))]
pub struct Storage {
    /// Size of each server's volume, such as `10Gi`.
    #[x_kube(validation = Rule::new("!quantity(string(self)).isLessThan(quantity('1Mi'))")
        .message("a volume needs at least 1Mi: is the unit missing, as in 10Gi?"))]
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity(string(oldSelf))) == 0")
        .message("size can't be changed yet: volumes can't shrink at all, and growing them is not supported by this release"))]
    pub size: Quantity,
    /// StorageClass; the cluster's default where it is left out. It can't be changed later.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// What Redis writes to its volume.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
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

/// Where Redis' password comes from.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisAuth {
    /// Key of a Secret that holds the password.
    pub password_secret_ref: KeyRef,
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
