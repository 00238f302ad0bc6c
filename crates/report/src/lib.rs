//! What a data store's server tells of itself: its agent serves it as JSON, the operator reads it. Pure,
//! and without secrets.
//!
//! Either side may be of another release: what is not known is skipped, and what is missing is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where an agent tells it.
pub const PATH: &str = "/report";

/// Name under which the digest of a data store's own configuration stands in [`Report::in_force`].
pub const POSTGRES_CONFIG: &str = "postgresql.conf";
/// The same of who may connect, and how.
pub const POSTGRES_ACCESS: &str = "pg_hba.conf";
/// The same of Redis.
pub const REDIS_CONFIG: &str = "redis.conf";
/// The same of which passwords a Redis server or Sentinel takes, see [`passwords`].
pub const REDIS_PASSWORDS: &str = "passwords";
/// The same of how many shards and replicas a Redis Cluster should have.
pub const REDIS_TOPOLOGY: &str = "cluster";

/// What one server's agent tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Its pod.
    pub name: String,
    /// What it is among the servers now.
    pub role: Role,
    /// Pod that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// Whether a replica gets everything from whom it follows, and is not far behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_step: Option<bool>,
    /// Bytes that a replica is behind, where it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// The Redis Cluster as it sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// Files of the configuration that the server runs by, and the [`digest`] of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub in_force: BTreeMap<String, String>,
    /// Parameters that a restart would change.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pending_restart: BTreeSet<String>,
    /// Its volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Version of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which of the databases, roles and extensions that are declared it can't make, and why, in plain words.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<String>,
    /// What it waits for, or works on, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Why there is no server, where another start would not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What a server is among the servers of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Clients may write to it; Redis calls it master.
    Primary,
    /// It follows another.
    Replica,
    /// It watches servers.
    Sentinel,
    /// It is none of these now, or of a kind that this release does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A Redis Cluster as one server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cluster {
    /// Redis' name for the server.
    pub node: String,
    /// Slots that the server owns.
    pub slots: u16,
    /// Slots that no server owns that is up.
    pub unserved: u16,
    /// Every server has its place and its share, and is reached.
    pub settled: bool,
    /// Pods of the servers that it knows.
    pub members: BTreeSet<String>,
    /// Those of them that own slots.
    pub owners: BTreeSet<String>,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// `data` or `wal`, as its claim.
    pub name: String,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that are left to the server.
    pub free_bytes: u64,
}

/// Why a server can't run, as in the container's termination message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// One word for programs.
    pub reason: String,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// The first 16 hexadecimal digits of the SHA-256 of a file of the configuration.
#[must_use]
pub fn digest(file: &[u8]) -> String {
    Sha256::digest(file).iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Digest of which passwords a server takes, from the [`digest`] of each, what it shows to others first. Only of
/// generated ones: a short one that a person chose could be found from it.
#[must_use]
pub fn passwords(digests: &[&str]) -> String {
    digest(digests.join("\n").as_bytes())
}

/// The pod in the DNS name that a headless Service gives it. An address names none, and stays.
#[must_use]
pub fn pod_of(host: &str) -> &str {
    if host.parse::<IpAddr>().is_ok() { host } else { host.split('.').next().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_releases_are_understood_as_far_as_they_go() {
        let text = r#"{"name": "p-0", "role": "witness", "cluster": {"slots": 3, "new": 1}, "more": [], "lagBytes": 7}"#;
        let report: Report = serde_json::from_str(text).expect("it is one");
        let cluster = Some(Cluster { slots: 3, ..Cluster::default() });
        let expected = Report { name: "p-0".to_owned(), lag_bytes: Some(7), cluster, ..Report::default() };
        assert_eq!(report, expected);
        assert_eq!(serde_json::from_str::<Report>("{}").expect("it is one"), Report::default());
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let report = Report { name: "p-0".to_owned(), role: Role::Primary, ..Report::default() };
        let text = serde_json::to_string(&report).expect("it has a text");
        assert_eq!(text, r#"{"name":"p-0","role":"primary"}"#);
    }

    #[test]
    fn digests_and_pods() {
        assert_eq!(digest(b""), "e3b0c44298fc1c14");
        assert_eq!((pod_of("p-0.h.ns.svc"), pod_of("p-0"), pod_of("")), ("p-0", "p-0", ""));
        assert_eq!(pod_of("10.0.0.1"), "10.0.0.1");
    }
}
