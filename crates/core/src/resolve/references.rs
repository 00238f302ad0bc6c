//! Which Secrets and `ConfigMaps` a component consumes, and a digest of what is in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trading_api::{
    component::Component,
    env::{ConfigFiles, KeyRef},
};

use super::{Context, Stores, backup};
use crate::{
    digest,
    inputs::{Inputs, Reference, ReferenceKind, ReferenceState},
    plan::{
        AccountPlan, ComponentPlan, ConsumedReference, CopyPlan, Identity, POSTGRES, POSTGRES_ROLES, Plan,
        PostgresPlan, REDIS, REDIS_USERS, RUNTIME, RuntimeTlsPlan, StoreCertificate, Target,
    },
    problem::Problem,
};

/// Everything that the platform consumes, each object once.
#[must_use]
pub fn all(plan: &Plan) -> Vec<Reference> {
    let servers = plan.runtime.iter().filter_map(|runtime| runtime.tls.as_ref());
    let servers = servers.map(|tls| secret(plan.identity.namespace_of(RUNTIME), &tls.server));
    let stores = plan.stores();
    let stores = stores.iter().flat_map(|store| {
        let namespace = plan.identity.namespace_of(store.name);
        store.passwords.iter().map(move |password| secret(namespace, &password.secret))
    });
    let users = plan.redis.iter().flat_map(|redis| {
        let users = redis.users.iter().map(|user| &user.account);
        of_accounts(&plan.identity, REDIS, REDIS_USERS, users)
    });
    let servers_of_database = plan.postgres.iter().filter_map(|database| database.servers.as_ref());
    let chosen = servers_of_database.clone().filter_map(|servers| servers.logins.chosen.as_ref());
    let chosen = chosen.map(|password| secret(plan.identity.namespace_of(POSTGRES), &password.secret));
    let certificates = servers_of_database
        .clone()
        .filter_map(|servers| Some((POSTGRES, &servers.tls.as_ref()?.certificate)));
    let of_redis = plan.redis.iter().filter_map(|redis| Some((REDIS, redis.tls.as_ref()?)));
    let certificates = certificates
        .chain(of_redis)
        .map(|(store, certificate)| secret(plan.identity.namespace_of(store), &certificate.secret));
    let roles = servers_of_database.flat_map(|servers| {
        let roles = servers.roles.iter().map(|role| &role.account);
        of_accounts(&plan.identity, POSTGRES, POSTGRES_ROLES, roles)
    });
    let pooler = plan.postgres.iter().filter_map(|database| database.pooler.as_ref()?.password.as_ref());
    let pooler = pooler.map(|password| secret(plan.identity.namespace_of(POSTGRES), &password.secret));
    let clusters = plan.postgres.iter().filter_map(|database| database.cluster.as_ref()?.backup.as_ref());
    let backups =
        clusters.flat_map(|plan_of| backup::references(plan.identity.namespace_of(POSTGRES), plan_of));
    let mut found: Vec<Reference> = plan
        .components
        .iter()
        .flat_map(|component| component.references.iter().map(|item| item.reference.clone()))
        .chain(stores)
        .chain(servers)
        .chain(users)
        .chain(roles)
        .chain(chosen)
        .chain(pooler)
        .chain(certificates)
        .chain(backups)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The passwords of further accounts, and what the servers have of them.
fn of_accounts<'a>(
    identity: &Identity,
    store: &str,
    all: &str,
    accounts: impl Iterator<Item = &'a AccountPlan>,
) -> Vec<Reference> {
    let namespace = identity.namespace_of(store);
    let mut found: Vec<Reference> =
        accounts.map(|account| secret(namespace, &account.password.secret)).collect();
    if !found.is_empty() {
        found.push(secret(namespace, &identity.child(all)));
    }
    found
}

/// Secrets of which it only matters whether they exist, beside those that are consumed.
#[must_use]
pub fn awaited(plan: &Plan, consumed: &[Reference]) -> Vec<Reference> {
    let certificates = plan.ingress.iter().flat_map(|ingress| &ingress.certificates);
    let certificates = certificates.map(|certificate| certificate.reference.clone());
    certificates.filter(|certificate| !consumed.contains(certificate)).collect()
}

/// Everything that the component's pods consume, each object once.
pub(super) fn consumed(
    identity: &Identity,
    name: &str,
    component: &Component,
    targets: &[Target],
    stores: &Stores,
) -> Vec<ConsumedReference> {
    let namespace = identity.namespace_of(name);
    let mut found = Vec::new();
    for variable in &component.env {
        let Some(source) = &variable.value_from else { continue };
        found
            .extend(source.secret_key_ref.as_ref().map(|key| one_key(ReferenceKind::Secret, namespace, key)));
        let map = source.config_map_key_ref.as_ref();
        found.extend(map.map(|key| one_key(ReferenceKind::ConfigMap, namespace, key)));
    }
    for from in &component.env_from {
        let objects = [
            (ReferenceKind::Secret, from.secret_ref.as_ref()),
            (ReferenceKind::ConfigMap, from.config_map_ref.as_ref()),
        ];
        found.extend(objects.into_iter().filter_map(|(kind, object)| {
            let object = object?;
            Some(consumes(kind, namespace, &object.name, &[], object.optional.unwrap_or(false)))
        }));
    }
    found.extend(targets.iter().flat_map(|target| of_store(identity, target, stores)));
    merged(found)
}

/// The logins of a store, where the store is: components elsewhere get copies.
fn of_store(identity: &Identity, target: &Target, stores: &Stores) -> Vec<ConsumedReference> {
    match target {
        Target::Redis => {
            let authority = stores.redis.iter().filter_map(|redis| redis.tls.as_ref());
            let authority = authority.map(|tls| (tls.secret.as_str(), StoreCertificate::AUTHORITY));
            let all = redis_password(stores).into_iter().chain(authority);
            merged(all.map(|(secret, key)| secret_key(identity.namespace_of(REDIS), secret, key)).collect())
        }
        Target::Postgres | Target::PostgresReadOnly => stores
            .postgres
            .iter()
            .flat_map(|database| of_database(identity.namespace_of(POSTGRES), database))
            .collect(),
        Target::Runtime => {
            let tls = stores.runtime.iter().filter_map(|runtime| runtime.tls.as_ref());
            tls.map(|tls| certificate(identity.namespace_of(RUNTIME), &tls.client)).collect()
        }
        Target::Component(_) => Vec::new(),
    }
}

/// A Secret with a certificate for Docker.
pub(super) fn certificate(namespace: &str, secret: &str) -> ConsumedReference {
    let keys = RuntimeTlsPlan::FILES.map(|(key, _)| key);
    consumes(ReferenceKind::Secret, namespace, secret, &keys, false)
}

/// Secrets of stores that components in other namespaces consume.
pub(super) fn copies(context: &Context, components: &[ComponentPlan], stores: &Stores) -> Vec<CopyPlan> {
    let identity = context.identity;
    let mut found: BTreeMap<(String, Reference), CopyPlan> = BTreeMap::new();
    for component in components {
        let namespace = identity.namespace_of(&component.name);
        // KEDA logs in where the component is, with or without it.
        let queues = component.scaling.looks_at_redis().then_some(Target::Redis);
        for target in component.targets.iter().chain(&queues) {
            let store = match target {
                Target::Redis => REDIS,
                Target::Runtime => RUNTIME,
                Target::Postgres | Target::PostgresReadOnly | Target::Component(_) => POSTGRES,
            };
            for item in of_store(identity, target, stores) {
                if item.reference.namespace == namespace {
                    continue;
                }
                let copy = CopyPlan {
                    store,
                    suffix: suffix(store, &item.reference),
                    namespace: namespace.to_owned(),
                    checksum: checksum(context.inputs, std::slice::from_ref(&item), None),
                    is_there: is_there(context.inputs, &item),
                    original: item.reference,
                    keys: item.keys,
                };
                found.insert((copy.namespace.clone(), copy.original.clone()), copy);
            }
        }
    }
    found.into_values().collect()
}

/// Of one store there can be several, and of one name in several namespaces.
fn suffix(store: &str, original: &Reference) -> String {
    let digest = digest::of(&json!([original.namespace, original.name]));
    format!("{store}-copy-{}", &digest[..6])
}

fn redis_password(stores: &Stores) -> Option<(&str, &str)> {
    let own = stores.redis.as_ref().map(|redis| (&redis.password.secret, &redis.password.key));
    let outside = stores.external_redis.as_ref().and_then(|redis| redis.password.as_ref());
    own.or(outside.map(|(secret, key)| (secret, key))).map(|(secret, key)| (secret.as_str(), key.as_str()))
}

fn of_database(namespace: &str, database: &PostgresPlan) -> Vec<ConsumedReference> {
    let keys = [database.username_key.as_str(), database.password_key.as_str()];
    let login = consumes(ReferenceKind::Secret, namespace, &database.secret, &keys, false);
    let ca = database.ca.as_ref();
    let ca = ca.map(|(secret, key)| secret_key(namespace, secret, key));
    merged([login].into_iter().chain(ca).collect())
}

pub(crate) fn secret(namespace: &str, name: &str) -> Reference {
    Reference { kind: ReferenceKind::Secret, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// One key of a Secret.
pub(super) fn secret_key(namespace: &str, secret: &str, key: &str) -> ConsumedReference {
    consumes(ReferenceKind::Secret, namespace, secret, &[key], false)
}

/// Whether the Secret with a password holds one now.
pub(super) fn is_there(inputs: &Inputs, consumed: &ConsumedReference) -> bool {
    let Some(states) = &inputs.references else { return true };
    match states.get(&consumed.reference) {
        Some(ReferenceState::Present(keys)) => consumed.keys.iter().all(|key| keys.contains_key(key)),
        Some(ReferenceState::Absent) => false,
        // Not looked up yet.
        None => true,
    }
}

fn one_key(kind: ReferenceKind, namespace: &str, key: &KeyRef) -> ConsumedReference {
    consumes(kind, namespace, &key.name, &[&key.key], key.optional.unwrap_or(false))
}

fn consumes(
    kind: ReferenceKind,
    namespace: &str,
    name: &str,
    keys: &[&str],
    optional: bool,
) -> ConsumedReference {
    ConsumedReference {
        reference: Reference { kind, namespace: namespace.to_owned(), name: name.to_owned() },
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
        optional,
    }
}

fn merged(found: Vec<ConsumedReference>) -> Vec<ConsumedReference> {
    let mut by_reference: BTreeMap<Reference, ConsumedReference> = BTreeMap::new();
    for item in found {
        let Some(known) = by_reference.get_mut(&item.reference) else {
            by_reference.insert(item.reference.clone(), item);
            continue;
        };
        if known.keys.is_empty() || item.keys.is_empty() {
            known.keys.clear();
        } else {
            known.keys.extend(item.keys);
            known.keys.sort_unstable();
            known.keys.dedup();
        }
        known.optional &= item.optional;
    }
    by_reference.into_values().collect()
}

/// Digest of the consumed values and the configuration files; it changes exactly when the pods
/// must be replaced to see what is new.
pub(super) fn checksum(
    inputs: &Inputs,
    consumed: &[ConsumedReference],
    config: Option<&ConfigFiles>,
) -> String {
    let values: Vec<Value> = consumed
        .iter()
        .map(|item| {
            let state = inputs.references.as_ref().and_then(|states| states.get(&item.reference));
            let digests: BTreeMap<&str, &str> = match state {
                Some(ReferenceState::Present(keys)) => keys
                    .iter()
                    .filter(|(key, _)| item.keys.is_empty() || item.keys.contains(key))
                    .map(|(key, digest)| (key.as_str(), digest.as_str()))
                    .collect(),
                _ => BTreeMap::new(),
            };
            json!([item.reference.kind.as_str(), item.reference.name, digests])
        })
        .collect();
    digest::of(&json!({ "consumed": values, "config": config }))
}

/// Notes what is consumed and not there.
pub(super) fn report_missing(context: &mut Context, component: &str, consumed: &[ConsumedReference]) {
    let missing: Vec<Problem> =
        consumed.iter().filter_map(|item| missing(context, component, item)).collect();
    context.problems.extend(missing);
}

/// What is wrong with Secrets that backups need: the database runs without.
pub(super) fn missing_for_backups(context: &Context, consumed: &[ConsumedReference]) -> Option<String> {
    consumed.iter().find_map(|item| Some(missing(context, "the backup", item)?.message))
}

/// Reason of the problem that a consumed Secret or `ConfigMap` is not there; what consumes it waits.
pub const MISSING: &str = "ReferenceMissing";

fn missing(context: &Context, component: &str, item: &ConsumedReference) -> Option<Problem> {
    let state = context.inputs.references.as_ref()?.get(&item.reference)?;
    if item.optional {
        return None;
    }
    let what = format!("{} {:?}", item.reference.kind.as_str(), item.reference.name);
    let there = if item.reference.namespace == context.identity.namespace {
        "in this namespace".to_owned()
    } else {
        format!("in namespace {:?}", item.reference.namespace)
    };
    if context.is_of_cnpg(&item.reference) {
        let message = format!(
            "{component} waits for {what}, which CloudNativePG makes with Cluster {:?}",
            context.identity.child(POSTGRES)
        );
        let absent = !is_there(context.inputs, item);
        return absent.then(|| Problem::of(component, MISSING, message).as_warning());
    }
    if let Some(from) = context.chosen_for(&item.reference).filter(|_| *state == ReferenceState::Absent) {
        let message = format!(
            "{component} waits for {what}, which is made as soon as key {:?} of Secret {:?} has the password for it",
            from.key, from.name
        );
        return Some(Problem::of(component, MISSING, message).as_warning());
    }
    let message = match state {
        ReferenceState::Absent if item.keys.is_empty() => {
            format!("{component} waits for {what}, which does not exist: create it {there}")
        }
        ReferenceState::Absent => format!(
            "{component} waits for {what}, which does not exist: create it {there} with {}",
            keys_in_words(&item.keys)
        ),
        ReferenceState::Present(keys) => {
            let absent: Vec<String> =
                item.keys.iter().filter(|key| !keys.contains_key(*key)).cloned().collect();
            if absent.is_empty() {
                return None;
            }
            format!("{component} waits for {what}, which lacks {}: add it", keys_in_words(&absent))
        }
    };
    Some(Problem::of(component, MISSING, message))
}

fn keys_in_words(keys: &[String]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!("the key{} {}", if keys.len() == 1 { "" } else { "s" }, quoted.join(" and "))
}
