//! The temporary folder of a control plane, removed however the process ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// Reads until the other end of its standard input is closed, which happens when we drop it or die, even
/// by SIGKILL. The programs die at the same moment but may still be writing, hence the repetition.
const REMOVE_WHEN_WE_ARE_GONE: &str = r#"
cat > /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$1" 2> /dev/null && break
    sleep 0.2
done
"#;

#[derive(Debug)]
pub(crate) struct Workdir {
    path: PathBuf,
    watchdog: Child,
    lifeline: Option<ChildStdin>,
}

impl Workdir {
    pub(crate) fn create() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("trading-testbed-").tempdir()?;
        let mut watchdog = Command::new("sh")
            .args(["-c", REMOVE_WHEN_WE_ARE_GONE, "trading-testbed-watchdog"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal must not end the watchdog before its work.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        let lifeline = watchdog.stdin.take();
        Ok(Self { path: dir.keep(), watchdog, lifeline })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Nothing can be done about a failure here, and the operating system reaps the watchdog anyway.
        let _ = self.watchdog.wait();
    }
}
