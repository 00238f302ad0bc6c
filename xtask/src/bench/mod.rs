//! `bench`: what the operator costs a cluster, beside a client that only applies the same objects.

mod bare;
mod cpu;
mod machine;
mod operator;
mod plane;
mod rendering;
mod report;
mod requests;
mod result;
mod subject;
mod table;
mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::image::build;
use crate::repo;
use rendering::Rendering;
use result::{Comparison, Cost};
use subject::Subject;

const DEFAULT_OUTPUT: &str = "docs/benchmarks.md";

/// So many platforms are timed several times.
const FEW: usize = 100;

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many platforms; each number is measured on control planes of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,100,500",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5000))]
    platforms: Vec<usize>,
    /// For how many seconds to watch the operator at rest.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    quiet: u64,
    /// The file to write [default: docs/benchmarks.md].
    #[arg(long)]
    output: Option<PathBuf>,
    /// Measure this binary instead of building the operator.
    #[arg(long)]
    operator: Option<PathBuf>,
}

/// Runs `bench`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        return run_optimised();
    }
    let operator = match &arguments.operator {
        Some(path) => path.clone(),
        None => build_operator()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let subject = Subject::load()?;
    let rest = Duration::from_secs(arguments.quiet);
    let comparisons = arguments
        .platforms
        .iter()
        .map(|&platforms| runtime.block_on(compare(&operator, &subject, platforms, rest)))
        .collect::<Result<Vec<_>>>()?;

    let report = report::write(&subject, &Rendering::measure()?, &comparisons);
    println!("{}", report.text);
    let output = arguments.output.clone().unwrap_or_else(|| repo::path(DEFAULT_OUTPUT));
    fs::write(&output, &report.text).with_context(|| format!("cannot write {}", output.display()))?;
    for missed in &report.missed {
        eprintln!("missed: {missed}");
    }
    Ok(if report.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The bare client must not be slow for want of optimisation, so this program is built anew and takes over.
fn run_optimised() -> Result<ExitCode> {
    let built = build::binaries(&["xtask"], build::Profile::Release)?;
    let (_, program) = built.first().context("nothing was built")?;
    let status = Command::new(program).args(std::env::args_os().skip(1)).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build_operator() -> Result<PathBuf> {
    // Both packages at once, as the image has them: cargo then needs to compile nothing twice.
    let built = build::binaries(&["trading-operator", "trading-agent"], build::Profile::Release)?;
    let (_, path) = built.into_iter().next().context("nothing was built")?;
    Ok(path)
}

/// Both clients in turns, so that whatever else the machine does meets both.
async fn compare(binary: &Path, subject: &Subject, platforms: usize, rest: Duration) -> Result<Comparison> {
    let (mut bare, mut making) = (Vec::new(), Vec::new());
    for _ in 1..rounds(platforms) {
        eprintln!("{platforms} platforms: both clients, to see how fast they can be");
        bare.push(bare::measure(subject, platforms).await?);
        making.push(operator::creation(binary, subject, platforms).await?);
    }
    eprintln!("{platforms} platforms: the bare client");
    bare.push(bare::measure(subject, platforms).await?);
    eprintln!("{platforms} platforms: the operator");
    let operator = operator::measure(binary, subject, platforms, rest).await?;
    making.push(operator.creation.cost());
    Ok(Comparison { bare: Cost::least(&bare), making: Cost::least(&making), operator })
}

/// Many platforms take minutes, over which disturbances even out.
fn rounds(platforms: usize) -> usize {
    if platforms <= FEW { 3 } else { 1 }
}
