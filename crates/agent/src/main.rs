//! `trading-agent`: runs beside a data store, inside its pod, out of the store's own image.
//!
//! Command line and exit codes only; the work is in [`redis`], [`postgres`] and [`install`].

mod http;
mod install;
mod postgres;
mod redis;
mod report;
mod said;
mod supervise;
mod termination;
mod tls;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Prepares and probes a data store from inside its own pod.
#[derive(Parser)]
#[command(name = "trading-agent", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Copy this program to where a data store's own image can run it.
    Install {
        /// Where the copy goes
        #[arg(long)]
        binary: PathBuf,
    },
    /// Redis, alone, replicated or as a node of a Redis Cluster.
    #[command(subcommand)]
    Redis(Box<redis::Command>),
    /// Postgres, alone or as one of a primary and its replicas.
    #[command(subcommand)]
    Postgres(postgres::Command),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result: Result<ExitCode, Box<dyn Error>> = match Cli::parse().task {
        Task::Install { binary } => install::own_program(&binary).map(done).map_err(Into::into),
        Task::Redis(command) => redis::run(*command).map_err(Into::into),
        Task::Postgres(command) => postgres::run(command).map_err(Into::into),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// One line, because the kubelet shows a failed probe's stderr in an event.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
