//! Which directives of redis.conf a running Redis takes, as `CONFIG SET` of versions 7.0 to 7.4 has it.

/// What Redis calls immutable, or protected: it changes with a new process alone. All others, also those
/// that no Redis knows, are the agents' to set in running servers.
const WITH_A_START: [&str; 38] = [
    "aclfile",
    "always-show-logo",
    "aof-rewrite-cpulist",
    "appenddirname",
    "appendfilename",
    "bgsave-cpulist",
    "bio-cpulist",
    "cluster-config-file",
    "cluster-enabled",
    "cluster-port",
    "daemonize",
    "databases",
    "dbfilename",
    "dir",
    "disable-thp",
    "enable-debug-command",
    "enable-module-command",
    "enable-protected-configs",
    "io-threads",
    "io-threads-do-reads",
    "loadmodule",
    "logfile",
    "pidfile",
    "rdbchecksum",
    "rename-command",
    "replicaof",
    "server-cpulist",
    "set-proc-title",
    "slaveof",
    "socket-mark-id",
    "supervised",
    "syslog-enabled",
    "syslog-facility",
    "syslog-ident",
    "tcp-backlog",
    "unixsocket",
    "unixsocketperm",
    "user",
];

/// Whether a change of the directive replaces the servers' pods.
#[must_use]
pub fn needs_start(directive: &str) -> bool {
    WITH_A_START.binary_search(&directive).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(WITH_A_START.is_sorted());
    }
}
