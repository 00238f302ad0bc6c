//! Backups of a database that CloudNativePG runs.

use super::ResourcesPlan;

/// What the schedule is called after the platform's name, and how the name of a bucket begins.
pub const BACKUPS: &str = "postgres-backup";

/// Backups of a database with every value decided.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    /// When, in the six fields of CloudNativePG: seconds come first. In UTC.
    pub schedule: String,
    /// None is made by schedule.
    pub suspend: bool,
    /// What the bucket is called after the platform's name. Another place is another bucket: what one has is not in
    /// the other.
    pub bucket: String,
    /// Folder of the bucket, as `s3://BUCKET/FOLDER`.
    pub destination: String,
    /// URL of the store; Amazon's where there is none.
    pub endpoint: Option<String>,
    /// Port of the store.
    pub port: i32,
    /// Secret and key of the access key's ID.
    pub access_key_id: (String, String),
    /// Secret and key of the secret access key.
    pub secret_access_key: (String, String),
    /// Days for which backups are kept.
    pub retention_days: Option<i32>,
    /// Resources of the plugin's container beside each server.
    pub resources: ResourcesPlan,
}
