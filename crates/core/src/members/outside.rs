//! Stores that somebody else runs. They say nothing of themselves: all that is asked is whether they answer.

use trading_api::postgres::SslMode;

use super::{Protocol, Target};
use crate::plan::{POSTGRES, Plan, REDIS};

/// Reason: nothing that speaks the store's protocol answers.
pub const UNREACHABLE: &str = "Unreachable";
/// Reason: it answers, but not as clients are told to speak to it.
pub const NO_TLS: &str = "TlsNotOffered";

/// Where the platform's clients go outside.
pub(super) fn targets(plan: &Plan) -> impl Iterator<Item = Target> {
    let postgres = plan.postgres.iter().filter_map(|database| {
        if database.servers.is_some() || database.cluster.is_some() {
            return None;
        }
        let tls = !matches!(database.ssl_mode, SslMode::Disable | SslMode::Prefer);
        let hosts = [&database.host].into_iter().chain(&database.read_only_host);
        target(POSTGRES, Protocol::Postgres { tls }, database.port, hosts.map(ToString::to_string))
    });
    let redis = plan.external_redis.iter().filter_map(|redis| {
        let host = [redis.host.to_string()];
        target(REDIS, Protocol::Redis { tls: redis.tls }, redis.port, host.into_iter())
    });
    postgres.chain(redis)
}

fn target(
    store: &'static str,
    protocol: Protocol,
    port: i32,
    hosts: impl Iterator<Item = String>,
) -> Option<Target> {
    let servers = hosts.map(|host| (host.clone(), host)).collect();
    let port = u16::try_from(port).ok()?;
    Some(Target { store, protocol, port, servers, settled: true, pods: (0, 0), awaited: None })
}
