//! Test binaries that run side by side. What one prints comes in one piece, when it has ended.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::targets::selecting;
use crate::repo;

/// Binaries at once: each has a control plane of its own.
const AT_ONCE: usize = 2;

/// Runs every integration test of these names, also after one has failed.
pub fn run(names: &[&str]) -> Result<()> {
    groups(&names.chunks(1).collect::<Vec<_>>(), AT_ONCE)
}

/// The same, so many groups at once; those of a group run one after another.
pub fn groups(groups: &[&[&str]], at_once: usize) -> Result<()> {
    let waiting = Mutex::new(groups.iter().copied());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(names) = next(&waiting) {
                    if let Err(error) = one(names) {
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

fn next<'a>(waiting: &Mutex<impl Iterator<Item = &'a [&'a str]>>) -> Option<&'a [&'a str]> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn one(names: &[&str]) -> Result<()> {
    let name = names.join(", ");
    eprintln!("{name} begins");
    let began = Instant::now();
    let mut command = repo::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.args(selecting(names));
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
