//! A database that CloudNativePG runs.

use trading_api::scheduling::Scheduling;

use super::{BackupPlan, POSTGRES_RO, PasswordSource, ResourcesPlan, VolumePlan};

/// What CloudNativePG calls the Service of the primary, after the platform's name.
pub const CLUSTER_RW: &str = "postgres-rw";
/// And that of the read replicas.
pub const CLUSTER_RO: &str = POSTGRES_RO;

/// A `Cluster` of CloudNativePG with every value decided.
#[derive(Clone, Debug)]
pub struct DatabaseCluster {
    /// How many servers; one of them is the primary.
    pub instances: i32,
    /// Commits wait until a replica has them.
    pub synchronous: bool,
    /// Full image reference. Its tag begins with the major version, which CloudNativePG reads there.
    pub image: String,
    /// Role that owns the database.
    pub owner: String,
    /// Its password, which is generated.
    pub password: PasswordSource,
    /// Resources of each server.
    pub resources: ResourcesPlan,
    /// Size and class of each data volume.
    pub storage: VolumePlan,
    /// The same for the write-ahead log, where it has a volume of its own.
    pub wal_storage: Option<VolumePlan>,
    /// Parameters of postgresql.conf.
    pub parameters: Vec<(String, String)>,
    /// Its backups, where there are any.
    pub backup: Option<BackupPlan>,
    /// Where the servers run.
    pub scheduling: Scheduling,
}
