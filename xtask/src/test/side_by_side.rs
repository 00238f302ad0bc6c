//! Tests that run side by side. What one of them prints comes in one piece, when it has ended.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::targets::selecting;
use crate::repo;

/// Binaries at once: each has a control plane of its own.
const AT_ONCE: usize = 2;

/// One call of `cargo test`.
pub struct Batch<'a> {
    name: String,
    arguments: Vec<&'a str>,
}

impl<'a> Batch<'a> {
    /// Integration tests of these names, one after another.
    pub fn of(names: &[&'a str]) -> Self {
        Self { name: names.join(", "), arguments: selecting(names) }
    }

    /// Whatever these arguments select.
    pub fn selected_by(name: &str, arguments: &[&'a str]) -> Self {
        Self { name: name.to_owned(), arguments: arguments.to_vec() }
    }

    /// With this option of the test harness.
    pub fn with(mut self, option: &'a str) -> Self {
        self.arguments.extend(["--", option]);
        self
    }

    fn run(&self) -> Result<()> {
        let name = &self.name;
        eprintln!("{name} begins");
        let began = Instant::now();
        let mut command = repo::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
        command.args(&self.arguments);
        let output = command.output().with_context(|| format!("cannot run {name}"))?;
        let seconds = began.elapsed().as_secs_f64();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{name}: {} after {seconds:.0} s", output.status)?;
        out.write_all(&output.stderr)?;
        out.write_all(&output.stdout)?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let says_why = |line: &&str| line.starts_with("Error: ") || line.ends_with("... FAILED");
        let reasons: Vec<&str> = printed.lines().filter(says_why).collect();
        ensure!(output.status.success(), "{name}: {}\n{}", output.status, reasons.join("\n"));
        Ok(())
    }
}

/// Runs every integration test of these names, also after one has failed.
pub fn run(names: &[&str]) -> Result<()> {
    lanes(names.iter().map(|name| Batch::of(&[name])), AT_ONCE)
}

/// Runs all of them, so many at once.
pub fn lanes<'a>(batches: impl Iterator<Item = Batch<'a>> + Send, at_once: usize) -> Result<()> {
    let waiting = Mutex::new(batches);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(batch) = next(&waiting) {
                    if let Err(error) = batch.run() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn next<'a>(waiting: &Mutex<impl Iterator<Item = Batch<'a>>>) -> Option<Batch<'a>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}
