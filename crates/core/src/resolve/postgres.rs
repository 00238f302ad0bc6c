//! Decides how the platform reaches its database, and how it runs where it is the platform's own.

use std::collections::BTreeMap;

use serde_json::json;
use trading_api::{
    Quantity,
    image::Image,
    postgres::{ExternalPostgres, Postgres, PostgresCredentials, PostgresMode, SslMode},
    redis::Storage,
};

use super::{
    Context, blocks, cloudnative, host_of, image_reference, pooler, postgres_logins, postgres_objects,
    postgres_tls, preset, references,
};
use crate::{
    digest,
    plan::{
        Host, LoginsPlan, POSTGRES, POSTGRES_PORT, POSTGRES_RO, PasswordSource, PostgresPasswords,
        PostgresPlan, PostgresServers, StoreCertificate, TlsPlan, VolumePlan,
    },
    postgres_parameters::needs_restart,
};

/// Database and role of a platform that names none.
const DEFAULT_NAME: &str = "app";
/// What the Secret of the role that clients log in as is called after the platform's name.
pub(super) const OWNER: &str = "postgres-app";
/// Users of the official images, on Debian and on Alpine.
const DEBIAN_USER: i64 = 999;
const ALPINE_USER: i64 = 70;
/// Share of the container's memory limit that the servers take as shared buffers: what Postgres'
/// documentation begins with.
pub(super) const SHARED_BUFFERS_SHARE: f64 = 0.25;
/// Most shared buffers that Postgres takes: 2^30 - 1 pages of 8 KiB.
const MAX_KIBIBYTES: u64 = 8 * ((1 << 30) - 1);

/// `None` where the resource says too little, which admission refuses.
pub(super) fn resolve(context: &mut Context, postgres: &Postgres) -> Option<PostgresPlan> {
    match postgres.mode {
        PostgresMode::External => postgres.external.as_ref().map(|external| outside(context, external)),
        PostgresMode::Managed => postgres.version.map(|major| managed(context, postgres, major)),
        PostgresMode::CloudNativePG => {
            postgres.version.map(|major| cloudnative::resolve(context, postgres, major))
        }
    }
}

fn outside(context: &mut Context, external: &ExternalPostgres) -> PostgresPlan {
    let host = host_of(&external.host);
    let read_only_host = external.read_only_host.as_deref().map(host_of);
    let hosts: Vec<&Host> = [&host].into_iter().chain(&read_only_host).collect();
    let cidrs = blocks(context, "postgres.external", &hosts, &external.cidrs);
    let login = &external.credentials_secret_ref;
    PostgresPlan {
        port: context.fill("postgres.external.port", external.port.as_ref(), POSTGRES_PORT, "operator"),
        database: external.database.clone(),
        ssl_mode: external.ssl_mode.unwrap_or(SslMode::Require),
        secret: login.name.clone(),
        username_key: login.username_key.clone().unwrap_or_else(|| "username".to_owned()),
        password_key: login.password_key.clone().unwrap_or_else(|| "password".to_owned()),
        cidrs,
        host,
        read_only_host,
        ca: external
            .ca_secret_ref
            .as_ref()
            .map(|ca| (ca.name.clone(), ca.key.clone().unwrap_or_else(|| "ca.crt".to_owned()))),
        servers: None,
        cluster: None,
        pooler: None,
    }
}

fn managed(context: &mut Context, postgres: &Postgres, major: i32) -> PostgresPlan {
    let database = name(context, "database", postgres.database.as_ref());
    let servers = servers(context, postgres, &database, major);
    let replicas = servers.instances > 1;
    let tls = servers.tls.as_ref();
    // Without TLS the policies keep everybody else away.
    let ssl_mode = tls.map_or(SslMode::Prefer, TlsPlan::ssl_mode);
    let ca = tls.filter(|_| ssl_mode != SslMode::Prefer);
    let ca = ca.map(|tls| (tls.certificate.secret.clone(), StoreCertificate::AUTHORITY.to_owned()));
    PostgresPlan {
        host: Host::Name(context.identity.child(POSTGRES)),
        port: POSTGRES_PORT,
        database,
        ssl_mode,
        secret: servers.passwords.owner.secret.clone(),
        username_key: "username".to_owned(),
        password_key: servers.passwords.owner.key.clone(),
        cidrs: Vec::new(),
        read_only_host: replicas.then(|| Host::Name(context.identity.child(POSTGRES_RO))),
        ca,
        servers: Some(servers),
        cluster: None,
        pooler: pooler::resolve(context, postgres),
    }
}

pub(super) fn name(context: &mut Context, field: &str, given: Option<&String>) -> String {
    context.fill(&format!("postgres.{field}"), given, DEFAULT_NAME.to_owned(), "operator")
}

fn servers(context: &mut Context, postgres: &Postgres, database: &str, major: i32) -> PostgresServers {
    let default = Image { repository: POSTGRES.to_owned(), tag: None, digest: None };
    let given = postgres.image.as_ref().unwrap_or(&default);
    let (image, version) = image_reference(given, None, &major.to_string());
    let is_alpine = given.tag.as_deref().is_some_and(|tag| tag.contains("alpine"));
    let user = postgres.run_as_user.unwrap_or(if is_alpine { ALPINE_USER } else { DEBIAN_USER });
    let resources = preset::resources(context, POSTGRES, postgres.resources.as_ref(), postgres.qos);
    let limit = resources.memory_limit.value().unwrap_or_default();
    let parameters = parameters(context, postgres, limit * SHARED_BUFFERS_SHARE);
    let owner = name(context, "owner", postgres.owner.as_ref());
    let (passwords, logins) = passwords(context, postgres.credentials.as_ref(), &owner);
    let checksum = checksum(context, &parameters, major, &passwords);
    let instances = context.fill("postgres.instances", postgres.instances.as_ref(), 1, "operator");
    PostgresServers {
        instances,
        synchronous: postgres.synchronous.unwrap_or_default(),
        major,
        image,
        version,
        databases: postgres_objects::databases(postgres, database, &owner),
        roles: postgres_objects::roles(context, postgres, database),
        owner,
        storage: storage(context, postgres.storage.as_ref()),
        wal_storage: wal_storage(postgres),
        checksum,
        parameters,
        passwords,
        logins,
        tls: postgres_tls::resolve(context, postgres.tls.as_ref()),
        resources,
        scheduling: postgres.scheduling.clone(),
        user,
        group: postgres.fs_group.unwrap_or(user),
    }
}

pub(super) fn storage(context: &mut Context, given: Option<&Storage>) -> VolumePlan {
    let (default, from) = (Quantity::from(context.preset.storage), context.preset_name());
    VolumePlan {
        size: context.fill("postgres.storage.size", given.map(|given| &given.size), default, &from),
        class: given.and_then(|given| given.storage_class_name.clone()),
    }
}

pub(super) fn wal_storage(postgres: &Postgres) -> Option<VolumePlan> {
    let given = postgres.wal_storage.as_ref()?;
    Some(VolumePlan { size: given.size.clone(), class: given.storage_class_name.clone() })
}

/// Secrets, each with the password of one role, and one with those of later logins of the owner.
fn passwords(
    context: &mut Context,
    credentials: Option<&PostgresCredentials>,
    owner: &str,
) -> (PostgresPasswords, LoginsPlan) {
    let first = password(context, OWNER);
    let (logins, owner, login) = postgres_logins::resolve(context, credentials, owner, first);
    let superuser = password(context, "postgres-superuser");
    let replication = password(context, "postgres-replication");
    (PostgresPasswords { owner, login, superuser, replication }, logins)
}

pub(super) fn password(context: &Context, suffix: &str) -> PasswordSource {
    let namespace = context.identity.namespace_of(POSTGRES);
    let (secret, key) = (context.identity.child(suffix), "password".to_owned());
    let is_there = references::is_there(context.inputs, &references::secret_key(namespace, &secret, &key));
    PasswordSource { secret, key, generated: true, is_there }
}

/// What servers start anew for. Other parameters are taken up while they run; replicas read their password from
/// a file that is made when their pod starts.
fn checksum(
    context: &Context,
    parameters: &[(String, String)],
    major: i32,
    passwords: &PostgresPasswords,
) -> String {
    let fixed: Vec<_> = parameters.iter().filter(|(name, _)| needs_restart(name, major)).collect();
    digest::of(&json!([fixed, secrets(context, passwords)]))
}

fn secrets(context: &Context, passwords: &PostgresPasswords) -> String {
    let replication = &passwords.replication;
    let namespace = context.identity.namespace_of(POSTGRES);
    let consumed = [references::secret_key(namespace, &replication.secret, &replication.key)];
    references::checksum(context.inputs, &consumed, None)
}

/// With shared buffers of so many bytes, where the resource does not say it.
pub(super) fn parameters(context: &mut Context, postgres: &Postgres, buffers: f64) -> Vec<(String, String)> {
    let mut lines: BTreeMap<String, String> =
        postgres.parameters.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
    let buffers = context.fill(
        "postgres.parameters.shared_buffers",
        lines.get("shared_buffers"),
        format!("{}kB", kibibytes(buffers)),
        "operator",
    );
    lines.insert("shared_buffers".to_owned(), buffers);
    lines.into_iter().collect()
}

/// Between the least and the most that Postgres starts with at all.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a container: positive, far below 2^53
fn kibibytes(bytes: f64) -> u64 {
    ((bytes / 1024.0) as u64).clamp(128, MAX_KIBIBYTES)
}
