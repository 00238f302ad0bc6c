//! Binaries of this workspace, for tests that run them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Cargo at the root of this workspace, for use below another cargo.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).stdin(Stdio::null());
    // The cargo above tells us about our own package in these. Build scripts of dependencies look at
    // them, too, and would run again, and half the workspace with them, each time that we and a person's
    // shell take turns.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds a binary of this workspace in the development profile and returns its path. Cargo does nothing
/// when it is fresh, so a test never runs a stale one.
///
/// # Errors
/// When it does not compile.
pub fn workspace_binary(name: &str) -> Result<PathBuf> {
    let output = cargo()
        // `--workspace` gives dependencies the same features as in the tests' own build, so they compile
        // only once.
        .args(["build", "--locked", "--quiet", "--workspace", "--message-format=json", "--bin", name])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "{name} does not compile");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == name))
        .find_map(|message| message.executable)
        .with_context(|| format!("cargo built no binary {name}"))
}
