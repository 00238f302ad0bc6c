//! A volume that can be full and can grow, or lose its power: a file system in memory or on a file, in a mount namespace
//! that ends with the test, however it ends.

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
    /// In memory, over this folder, for processes in its namespace alone. `None` where only root may, and it then
    /// says so.
    pub fn new(path: &Path, megabytes: u32, owner: Option<(u32, u32)>) -> Option<Self> {
        let (user, group) = owner.unwrap_or((0, 0));
        let options = format!("size={megabytes}m,mode=0755,uid={user},gid={group}");
        Self::mounted(path, &["-t", "tmpfs", "-o", &options, "tmpfs"])
    }

    /// The same on a disk that [`make_disk`] made.
    pub fn on_disk(path: &Path, disk: &Path) -> Option<Self> {
        Self::mounted(path, &["-o", "loop", disk.to_str()?])
    }

    fn mounted(path: &Path, what: &[&str]) -> Option<Self> {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount \"$@\" && echo mounted && exec cat")
            .arg("sh")
            .args(what)
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

/// A file that serves as a disk, with an empty file system. A copy of it is what a disk has when its power is cut: what
/// the kernel has not written to it yet is not there.
pub fn make_disk(disk: &Path, megabytes: u32, owner: Option<(u32, u32)>) {
    let (user, group) = owner.unwrap_or((0, 0));
    let file = std::fs::File::create(disk).expect("made");
    file.set_len(u64::from(megabytes) << 20).expect("as large");
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-E", &format!("root_owner={user}:{group}")])
        .arg(disk)
        .status();
    assert!(made.is_ok_and(|status| status.success()), "no file system is made");
}
