//! Postgres: the command line and the environment; reads the environment, no other I/O.

mod config;
mod data;
mod logins;
mod objects;
mod pool;
mod pooler;
mod prepare;
mod programs;
mod run;
mod scram;
mod secret;

use std::process::ExitCode;

use clap::Subcommand;
use thiserror::Error;

use crate::supervise::SuperviseError;

/// What to do for Postgres.
#[derive(Subcommand)]
pub enum Command {
    /// Run the server: make, copy or take up its data, be primary or follow, as the Lease says.
    ///
    /// Reads `POD_NAME`, `POD_UID`, `POD_NAMESPACE`, `OWNER_PASSWORD`, `SUPERUSER_PASSWORD` and
    /// `REPLICATION_PASSWORD` from the environment; needs the programs of `PostgreSQL` on the `PATH`
    /// or in the usual folders.
    Run(Box<run::RunArgs>),
    /// Run PgBouncer, from the `PATH` or the usual folders, and stop it without ending a transaction.
    Pool(pool::PoolArgs),
}

/// Why a Postgres command failed.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// `run` ended.
    #[error(transparent)]
    Run(#[from] run::RunError),
    /// `pool` ended.
    #[error(transparent)]
    Pool(#[from] SuperviseError),
}

/// Runs one command to its end.
pub fn run(command: Command) -> Result<ExitCode, PostgresError> {
    match command {
        Command::Run(args) => {
            run::run(&args)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Pool(args) => Ok(pool::run(&args)?.into()),
    }
}
