//! Secrets with the logins to a database of the platform's own, and what its servers are told of them.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, SecretVolumeSource, Volume},
};
use serde_json::json;
use trading_api::labels;

use super::{pod, postgres_servers::REPLICATION_ROLE, store::Store};
use crate::{
    kinds::Kind,
    object::{Chosen, Content, Object, PASSWORD},
    plan::{LoginsPlan, POSTGRES, POSTGRES_PORT, PostgresPlan, PostgresServers},
    resolve::references,
};

/// Passwords of later logins, one key for each generation.
const LOGINS: &str = "postgres-logins";

pub(super) fn render(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Vec<Object> {
    let secrets = &servers.passwords;
    let short = |role: &str| [("username", role.to_owned()), ("password", PASSWORD.to_owned())];
    let own = [
        of_clients(store, database, servers),
        store.secret(&secrets.superuser.secret).generated_once(short("postgres")),
        store.secret(&secrets.replication.secret).generated_once(short(REPLICATION_ROLE)),
    ];
    of_later(store, database, servers).into_iter().chain(own).collect()
}

/// What people expect in a Secret with the login of a role.
pub(super) fn login(store: &Store, role: &str, database: &str) -> [(&'static str, String); 6] {
    let identity = &store.plan.identity;
    let host = format!("{}.{}.svc", identity.child(POSTGRES), identity.namespace_of(POSTGRES));
    let uri = format!("postgresql://{role}:{PASSWORD}@{host}:{POSTGRES_PORT}/{database}");
    [
        ("username", role.to_owned()),
        ("password", PASSWORD.to_owned()),
        ("host", host),
        ("port", POSTGRES_PORT.to_string()),
        ("dbname", database.to_owned()),
        ("uri", uri),
    ]
}

/// What clients read: the owner's login, generated once, or a later one, filled in from where it was generated.
fn of_clients(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Object {
    let identity = &store.plan.identity;
    let generation = servers.logins.given;
    let texts = login(store, &LoginsPlan::role(&servers.owner, generation), &database.database);
    let object = store.secret(&servers.passwords.owner.secret);
    if generation <= 1 {
        let mut object = object.generated_once(texts);
        let is_begun = servers.logins.wished > 1 || servers.passwords.owner.is_there;
        object.chosen = chosen(store, &servers.logins, "password").filter(|_| !is_begun);
        return object;
    }
    let texts: BTreeMap<String, String> = texts.map(|(key, text)| (key.to_owned(), text)).into();
    let empty = texts.keys().map(|key| (key.clone(), ByteString(Vec::new()))).collect::<BTreeMap<_, _>>();
    let mut object = object.with(|body| {
        body["data"] = json!(empty);
        // It differs where another generation is filled in.
        body["metadata"]["annotations"][labels::GENERATION] = json!(generation.to_string());
    });
    object.content = Content::FilledFrom {
        original: references::secret(identity.namespace_of(POSTGRES), &identity.child(LOGINS)),
        key: generation.to_string(),
        is_there: servers.logins.is_there,
        texts,
    };
    object
}

/// Where the wished login has its password that is put under this key.
fn chosen(store: &Store, logins: &LoginsPlan, key: &str) -> Option<Chosen> {
    let chosen = logins.chosen.as_ref()?;
    let namespace = store.plan.identity.namespace_of(POSTGRES);
    Some(Chosen {
        key: key.to_owned(),
        original: references::secret(namespace, &chosen.secret),
        from: chosen.key.clone(),
        is_there: chosen.is_there,
    })
}

/// Passwords of later logins, and the pooler's: where the servers find what comes after their start.
fn of_later(store: &Store, database: &PostgresPlan, servers: &PostgresServers) -> Option<Object> {
    let logins = &servers.logins;
    let may_be_made = logins.is_made || logins.chosen.as_ref().is_none_or(|chosen| chosen.is_there);
    let login = servers.passwords.login.as_ref().filter(|_| may_be_made);
    let chosen = login.and_then(|login| chosen(store, logins, &login.key)).filter(|_| !logins.is_made);
    let login = login.map(|login| (login.key.clone(), logins.is_made));
    let pooler = database.pooler.iter().filter_map(|pooler| pooler.password.as_ref());
    let pooler = pooler.map(|password| (password.key.clone(), password.is_there));
    let keys: BTreeMap<String, bool> = login.into_iter().chain(pooler).collect();
    if keys.is_empty() {
        return None;
    }
    let metadata = store.metadata(LOGINS);
    let secret = Secret { metadata, type_: Some("Opaque".to_owned()), ..Secret::default() };
    let mut object = store.object(Kind::Secret, &secret);
    object.content = Content::AddedOnce(keys);
    object.chosen = chosen;
    Some(object)
}

/// Which generation the servers accept, and whether they refuse all others.
pub(super) fn file(logins: &LoginsPlan) -> String {
    let only = if logins.only { " only" } else { "" };
    format!("{}{only}\n", logins.wished)
}

/// The passwords as files, which the kubelet keeps up to date: a new one restarts no server.
pub(super) fn volume(name: &str, store: &Store) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(store.plan.identity.child(LOGINS)),
        // There is none before the first change.
        optional: Some(true),
        default_mode: Some(pod::GROUP_READS),
        ..SecretVolumeSource::default()
    };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}
