//! A volume that can be full and can grow: a file system in memory, in a mount namespace that ends with the test,
//! however it ends.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A volume of few megabytes.
pub struct SmallVolume {
    /// Lives as long as this process holds the other end of its input.
    holder: Child,
    path: PathBuf,
}

impl SmallVolume {
    /// Over this folder, for processes in its namespace alone. `None` where only root may, and it then says so.
    pub fn new(path: &Path, megabytes: u32, owner: Option<(u32, u32)>) -> Option<Self> {
        let (user, group) = owner.unwrap_or((0, 0));
        let options = format!("size={megabytes}m,mode=0755,uid={user},gid={group}");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -t tmpfs -o \"$1\" tmpfs \"$2\" && echo mounted && exec cat")
            .args(["sh", &options])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = [0; 8];
        let is_mounted = holder.stdout.as_mut()?.read_exact(&mut said).is_ok();
        let volume = Self { holder, path: path.to_owned() };
        if !is_mounted {
            // Past the harness, which would swallow it for a test that passes.
            let _ = writeln!(io::stderr(), "skipped: no file system can be mounted here");
            return None;
        }
        Some(volume)
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string()]);
        command
    }

    /// A command that sees the volume, as this user; it becomes the program, with the same process.
    pub fn run_in(&self, program: impl AsRef<Path>, owner: Option<(u32, u32)>) -> Command {
        let mut command = self.inside();
        if let Some((user, group)) = owner {
            command.args([
                "setpriv",
                &format!("--reuid={user}"),
                &format!("--regid={group}"),
                "--clear-groups",
            ]);
        }
        command.arg(program.as_ref());
        command
    }

    /// Makes it so large.
    pub fn grow(&self, megabytes: u32) {
        let size = format!("remount,size={megabytes}m");
        let status = self.inside().args(["mount", "-o", &size]).arg(&self.path).status();
        assert!(status.is_ok_and(|status| status.success()), "the volume can't grow");
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        // Its input ends with it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
