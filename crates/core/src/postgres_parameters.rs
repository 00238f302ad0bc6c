//! Which parameters of Postgres take effect only when a server starts, pure. All others of those that a platform
//! may set are taken up while it runs.

/// `pg_settings.context` is `postmaster` in every version that is supported.
const RESTART: [&str; 10] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "shared_buffers",
    "track_activity_query_size",
    "wal_buffers",
    WORKERS,
];
const WORKERS: &str = "autovacuum_max_workers";
/// Has slots for workers, of which `autovacuum_max_workers` are used.
const WORKERS_ON_RELOAD: i32 = 18;

/// Whether a change of this parameter needs servers of this major version to start anew.
#[must_use]
pub fn needs_restart(parameter: &str, major: i32) -> bool {
    RESTART.contains(&parameter) && !(parameter == WORKERS && major >= WORKERS_ON_RELOAD)
}
