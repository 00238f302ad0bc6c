//! Decides how Secrets from outside are fetched, and which belong to a data store.

use trading_api::secrets::ExternalSecret;

use super::{Context, Stores};
use crate::{
    inputs::ReferenceKind,
    plan::{AccountPlan, ComponentPlan, ExternalSecretPlan, POSTGRES, REDIS},
    problem::Problem,
};

pub(super) fn resolve_all(
    context: &mut Context,
    stores: &Stores,
    components: &[ComponentPlan],
) -> Vec<ExternalSecretPlan> {
    let all = context.spec.secrets.iter().flat_map(|secrets| &secrets.external);
    all.filter_map(|secret| {
        if let Some((title, remedy)) = generated_for(stores, &secret.name) {
            context.problems.push(generated(secret, title, remedy));
            return None;
        }
        let redis = stores.redis.iter().map(|redis| &redis.password.secret);
        let outside = stores.external_redis.iter().filter_map(|redis| redis.password.as_ref());
        let is_of = |mut accounts: Accounts| accounts.any(|it| it.password.secret == secret.name);
        let of_redis = redis.chain(outside.map(|(name, _)| name)).any(|name| *name == secret.name)
            || is_of(users(stores));
        let of_postgres = stores.postgres.as_ref().is_some_and(|postgres| postgres.secret == secret.name)
            || is_of(roles(stores))
            || chosen(stores).is_some_and(|name| *name == secret.name);
        let store = of_redis.then_some(REDIS).or(of_postgres.then_some(POSTGRES));
        Some(ExternalSecretPlan {
            store,
            namespaces: match store {
                Some(store) => vec![context.identity.namespace_of(store).to_owned()],
                None => consumers(context, &secret.name, components),
            },
            refresh_interval: context.fill(
                &format!("secrets.external[{}].refreshInterval", secret.name),
                secret.refresh_interval.as_ref(),
                "1h".to_owned(),
                "operator",
            ),
            spec: secret.clone(),
        })
    })
    .collect()
}

type Accounts<'a> = Box<dyn Iterator<Item = &'a AccountPlan> + 'a>;

fn users(stores: &Stores) -> Accounts<'_> {
    Box::new(stores.redis.iter().flat_map(|redis| &redis.users).map(|user| &user.account))
}

fn roles(stores: &Stores) -> Accounts<'_> {
    let servers = stores.postgres.iter().filter_map(|database| database.servers.as_ref());
    Box::new(servers.flat_map(|servers| &servers.roles).map(|role| &role.account))
}

/// The Secret in which the resource has the password of the database's own login.
fn chosen(stores: &Stores) -> Option<&String> {
    let servers = stores.postgres.as_ref()?.servers.as_ref()?;
    servers.logins.chosen.as_ref().map(|password| &password.secret)
}

/// Namespaces of the components that consume the Secret; the platform's own where none does.
fn consumers(context: &Context, secret: &str, components: &[ComponentPlan]) -> Vec<String> {
    let references = components.iter().flat_map(|component| &component.references);
    let mut found: Vec<String> = references
        .map(|item| &item.reference)
        .filter(|reference| reference.kind == ReferenceKind::Secret && reference.name == secret)
        .map(|reference| reference.namespace.clone())
        .collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        found.push(context.identity.namespace.clone());
    }
    found
}

/// The store for which the operator generates this Secret, and how to bring one's own.
fn generated_for(stores: &Stores, name: &str) -> Option<(&'static str, &'static str)> {
    let redis = stores.redis.as_ref().map(|redis| &redis.password);
    if redis.is_some_and(|password| password.generated && password.secret == name) {
        return Some(("Redis", " and refer to it in redis.auth.passwordSecretRef"));
    }
    let made = |mut accounts: Accounts| {
        accounts.any(|account| account.password.generated && account.password.secret == name)
    };
    if made(users(stores)) {
        return Some(("a Redis user", " and refer to it in its passwordSecretRef"));
    }
    if made(roles(stores)) {
        return Some(("a Postgres role", " and refer to it in its passwordSecretRef"));
    }
    let database = stores.postgres.as_ref()?;
    let servers = database.servers.iter().flat_map(|servers| servers.passwords.all());
    let mut passwords = servers.chain(database.cluster.iter().map(|cluster| &cluster.password));
    let remedy = " and refer to it in postgres.credentials.passwordSecretRef";
    passwords.any(|password| password.secret == name).then_some(("Postgres", remedy))
}

fn generated(secret: &ExternalSecret, title: &str, remedy: &str) -> Problem {
    Problem::whole(
        "SecretNameTaken",
        format!(
            "secrets.external makes Secret {:?}, in which the operator keeps the password that it generated for {title}: give it another name{remedy}",
            secret.name
        ),
    )
}
