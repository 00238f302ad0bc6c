//! Append-only log stage, I/O: whether the log on the volume has all of the data.
//!
//! A server that starts with a log reads nothing else, and one that starts without reads the snapshot.
//! So it starts as it ran, whatever its template says, and is switched over while it runs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::settings::Settings;
use crate::install::{self, InstallError};

/// Beside the data: what the log's manifest was when the log was switched off.
const MARK: &str = "log-switched-off";

/// The log of one server.
#[derive(Clone, Debug)]
pub struct Log {
    manifest: PathBuf,
    /// As Redis before 7 had it.
    single: PathBuf,
    snapshot: PathBuf,
    mark: PathBuf,
}

impl Log {
    /// Where the template has the server's data.
    pub fn of(settings: &Settings) -> Self {
        let text = |name: &str, default: &str| {
            settings.get(name).map_or(default, |value| value.trim_matches('"')).to_owned()
        };
        let dir = PathBuf::from(text("dir", "."));
        let file = text("appendfilename", "appendonly.aof");
        Self {
            manifest: dir.join(text("appenddirname", "appendonlydir")).join(format!("{file}.manifest")),
            single: dir.join(file),
            snapshot: dir.join(text("dbfilename", "dump.rdb")),
            mark: dir.join(MARK),
        }
    }

    /// How the server has to start to find all of its data; `None` where the volume has none.
    pub fn is_current(&self) -> io::Result<Option<bool>> {
        let Some(manifest) = read(&self.manifest)? else {
            let single = self.single.try_exists()?;
            return Ok((single || self.snapshot.try_exists()?).then_some(single));
        };
        Ok(Some(read(&self.mark)?.is_none_or(|mark| mark != manifest)))
    }

    /// From now on writes are not in the log. A manifest that differs is one of a log that was begun anew.
    pub fn switched_off(&self) -> Result<(), InstallError> {
        let manifest = read(&self.manifest)
            .map_err(|source| InstallError::Read { path: self.manifest.clone(), source })?;
        match manifest {
            Some(manifest) => {
                install::replace(&self.mark, 0o600, &mut manifest.as_slice())?;
                // Lost with the node, it would bring the log back.
                let synced = File::open(&self.mark).and_then(|mark| mark.sync_all());
                synced.map_err(|source| InstallError::Write { path: self.mark.clone(), source })
            }
            None => Ok(()),
        }
    }
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::settings::parse;

    #[test]
    fn a_server_starts_as_it_ran() {
        let dir = std::env::temp_dir().join(format!("agent-log-{}", std::process::id()));
        let logs = dir.join("appendonlydir");
        fs::create_dir_all(&logs).expect("made");
        let log = Log::of(&parse(&format!("dir {}\n", dir.display())));
        let is = || log.is_current().expect("readable");
        assert_eq!(is(), None, "nothing is there");
        fs::write(dir.join("dump.rdb"), "x").expect("written");
        assert_eq!(is(), Some(false), "a snapshot alone");
        let manifest = logs.join("appendonly.aof.manifest");
        fs::write(&manifest, "file a seq 1").expect("written");
        assert_eq!(is(), Some(true));
        log.switched_off().expect("written");
        assert_eq!(is(), Some(false), "it has not been written since");
        fs::write(&manifest, "file a seq 2").expect("written");
        assert_eq!(is(), Some(true), "it was begun anew");
        fs::remove_dir_all(&dir).expect("removed");
    }
}
