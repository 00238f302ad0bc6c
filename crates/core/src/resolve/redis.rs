//! Decides how Redis runs.

use std::collections::BTreeMap;

use trading_api::{
    Quantity,
    component::Qos,
    image::Image,
    redis::{AppendFsync, MaxmemoryPolicy, Redis, RedisMode, RedisUser},
};

use super::{
    Context, accounts::Accounts, blocks, certificate, directives, host_of, image_reference, preset,
    redis_passwords, references,
};
use crate::{
    plan::{
        ClusterPlan, ExternalRedisPlan, PasswordSource, REDIS, REDIS_PORT, REDIS_USERS as USERS, RedisPlan,
        RedisUserPlan, ResourcesPlan, SENTINEL, SentinelPlan,
    },
    problem::Problem,
};

/// Version of the official image that is used where the resource names none.
const DEFAULT_TAG: &str = "7.4-alpine";
/// User of the official images.
const DEFAULT_USER: i64 = 999;
/// Share of the container's memory limit that Redis fills with data; the rest is for buffers,
/// fragmentation and the copy on write of a snapshot.
const MAXMEMORY_SHARE: f64 = 0.75;

/// Redis that the platform runs.
pub(super) fn resolve(context: &mut Context, redis: &Redis) -> Option<RedisPlan> {
    (redis.mode != RedisMode::External).then(|| servers_of(context, redis))
}

/// Redis that somebody else runs.
pub(super) fn resolve_external(context: &mut Context, redis: &Redis) -> Option<ExternalRedisPlan> {
    let external = redis.external.as_ref().filter(|_| redis.mode == RedisMode::External)?;
    let host = host_of(&external.host);
    let cidrs = blocks(context, "redis.external", &[&host], &external.cidrs);
    let password = redis.auth.as_ref().and_then(|auth| auth.password_secret_ref.as_ref());
    Some(ExternalRedisPlan {
        host,
        cidrs,
        port: context.fill("redis.external.port", external.port.as_ref(), REDIS_PORT, "operator"),
        tls: context.fill("redis.external.tls", external.tls.as_ref(), true, "operator"),
        cluster: external.cluster_mode.unwrap_or(false),
        username: external.username.clone(),
        password: password.map(|key| (key.name.clone(), key.key.clone())),
    })
}

fn servers_of(context: &mut Context, redis: &Redis) -> RedisPlan {
    let default = Image { repository: "redis".to_owned(), tag: None, digest: None };
    let (image, version) = image_reference(redis.image.as_ref().unwrap_or(&default), None, DEFAULT_TAG);
    let resources = preset::resources(context, REDIS, redis.resources.as_ref(), redis.qos);
    let maxmemory = maxmemory(context, redis, &resources);
    let policy = redis.maxmemory_policy.unwrap_or(MaxmemoryPolicy::VolatileLru);
    warn_of_eviction(context, policy);
    let password = password(context, redis);
    let generation = redis.auth.as_ref().and_then(|auth| auth.generation).unwrap_or(1);
    let namespace = context.identity.namespace_of(REDIS);
    let consumed = [references::secret_key(namespace, &password.secret, &password.key)];
    if !password.generated {
        references::report_missing(context, REDIS, &consumed);
    }
    let from = context.preset_name();
    let storage = redis.storage.as_ref();
    let storage_size = context.fill(
        "redis.storage.size",
        storage.map(|storage| &storage.size),
        Quantity::from(context.preset.storage),
        &from,
    );
    let user = redis.run_as_user.unwrap_or(DEFAULT_USER);
    let config = config(redis, maxmemory, policy);
    let sets = [REDIS, SENTINEL];
    let tls = redis.tls.as_ref().map(|_| certificate::resolve(context, REDIS, &sets, &sets));
    let sentinel = (redis.mode == RedisMode::Replicated).then(|| sentinel(context, redis));

    let cluster = (redis.mode == RedisMode::Cluster).then(|| cluster(context, redis));

    RedisPlan {
        mode: redis.mode,
        servers: servers(context, redis, cluster),
        cluster,
        sentinel,
        checksum: crate::digest::of(&serde_json::json!(with_a_start(&config))),
        config,
        image,
        version,
        resources,
        storage_size,
        storage_class: storage.and_then(|storage| storage.storage_class_name.clone()),
        users: users(context, redis),
        tls,
        passwords: redis_passwords::resolve(context, generation, &password),
        password,
        scheduling: redis.scheduling.clone(),
        user,
        group: redis.fs_group.unwrap_or(user),
        maxmemory_policy: policy,
    }
}

fn servers(context: &mut Context, redis: &Redis, cluster: Option<ClusterPlan>) -> i32 {
    match (redis.mode, cluster) {
        (_, Some(cluster)) => cluster.shards * (1 + cluster.replicas_per_shard),
        (RedisMode::Replicated, None) => {
            context.fill("redis.instances", redis.instances.as_ref(), 3, "operator")
        }
        _ => 1,
    }
}

fn cluster(context: &mut Context, redis: &Redis) -> ClusterPlan {
    ClusterPlan {
        shards: context.fill("redis.shards", redis.shards.as_ref(), 3, "operator"),
        replicas_per_shard: context.fill(
            "redis.replicasPerShard",
            redis.replicas_per_shard.as_ref(),
            1,
            "operator",
        ),
    }
}

/// The Sentinels: a majority of them decides, and their own needs are small.
fn sentinel(context: &mut Context, redis: &Redis) -> SentinelPlan {
    let given = redis.sentinel.clone().unwrap_or_default();
    let instances = context.fill("redis.sentinel.instances", given.instances.as_ref(), 3, "operator");
    let majority = instances / 2 + 1;
    let quorum = context.fill("redis.sentinel.quorum", given.quorum.as_ref(), majority, "operator");
    let small = ["50m", "64Mi", "100m", "128Mi"].map(Quantity::from);
    let mut resources =
        preset::within(context, "redis.sentinel", given.resources.as_ref(), small, "operator");
    if redis.qos == Some(Qos::Guaranteed) {
        resources.cpu_request = resources.cpu_limit.clone();
        resources.memory_request = resources.memory_limit.clone();
    }
    let checksum = crate::digest::of(&serde_json::json!(quorum));
    SentinelPlan { instances, quorum, resources, checksum }
}

fn password(context: &Context, redis: &Redis) -> PasswordSource {
    let given = redis.auth.as_ref().and_then(|auth| auth.password_secret_ref.as_ref());
    let (secret, key, generated) = match given {
        Some(given) => (given.name.clone(), given.key.clone(), false),
        None => (context.identity.child("redis-auth"), "password".to_owned(), true),
    };
    let consumed = references::secret_key(context.identity.namespace_of(REDIS), &secret, &key);
    let is_there = references::is_there(context.inputs, &consumed);
    PasswordSource { secret, key, generated, is_there }
}

const ACCOUNTS: Accounts = Accounts {
    store: REDIS,
    field: "redis.users",
    title: "Redis user",
    all: USERS,
    without_password: "UserWithoutPassword",
};

fn users(context: &mut Context, redis: &Redis) -> Vec<RedisUserPlan> {
    let one = |(name, user): (&String, &RedisUser)| {
        let secret = format!("redis-user-{name}");
        let account = ACCOUNTS.resolve(context, name, &secret, user.password_secret_ref.as_ref());
        RedisUserPlan { account, rules: rules(user) }
    };
    redis.users.iter().map(one).collect()
}

/// What the resource says, and that nobody but the operator changes users, settings or who follows whom.
fn rules(user: &RedisUser) -> String {
    let keys = user.keys.iter().map(|pattern| format!("~{pattern}"));
    let channels = user.channels.iter().map(|pattern| format!("&{pattern}"));
    let commands = user.commands.iter().cloned();
    let all = keys.chain(channels).chain(commands).chain(["-@admin".to_owned()]);
    all.collect::<Vec<_>>().join(" ")
}

/// Bytes of `maxmemory`.
fn maxmemory(context: &mut Context, redis: &Redis, resources: &ResourcesPlan) -> u64 {
    let limit = resources.memory_limit.value().unwrap_or_default();
    let given = redis.maxmemory.as_ref().and_then(Quantity::value);
    if given.is_some_and(|bytes| bytes >= limit) {
        context.problems.push(Problem::of(
            REDIS,
            "MaxmemoryTooLarge",
            format!(
                "redis.maxmemory must be below the container's memory limit {}: the kernel would kill the server before it evicts; {} % of the limit are used meanwhile",
                resources.memory_limit, MAXMEMORY_SHARE * 100.0
            ),
        ));
    }
    let bytes = given.filter(|bytes| *bytes < limit).unwrap_or(limit * MAXMEMORY_SHARE);
    let default = whole_bytes(bytes);
    if redis.maxmemory.is_none() {
        return context.fill("redis.maxmemory", None, default, "operator");
    }
    default
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a container: positive, far below 2^53
fn whole_bytes(bytes: f64) -> u64 {
    bytes as u64
}

fn warn_of_eviction(context: &mut Context, policy: MaxmemoryPolicy) {
    use MaxmemoryPolicy::{AllkeysLfu, AllkeysLru, AllkeysRandom};
    if matches!(policy, AllkeysLru | AllkeysLfu | AllkeysRandom) {
        context.problems.push(Problem::of(
            REDIS,
            EVICTION_RISK,
            "redis.maxmemoryPolicy may evict keys without a time to live: queues and idempotency keys can be lost; use VolatileLru unless Redis is only a cache".to_owned(),
        ));
    }
}

/// Reason of the warning that keys of worth can be evicted; the platform runs all the same.
pub const EVICTION_RISK: &str = "EvictionRisk";

fn config(redis: &Redis, maxmemory: u64, policy: MaxmemoryPolicy) -> Vec<(String, String)> {
    let persistence = redis.persistence.clone().unwrap_or_default();
    let append_only = persistence.append_only.unwrap_or(true);
    let mut lines: BTreeMap<&str, String> =
        redis.config.iter().map(|(directive, value)| (directive.as_str(), value.0.clone())).collect();
    lines.extend([
        ("appendfsync", append_fsync(persistence.append_fsync).to_owned()),
        ("appendonly", if append_only { "yes" } else { "no" }.to_owned()),
        ("dir", "/data".to_owned()),
        ("maxmemory", maxmemory.to_string()),
        ("maxmemory-policy", policy_name(policy).to_owned()),
        ("port", REDIS_PORT.to_string()),
    ]);
    if redis.mode == RedisMode::Cluster {
        lines.extend([
            ("cluster-config-file", "/data/nodes.conf".to_owned()),
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-node-timeout", lines.get("cluster-node-timeout").cloned().unwrap_or("5000".to_owned())),
        ]);
    }
    lines.into_iter().map(|(directive, value)| (directive.to_owned(), value)).collect()
}

/// What the agents can't change in running servers: it replaces them.
fn with_a_start(config: &[(String, String)]) -> Vec<&(String, String)> {
    config.iter().filter(|(directive, _)| directives::needs_start(directive)).collect()
}

fn append_fsync(fsync: Option<AppendFsync>) -> &'static str {
    match fsync.unwrap_or(AppendFsync::EverySec) {
        AppendFsync::Always => "always",
        AppendFsync::EverySec => "everysec",
        AppendFsync::Never => "no",
    }
}

fn policy_name(policy: MaxmemoryPolicy) -> &'static str {
    match policy {
        MaxmemoryPolicy::NoEviction => "noeviction",
        MaxmemoryPolicy::VolatileLru => "volatile-lru",
        MaxmemoryPolicy::VolatileLfu => "volatile-lfu",
        MaxmemoryPolicy::VolatileTtl => "volatile-ttl",
        MaxmemoryPolicy::VolatileRandom => "volatile-random",
        MaxmemoryPolicy::AllkeysLru => "allkeys-lru",
        MaxmemoryPolicy::AllkeysLfu => "allkeys-lfu",
        MaxmemoryPolicy::AllkeysRandom => "allkeys-random",
    }
}
