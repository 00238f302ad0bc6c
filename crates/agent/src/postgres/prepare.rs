//! Prepare stage, I/O: makes an empty volume a database, with the programs of the store's own image.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

use super::config::{self, ConfigError, REPLICATION_ROLE};
use super::data::{DataError, Place};
use super::programs;
use super::secret::Password;
use crate::install::{self, InstallError};

/// Why the pod could not be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// A variable is absent, empty or has control characters.
    #[error("{0} is absent, empty or has control characters")]
    Variable(&'static str),
    /// The template cannot be read.
    #[error("cannot read the template {}", path.display())]
    Template {
        /// The template.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name is not fit for use.
    #[error("cannot compose postgresql.conf")]
    Config(#[from] ConfigError),
    /// A file cannot be put in place.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The volume is not used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The image has no server.
    #[error(
        "initdb and postgres of version {0} are neither on the PATH nor in the usual folders: is it the right image?"
    )]
    NoPrograms(u32),
    /// The image's server would make data that no server of the version asked for could read.
    #[error(
        "the image has PostgreSQL {found}, and postgres.version is {wanted}: use an image of version {wanted}"
    )]
    OtherPrograms {
        /// Of the image.
        found: u32,
        /// In the resource.
        wanted: u32,
    },
    /// A program of the image can't be started.
    #[error("cannot run {program}: is it in the image?")]
    Start {
        /// Which.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A program of the image said something else than it should.
    #[error("{program} says nothing that is understood")]
    NotUnderstood {
        /// Which.
        program: &'static str,
    },
    /// A program of the image failed; it has said why.
    #[error("{program} failed: {status}")]
    Failed {
        /// Which.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
}

/// What the environment says.
pub struct Environment {
    /// This pod.
    pub pod: String,
    /// Password of the role that owns the database.
    pub owner: Password,
    /// Password of `postgres`.
    pub superuser: Password,
    /// Password of the role that replicas log in as.
    pub replication: Password,
}

impl Environment {
    /// All of it.
    pub fn read() -> Result<Self, PrepareError> {
        let text = |name| std::env::var(name).map_err(|_| PrepareError::Variable(name));
        let password = |name| Password::new(text(name)?).ok_or(PrepareError::Variable(name));
        Ok(Self {
            pod: text("POD_NAME")?,
            owner: password("OWNER_PASSWORD")?,
            superuser: password("SUPERUSER_PASSWORD")?,
            replication: password("REPLICATION_PASSWORD")?,
        })
    }
}

/// Where libpq finds the replicas' password.
pub fn write_password_file(path: &Path, replication: &Password) -> Result<(), InstallError> {
    let line = format!("*:*:*:{REPLICATION_ROLE}:{}\n", replication.field());
    install::replace(path, 0o600, &mut line.as_bytes())
}

/// What a new database is made with.
pub struct New<'a> {
    /// The programs.
    pub folder: &'a Path,
    /// A file in memory; the password of the superuser lies beside it for a moment.
    pub scratch: &'a Path,
    /// Role that owns the application's database.
    pub owner: &'a str,
    /// The application's database.
    pub database: &'a str,
    /// What servers will be run with; a replica refuses data that was used with more.
    pub limits: &'a BTreeMap<&'static str, u64>,
}

/// A new database with checksums, its roles and the application's database.
pub fn initialize(args: &New, place: &Place, environment: &Environment) -> Result<(), PrepareError> {
    let (owner, database) =
        (config::plain("the owner", args.owner)?, config::plain("the database", args.database)?);
    let new = place.new_data();
    let superuser = args.scratch.with_file_name("superuser");
    install::replace(&superuser, 0o600, &mut environment.superuser.line().as_bytes())?;
    let mut initdb = programs::program(args.folder, "initdb");
    initdb
        .arg("--pgdata")
        .arg(&new)
        .arg("--pwfile")
        .arg(&superuser)
        .args(["--username", "postgres", "--auth-local", "peer", "--auth-host", "scram-sha-256"])
        // The same order of text in every image of a kind, whatever languages it carries.
        .args(["--data-checksums", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"]);
    if let Some(wal) = place.wal {
        initdb.arg("--waldir").arg(wal);
    }
    let made = finish("initdb", initdb.status());
    // It held the password; the file system is memory, and best effort is all there is.
    let _ = fs::remove_file(&superuser);
    made?;

    let replication = environment.replication.literal();
    let password = environment.owner.literal();
    sql(
        args,
        &new,
        &[
            format!("CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION PASSWORD {replication}"),
            format!("CREATE ROLE \"{owner}\" LOGIN PASSWORD {password}"),
            format!("CREATE DATABASE \"{database}\" OWNER \"{owner}\""),
        ],
    )
}

/// Statements, one a line, in a server that nobody can connect to.
fn sql(args: &New, data: &Path, statements: &[String]) -> Result<(), PrepareError> {
    let name = "postgres";
    let mut server = programs::program(args.folder, name);
    server
        .arg("--single")
        .arg("-D")
        .arg(data)
        // Without the first an error would go unnoticed, without the second a log would show the
        // statement and the password in it.
        .args(["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "-c", "log_statement=none"])
        .args(args.limits.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]))
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let start = |source| PrepareError::Start { program: name, source };
    let mut child = server.spawn().map_err(start)?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all((statements.join("\n") + "\n").as_bytes()),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    finish(name, child.wait())?;
    // A server that ends with success has read everything.
    written.map_err(start)
}

/// Makes a copy of a server in `new`, by way of a connection that has no password in it.
pub fn copy(folder: &Path, new: &Path, wal: Option<&Path>, connection: &str) -> Command {
    let mut backup = programs::program(folder, "pg_basebackup");
    backup.arg("--pgdata").arg(new).arg("--dbname").arg(connection).args([
        "--wal-method",
        "stream",
        "--checkpoint",
        "fast",
        "--no-password",
    ]);
    if let Some(wal) = wal {
        backup.arg("--waldir").arg(wal);
    }
    backup
}

/// Whether a program that was run did what it should.
pub fn finish(program: &'static str, status: io::Result<ExitStatus>) -> Result<(), PrepareError> {
    let status = status.map_err(|source| PrepareError::Start { program, source })?;
    status.success().then_some(()).ok_or(PrepareError::Failed { program, status })
}
