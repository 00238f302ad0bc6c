//! Prepare stage, I/O: writes the configuration and makes an empty volume a database, with the
//! programs of the store's own image.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

use super::PrepareArgs;
use super::config::{self, ConfigError, REPLICATION_ROLE};
use super::data::{DataError, Place};
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
    /// The volume of a replica holds a primary.
    #[error("{} is not a replica's data, though this pod is one: it is left alone", .0.display())]
    NotAReplica(PathBuf),
    /// A program of the image can't be started.
    #[error("cannot run {program}: is it in the image?")]
    Start {
        /// Which.
        program: &'static str,
        /// What the system said.
        source: io::Error,
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
    pod: String,
    owner: Password,
    superuser: Password,
    replication: Password,
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

/// Puts the configuration in place, and data where there is none. Running it twice changes nothing.
pub fn run(args: &PrepareArgs, environment: &Environment) -> Result<(), PrepareError> {
    let template = fs::read_to_string(&args.template)
        .map_err(|source| PrepareError::Template { path: args.template.clone(), source })?;
    let password_file = args.output.with_file_name("pgpass");
    let is_primary = config::is_primary(&environment.pod, &args.primary);
    let connection = (!is_primary)
        .then(|| config::connection(&args.primary, args.primary_port, &environment.pod, &password_file))
        .transpose()?;
    if connection.is_some() {
        let line = format!("*:*:*:{REPLICATION_ROLE}:{}\n", environment.replication.field());
        install::replace(&password_file, 0o600, &mut line.as_bytes())?;
    }
    let composed = config::compose(&template, connection.as_deref());
    install::replace(&args.output, 0o600, &mut composed.as_bytes())?;

    let place = Place { data: &args.data, wal: args.wal.as_deref() };
    if place.holds_database(args.major)? {
        if !is_primary && !place.is_replica()? {
            return Err(PrepareError::NotAReplica(args.data.clone()));
        }
        place.settle()?;
        println!("{} holds a database", args.data.display());
        return Ok(());
    }
    place.begin()?;
    match &connection {
        None => initialize(args, &place, environment)?,
        Some(connection) => copy(&place, connection)?,
    }
    place.finish()?;
    println!("made {}", args.data.display());
    Ok(())
}

/// A new database with checksums, its roles and the application's database.
fn initialize(args: &PrepareArgs, place: &Place, environment: &Environment) -> Result<(), PrepareError> {
    let (owner, database) =
        (config::plain("the owner", &args.owner)?, config::plain("the database", &args.database)?);
    let new = place.new_data();
    let superuser = args.output.with_file_name("superuser");
    install::replace(&superuser, 0o600, &mut environment.superuser.line().as_bytes())?;
    let mut initdb = program("initdb");
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
        &new,
        &[
            format!("CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION PASSWORD {replication}"),
            format!("CREATE ROLE \"{owner}\" LOGIN PASSWORD {password}"),
            format!("CREATE DATABASE \"{database}\" OWNER \"{owner}\""),
        ],
    )
}

/// Statements, one a line, in a server that nobody can connect to.
fn sql(data: &Path, statements: &[String]) -> Result<(), PrepareError> {
    let name = "postgres";
    let mut server = program(name);
    server
        .arg("--single")
        .arg("-D")
        .arg(data)
        // Without the first an error would go unnoticed, without the second a log would show the
        // statement and the password in it.
        .args(["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "-c", "log_statement=none"])
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

/// A copy of the primary, and the mark that it follows it.
fn copy(place: &Place, connection: &str) -> Result<(), PrepareError> {
    let mut backup = program("pg_basebackup");
    backup.arg("--pgdata").arg(place.new_data()).arg("--dbname").arg(connection).args([
        "--wal-method",
        "stream",
        "--checkpoint",
        "fast",
        "--no-password",
    ]);
    if let Some(wal) = place.wal {
        backup.arg("--waldir").arg(wal);
    }
    finish("pg_basebackup", backup.status())?;
    Ok(place.mark_replica()?)
}

/// A program of the image, which does not get our passwords.
fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for variable in ["OWNER_PASSWORD", "SUPERUSER_PASSWORD", "REPLICATION_PASSWORD"] {
        command.env_remove(variable);
    }
    command
}

fn finish(program: &'static str, status: io::Result<ExitStatus>) -> Result<(), PrepareError> {
    let status = status.map_err(|source| PrepareError::Start { program, source })?;
    status.success().then_some(()).ok_or(PrepareError::Failed { program, status })
}
