//! What stands between a database and its clients.

use trading_api::{postgres::PoolMode, scheduling::Scheduling};

use super::{PasswordSource, ResourcesPlan};

/// Name of the pooler among components.
pub const POOLER: &str = "postgres-pooler";
/// User of its pods, who is no other's: nothing of the image is this user's.
pub const POOLER_USER: i64 = 998;

/// PgBouncer with every value decided.
#[derive(Clone, Debug)]
pub struct PoolerPlan {
    /// For how long a client has a connection to the server.
    pub mode: PoolMode,
    /// Pods.
    pub instances: i32,
    /// Full image reference; CloudNativePG's own where it is left out there.
    pub image: Option<String>,
    /// Release shown in labels and status.
    pub version: String,
    /// Resources of each pod.
    pub resources: ResourcesPlan,
    /// Clients of each pod.
    pub max_clients: i32,
    /// Connections of each pod to the server.
    pub pool_size: i32,
    /// Where its pods run.
    pub scheduling: Scheduling,
    /// The password of its own login, where the platform runs the servers.
    pub password: Option<PasswordSource>,
    /// Digest of that password, as it is now.
    pub checksum: String,
    /// The servers know it, so that clients may be led to it.
    pub is_accepted: bool,
}
