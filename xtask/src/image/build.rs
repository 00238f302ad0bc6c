//! Static release binaries, which need nothing of the image that they run in.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::repo;

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// How much time the compiler may take.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    /// As it is shipped.
    Release,
    /// The same without optimization of the whole program.
    Quick,
}

/// Builds these packages as the image has them, and returns the name and path of each one's binary.
///
/// # Errors
/// When one does not compile.
pub fn binaries<'a>(packages: &[&'a str], profile: Profile) -> Result<Vec<(&'a str, PathBuf)>> {
    // Naming the target keeps the flags away from build scripts and macros, which can't be static, and
    // what is built away from the other builds.
    let target = repo::output(Command::new("rustc").args(["--print", "host-tuple"]).stdin(Stdio::null()))?;
    let (profile, minutes) = match profile {
        Profile::Release => ("release", 6),
        Profile::Quick => ("quick", 4),
    };
    let mut command = repo::cargo(&["build", "--profile", profile, "--locked", "--target", target.trim()]);
    command.arg("--message-format=json-render-diagnostics").env("RUSTFLAGS", "-C target-feature=+crt-static");
    for package in packages {
        command.args(["--package", package]);
    }
    eprintln!("building {} statically: about {minutes} min on 2 cores, the first time", packages.join(", "));
    let built = repo::output(&mut command)?;
    packages.iter().map(|&package| Ok((package, executable(&built, package)?))).collect()
}

fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    let path = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == name))
        .find_map(|message| message.executable)
        .with_context(|| format!("cargo built no binary {name}"))?;
    ensure!(path.is_file(), "{} is not there", path.display());
    Ok(path)
}
