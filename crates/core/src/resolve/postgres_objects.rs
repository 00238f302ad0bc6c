//! Decides which databases and roles the servers of a database have beside those that are made with the data.

use std::collections::BTreeMap;

use trading_api::postgres::{Postgres, PostgresRole};

use super::{Context, accounts::Accounts};
use crate::plan::{DatabasePlan, POSTGRES, POSTGRES_ROLES, RolePlan};

const ACCOUNTS: Accounts = Accounts {
    store: POSTGRES,
    field: "postgres.roles",
    title: "Postgres role",
    all: POSTGRES_ROLES,
    without_password: "RoleWithoutPassword",
};

/// Databases by name; the platform's own is among them.
pub(super) fn databases(postgres: &Postgres, own: &str, owner: &str) -> BTreeMap<String, DatabasePlan> {
    let further = postgres.databases.iter().map(|(name, database)| {
        let owner = Some(database.owner.clone().unwrap_or_else(|| owner.to_owned()));
        (name.clone(), DatabasePlan { owner, extensions: database.extensions.clone() })
    });
    let own = (own.to_owned(), DatabasePlan { owner: None, extensions: postgres.extensions.clone() });
    further.chain([own]).collect()
}

/// Roles, each with the database that its Secret names: the one that it owns, or the platform's own.
pub(super) fn roles(context: &mut Context, postgres: &Postgres, own: &str) -> Vec<RolePlan> {
    let one = |(name, role): (&String, &PostgresRole)| {
        // A Secret's name has no underscores, and a role's no dashes.
        let secret = format!("postgres-role-{}", name.replace('_', "-"));
        let mut databases = postgres.databases.iter();
        let owned = databases.find(|(_, database)| database.owner.as_ref() == Some(name));
        RolePlan {
            account: ACCOUNTS.resolve(context, name, &secret, role.password_secret_ref.as_ref()),
            member_of: role.member_of.clone(),
            connection_limit: role.connection_limit,
            database: owned.map_or_else(|| own.to_owned(), |(database, _)| database.clone()),
        }
    };
    postgres.roles.iter().map(one).collect()
}
