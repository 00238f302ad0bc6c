//! The temporary folder of a control plane, removed however the process ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// Reads until the other end of its standard input is closed, which happens when we drop it or die, even
/// by SIGKILL. The programs die at the same moment but may still be writing, hence the repetition.
const REMOVE_WHEN_WE_ARE_GONE: &str = r#"
[ -z "$2" ] || sh -c "$2" "$0" "$3"
cat > /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
    rm -rf "$1" 2> /dev/null && break
    sleep 0.2
done
"#;

const PREFIX: &str = "trading-testbed-";

#[derive(Debug)]
pub(crate) struct Workdir {
    path: PathBuf,
    watchdog: Child,
    lifeline: Option<ChildStdin>,
}

impl Workdir {
    pub(crate) fn create() -> Result<Self> {
        Self::create_leaving_nothing("")
    }

    /// The watchdog also runs this script, which has to wait for the end of its standard input before it
    /// removes what begins with the tag, its first argument.
    pub(crate) fn create_leaving_nothing(script: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        let mut watchdog = Command::new("sh")
            .args(["-c", REMOVE_WHEN_WE_ARE_GONE, "trading-testbed-watchdog"])
            .arg(dir.path())
            .args([script, &tag(dir.path())])
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

    /// Short, and on this machine nobody else's.
    pub(crate) fn tag(&self) -> String {
        tag(&self.path)
    }
}

fn tag(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("tt{}", name.trim_start_matches(PREFIX))
}

impl Drop for Workdir {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Nothing can be done about a failure here, and the operating system reaps the watchdog anyway.
        let _ = self.watchdog.wait();
    }
}
