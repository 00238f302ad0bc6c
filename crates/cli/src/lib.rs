//! The kubectl plugin `kubectl trading`. Talks to a person; every decision is made by
//! `trading_core`, the same code as the operator's.

pub mod cost;
pub mod cost_table;
pub mod documents;
pub mod metadata;
pub mod pods;
pub mod render;
pub mod status;
pub mod tree;
pub mod validate;
pub mod yaml;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Renders, validates and shows trading platforms.
#[derive(Debug, Parser)]
#[command(name = "kubectl-trading", bin_name = "kubectl trading", version)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print every object that platforms become, as YAML, without a cluster
    Render(render::Arguments),
    /// Check platforms by the rules of the cluster, without a cluster
    ///
    /// Exits with 1 where a platform is refused.
    Validate(validate::Arguments),
    /// Show how a platform is
    ///
    /// Exits with 0 when it is Ready, 3 when it is not, 1 when that can't be told.
    Status(status::Arguments),
    /// Show what platforms cost in a month, component by component
    ///
    /// Reckons requests at the fewest and the most pods, and volumes, at list prices or your own.
    Cost(cost::Arguments),
    /// Print the CustomResourceDefinition as YAML
    Crd,
}

/// Runs a command line. What goes wrong is said on standard error.
#[must_use]
pub fn main(command_line: &CommandLine) -> ExitCode {
    let done = match &command_line.command {
        Command::Render(arguments) => render::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Cost(arguments) => cost::run(arguments),
        Command::Crd => crd(),
    };
    done.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            // The reader has seen enough, as in `… | head`.
            return ExitCode::SUCCESS;
        }
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn crd() -> Result<ExitCode> {
    print(&serde_yaml::to_string(&trading_api::schema::crd())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output and finds out whether it arrived.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error; where that fails there is nobody left to tell.
fn complain(line: &str) {
    writeln!(io::stderr(), "{line}").ok();
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
