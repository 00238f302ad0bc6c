//! `soak`: what level 4 of the tests does a few times, many times.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::repo;

const DEFAULT_OUTPUT: &str = "docs/soak.md";
const PAGE: &str = include_str!("soak.md.in");

/// What is run: a test that is ignored otherwise.
const TARGET: &str = "real_platforms";
const TEST: &str = "soak::primaries_are_lost_again_and_again";

/// Arguments of `soak`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many times the primary is lost: frozen, killed and deleted in turns.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The file to write [default: docs/soak.md].
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs `soak`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let rows = dir.path().join("rows");
    let mut command = repo::cargo(&["test", "--locked", "--workspace", "--test", TARGET, "--"]);
    command.args(["--ignored", "--exact", TEST, "--nocapture"]);
    command.env("TRADING_SOAK_ROUNDS", arguments.rounds.to_string()).env("TRADING_SOAK_ROWS", &rows);
    repo::run(&mut command)?;
    let rows = fs::read_to_string(&rows).with_context(|| format!("cannot read {}", rows.display()))?;
    let page = PAGE.replace("@ROUNDS@", &arguments.rounds.to_string()).replace("@ROWS@", rows.trim_end());
    let output = arguments.output.clone().unwrap_or_else(|| repo::path(DEFAULT_OUTPUT));
    fs::write(&output, page).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
