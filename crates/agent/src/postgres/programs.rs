//! Programs stage, I/O: finds the programs of PostgreSQL in whatever image this runs in, and starts
//! them without our passwords.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables that carry passwords and are nobody else's business.
const SECRETS: [&str; 3] = ["OWNER_PASSWORD", "SUPERUSER_PASSWORD", "REPLICATION_PASSWORD"];

/// The folder with the programs of this major version: on the `PATH`, or where Debian's and the
/// official images have it.
pub fn folder(major: u32) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
        "/usr/local/bin".into(),
    ];
    let has_all = |folder: &PathBuf| ["postgres", "initdb"].iter().all(|name| folder.join(name).is_file());
    std::env::split_paths(&path).chain(usual.map(PathBuf::from)).find(has_all)
}

/// A program of the image, in English, without our passwords.
pub fn program(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(folder.join(name));
    for variable in SECRETS {
        command.env_remove(variable);
    }
    // Its words are read; and a variable of libpq would lead elsewhere.
    command.env("LC_ALL", "C").env_remove("PGDATA").env_remove("PGPASSWORD").env_remove("PGHOST");
    command
}
