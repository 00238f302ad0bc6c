//! Backups of the platform's data.

use kube::{KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};

use crate::env::SecretKey;

/// What is backed up, when, and where it is kept.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// When, as cron in UTC (minute, hour, day of the month, month, day of the week), such as `0 3 * * *`.
    #[schemars(length(max = 60))]
    #[x_kube(validation = is_cron())]
    pub schedule: String,
    /// No backups by schedule; the log is archived all the same. Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Where backups are kept.
    pub destination: BackupDestination,
    /// For how long; for ever where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// CEL: five fields of numbers, ranges, steps and lists. What not every cron reads in the same way is not among them:
/// names, Sunday as 7, and a step from a single number on.
fn is_cron() -> Rule {
    const ITEM: &str = r"([0-9]{1,2}|([*]|[0-9]{1,2}-[0-9]{1,2})(/[1-9][0-9]?)?)";
    let field = format!("{ITEM}(,{ITEM})*");
    Rule::new(format!(
        "self.matches('^{field}( {field}){{4}}$') ? [0, 1, 2, 3, 4].all(i, self.split(' ')[i].split(',').all(p, p.startsWith('*') || ([[0, 0, 1, 1, 0][i]] + p.split('/')[0].split('-').map(n, int(n)) + [[59, 23, 31, 12, 6][i]]).isSorted())) : false"
    ))
    .message("use five fields of numbers, *, ranges, steps and lists: minute 0-59, hour 0-23, day 1-31, month 1-12, day of the week 0-6 (Sunday is 0), as in 30 3 * * 1-5")
}

/// Where backups are kept.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct BackupDestination {
    /// A bucket of Amazon S3, or of another store that speaks its protocol.
    pub s3: S3,
}

/// A folder in a bucket, and who may write there.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct S3 {
    /// Name of the bucket, which has to be there.
    #[schemars(length(max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]+[a-z0-9]$"))]
    pub bucket: String,
    /// Folder in it; default the platform's namespace. Kubernetes clusters that share a bucket need one each.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[\w.-]+(/[\w.-]+)*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where the store is that is not Amazon's, such as `https://minio.example.com:9000`.
    #[schemars(
        length(min = 1, max = 300),
        regex(
            pattern = r"^https?://[A-Za-z0-9.-]+(:([1-9]\d{0,3}|[1-5]\d{4}|6([0-4]\d{3}|5([0-4]\d\d|5([0-2]\d|3[0-5])))))?$"
        )
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Secret with the access key's ID.
    pub access_key_id_secret_ref: SecretKey,
    /// Secret with the secret access key.
    pub secret_access_key_secret_ref: SecretKey,
}

/// For how long backups are kept.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[schemars(description = "")] // the field says it
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// To any moment of so many days the database can be brought back; what is not needed for it is deleted.
    #[schemars(range(min = 1, max = 36500))]
    pub days: i32,
}
