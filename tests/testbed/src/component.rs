//! A running program of the control plane.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::spawn;

/// Generous, because the machine may be compiling at the same time.
const READY_TIMEOUT: Duration = Duration::from_mins(2);

const TAIL_LINES: usize = 25;

/// A child process with its log; killed when dropped.
#[derive(Debug)]
pub(crate) struct Component {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Component {
    /// Starts the program, appending what it prints to the log.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Self { name: name.to_owned(), child: spawn::spawn(command)?, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        Ok(self.child.wait()?)
    }

    /// Waits until the check succeeds, but not for a process that has ended.
    pub(crate) fn wait_until_ready(&mut self, check: impl Fn() -> Result<()>) -> Result<()> {
        let started = Instant::now();
        loop {
            let Err(error) = check() else { return Ok(()) };
            if let Some(status) = self.exited()? {
                bail!("{} ended with {status}; its log ends with\n{}", self.name, self.log_tail());
            }
            if started.elapsed() > READY_TIMEOUT {
                let seconds = READY_TIMEOUT.as_secs();
                bail!(
                    "{} is not ready after {seconds} s: {error:#}; its log ends with\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // It may have ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
