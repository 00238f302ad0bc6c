//! `kubectl trading`: render, validate and watch trading platforms.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    kubectl_trading::main(&kubectl_trading::CommandLine::parse())
}
