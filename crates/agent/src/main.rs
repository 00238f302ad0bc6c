//! `trading-agent`: runs beside a data store, inside its pod, out of the store's own image.
//!
//! Command line and exit codes only; the work is in [`redis`] and [`install`].

mod install;
mod redis;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Prepares and probes a data store from inside its own pod.
#[derive(Parser)]
#[command(name = "trading-agent", version)]
struct Cli {
    #[command(subcommand)]
    store: Store,
}

#[derive(Subcommand)]
enum Store {
    /// Redis, alone, replicated or as a node of a Redis Cluster.
    #[command(subcommand)]
    Redis(redis::Command),
}

fn main() -> ExitCode {
    let Store::Redis(command) = Cli::parse().store;
    match redis::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_causes(&error));
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
