//! CloudNativePG's own labels, annotations and conditions.

use std::collections::BTreeMap;

/// Label of everything that belongs to a `Cluster`, with its name.
pub const CLUSTER: &str = "cnpg.io/cluster";
/// Label of Secrets whose changes are taken over at once.
pub const RELOAD: &str = "cnpg.io/reload";
/// Annotation that stops a database around its volumes, and condition that tells how far that is.
pub const HIBERNATION: &str = "cnpg.io/hibernation";
/// Value of the annotation of a database that is to stop.
pub const ASLEEP: &str = "on";
/// And of one that is to run.
pub const AWAKE: &str = "off";
/// Reason of the condition where a database that does not serve is not stopped before it does.
pub const WAITING_FOR_HEALTHY: &str = "WaitingForHealthy";
/// Phase of a database that serves, with all of its servers.
pub const HEALTHY: &str = "Cluster in healthy state";
/// Phases that last until a person has acted.
pub const STUCK: [&str; 8] = [
    "Cluster is unrecoverable and needs manual intervention",
    "Unable to create required cluster objects",
    "Invalid cluster definition",
    "Waiting for user action",
    "Cluster has incomplete or invalid image catalog",
    "Cluster cannot execute instance online upgrade due to missing architecture binary",
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
];
/// The plugin that keeps backups in an object store.
pub const PLUGIN: &str = "barman-cloud.cloudnative-pg.io";
/// Condition: the write-ahead log is archived.
pub const ARCHIVING: &str = "ContinuousArchiving";
/// Condition: how the last backup went.
pub const BACKUP: &str = "LastBackupSucceeded";
/// Reason of that condition while a backup is being made.
pub const BACKUP_STARTED: &str = "BackupStarted";
/// How a failure begins of a server that was started before the plugin was asked for.
pub const PLUGIN_AWAITED: &str = "wal archive plugin is not available";
/// And that of a primary that is being replaced.
pub const SWITCHING_OVER: &str = "switchover in progress";
/// Port at which the operator asks a server how it is, and servers ask each other.
pub const STATUS_PORT: i32 = 8000;
/// Port at which a server tells its metrics.
pub const METRICS_PORT: i32 = 9187;
/// Container of a `Pooler`'s pods.
pub const POOLER_CONTAINER: &str = "pgbouncer";
/// Phase of a `Pooler` that can't be.
pub const POOLER_FAILED: &str = "failed";

/// Labels of the pods of a `Pooler`.
#[must_use]
pub fn pooler(name: &str) -> BTreeMap<String, String> {
    [("cnpg.io/poolerName".to_owned(), name.to_owned())].into()
}
