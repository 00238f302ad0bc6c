//! Declared databases, extensions and roles, pure: from what is declared and what the catalogue has to statements.
//! Nothing is ever dropped, and nothing is taken over that somebody else made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;

use super::secret::Password;

/// Comment on what the agent made. On a role, only who may change roles can set it.
pub const MARK: &str = "made by platform.trading";
/// That no connection is too many.
const NO_LIMIT: i32 = -1;

/// What the operator declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Declared {
    /// Databases, that of the platform among them.
    pub databases: BTreeMap<String, Database>,
    /// Roles that log in.
    pub roles: BTreeMap<String, Role>,
}

/// A declared database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Database {
    /// Role that it belongs to; `None` where it is not made here.
    pub owner: Option<String>,
    /// Its extensions.
    pub extensions: BTreeSet<String>,
}

/// A declared role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Role {
    /// Postgres' own roles whose rights it has.
    pub member_of: BTreeSet<String>,
    /// Most connections at once.
    pub connection_limit: Option<i32>,
}

/// The operator's file is not understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("what is declared is not understood: {0}")]
pub struct NotUnderstood(String);

impl Declared {
    /// As the operator writes it. Names that can't stand between quotes as they are make it worthless.
    pub fn parse(text: &str) -> Result<Self, NotUnderstood> {
        let declared: Self = serde_json::from_str(text).map_err(|error| NotUnderstood(error.to_string()))?;
        let of_databases = declared.databases.iter().flat_map(|(name, database)| {
            [name].into_iter().chain(&database.owner).chain(&database.extensions)
        });
        let of_roles =
            declared.roles.iter().flat_map(|(name, role)| [name].into_iter().chain(&role.member_of));
        let wrong = of_databases.chain(of_roles).find(|name| !is_name(name)).cloned();
        match wrong {
            Some(name) => Err(NotUnderstood(format!("{name:?} is no name"))),
            None => Ok(declared),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    (1..=63).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A role of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRole {
    /// The agent made it.
    pub ours: bool,
    /// It can log in.
    pub logs_in: bool,
    /// What the server keeps of its password.
    pub verifier: Option<String>,
    /// It has no rights over the server.
    pub plain: bool,
    /// Most connections at once.
    pub limit: i32,
    /// Postgres' own roles that it is a member of.
    pub member_of: BTreeSet<String>,
}

/// A database of the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundDatabase {
    /// Role that it belongs to.
    pub owner: String,
    /// What is said of it.
    pub comment: Option<String>,
}

/// All or nothing of it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about, such as `role reporting`.
    pub what: String,
    /// Its statements; no password is in them.
    pub statements: String,
}

/// What is done next, and what can't be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// In words.
    pub refused: BTreeSet<String>,
}

/// What a role that is told of is called.
pub fn of_role(name: &str) -> String {
    format!("role {name}")
}

fn of_database(name: &str) -> String {
    format!("database {name}")
}

/// Whether a role's password is the one of which the server keeps this.
pub type Holds<'a> = dyn FnMut(&str, &str, &Password) -> bool + 'a;

/// What makes the roles what is declared. One whose password is not there yet can't log in, or keeps the one that
/// it has.
pub fn roles(
    declared: &Declared,
    found: &BTreeMap<String, FoundRole>,
    passwords: &BTreeMap<String, Password>,
    holds: &mut Holds,
) -> Plan {
    let mut plan = Plan::default();
    for (name, role) in &declared.roles {
        let what = of_role(name);
        match found.get(name) {
            Some(there) if !there.ours => {
                plan.refused.insert(format!(
                    "{what} is there already and was not made for this platform: rename one of the two"
                ));
            }
            there => {
                let statements = role_statements(name, role, there, passwords.get(name), holds);
                plan.steps.extend((!statements.is_empty()).then_some(Step { what, statements }));
            }
        }
    }
    let gone = found.iter().filter(|(name, role)| role.ours && !declared.roles.contains_key(*name));
    for (name, _) in gone.filter(|(_, role)| role.logs_in || role.verifier.is_some()) {
        let statements = format!("ALTER ROLE \"{name}\" NOLOGIN PASSWORD NULL");
        plan.steps.push(Step { what: of_role(name), statements });
    }
    plan
}

fn role_statements(
    name: &str,
    role: &Role,
    there: Option<&FoundRole>,
    password: Option<&Password>,
    holds: &mut Holds,
) -> String {
    let limit = role.connection_limit.unwrap_or(NO_LIMIT);
    let mut has = |there: &FoundRole, password| {
        there.logs_in && there.verifier.as_ref().is_some_and(|verifier| holds(name, verifier, password))
    };
    let login = match (password, there) {
        (Some(password), Some(there)) if has(there, password) => String::new(),
        (Some(password), _) => format!(" LOGIN PASSWORD '{}'", password.verifier()),
        (None, Some(_)) => String::new(),
        (None, None) => " NOLOGIN".to_owned(),
    };
    let attributes = format!(
        "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT {limit}{login}"
    );
    let none = BTreeSet::new();
    let member_of = there.map_or(&none, |there| &there.member_of);
    let mut statements = Vec::new();
    match there {
        None => {
            statements.push(format!("CREATE ROLE \"{name}\" {attributes}"));
            statements.push(format!("COMMENT ON ROLE \"{name}\" IS '{MARK}'"));
        }
        Some(there) if !there.plain || there.limit != limit || !login.is_empty() => {
            statements.push(format!("ALTER ROLE \"{name}\" {attributes}"));
        }
        Some(_) => {}
    }
    let granted = role.member_of.difference(member_of).map(|of| format!("GRANT \"{of}\" TO \"{name}\""));
    statements.extend(granted);
    let revoked = member_of.difference(&role.member_of).map(|of| format!("REVOKE \"{of}\" FROM \"{name}\""));
    statements.extend(revoked);
    statements.join("; ")
}

/// What makes databases, with the roles as they are by now; `owner` is the platform's own.
pub fn databases(
    declared: &Declared,
    owner: &str,
    roles: &BTreeMap<String, FoundRole>,
    found: &BTreeMap<String, FoundDatabase>,
) -> Plan {
    let mut plan = Plan::default();
    for (name, database) in &declared.databases {
        let Some(wanted) = &database.owner else { continue };
        let what = of_database(name);
        let is_ours = wanted == owner || roles.get(wanted).is_some_and(|role| role.ours);
        let mark = format!("COMMENT ON DATABASE \"{name}\" IS '{MARK}'");
        let statements = match found.get(name) {
            _ if !is_ours || !roles.contains_key(wanted) => {
                plan.refused.insert(format!("{what} waits for its owner, role {wanted}"));
                continue;
            }
            // This one can't share a transaction.
            None => vec![format!("CREATE DATABASE \"{name}\" OWNER \"{wanted}\" TEMPLATE template0"), mark],
            Some(there) if there.owner == *wanted => {
                if there.comment.is_none() {
                    vec![mark]
                } else {
                    Vec::new()
                }
            }
            Some(there) if there.comment.as_deref() == Some(MARK) => {
                vec![format!("ALTER DATABASE \"{name}\" OWNER TO \"{wanted}\"")]
            }
            Some(there) => {
                plan.refused.insert(format!(
                    "{what} is there already and belongs to role {}: call yours otherwise, or give it to {wanted} (ALTER DATABASE)",
                    there.owner
                ));
                continue;
            }
        };
        plan.steps.extend(statements.into_iter().map(|statements| Step { what: what.clone(), statements }));
    }
    plan
}

/// What makes the extensions of a database, of those that the image has.
pub fn extensions(
    database: &str,
    declared: &BTreeSet<String>,
    found: &BTreeSet<String>,
    available: &BTreeSet<String>,
) -> Plan {
    let mut plan = Plan::default();
    for name in declared.difference(found) {
        let what = format!("extension {name} of database {database}");
        if available.contains(name) {
            let statements = format!("CREATE EXTENSION IF NOT EXISTS \"{name}\" CASCADE");
            plan.steps.push(Step { what, statements });
        } else {
            plan.refused.insert(format!(
                "the image does not have {what}: choose an image that has it, or remove it from the resource"
            ));
        }
    }
    plan
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
