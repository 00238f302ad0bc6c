//! Redis and Postgres in all modes.

use std::collections::BTreeMap;

use trading_api::{
    backup::{Backup, BackupDestination, Retention, S3},
    component::Qos,
    env::SecretKey,
    image::Image,
    postgres::{
        CaRef, CredentialsRef, ExternalPostgres, ParameterValue, PoolMode, Pooler, Postgres,
        PostgresCredentials, PostgresDatabase, PostgresMode, PostgresRole, PostgresTls, PostgresTlsMode,
        PredefinedRole, SslMode,
    },
    redis::{
        AppendFsync, ConfigValue, ExternalRedis, MaxmemoryPolicy, Redis, RedisAuth, RedisMode,
        RedisPersistence, RedisTls, RedisTlsMode, RedisUser, Sentinel, Storage,
    },
    scheduling::Scheduling,
};

use super::amounts::{CPU, MEMORY, REDIS_MEMORY, quantity, resources};
use super::component::{image, secret_key};
use super::names::{KEYS, NAMES, unique};
use super::network::cidrs;
use super::scheduling::scheduling;
use crate::tape::Tape;

/// With nothing but what is said of it.
fn bare_redis(mode: RedisMode) -> Redis {
    Redis {
        mode,
        image: None,
        instances: None,
        sentinel: None,
        external: None,
        shards: None,
        replicas_per_shard: None,
        resources: None,
        qos: None,
        storage: None,
        persistence: None,
        maxmemory: None,
        maxmemory_policy: None,
        auth: None,
        tls: None,
        users: BTreeMap::new(),
        config: BTreeMap::new(),
        run_as_user: None,
        fs_group: None,
        scheduling: Scheduling::default(),
    }
}

const HOSTS: [&str; 5] = ["db.example.com", "db", "192.0.2.5", "2001:db8::5", "256.1.1.1"];

fn host(tape: &mut Tape) -> String {
    let long = format!("{}com", "a.".repeat(125));
    if tape.chance(10) { long } else { tape.pick(&HOSTS).to_owned() }
}

fn external_redis(tape: &mut Tape) -> Redis {
    Redis {
        external: Some(ExternalRedis {
            host: host(tape),
            port: tape.maybe(40, |tape| tape.copy(&[6379, 1, 65535])),
            tls: tape.maybe(50, |tape| tape.chance(50)),
            cluster_mode: tape.maybe(50, |tape| tape.chance(50)),
            username: tape.maybe(30, |tape| tape.pick(&["app", "a.b_c-9"]).to_owned()),
            cidrs: cidrs(tape),
        }),
        auth: tape
            .maybe(50, |tape| RedisAuth { password_secret_ref: Some(secret_key(tape)), generation: None }),
        ..bare_redis(RedisMode::External)
    }
}

fn redis_auth(tape: &mut Tape) -> RedisAuth {
    if tape.chance(50) {
        return RedisAuth { password_secret_ref: Some(secret_key(tape)), generation: None };
    }
    RedisAuth { password_secret_ref: None, generation: Some(tape.copy(&[1, 2, 999])) }
}

fn sentinel(tape: &mut Tape) -> Sentinel {
    let instances = tape.maybe(50, |tape| tape.copy(&[3, 5, 7]));
    Sentinel {
        instances,
        quorum: tape.maybe(50, |tape| tape.between(1, instances.unwrap_or(3))),
        resources: tape.maybe(50, |tape| resources(tape, &CPU, &MEMORY)),
    }
}

pub(super) fn storage(tape: &mut Tape) -> Storage {
    Storage {
        size: quantity(tape.pick(&["1Gi", "1Mi", "1e12", "2.5Ti"])),
        storage_class_name: tape.maybe(50, |tape| tape.pick(&NAMES).to_owned()),
    }
}

pub(super) fn redis(tape: &mut Tape) -> Redis {
    let mode =
        tape.copy(&[RedisMode::Standalone, RedisMode::Cluster, RedisMode::Replicated, RedisMode::External]);
    if mode == RedisMode::External {
        return external_redis(tape);
    }
    let is_cluster = mode == RedisMode::Cluster;
    let is_replicated = mode == RedisMode::Replicated;
    let resources = tape.maybe(60, |tape| resources(tape, &CPU, &REDIS_MEMORY));
    let limit = resources.as_ref().and_then(|all| all.limits.as_ref()?.memory.clone());
    let most = limit.map_or(REDIS_MEMORY.len(), |limit| {
        REDIS_MEMORY.iter().position(|amount| *amount == limit.0).expect("one of them")
    });
    Redis {
        mode,
        image: tape.maybe(50, image),
        tls: tape.maybe(30, |_| RedisTls { mode: RedisTlsMode::Required }),
        shards: if is_cluster { tape.maybe(50, |tape| tape.copy(&[3, 4, 100])) } else { None },
        replicas_per_shard: if is_cluster { tape.maybe(50, |tape| tape.between(0, 5)) } else { None },
        resources,
        qos: tape.maybe(20, |_| Qos::Guaranteed),
        instances: if is_replicated { tape.maybe(50, |tape| tape.between(2, 9)) } else { None },
        sentinel: if is_replicated { tape.maybe(50, sentinel) } else { None },
        external: None,
        storage: tape.maybe(50, storage),
        persistence: tape.maybe(30, |tape| {
            let append_only = tape.maybe(50, |tape| tape.chance(50));
            let append_fsync = tape.maybe(50, |tape| {
                tape.copy(&[AppendFsync::EverySec, AppendFsync::Always, AppendFsync::Never])
            });
            let append_fsync = append_fsync.filter(|_| append_only != Some(false));
            RedisPersistence { append_only, append_fsync }
        }),
        maxmemory: if most == 0 {
            None
        } else {
            tape.maybe(30, |tape| quantity(REDIS_MEMORY[tape.below(most)]))
        },
        maxmemory_policy: tape.maybe(50, |tape| {
            use MaxmemoryPolicy as P;
            tape.copy(&[
                P::VolatileLru,
                P::NoEviction,
                P::VolatileLfu,
                P::VolatileTtl,
                P::VolatileRandom,
                P::AllkeysLru,
                P::AllkeysLfu,
                P::AllkeysRandom,
            ])
        }),
        auth: tape.maybe(50, redis_auth),
        users: unique(tape, 2, &["app", "reader-2"])
            .into_iter()
            .map(|name| (name, redis_user(tape)))
            .collect(),
        config: unique(tape, 3, &["timeout", "cluster-node-timeout", "notify-keyspace-events"])
            .into_iter()
            .map(|directive| (directive, ConfigValue(tape.pick(&["300", "KEA", "a b:c/d"]).to_owned())))
            .collect(),
        run_as_user: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        fs_group: tape.maybe(20, |tape| i64::from(tape.between(1, 65535))),
        scheduling: scheduling(tape),
    }
}

fn redis_user(tape: &mut Tape) -> RedisUser {
    RedisUser {
        keys: unique(tape, 2, &["*", "orders:{1}:*"]),
        channels: unique(tape, 2, &["*", "news.?"]),
        commands: vec![tape.pick(&["+@all", "+get", "-config|get"]).to_owned()],
        password_secret_ref: tape.maybe(30, secret_key),
    }
}

/// Whether something else than the primary can be read from.
pub(super) fn reads_elsewhere(postgres: &Postgres) -> bool {
    let outside = postgres.external.as_ref().is_some_and(|external| external.read_only_host.is_some());
    outside || postgres.instances.is_some_and(|instances| instances > 1)
}

pub(super) fn postgres(tape: &mut Tape) -> Postgres {
    let mode = tape.copy(&[PostgresMode::External, PostgresMode::Managed, PostgresMode::CloudNativePG]);
    if mode != PostgresMode::External {
        return own_postgres(tape, mode);
    }
    Postgres {
        mode,
        external: Some(external_postgres(tape)),
        instances: None,
        synchronous: None,
        version: None,
        image: None,
        resources: None,
        qos: None,
        storage: None,
        wal_storage: None,
        parameters: BTreeMap::new(),
        pooler: None,
        credentials: None,
        tls: None,
        database: None,
        owner: None,
        extensions: Vec::new(),
        databases: BTreeMap::new(),
        roles: BTreeMap::new(),
        run_as_user: None,
        fs_group: None,
        scheduling: Scheduling::default(),
    }
}

fn own_postgres(tape: &mut Tape, mode: PostgresMode) -> Postgres {
    let is_managed = mode == PostgresMode::Managed;
    let version = tape.between(14, 18);
    let instances = tape.maybe(60, |tape| tape.copy(&[1, 2, 3, 9]));
    let roles = if is_managed { roles(tape) } else { BTreeMap::new() };
    Postgres {
        mode,
        external: None,
        instances,
        synchronous: tape.maybe(40, |tape| instances.is_some_and(|it| it > 1) && tape.chance(70)),
        version: Some(version),
        image: tape.maybe(40, image).map(|image| if is_managed { image } else { of_cnpg(image, version) }),
        resources: tape.maybe(60, |tape| resources(tape, &CPU, &MEMORY)),
        qos: tape.maybe(20, |_| Qos::Guaranteed),
        storage: tape.maybe(50, storage),
        wal_storage: tape.maybe(30, storage),
        parameters: unique(tape, 3, &["work_mem", "shared_buffers", "log_min_duration_statement"])
            .into_iter()
            .map(|name| (name, ParameterValue(tape.pick(&["16MB", "-1", "a b:c/d"]).to_owned())))
            .collect(),
        pooler: tape.maybe(30, pooler),
        credentials: if is_managed { tape.maybe(30, credentials) } else { None },
        tls: if is_managed { tape.maybe(30, postgres_tls) } else { None },
        database: tape.maybe(40, |tape| tape.pick(&["shop", "_a1"]).to_owned()),
        owner: tape.maybe(40, |tape| tape.pick(&["shop", "_a1"]).to_owned()),
        extensions: if is_managed { extensions(tape) } else { Vec::new() },
        databases: if is_managed { databases(tape, &roles) } else { BTreeMap::new() },
        roles,
        run_as_user: if is_managed { tape.maybe(20, |tape| i64::from(tape.between(1, 65535))) } else { None },
        fs_group: if is_managed { tape.maybe(20, |tape| i64::from(tape.between(1, 65535))) } else { None },
        scheduling: scheduling(tape),
    }
}

fn postgres_tls(tape: &mut Tape) -> PostgresTls {
    PostgresTls { mode: tape.copy(&[PostgresTlsMode::Offered, PostgresTlsMode::Required]) }
}

fn extensions(tape: &mut Tape) -> Vec<String> {
    unique(tape, 2, &["pg_trgm", "uuid-ossp"])
}

fn databases(tape: &mut Tape, roles: &BTreeMap<String, PostgresRole>) -> BTreeMap<String, PostgresDatabase> {
    let names = unique(tape, 2, &["analytics", "_audit_1"]);
    let owners: Vec<&String> = roles.keys().collect();
    let one = |name| {
        let owner = if owners.is_empty() { None } else { tape.maybe(60, |tape| tape.copy(&owners).clone()) };
        (name, PostgresDatabase { owner, extensions: extensions(tape) })
    };
    names.into_iter().map(one).collect()
}

fn roles(tape: &mut Tape) -> BTreeMap<String, PostgresRole> {
    let long = "a_".repeat(15) + "9z";
    let names = unique(tape, 2, &["reporting", "e_tl", &long]);
    names.into_iter().map(|name| (name, role(tape))).collect()
}

fn role(tape: &mut Tape) -> PostgresRole {
    use PredefinedRole as R;
    PostgresRole {
        member_of: tape
            .maybe(60, |tape| vec![tape.copy(&[R::PgReadAllData, R::PgMonitor])])
            .unwrap_or_default(),
        connection_limit: tape.maybe(40, |tape| tape.copy(&[1, 10_000])),
        password_secret_ref: tape.maybe(30, secret_key),
    }
}

/// At most 90 connections, the others of which are left to people.
fn pooler(tape: &mut Tape) -> Pooler {
    let instances = tape.maybe(60, |tape| tape.copy(&[1, 2, 9]));
    let most = 90 / instances.unwrap_or(2);
    Pooler {
        pool_mode: tape.maybe(50, |tape| tape.copy(&[PoolMode::Transaction, PoolMode::Session])),
        instances,
        image: tape.maybe(30, image),
        max_client_connections: tape.maybe(40, |tape| tape.copy(&[10, 1000, 20000])),
        default_pool_size: if most < 20 {
            Some(tape.between(1, most))
        } else {
            tape.maybe(40, |tape| tape.between(1, most))
        },
    }
}

fn credentials(tape: &mut Tape) -> PostgresCredentials {
    let password_secret_ref = tape.maybe(30, secret_key);
    PostgresCredentials { generation: tape.copy(&[1, 2, 999]), password_secret_ref }
}

pub(super) fn backup(tape: &mut Tape) -> Backup {
    let mut key = |key: &str| SecretKey { name: tape.pick(&NAMES).to_owned(), key: key.to_owned() };
    let (access_key_id_secret_ref, secret_access_key_secret_ref) = (key("id"), key("secret"));
    let s3 = S3 {
        bucket: tape.pick(&["shop", "a.b-1"]).to_owned(),
        path: tape.maybe(50, |tape| tape.pick(&["a", "a/_b.c/-"]).to_owned()),
        endpoint: tape
            .maybe(50, |tape| tape.pick(&["http://minio", "https://m.example.com:65535"]).to_owned()),
        access_key_id_secret_ref,
        secret_access_key_secret_ref,
    };
    Backup {
        schedule: tape.pick(&["0 3 * * *", "59 23 31 12 6", "*/5,1-30/99 0-3 1,2,3 */1 0-6"]).to_owned(),
        suspend: tape.maybe(30, |tape| tape.chance(50)),
        destination: BackupDestination { s3 },
        retention: tape.maybe(50, |tape| Retention { days: tape.copy(&[1, 30, 36500]) }),
    }
}

/// CloudNativePG reads the version from the tag.
fn of_cnpg(image: Image, version: i32) -> Image {
    let tag = image.tag.map(|_| format!("{version}.2-minimal"));
    Image { tag, ..image }
}

fn external_postgres(tape: &mut Tape) -> ExternalPostgres {
    let ssl_mode = tape.maybe(50, |tape| {
        use SslMode as S;
        tape.copy(&[S::Require, S::Disable, S::Prefer, S::VerifyCa, S::VerifyFull])
    });
    let verifies = matches!(ssl_mode, Some(SslMode::VerifyCa | SslMode::VerifyFull));
    ExternalPostgres {
        host: host(tape),
        read_only_host: tape.maybe(30, host),
        port: tape.maybe(40, |tape| tape.copy(&[5432, 1, 65535])),
        database: tape.pick(&["shop", "_a$-1"]).to_owned(),
        ssl_mode,
        ca_secret_ref: if verifies {
            tape.maybe(50, |tape| CaRef {
                name: tape.pick(&NAMES).to_owned(),
                key: tape.maybe(30, |tape| tape.pick(&KEYS).to_owned()),
            })
        } else {
            None
        },
        credentials_secret_ref: CredentialsRef {
            name: tape.pick(&NAMES).to_owned(),
            username_key: tape.maybe(30, |tape| tape.pick(&KEYS).to_owned()),
            password_key: tape.maybe(30, |tape| tape.pick(&KEYS).to_owned()),
        },
        cidrs: cidrs(tape),
    }
}
