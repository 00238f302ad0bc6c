//! Metrics stage, pure: what a server says of itself → Prometheus' text.
//!
//! Names are those of the widely used exporter for Redis, so that its dashboards fit.

use std::fmt::Write;

use super::link::field;

/// Type, name, field of `INFO`, and what it tells.
const OF_INFO: [(&str, &str, &str, &str); 22] = [
    ("gauge", "redis_uptime_in_seconds", "uptime_in_seconds", "Seconds since the server started"),
    ("gauge", "redis_connected_clients", "connected_clients", "Connections of clients"),
    ("gauge", "redis_blocked_clients", "blocked_clients", "Clients that wait in a blocking command"),
    ("gauge", "redis_config_maxclients", "maxclients", "Connections that are admitted"),
    ("gauge", "redis_memory_used_bytes", "used_memory", "Bytes that the server has allocated"),
    ("gauge", "redis_memory_used_rss_bytes", "used_memory_rss", "Bytes that are resident"),
    ("gauge", "redis_memory_max_bytes", "maxmemory", "Bytes at which keys are evicted"),
    ("gauge", "redis_mem_fragmentation_ratio", "mem_fragmentation_ratio", "Resident over allocated bytes"),
    ("gauge", "redis_loading_dump_file", "loading", "1 while the server loads its data"),
    (
        "gauge",
        "redis_rdb_last_bgsave_status",
        "rdb_last_bgsave_status",
        "1 where the last snapshot was written",
    ),
    (
        "gauge",
        "redis_aof_last_write_status",
        "aof_last_write_status",
        "1 where the log could be written last",
    ),
    (
        "counter",
        "redis_connections_received_total",
        "total_connections_received",
        "Connections since the start",
    ),
    ("counter", "redis_rejected_connections_total", "rejected_connections", "Connections beyond maxclients"),
    ("counter", "redis_commands_processed_total", "total_commands_processed", "Commands since the start"),
    ("counter", "redis_keyspace_hits_total", "keyspace_hits", "Reads of keys that were there"),
    ("counter", "redis_keyspace_misses_total", "keyspace_misses", "Reads of keys that were not there"),
    ("counter", "redis_evicted_keys_total", "evicted_keys", "Keys that made room for others"),
    ("counter", "redis_expired_keys_total", "expired_keys", "Keys whose time to live ended"),
    ("gauge", "redis_connected_slaves", "connected_slaves", "Replicas that are connected"),
    ("gauge", "redis_master_repl_offset", "master_repl_offset", "Bytes of the replication stream"),
    ("gauge", "redis_master_link_up", "master_link_status", "1 where the link to the master stands"),
    (
        "gauge",
        "redis_master_last_io_seconds_ago",
        "master_last_io_seconds_ago",
        "Seconds since the master was heard last",
    ),
];

/// The same of `CLUSTER INFO`.
const OF_CLUSTER: [(&str, &str, &str, &str); 7] = [
    ("gauge", "redis_cluster_state", "cluster_state", "1 where the cluster serves, as the server sees it"),
    ("gauge", "redis_cluster_slots_assigned", "cluster_slots_assigned", "Slots that have an owner"),
    ("gauge", "redis_cluster_slots_ok", "cluster_slots_ok", "Slots whose owner is well"),
    ("gauge", "redis_cluster_slots_pfail", "cluster_slots_pfail", "Slots whose owner is suspected"),
    ("gauge", "redis_cluster_slots_fail", "cluster_slots_fail", "Slots whose owner is lost"),
    ("gauge", "redis_cluster_known_nodes", "cluster_known_nodes", "Nodes that the server knows"),
    ("gauge", "redis_cluster_size", "cluster_size", "Masters with slots"),
];

/// What was asked of a server just now.
pub struct Facts<'a> {
    /// `INFO`; `None` where it did not answer.
    pub info: Option<&'a str>,
    /// `CLUSTER INFO`; `None` where the server is no cluster's.
    pub cluster: Option<&'a str>,
    /// Whether the agent finds the cluster as it should be.
    pub settled: Option<bool>,
    /// Directives of the configuration that are not in force.
    pub pending: Vec<&'a str>,
    /// Further users whose rules or password are not in force.
    pub users_pending: Vec<&'a str>,
}

/// All of it in Prometheus' text format.
pub fn exposition(facts: &Facts) -> String {
    let mut text = String::new();
    let up = if facts.info.is_some() { "1" } else { "0" };
    sample(&mut text, ("gauge", "redis_up", "1 where the server answers"), "", up);
    if let Some(info) = facts.info {
        let role = field(info, "role").or_else(|| field(info, "redis_mode")).unwrap_or("unknown");
        let version = field(info, "redis_version").unwrap_or("unknown");
        let labels = format!("{{role=\"{}\",redis_version=\"{}\"}}", plain(role), plain(version));
        sample(&mut text, ("gauge", "redis_instance_info", "What kind of server it is"), &labels, "1");
        table(&mut text, &OF_INFO, info);
        replicas(&mut text, info);
    }
    if let Some(cluster) = facts.cluster {
        table(&mut text, &OF_CLUSTER, cluster);
    }
    if let Some(settled) = facts.settled {
        let meaning = "1 where every server of the cluster has its place and is reached";
        let value = if settled { "1" } else { "0" };
        sample(&mut text, ("gauge", "trading_redis_cluster_settled", meaning), "", value);
    }
    let config = "1 for each directive of the configuration that the server does not take now";
    let users = "1 for each user whose rules the server does not take now";
    for (name, label, meaning, pending) in [
        ("trading_redis_config_pending", "directive", config, &facts.pending),
        ("trading_redis_user_pending", "user", users, &facts.users_pending),
    ] {
        for (index, value) in pending.iter().enumerate() {
            let labels = format!("{{{label}=\"{}\"}}", plain(value));
            row(&mut text, ("gauge", name, meaning), &labels, "1", index == 0);
        }
    }
    text
}

fn table(text: &mut String, rows: &[(&str, &str, &str, &str)], info: &str) {
    for (kind, name, from, meaning) in rows {
        if let Some(value) = field(info, from).and_then(number) {
            sample(text, (kind, name, meaning), "", &value);
        }
    }
}

/// How far each replica is behind: `slave0:ip=10.0.0.4,port=6379,state=online,offset=42,lag=1`.
fn replicas(text: &mut String, info: &str) {
    let Some(sent) = field(info, "master_repl_offset").and_then(|it| it.parse::<u64>().ok()) else { return };
    let mut rows = Vec::new();
    for line in info.lines().filter_map(|line| line.strip_prefix("slave")) {
        let Some((index, fields)) = line.split_once(':') else { continue };
        if !index.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let of =
            |name: &str| fields.trim_end().split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let Some(has) = of("offset").and_then(|it| it.parse::<u64>().ok()) else { continue };
        let labels = format!("{{slave_ip=\"{}\"}}", plain(of("ip").unwrap_or_default()));
        rows.push((labels, sent.saturating_sub(has).to_string(), of("lag").and_then(number)));
    }
    let bytes = ("gauge", "redis_connected_slave_lag_bytes", "Bytes that a replica is behind");
    for (index, (labels, behind, _)) in rows.iter().enumerate() {
        row(text, bytes, labels, behind, index == 0);
    }
    let seconds = ("gauge", "redis_connected_slave_lag_seconds", "Seconds since a replica was heard last");
    for (index, (labels, lag)) in rows.iter().filter_map(|(it, _, lag)| Some((it, lag.as_ref()?))).enumerate()
    {
        row(text, seconds, labels, lag, index == 0);
    }
}

fn sample(text: &mut String, what: (&str, &str, &str), labels: &str, value: &str) {
    row(text, what, labels, value, true);
}

fn row(text: &mut String, (kind, name, meaning): (&str, &str, &str), labels: &str, value: &str, first: bool) {
    // Writing to a String can't fail.
    if first {
        let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
    }
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// Redis' words for yes and no as numbers.
fn number(value: &str) -> Option<String> {
    match value {
        "up" | "ok" => Some("1".to_owned()),
        "down" | "err" | "fail" => Some("0".to_owned()),
        value => value.parse::<f64>().ok().filter(|it| it.is_finite()).map(|_| value.to_owned()),
    }
}

/// Nothing that would end a label.
fn plain(value: &str) -> String {
    value.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:9\r\n# Clients\r\n\
        connected_clients:3\r\n# Memory\r\nused_memory:1024\r\nmem_fragmentation_ratio:1.25\r\n# Stats\r\n\
        keyspace_hits:7\r\nkeyspace_misses:2\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
        slave0:ip=10.0.0.4,port=6379,state=online,offset=40,lag=1\r\n\
        slave1:ip=10.0.0.5,port=6379,state=online,offset=42,lag=0\r\nmaster_repl_offset:42\r\n\
        slaves_odd:1\r\naof_last_write_status:ok\r\nrdb_last_bgsave_status:err\r\n";

    fn of(info: Option<&str>, cluster: Option<&str>) -> Vec<String> {
        let text = exposition(&Facts {
            info,
            cluster,
            settled: cluster.map(|_| true),
            pending: vec!["hz"],
            users_pending: vec!["app"],
        });
        text.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_master_tells_its_numbers_and_its_replicas() {
        let lines = of(Some(MASTER), Some("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
        for expected in [
            "redis_up 1",
            "redis_instance_info{role=\"master\",redis_version=\"7.0.15\"} 1",
            "redis_connected_clients 3",
            "redis_memory_used_bytes 1024",
            "redis_mem_fragmentation_ratio 1.25",
            "redis_keyspace_hits_total 7",
            "redis_rdb_last_bgsave_status 0",
            "redis_aof_last_write_status 1",
            "redis_connected_slave_lag_bytes{slave_ip=\"10.0.0.4\"} 2",
            "redis_connected_slave_lag_bytes{slave_ip=\"10.0.0.5\"} 0",
            "redis_connected_slave_lag_seconds{slave_ip=\"10.0.0.4\"} 1",
            "redis_cluster_state 1",
            "redis_cluster_slots_assigned 16384",
            "trading_redis_cluster_settled 1",
            "trading_redis_config_pending{directive=\"hz\"} 1",
            "trading_redis_user_pending{user=\"app\"} 1",
            "# TYPE redis_keyspace_hits_total counter",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
        }
        let mut names: Vec<&String> = lines.iter().filter(|line| line.starts_with("# TYPE")).collect();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "each metric is described once");
    }

    #[test]
    fn a_replica_tells_of_its_link() {
        let info = "role:slave\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n";
        let lines = of(Some(info), None);
        assert!(lines.contains(&"redis_master_link_up 0".to_owned()), "{lines:?}");
        assert!(lines.contains(&"redis_master_last_io_seconds_ago -1".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("cluster")), "{lines:?}");
    }

    #[test]
    fn a_silent_server_is_down_and_nothing_else() {
        let text = exposition(&Facts {
            info: None,
            cluster: None,
            settled: None,
            pending: Vec::new(),
            users_pending: Vec::new(),
        });
        assert_eq!(text.lines().last(), Some("redis_up 0"));
        assert_eq!(text.lines().count(), 3);
    }
}
