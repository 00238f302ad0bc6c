//! Compose stage, pure: what a replica's configuration has besides the template.

use std::path::Path;

use thiserror::Error;

/// Role that replicas log in as.
pub const REPLICATION_ROLE: &str = "streaming_replica";

/// Why the configuration can't be composed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A name has characters that could end its argument.
    #[error("{what} {text:?} has characters other than letters, digits, '.', '-' and '_'")]
    BadName {
        /// What is named.
        what: &'static str,
        /// As given.
        text: String,
    },
}

/// A name that can stand in configuration, SQL and connection strings as it is.
pub fn plain<'a>(what: &'static str, text: &'a str) -> Result<&'a str, ConfigError> {
    let is_plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    is_plain.then_some(text).ok_or_else(|| ConfigError::BadName { what, text: text.to_owned() })
}

/// Whether this pod is the primary: the first label of the primary's host is its name.
pub fn is_primary(pod: &str, primary: &str) -> bool {
    primary.split('.').next() == Some(pod)
}

/// How a replica reaches the primary; libpq's own form.
pub fn connection(primary: &str, port: u16, pod: &str, password_file: &Path) -> Result<String, ConfigError> {
    Ok(format!(
        "host={} port={port} user={REPLICATION_ROLE} passfile={} application_name={} connect_timeout=10",
        plain("the primary's host", primary)?,
        password_file.display(),
        plain("POD_NAME", pod)?,
    ))
}

/// The template, for a replica with whom it follows.
pub fn compose(template: &str, connection: Option<&str>) -> String {
    let end = if template.is_empty() || template.ends_with('\n') { "" } else { "\n" };
    let follows = connection.map(|text| format!("primary_conninfo = '{text}'\n")).unwrap_or_default();
    format!("{template}{end}{follows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_of_the_host_is_the_primary() {
        assert!(is_primary("shop-postgres-0", "shop-postgres-0.shop-postgres-headless.ns.svc"));
        assert!(!is_primary("shop-postgres-1", "shop-postgres-0.shop-postgres-headless.ns.svc"));
        assert!(!is_primary("shop-postgres-00", "shop-postgres-0.x"));
    }

    #[test]
    fn a_replica_follows_the_primary() {
        let file = Path::new("/run/postgres/pgpass");
        let text = connection("p-0.h.ns.svc", 5432, "p-1", file).expect("valid");
        assert_eq!(
            compose("port = '5432'", Some(&text)),
            "port = '5432'\nprimary_conninfo = 'host=p-0.h.ns.svc port=5432 user=streaming_replica \
             passfile=/run/postgres/pgpass application_name=p-1 connect_timeout=10'\n"
        );
        assert_eq!(compose("a = '1'\n", None), "a = '1'\n");
        for bad in ["", "a b", "a'b", "a\nb"] {
            assert!(connection(bad, 5432, "p-1", file).is_err());
            assert!(connection("p-0", 5432, bad, file).is_err());
        }
    }
}
