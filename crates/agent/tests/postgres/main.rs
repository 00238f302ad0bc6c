//! `postgres run` with the programs of a real PostgreSQL; skipped where there are none, or where the
//! tests run as root and there is no user `postgres` to run them as.

mod api;
#[path = "../support/authority.rs"]
mod authority;
mod cluster;
mod encryption;
mod failover;
mod full;
mod ledger;
mod objects;
mod parameters;
mod pooler;
mod power;
mod rotation;
mod server;
#[path = "../support/small_volume.rs"]
mod small_volume;

/// Characters that would end a literal of SQL, a field of a password file or a line of a shell.
const OWNER: &str = "it's:a\\b $(x) \"";
const REPLICATION: &str = "r:e'p\\l";
