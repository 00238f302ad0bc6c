//! The database.

use std::collections::BTreeMap;

use trading_api::{
    network::Cidr,
    postgres::{PredefinedRole, SslMode},
    scheduling::Scheduling,
};

use super::{
    AccountPlan, CLUSTER_RW, DatabaseCluster, Host, POOLER, PasswordSource, PoolerPlan, ResourcesPlan,
    StoreCertificate, VolumePlan,
};
use crate::tls::Level;

/// Name of the database among components.
pub const POSTGRES: &str = "postgres";
/// What a component connects to for the read replicas of the database.
pub const POSTGRES_RO: &str = "postgres-ro";
/// What the Service of all servers of the database, for reading, is called after the platform's name.
pub const POSTGRES_ANY: &str = "postgres-r";
/// What the Secret with the passwords of all further roles is called after the platform's name.
pub const POSTGRES_ROLES: &str = "postgres-roles";
/// Port of a Postgres server.
pub const POSTGRES_PORT: i32 = 5432;
/// Port at which the agent of a Postgres server tells its health, metrics and status.
pub const POSTGRES_AGENT_PORT: i32 = 8008;

/// The database with every value decided.
#[derive(Clone, Debug)]
pub struct PostgresPlan {
    /// Host as the clients get it.
    pub host: Host,
    /// Port.
    pub port: i32,
    /// Database.
    pub database: String,
    /// TLS mode.
    pub ssl_mode: SslMode,
    /// Secret with the login.
    pub secret: String,
    /// Key of the user name.
    pub username_key: String,
    /// Key of the password.
    pub password_key: String,
    /// Address blocks; empty where only the name is known.
    pub cidrs: Vec<Cidr>,
    /// Host of the read replicas as the clients get it.
    pub read_only_host: Option<Host>,
    /// Secret and key of the certificate authority.
    pub ca: Option<(String, String)>,
    /// The servers, where the platform runs them.
    pub servers: Option<PostgresServers>,
    /// The same, where CloudNativePG runs them.
    pub cluster: Option<DatabaseCluster>,
    /// What clients connect to instead of the primary.
    pub pooler: Option<PoolerPlan>,
}

impl PostgresPlan {
    /// What the Service is called that clients who write are led to; `None` where the database is outside.
    #[must_use]
    pub fn entrance(&self) -> Option<&'static str> {
        let is_pooled = self.pooler.as_ref().is_some_and(|pooler| pooler.is_accepted);
        if is_pooled { Some(POOLER) } else { self.service() }
    }

    /// What the Service of the primary is called after the platform's name; `None` where the database is
    /// outside.
    #[must_use]
    pub fn service(&self) -> Option<&'static str> {
        match (&self.servers, &self.cluster) {
            (Some(_), _) => Some(POSTGRES),
            (_, Some(_)) => Some(CLUSTER_RW),
            (None, None) => None,
        }
    }
}

/// Servers of the database with every value decided.
#[derive(Clone, Debug)]
pub struct PostgresServers {
    /// How many; one of them is the primary.
    pub instances: i32,
    /// Commits wait until a replica has them.
    pub synchronous: bool,
    /// Major version.
    pub major: i32,
    /// Full image reference.
    pub image: String,
    /// Release shown in labels and status.
    pub version: String,
    /// Role that owns the database.
    pub owner: String,
    /// Resources of each server.
    pub resources: ResourcesPlan,
    /// Size and class of each data volume.
    pub storage: VolumePlan,
    /// The same for the write-ahead log, where it has a volume of its own.
    pub wal_storage: Option<VolumePlan>,
    /// Lines of postgresql.conf but for secrets.
    pub parameters: Vec<(String, String)>,
    /// Passwords of the owner, the superuser and the replicas.
    pub passwords: PostgresPasswords,
    /// Which login clients are given.
    pub logins: LoginsPlan,
    /// TLS to them, where there is any.
    pub tls: Option<TlsPlan>,
    /// Databases and their extensions, by name; that of the platform is among them.
    pub databases: BTreeMap<String, DatabasePlan>,
    /// Further roles that log in.
    pub roles: Vec<RolePlan>,
    /// Digest of what the servers consume.
    pub checksum: String,
    /// Where the servers run.
    pub scheduling: Scheduling,
    /// User of the server.
    pub user: i64,
    /// Group that owns the volumes.
    pub group: i64,
}

/// TLS of the servers.
#[derive(Clone, Debug)]
pub struct TlsPlan {
    /// What the resource asks for; `None` while it is given up.
    pub wished: Option<Level>,
    /// How far it is.
    pub level: Level,
    /// The servers' certificate.
    pub certificate: StoreCertificate,
}

impl TlsPlan {
    /// What clients are told.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        if self.level == Level::Offered { SslMode::Prefer } else { SslMode::VerifyFull }
    }
}

/// A database of the servers.
#[derive(Clone, Debug, Default)]
pub struct DatabasePlan {
    /// Role that it belongs to; `None` of the one that is made with the data.
    pub owner: Option<String>,
    /// Its extensions.
    pub extensions: Vec<String>,
}

/// A further role that logs in.
#[derive(Clone, Debug)]
pub struct RolePlan {
    /// Its name and password.
    pub account: AccountPlan,
    /// Postgres' own roles whose rights it has.
    pub member_of: Vec<PredefinedRole>,
    /// Most connections at once.
    pub connection_limit: Option<i32>,
    /// The database that its Secret names.
    pub database: String,
}

/// Generations of logins of a database's owner. The first is the owner itself; each later one is a role of its own
/// that works as the owner.
#[derive(Clone, Debug)]
pub struct LoginsPlan {
    /// The generation that is asked for.
    pub wished: u32,
    /// The generation that clients find in their Secret now, as far as is known.
    pub current: Option<u32>,
    /// The generation that they are to find there.
    pub given: u32,
    /// Whether all others are refused.
    pub only: bool,
    /// Whether the given generation's password is where it is taken from.
    pub is_there: bool,
    /// Whether the wished generation's password has been made.
    pub is_made: bool,
    /// Where the resource has that password; by default it is generated.
    pub chosen: Option<PasswordSource>,
}

impl LoginsPlan {
    /// The role that a generation logs in as.
    #[must_use]
    pub fn role(owner: &str, generation: u32) -> String {
        if generation <= 1 {
            return owner.to_owned();
        }
        // Postgres cuts names at 63 bytes; owners are plain ASCII.
        let end = owner.len().min(LONGEST_OWNER);
        format!("{}_login_{generation}", &owner[..end])
    }
}

/// What is left for the owner's name in that of a login.
const LONGEST_OWNER: usize = 63 - "_login_999".len();

/// Where the passwords of a database are; all generated.
#[derive(Clone, Debug)]
pub struct PostgresPasswords {
    /// Of the role that clients log in as.
    pub owner: PasswordSource,
    /// Of the login that is asked for, where it is not the owner itself.
    pub login: Option<PasswordSource>,
    /// Of the superuser.
    pub superuser: PasswordSource,
    /// Of the role that replicas log in as.
    pub replication: PasswordSource,
}

impl PostgresPasswords {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<&PasswordSource> {
        let Self { owner, login, superuser, replication } = self;
        [owner, superuser, replication].into_iter().chain(login).collect()
    }
}
