//! The tasks of this repository: `cargo xtask --help` lists them.

mod adapter;
mod bench;
mod cost;
mod generate;
mod image;
mod reference;
mod repo;
mod soak;
mod test;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what the operator costs a cluster, and write docs/benchmarks.md.
    Bench(bench::Arguments),
    /// Make the files that are made from code: CRDs, the chart's copies of them, golden files.
    Generate(generate::Arguments),
    /// Make the operator's image as one file, without Docker.
    Image(image::Arguments),
    /// Lose the primary of a database under load again and again, on real nodes, and write docs/soak.md.
    Soak(soak::Arguments),
    /// Run the tests.
    Test(test::Arguments),
    /// Run a platform on a control plane of its own, with simulated nodes.
    Up(up::Arguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().task {
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Generate(arguments) => generate::run(&arguments),
        Task::Image(arguments) => image::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Up(arguments) => up::run(&arguments),
    }
}
