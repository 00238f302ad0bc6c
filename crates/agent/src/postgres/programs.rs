//! Programs stage, I/O: finds the programs of PostgreSQL in whatever image this runs in, and starts
//! them without our passwords.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables that carry passwords and are nobody else's business.
const SECRETS: [&str; 3] = ["OWNER_PASSWORD", "SUPERUSER_PASSWORD", "REPLICATION_PASSWORD"];

/// The folder with the programs: on the `PATH`, or where Debian's and the official images have it. Of several, one of
/// this major version.
pub fn folder(major: u32) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
        "/usr/local/bin".into(),
    ];
    let has_all = |folder: &PathBuf| ["postgres", "initdb"].iter().all(|name| folder.join(name).is_file());
    let mut found = std::env::split_paths(&path).chain(usual.map(PathBuf::from)).filter(has_all);
    let first = found.next()?;
    let is_it = |folder: &PathBuf| self::major(folder) == Some(major);
    if is_it(&first) { Some(first) } else { Some(found.find(is_it).unwrap_or(first)) }
}

/// The major version of the server's program, where it says one.
pub fn major(folder: &Path) -> Option<u32> {
    let said = program(folder, "postgres").arg("--version").output().ok()?;
    major_of(&String::from_utf8_lossy(&said.stdout))
}

fn major_of(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::major_of;

    #[test]
    fn a_server_says_its_major_version() {
        for (said, major) in [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) devel\n", None),
            ("", None),
        ] {
            assert_eq!(major_of(said), major, "{said}");
        }
    }
}
