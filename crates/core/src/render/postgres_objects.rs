//! Databases, extensions and roles that the servers of a database make: what they are told of them, and Secrets
//! with the logins of the roles.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Volume;
use serde_json::{Value, json};

use super::{accounts, postgres_logins::login, store::Store};
use crate::{
    object::Object,
    plan::{AccountPlan, POSTGRES_ROLES, Plan, PostgresServers},
};

pub(super) fn render(store: &Store, servers: &PostgresServers) -> Vec<Object> {
    let generated = servers.roles.iter().filter(|role| {
        let account = &role.account;
        account.password.generated && !account.is_lost
    });
    let mut objects: Vec<Object> = generated
        .map(|role| {
            let login = login(store, &role.account.name, &role.database);
            store.secret(&role.account.password.secret).generated_once(login)
        })
        .collect();
    let accounts: Vec<&AccountPlan> = servers.roles.iter().map(|role| &role.account).collect();
    objects.extend(accounts::all(store, POSTGRES_ROLES, &accounts));
    objects
}

/// What is declared, without passwords.
pub(super) fn file(servers: &PostgresServers) -> String {
    let databases: BTreeMap<&str, Value> = servers
        .databases
        .iter()
        .map(|(name, database)| {
            (name.as_str(), json!({"owner": database.owner, "extensions": database.extensions}))
        })
        .collect();
    let roles: BTreeMap<&str, Value> = servers
        .roles
        .iter()
        .map(|role| {
            let wanted = json!({"memberOf": role.member_of, "connectionLimit": role.connection_limit});
            (role.account.name.as_str(), wanted)
        })
        .collect();
    format!("{}\n", json!({"databases": databases, "roles": roles}))
}

/// The passwords as files, each called as its role.
pub(super) fn volume(plan: &Plan) -> Volume {
    accounts::volume(plan, "roles", POSTGRES_ROLES)
}
