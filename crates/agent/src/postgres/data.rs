//! Data stage, I/O: what a volume holds, and putting a new database in place whole.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a volume is not used.
#[derive(Debug, Error)]
pub enum DataError {
    /// The data is of another major version.
    #[error("{} holds data of version {found}, the server is {wanted}: go back to the image that made it", path.display())]
    Version {
        /// The data.
        path: PathBuf,
        /// In `PG_VERSION`.
        found: String,
        /// Of the server.
        wanted: u32,
    },
    /// There is something, and not a database.
    #[error("{} holds files that are no database; they are left alone: look at them and move them away", .0.display())]
    Foreign(PathBuf),
    /// The log is there and the data that it belongs to is not.
    #[error("{} holds a write-ahead log whose data is gone; it is left alone: bring the data back or move the log away", .0.display())]
    LogWithoutData(PathBuf),
    /// A file can't be read, made or removed.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io { path, source }
}

/// Data, and its log where that lies elsewhere.
pub struct Place<'a> {
    /// The data.
    pub data: &'a Path,
    /// The log.
    pub wal: Option<&'a Path>,
}

impl Place<'_> {
    /// Whether a database of this major version is there; errors where something else is.
    pub fn holds_database(&self, major: u32) -> Result<bool, DataError> {
        let file = self.data.join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(found) if found.trim() == major.to_string() => Ok(true),
            Ok(found) => Err(DataError::Version {
                path: self.data.to_owned(),
                found: found.trim().to_owned(),
                wanted: major,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if is_empty(self.data)? {
                    Ok(false)
                } else {
                    Err(DataError::Foreign(self.data.to_owned()))
                }
            }
            Err(error) => Err(io_at(&file)(error)),
        }
    }

    /// Where a database is made before it is moved into its place: a run that is killed leaves
    /// nothing that looks like one.
    pub fn new_data(&self) -> PathBuf {
        beside(self.data, ".new")
    }

    /// Clears what a killed run left, and says that one is under way.
    pub fn begin(&self) -> Result<(), DataError> {
        let new = self.new_data();
        remove(&new)?;
        let Some(wal) = self.wal else { return Ok(()) };
        let mark = beside(wal, ".making");
        let is_leftover = mark.try_exists().map_err(io_at(&mark))?;
        if !is_empty(wal)? && !is_leftover {
            return Err(DataError::LogWithoutData(wal.to_owned()));
        }
        fs::write(&mark, "").map_err(io_at(&mark))?;
        remove(wal)
    }

    /// Moves the new database into its place.
    pub fn finish(&self) -> Result<(), DataError> {
        fs::rename(self.new_data(), self.data).map_err(io_at(self.data))?;
        self.settle()
    }

    /// The server refuses data that others may read, and fsGroup opens it to the group.
    pub fn settle(&self) -> Result<(), DataError> {
        if let Some(wal) = self.wal {
            let mark = beside(wal, ".making");
            remove(&mark)?;
        }
        fs::set_permissions(self.data, Permissions::from_mode(0o700)).map_err(io_at(self.data))
    }

    /// Whether the data is a replica's.
    pub fn is_replica(&self) -> Result<bool, DataError> {
        let file = self.data.join("standby.signal");
        file.try_exists().map_err(io_at(&file))
    }

    /// Makes the new database a replica's.
    pub fn mark_replica(&self) -> Result<(), DataError> {
        let file = self.new_data().join("standby.signal");
        fs::write(&file, "").map_err(io_at(&file))
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn is_empty(path: &Path) -> Result<bool, DataError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_at(path)(error)),
    }
}

fn remove(path: &Path) -> Result<(), DataError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}
