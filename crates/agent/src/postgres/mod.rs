//! Postgres: the command line and the environment; reads the environment, no other I/O.

mod config;
mod data;
mod prepare;
mod probe;
mod programs;
mod run;
mod secret;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use thiserror::Error;

/// What to do for Postgres.
#[derive(Subcommand)]
pub enum Command {
    /// Write the server's configuration, and make an empty volume a database.
    ///
    /// Reads `POD_NAME`, `OWNER_PASSWORD`, `SUPERUSER_PASSWORD` and `REPLICATION_PASSWORD` from the
    /// environment; needs the programs of `PostgreSQL` on the `PATH` or in the usual folders.
    Prepare(PrepareArgs),
    /// Ask the server in this pod how it is; exits with 1 and one line on stderr if not well.
    Probe(ProbeArgs),
    /// Run the server: make, copy or take up its data, be primary or follow, as the Lease says.
    ///
    /// Reads `POD_NAME`, `POD_UID`, `POD_NAMESPACE`, `OWNER_PASSWORD`, `SUPERUSER_PASSWORD` and
    /// `REPLICATION_PASSWORD` from the environment.
    Run(Box<run::RunArgs>),
}

/// What `prepare` makes, and where.
#[derive(Args)]
pub struct PrepareArgs {
    /// Major version that the data must have
    #[arg(long)]
    major: u32,
    /// The data; made where it is not there, never replaced
    #[arg(long)]
    data: PathBuf,
    /// The write-ahead log, where it is not with the data
    #[arg(long)]
    wal: Option<PathBuf>,
    /// Configuration without secrets
    #[arg(long)]
    template: PathBuf,
    /// Where the complete configuration goes; secrets are put beside it
    #[arg(long)]
    output: PathBuf,
    /// Host of the primary; the pod whose name it begins with is the primary
    #[arg(long)]
    primary: String,
    /// Port of the primary
    #[arg(long, default_value_t = 5432)]
    primary_port: u16,
    /// Database that is made with the data
    #[arg(long)]
    database: String,
    /// Role that is made with the data and owns the database
    #[arg(long)]
    owner: String,
}

/// What `probe` asks, and how long it may take.
#[derive(Args)]
pub struct ProbeArgs {
    /// The question to answer
    check: Check,
    /// Port of the server on 127.0.0.1
    #[arg(long, default_value_t = 5432, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Time for the whole probe; shorter than the kubelet's, or its reason is lost
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

impl ProbeArgs {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The two questions of the kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Would a restart help?
    Liveness,
    /// May clients be sent here?
    Readiness,
}

/// Why a Postgres command failed.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// `prepare` failed.
    #[error(transparent)]
    Prepare(#[from] prepare::PrepareError),
    /// `probe` failed, or found the server unwell.
    #[error(transparent)]
    Probe(#[from] probe::ProbeError),
    /// `run` ended.
    #[error(transparent)]
    Run(#[from] run::RunError),
}

/// Runs one command to its end.
pub fn run(command: Command) -> Result<(), PostgresError> {
    match command {
        Command::Prepare(args) => prepare::run(&args, &prepare::Environment::read()?)?,
        Command::Probe(args) => probe::run(&args)?,
        Command::Run(args) => run::run(&args)?,
    }
    Ok(())
}
