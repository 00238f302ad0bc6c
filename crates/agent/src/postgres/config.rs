//! Compose stage, pure: what the configuration has besides the template.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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

/// Milliseconds after which a connection is given up where nobody answers. A receiver of the log connects
/// without heeding `connect_timeout`, and would call the address of a pod that is gone for two minutes.
const UNANSWERED: u32 = 5000;

/// How a replica reaches the primary; libpq's own form.
pub fn connection(primary: &str, port: u16, pod: &str, password_file: &Path) -> Result<String, ConfigError> {
    Ok(format!(
        "host={} port={port} user={REPLICATION_ROLE} passfile={} application_name={} connect_timeout=10 \
         tcp_user_timeout={UNANSWERED}",
        plain("the primary's host", primary)?,
        password_file.display(),
        plain("POD_NAME", pod)?,
    ))
}

/// What the agent decides of the configuration; the last word on a parameter counts.
pub struct Overrides<'a> {
    /// Port of the server on loopback.
    pub port: u16,
    /// Folder of the socket.
    pub socket: &'a Path,
    /// How it reaches the primary.
    pub connection: &'a str,
    /// Name of its slot there.
    pub slot: &'a str,
    /// What commits wait for one of.
    pub synchronous: &'a BTreeSet<String>,
    /// What the data was last used with; a server with less of it would not follow.
    pub floors: &'a BTreeMap<&'static str, u64>,
    /// Files of its certificate and key, where it has one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// The template with those at its end.
pub fn compose(template: &str, overrides: &Overrides) -> String {
    let Overrides { port, socket, connection, slot, synchronous, floors, certificate } = overrides;
    let names: Vec<String> = synchronous.iter().map(|name| format!("\"{name}\"")).collect();
    let synchronous = if names.is_empty() { String::new() } else { format!("ANY 1 ({})", names.join(", ")) };
    let port = port.to_string();
    let socket = socket.display().to_string();
    let lines = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", &socket),
        ("wal_level", "replica"),
        ("wal_log_hints", "on"),
        ("hot_standby", "on"),
        ("recovery_target_timeline", "latest"),
        ("wal_retrieve_retry_interval", "1s"),
        ("primary_conninfo", connection),
        ("primary_slot_name", slot),
        ("synchronous_standby_names", &synchronous),
    ];
    let limits = limits(template);
    let raised = floors.iter().filter(|(name, floor)| limits.get(*name).is_some_and(|limit| limit < *floor));
    let raised = raised.map(|(name, floor)| (*name, floor.to_string()));
    let tls = certificate.iter().flat_map(|(certificate, key)| {
        let file = |path: &Path| path.display().to_string();
        [("ssl", "on".to_owned()), ("ssl_cert_file", file(certificate)), ("ssl_key_file", file(key))]
    });
    let lines = lines.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(tls).chain(raised);
    let end = if template.is_empty() || template.ends_with('\n') { "" } else { "\n" };
    lines.fold(format!("{template}{end}"), |text, (name, value)| text + &format!("{name} = '{value}'\n"))
}

/// What a server that follows must have at least as much of as the primary had, by their names in
/// the configuration, with Postgres' defaults, and as `pg_controldata` calls them.
const FLOORS: [(&str, u64, &str); 5] = [
    ("max_connections", 100, "max_connections setting:"),
    ("max_worker_processes", 8, "max_worker_processes setting:"),
    ("max_wal_senders", 10, "max_wal_senders setting:"),
    ("max_prepared_transactions", 0, "max_prepared_xacts setting:"),
    ("max_locks_per_transaction", 64, "max_locks_per_xact setting:"),
];

/// Of these, what a template gives, or Postgres where it is silent.
pub fn limits(template: &str) -> BTreeMap<&'static str, u64> {
    let given = |name: &str| {
        let mut values = template.lines().filter_map(|line| line.split_once('='));
        let last = values.rfind(|(key, _)| key.trim() == name);
        last.and_then(|(_, value)| value.trim().trim_matches('\'').parse().ok())
    };
    FLOORS.iter().map(|(name, default, _)| (*name, given(name).unwrap_or(*default))).collect()
}

/// Of these, what the data was last used with, from what `pg_controldata` says.
pub fn floors(said: &str) -> BTreeMap<&'static str, u64> {
    let value = |label| said.lines().find_map(|line| line.strip_prefix(label)?.trim().parse().ok());
    FLOORS.iter().filter_map(|(name, _, label)| Some((*name, value(*label)?))).collect()
}

/// A pod's name as that of a slot.
pub fn slot(pod: &str) -> String {
    pod.replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_no_argument() {
        let file = Path::new("/run/postgres/pgpass");
        assert_eq!(
            connection("p-0.h.ns.svc", 5432, "p-1", file).expect("valid"),
            "host=p-0.h.ns.svc port=5432 user=streaming_replica passfile=/run/postgres/pgpass \
             application_name=p-1 connect_timeout=10 tcp_user_timeout=5000"
        );
        for bad in ["", "a b", "a'b", "a\nb"] {
            assert!(connection(bad, 5432, "p-1", file).is_err());
            assert!(connection("p-0", 5432, bad, file).is_err());
        }
    }

    #[test]
    fn the_agent_has_the_last_word() {
        let overrides = Overrides {
            port: 5433,
            socket: Path::new("/run/postgres"),
            connection: "host=p-0",
            slot: &slot("shop-postgres-1"),
            synchronous: &BTreeSet::from(["p-0".to_owned(), "p-2".to_owned()]),
            certificate: Some((PathBuf::from("/run/server.crt"), PathBuf::from("/run/server.key"))),
            floors: &floors("max_connections setting:              100\nmax_wal_senders setting:   10\n"),
        };
        let text = compose("port = '5432'\nmax_connections = '50'", &overrides);
        assert!(
            text.starts_with(
                "port = '5432'\nmax_connections = '50'\nlisten_addresses = '127.0.0.1'\nport = '5433'\n"
            ),
            "{text}"
        );
        assert!(text.contains("primary_slot_name = 'shop_postgres_1'\n"), "{text}");
        let last = "synchronous_standby_names = 'ANY 1 (\"p-0\", \"p-2\")'\nssl = 'on'\n\
                    ssl_cert_file = '/run/server.crt'\nssl_key_file = '/run/server.key'\nmax_connections = '100'\n";
        assert!(text.ends_with(last), "{text}");
    }
}
