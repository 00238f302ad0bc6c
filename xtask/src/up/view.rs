//! Shows platforms as they come up: redrawn in place on a terminal, printed anew elsewhere.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use trading_testbed::Kubectl;

use super::example::Platform;

/// What was shown last.
pub struct View {
    command_line: PathBuf,
    kubeconfig: PathBuf,
    terminal: bool,
    shown: String,
}

impl View {
    pub fn new(command_line: &Path, kubectl: &Kubectl) -> Self {
        Self {
            command_line: command_line.to_owned(),
            kubeconfig: kubectl.kubeconfig().to_owned(),
            terminal: std::io::stdout().is_terminal(),
            shown: String::new(),
        }
    }

    /// Shows the platforms, if they look different from the last time.
    pub fn show(&mut self, platforms: &[Platform]) -> Result<()> {
        let texts = platforms.iter().map(|platform| self.status(platform)).collect::<Result<Vec<_>>>()?;
        let text = texts.join("\n");
        if text == self.shown {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        if self.terminal && !self.shown.is_empty() {
            // Up to where the last one began, and clear from there on.
            write!(out, "\x1b[{}F\x1b[J", self.shown.lines().count())?;
        }
        writeln!(out, "{text}")?;
        out.flush()?;
        self.shown = text;
        Ok(())
    }

    fn status(&self, platform: &Platform) -> Result<String> {
        let mut command = Command::new(&self.command_line);
        command
            .args(["status", &platform.name, "-n", &platform.namespace])
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null());
        if self.terminal {
            command.env("FORCE_COLOR", "1");
        }
        let output = command.output().context("cannot run kubectl-trading")?;
        // A platform that is not Ready yet ends it with 3 and is shown all the same.
        let bytes = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }
}
