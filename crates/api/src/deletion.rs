//! What becomes of data when the platform, or a store of it, goes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Safeguards for data.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// What happens to volumes and generated passwords when the platform is deleted: `Retain`
    /// (default; a platform of the same name takes them up again) or `Delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataPolicy>,
    /// Stores that may be taken down although they hold data. A store that is removed from the
    /// resource keeps running until it is named here; its volumes follow `data`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub acknowledge_store_removal: Vec<Store>,
}

/// What happens to data.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum DataPolicy {
    /// Volumes and passwords stay.
    #[default]
    Retain,
    /// Volumes and passwords are deleted for good.
    Delete,
}

/// A data store that the platform runs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum Store {
    /// Redis.
    Redis,
    /// Postgres.
    Postgres,
}
