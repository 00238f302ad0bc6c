//! Install stage, I/O: puts files in place whole, and this program among them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a file could not be put in place.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The kernel does not say which file this program is.
    #[error("cannot find this program's own file")]
    OwnFile(#[source] io::Error),
    /// This program's file cannot be opened.
    #[error("cannot read {}", path.display())]
    Read {
        /// The program's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The target is `/`, or ends in `..`.
    #[error("{} does not name a file", path.display())]
    NotAFile {
        /// The target as given.
        path: PathBuf,
    },
    /// The target, or the new file beside it, cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The target, not the new file beside it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Copies the running program to `target`, for any user to execute.
pub fn own_program(target: &Path) -> Result<(), InstallError> {
    let path = std::env::current_exe().map_err(InstallError::OwnFile)?;
    let mut program = File::open(&path).map_err(|source| InstallError::Read { path, source })?;
    replace(target, 0o755, &mut program)
}

/// Writes `content` beside `target` and renames it over, so that no reader meets half a file.
///
/// There is no fsync: after a node crash the init container runs again.
pub fn replace(target: &Path, mode: u32, content: &mut impl Read) -> Result<(), InstallError> {
    let new = beside(target)?;
    write_new(&new, mode, content).and_then(|()| fs::rename(&new, target)).map_err(|source| {
        // Best effort: the error that led here is the one to report.
        let _ = fs::remove_file(&new);
        InstallError::Write { path: target.to_owned(), source }
    })
}

fn beside(target: &Path) -> Result<PathBuf, InstallError> {
    let file_name = target.file_name().ok_or_else(|| InstallError::NotAFile { path: target.to_owned() })?;
    let mut name = OsString::from(".");
    name.push(file_name);
    name.push(".new");
    Ok(target.with_file_name(name))
}

fn write_new(path: &Path, mode: u32, content: &mut impl Read) -> io::Result<()> {
    // An earlier run that was killed may have left one; `create_new` then follows no symlink.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(content, &mut file)?;
    // Set rather than passed to `open`, which would subtract the umask.
    file.set_permissions(Permissions::from_mode(mode))
}
