//! `image`: the operator's image as one file, made without Docker, for tests and for clusters without a
//! registry. The Dockerfile makes the same image.

mod archive;
pub mod build;
mod layer;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::repo;
use archive::Image;
use build::Profile;

const DEFAULT_OUTPUT: &str = "target/trading-platform-operator.tar";

/// Arguments of `image`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to write [default: target/trading-platform-operator.tar].
    #[arg(long)]
    output: Option<PathBuf>,
    /// Also build the tests' stand-in for applications, statically, and put it there.
    #[arg(long)]
    stand_in: Option<PathBuf>,
    /// Leave out the optimization of the whole program at the end, which takes minutes: for tests.
    #[arg(long)]
    quick: bool,
}

/// What the image holds, the program that it runs first.
const PACKAGES: [&str; 2] = ["trading-operator", AGENT];
const STAND_IN: &str = "trading-standin";

/// Every data store's pod copies it.
const AGENT: &str = "trading-agent";
const MAX_AGENT_BYTES: usize = 15_000_000;

/// Runs `image`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let output = arguments.output.clone().unwrap_or_else(|| repo::path(DEFAULT_OUTPUT));
    let mut files = Vec::new();
    let packages: Vec<_> = PACKAGES.into_iter().chain(arguments.stand_in.iter().map(|_| STAND_IN)).collect();
    let profile = if arguments.quick { Profile::Quick } else { Profile::Release };
    for (name, path) in build::binaries(&packages, profile)? {
        if let Some(target) = arguments.stand_in.as_ref().filter(|_| name == STAND_IN) {
            fs::copy(&path, target).with_context(|| format!("cannot write {}", target.display()))?;
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        println!("{name}: {} static", mebibytes(content.len()));
        ensure!(
            name != AGENT || content.len() < MAX_AGENT_BYTES,
            "{AGENT} has {} bytes, more than {MAX_AGENT_BYTES}",
            content.len()
        );
        files.push((name, content));
    }
    let image = Image::of(&files)?;
    let archive = image.archive()?;
    if let Some(dir) = output.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&output, &archive).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {}", output.display(), mebibytes(archive.len()));
    println!("{}\n{}", archive::name(), image.digest());
    Ok(ExitCode::SUCCESS)
}

fn mebibytes(bytes: usize) -> String {
    // Nothing here comes near the 2^52 bytes up to which this is exact.
    #[allow(clippy::cast_precision_loss)]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB")
}
