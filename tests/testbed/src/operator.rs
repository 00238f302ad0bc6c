//! The operator under test as a process of its own, to be killed, frozen and measured.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::component::Component;
use crate::spawn;

/// How to run an operator.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// The binary, for example from [`crate::workspace_binary`].
    pub binary: PathBuf,
    /// Whose rights it has: given to it as `KUBECONFIG`.
    pub kubeconfig: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, besides ours.
    pub env: Vec<(String, String)>,
    /// The file to which its output is appended.
    pub log: PathBuf,
}

/// A running operator, killed when dropped.
#[derive(Debug)]
pub struct Operator {
    config: OperatorConfig,
    process: Component,
}

impl Operator {
    /// Starts the operator. It is not waited for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(config: OperatorConfig) -> Result<Self> {
        let mut command = spawn::command(&config.binary);
        command
            .args(&config.args)
            .env("KUBECONFIG", &config.kubeconfig)
            .envs(config.env.iter().map(|(name, value)| (name, value)));
        let process = Component::start("the operator", command, &config.log)?;
        Ok(Self { config, process })
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.process.exited()
    }

    /// Ends it at once, as `kill -9` or a lost node would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Asks it to end, as the kubelet does, and waits for that.
    ///
    /// # Errors
    /// When it still runs after the timeout.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if asked.elapsed() > timeout {
                bail!("the operator still runs {} s after SIGTERM", timeout.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it if it still runs, and starts it anew with the same configuration and log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        if self.exited()?.is_none() {
            self.kill()?;
        }
        *self = Self::start(self.config.clone())?;
        Ok(())
    }

    /// Freezes it, as a stalled machine would; [`Operator::resume`] thaws it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Operator::pause`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// What it has printed so far, over all its restarts.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.config.log)
            .with_context(|| format!("cannot read {}", self.config.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The CPU time that it has used since its last start, in seconds. Only on Linux.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc_file("stat")?;
        let ticks = cpu_ticks(&stat).context("cannot read the CPU time of the operator")?;
        // Neither number comes near the 2^52 up to which this is exact.
        #[allow(clippy::cast_precision_loss)]
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The most memory that it has held since its last start, in bytes. Only on Linux.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = self.proc_file("status")?;
        peak_bytes(&status).context("cannot read the memory of the operator")
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        let path = Path::new("/proc").join(self.id().to_string()).join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // While it is not waited for, its number cannot belong to another process.
        if let Some(status) = self.exited()? {
            bail!("the operator has ended with {status}");
        }
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("no process number")?;
        Ok(kill_process(pid, signal)?)
    }
}

/// User and system time, fields 14 and 15 of `/proc/PID/stat`. Field 2 is the name, which may hold
/// anything but ends with the last closing parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(peak_bytes("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2_097_152));
    }
}
