//! The pooler's own login, pure: a role that can do nothing but look up the verifiers of others, by way of a
//! function. With a verifier PgBouncer lets a client in by its password and logs in for it, without the password.

use super::secret::Password;

/// The role, and the schema of its function.
pub const ROLE: &str = "trading_pooler";

/// Makes the role, or gives it this password.
pub fn role(is_there: bool, password: &Password) -> String {
    let verb = if is_there { "ALTER" } else { "CREATE" };
    let verifier = password.verifier();
    format!(
        "{verb} ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         PASSWORD '{verifier}'"
    )
}

/// Makes the function, in a schema that is not the owner's. Who may do more than an application may, or logs in by
/// no password, does not come in by way of the pooler.
pub fn function() -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {ROLE}; REVOKE ALL ON SCHEMA {ROLE} FROM PUBLIC; \
         CREATE OR REPLACE FUNCTION {ROLE}.login(wanted text, OUT usename text, OUT passwd text) \
         RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ \
         SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = wanted::name AND rolcanlogin \
         AND NOT rolsuper AND NOT rolreplication AND rolname <> '{ROLE}' \
         AND (rolvaliduntil IS NULL OR rolvaliduntil > now()) AND rolpassword LIKE 'SCRAM-SHA-256$%' $$; \
         REVOKE ALL ON FUNCTION {ROLE}.login(text) FROM PUBLIC; \
         GRANT USAGE ON SCHEMA {ROLE} TO {ROLE}; GRANT EXECUTE ON FUNCTION {ROLE}.login(text) TO {ROLE}"
    )
}

/// Takes the function away.
pub fn no_function() -> String {
    format!("DROP FUNCTION IF EXISTS {ROLE}.login(text); DROP SCHEMA IF EXISTS {ROLE}")
}

/// Takes the role away, which then has no rights any more.
pub fn no_role() -> String {
    format!("DROP ROLE IF EXISTS {ROLE}")
}
