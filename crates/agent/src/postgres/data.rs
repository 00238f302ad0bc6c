//! Data stage, I/O: what a volume holds, and putting a new database in place whole.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
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

/// A segment's name: timeline and number in hexadecimal digits.
const SEGMENT_NAME: usize = 24;
const TIMELINE_DIGITS: usize = 8;

/// The segment of the log from which a backup begins, without its timeline.
fn first_segment(label: &str) -> Option<&str> {
    let location = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    let name = location.split_once("(file ")?.1.strip_suffix(')')?;
    name.get(TIMELINE_DIGITS..)
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

    /// Makes the new database a replica's.
    pub fn mark_replica(&self) -> Result<(), DataError> {
        write(&self.new_data().join("standby.signal"), "")
    }

    /// Lets the server begin as one that follows.
    pub fn begin_as_standby(&self) -> Result<(), DataError> {
        write(&self.data.join("standby.signal"), "")
    }

    /// Whether rewound data has the log from which it begins. `pg_rewind` leaves what the other server has; what
    /// is missing there as well the server would wait for without end.
    pub fn has_log(&self) -> Result<bool, DataError> {
        let label = self.data.join("backup_label");
        let label = match fs::read_to_string(&label) {
            // There was nothing to undo.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            text => text.map_err(io_at(&label))?,
        };
        let Some(segment) = first_segment(&label) else { return Ok(false) };
        let wal = self.data.join("pg_wal");
        let names =
            fs::read_dir(&wal).map_err(io_at(&wal))?.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>().map_err(io_at(&wal))?;
        // A later timeline begins with a copy of the segment in which it left the earlier one.
        let is_it = |name: &str| name.len() == SEGMENT_NAME && name.ends_with(segment);
        Ok(names.iter().filter_map(|name| name.to_str()).any(is_it))
    }

    /// A word on the data that outlives this process, beside it.
    pub fn note(&self, name: &str) -> Result<Option<String>, DataError> {
        let file = beside(self.data, name);
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_at(&file)(error)),
        }
    }

    /// Writes or removes such a word; it is on disk before what it is about begins.
    pub fn set_note(&self, name: &str, text: Option<&str>) -> Result<(), DataError> {
        let file = beside(self.data, name);
        match text {
            Some(text) => write(&file, text),
            None => remove(&file),
        }
    }

    /// Where the log of a copy that will replace the data goes: there are two folders, used in turn.
    pub fn other_wal(&self) -> Option<PathBuf> {
        let wal = self.wal?;
        let other = beside(wal, ".b");
        let current = fs::read_link(self.data.join("pg_wal")).ok()?;
        if current == wal { Some(other) } else { (current == other).then(|| wal.to_owned()) }
    }

    /// Clears what a killed run left beside data that is whole, or the data that a copy replaced.
    pub fn tidy(&self) -> Result<(), DataError> {
        remove(&self.new_data())?;
        self.other_wal().map_or(Ok(()), |wal| remove(&wal))
    }

    /// Puts the whole new copy in the place of the data in one step, and only then removes that.
    pub fn exchange(&self) -> Result<(), DataError> {
        let new = self.new_data();
        rustix::fs::renameat_with(CWD, &new, CWD, self.data, RenameFlags::EXCHANGE)
            .map_err(|error| io_at(self.data)(error.into()))?;
        sync_folder(self.data)?;
        self.tidy()
    }
}

fn write(path: &Path, text: &str) -> Result<(), DataError> {
    let mut file = File::create(path).map_err(io_at(path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_at(path))?;
    sync_folder(path)
}

/// What was made, renamed or removed in the folder of `path` stays so after a crash of the node.
fn sync_folder(path: &Path) -> Result<(), DataError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_at(folder))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes with the test.
    struct Volume(PathBuf);

    impl Volume {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("postgres-data-{name}-{}", std::process::id()));
            fs::create_dir_all(&root).expect("made");
            Self(root)
        }

        fn file(&self, path: &str) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(&path, "everything").expect("written");
            path
        }
    }

    impl Drop for Volume {
        fn drop(&mut self) {
            // It lies where such things are cleared away.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn rewound_data_needs_the_log_from_which_it_begins() {
        let volume = Volume::new("rewound");
        let data = volume.0.join("data");
        let place = Place { data: &data, wal: None };
        volume.file("data/pg_wal/000000020000000000000004");
        assert!(place.has_log().expect("nothing was undone"));
        let label =
            "START WAL LOCATION: 0/3000028 (file 000000020000000000000003)\nBACKUP METHOD: pg_rewind\n";
        fs::write(data.join("backup_label"), label).expect("written");
        volume.file("data/pg_wal/000000020000000000000003.partial");
        assert!(!place.has_log().expect("it is looked for"));
        volume.file("data/pg_wal/000000030000000000000003");
        assert!(place.has_log().expect("a later timeline has it as well"));
    }

    #[test]
    fn what_is_there_is_never_replaced() {
        let volume = Volume::new("kept");
        let (data, wal) = (volume.0.join("data"), volume.0.join("wal"));
        let place = Place { data: &data, wal: Some(&wal) };
        assert!(!place.holds_database(16).expect("it is empty"));
        let ledger = volume.file("data/ledger");
        assert!(matches!(place.holds_database(16), Err(DataError::Foreign(_))));
        fs::write(data.join("PG_VERSION"), "9\n").expect("written");
        assert!(matches!(place.holds_database(16), Err(DataError::Version { .. })));
        fs::write(data.join("PG_VERSION"), "16\n").expect("written");
        assert!(place.holds_database(16).expect("it is one"));
        let log = volume.file("wal/000000010000000000000001");
        assert!(matches!(place.begin(), Err(DataError::LogWithoutData(_))));
        assert!(ledger.exists() && log.exists());
    }

    #[test]
    fn what_a_killed_run_left_is_cleared() {
        let volume = Volume::new("left");
        let (data, wal) = (volume.0.join("data"), volume.0.join("wal"));
        let place = Place { data: &data, wal: Some(&wal) };
        volume.file("data.new/PG_VERSION");
        volume.file("wal/half");
        let mark = volume.file("wal.making");
        place.begin().expect("they are its own");
        assert!(!place.new_data().exists() && !wal.exists() && mark.exists());
        volume.file("data.new/PG_VERSION");
        place.finish().expect("moved");
        assert!(data.join("PG_VERSION").exists() && !mark.exists());
        assert_eq!(fs::metadata(&data).expect("there").permissions().mode() & 0o7777, 0o700);
    }
}
