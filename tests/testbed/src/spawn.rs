//! Starts child processes that do not outlive us.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};

use anyhow::{Context, Result, anyhow};

type Request = (Command, mpsc::SyncSender<io::Result<Child>>);

/// The kernel ends a child with the *thread* that started it, and the threads of tests are short-lived.
/// So one thread that lives as long as the process starts all children.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Request>>> = LazyLock::new(|| {
    let (sender, requests) = mpsc::channel::<Request>();
    std::thread::spawn(move || {
        for (mut command, reply) in requests {
            // The requester waits for the reply; if it is gone there is nobody to tell.
            let _ = reply.send(command.spawn());
        }
    });
    Mutex::new(sender)
});

/// Without unsafe code we cannot set the parent-death signal between fork and exec, but util-linux has a
/// program for it.
static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
});

/// A command for a program that is killed when we die, however we die.
pub(crate) fn command(program: &Path) -> Command {
    if !*SETPRIV {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts it in a process group of its own, so that Ctrl-C in a terminal reaches only us, and we take it
/// down in order.
pub(crate) fn spawn(mut command: Command) -> Result<Child> {
    command.process_group(0);
    let (reply, child) = mpsc::sync_channel(1);
    SPAWNER
        .lock()
        .map_err(|_| anyhow!("the starter of processes panicked"))?
        .send((command, reply))
        .context("the starter of processes is gone")?;
    child.recv().context("the starter of processes is gone")?.context("cannot start a process")
}
