//! Small Go programs of the tests, each with a `go.mod` of its own. They answer one line of JSON for
//! each that they read.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{go, programs::in_path, progress::Progress, release::cache_root};

/// A program that was built from a folder of this repository.
#[derive(Clone, Debug)]
pub struct Tool {
    program: PathBuf,
}

impl Tool {
    /// Builds the program in a folder, unless the cache has it. A changed file is another program.
    ///
    /// # Errors
    /// When Go is not there, or the build fails.
    pub fn build(module: &Path) -> Result<Self> {
        let name = module.file_name().and_then(|name| name.to_str()).context("a folder without a name")?;
        let dir = cache_root()?.join("tools").join(format!("{name}-{}", key(module)?));
        let program = dir.join(name);
        if program.is_file() {
            return Ok(Self { program });
        }
        ensure!(in_path("go").is_some(), "Go is not installed, and {name} has to be built with it");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let _lock = go::lock(&dir)?;
        // Another run may have built it while we waited for the lock.
        if !program.is_file() {
            compile(module, name, &dir)?;
        }
        Ok(Self { program })
    }

    /// What it answers to each request.
    ///
    /// # Errors
    /// When it ends with an error, or does not answer every request.
    pub fn ask(&self, requests: &[Value]) -> Result<Vec<Value>> {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let mut input = child.stdin.take().context("no standard input")?;
        let mut lines = String::new();
        for request in requests {
            writeln!(lines, "{request}")?;
        }
        // It answers while it reads; with both pipes full, neither side would go on.
        let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {said}", self.program.display());
        writer.join().ok().context("nothing could be asked")??;
        let answers: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .context("not JSON")?;
        ensure!(answers.len() == requests.len(), "{} answers to {}", answers.len(), requests.len());
        Ok(answers)
    }
}

fn key(module: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(module)
        .with_context(|| format!("cannot read {}", module.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let mut key = String::new();
    for byte in hash.finalize().iter().take(8) {
        write!(key, "{byte:02x}")?;
    }
    Ok(key)
}

fn compile(module: &Path, name: &str, dir: &Path) -> Result<()> {
    let progress = Progress::start(&format!("building {name} (up to 4 min on 2 cores the first time)"));
    let unfinished = dir.join(format!("{name}.part"));
    let output = Command::new("go")
        .args(["build", "-C"])
        .arg(module)
        .args(["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"])
        .arg(&unfinished)
        .arg(".")
        // A workspace of the person who runs this must not change what is built.
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .output()
        .context("cannot run go")?;
    ensure!(
        output.status.success(),
        "go build of {name} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&unfinished, dir.join(name))?;
    progress.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_another_program() -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("go.mod"), "module a")?;
        let before = key(dir.path())?;
        assert_eq!(before, key(dir.path())?);
        fs::write(dir.path().join("main.go"), "package main")?;
        assert_ne!(before, key(dir.path())?);
        Ok(())
    }
}
