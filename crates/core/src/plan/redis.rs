//! Redis.

use trading_api::{
    Quantity,
    network::Cidr,
    redis::{MaxmemoryPolicy, RedisMode},
    scheduling::Scheduling,
};

use super::{AccountPlan, Host, PasswordSource, ResourcesPlan, StoreCertificate};

/// Name of the Redis store among components.
pub const REDIS: &str = "redis";
/// Name of the Sentinels among components.
pub const SENTINEL: &str = "sentinel";
/// What the Secret with the passwords of all further users is called after the platform's name.
pub const REDIS_USERS: &str = "redis-users";
/// Port of a Sentinel.
pub const SENTINEL_PORT: i32 = 26379;
/// Port of a Redis server.
pub const REDIS_PORT: i32 = 6379;
/// Port on which the servers of a Redis Cluster talk to each other.
pub const REDIS_BUS_PORT: i32 = 16379;
/// Port of the metrics of a Redis server and of a Sentinel.
pub const REDIS_METRICS_PORT: i32 = 9121;

/// Redis with every value decided.
#[derive(Clone, Debug)]
pub struct RedisPlan {
    /// Topology.
    pub mode: RedisMode,
    /// Full image reference.
    pub image: String,
    /// Release shown in labels and status.
    pub version: String,
    /// Number of servers.
    pub servers: i32,
    /// How they make a cluster, in mode `Cluster`.
    pub cluster: Option<ClusterPlan>,
    /// The Sentinels, in mode `Replicated`.
    pub sentinel: Option<SentinelPlan>,
    /// Resources of each server.
    pub resources: ResourcesPlan,
    /// Size of each volume.
    pub storage_size: Quantity,
    /// Class of each volume.
    pub storage_class: Option<String>,
    /// Lines of redis.conf but for secrets and addresses.
    pub config: Vec<(String, String)>,
    /// Where its password is.
    pub password: PasswordSource,
    /// Which generation of it is wished, and which are there.
    pub passwords: RedisPasswords,
    /// The certificate of servers and Sentinels, where all of them speak TLS alone.
    pub tls: Option<StoreCertificate>,
    /// Further users.
    pub users: Vec<RedisUserPlan>,
    /// Digest of what replaces the servers where it changes.
    pub checksum: String,
    /// Where the servers run.
    pub scheduling: Scheduling,
    /// User of the server.
    pub user: i64,
    /// Group that owns the volume.
    pub group: i64,
    /// What happens when memory is full.
    pub maxmemory_policy: MaxmemoryPolicy,
}

/// Generations of Redis' password.
#[derive(Clone, Debug)]
pub struct RedisPasswords {
    /// The one that is asked for; 1 of a password that is given.
    pub wished: u32,
    /// What the Secret holds; `None` where that is not known, or not ours.
    pub held: Option<HeldPasswords>,
}

/// Digests of what the Secret with Redis' generated password holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPasswords {
    /// Generation of the one that clients find.
    pub generation: u32,
    /// That one.
    pub password: String,
    /// The one that clients will find, and its generation.
    pub next: Option<(u32, String)>,
    /// The one that some may still have.
    pub previous: Option<String>,
}

impl HeldPasswords {
    /// What a server says that takes exactly these.
    #[must_use]
    pub fn in_force(&self) -> String {
        let next = self.next.as_ref().map(|(_, digest)| digest);
        let all = [&self.password].into_iter().chain(next).chain(&self.previous);
        trading_report::passwords(&all.map(String::as_str).collect::<Vec<_>>())
    }
}

/// A further user of Redis.
#[derive(Clone, Debug)]
pub struct RedisUserPlan {
    /// Its name and password.
    pub account: AccountPlan,
    /// What it may do, as Redis' access control lists have it.
    pub rules: String,
}

/// A Redis Cluster with every value decided.
#[derive(Clone, Copy, Debug)]
pub struct ClusterPlan {
    /// Masters.
    pub shards: i32,
    /// Replicas of each.
    pub replicas_per_shard: i32,
}

/// The Sentinels with every value decided.
#[derive(Clone, Debug)]
pub struct SentinelPlan {
    /// How many.
    pub instances: i32,
    /// How many must agree.
    pub quorum: i32,
    /// Resources of each.
    pub resources: ResourcesPlan,
    /// Digest of what replaces them where it changes.
    pub checksum: String,
}

/// Redis that somebody else runs.
#[derive(Clone, Debug)]
pub struct ExternalRedisPlan {
    /// Host as the clients get it.
    pub host: Host,
    /// Port.
    pub port: i32,
    /// Clients use TLS.
    pub tls: bool,
    /// It is a Redis Cluster.
    pub cluster: bool,
    /// User of the access control list.
    pub username: Option<String>,
    /// Secret and key of the password, where there is one.
    pub password: Option<(String, String)>,
    /// Address blocks; empty where only the name is known.
    pub cidrs: Vec<Cidr>,
}
