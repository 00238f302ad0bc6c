//! Server stage, I/O: the server as a child of this process, which in a container is the first and
//! so the one that orphans fall to.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use tokio::sync::watch;
use tokio::time::timeout;

use super::decide::Stop;

/// After which a server that was told to end at once is killed.
const IMMEDIATE: Duration = Duration::from_secs(5);
/// How long one wait for a fast shutdown lasts; it is asked for again until it is over.
const FAST: Duration = Duration::from_secs(1);

/// The process, while there is one.
#[derive(Default)]
pub struct Server(Option<Running>);

struct Running {
    pid: Pid,
    ended: watch::Receiver<bool>,
}

impl Server {
    /// Whether the process is there.
    pub fn runs(&self) -> bool {
        self.0.as_ref().is_some_and(|running| !*running.ended.borrow())
    }

    /// Its number, while it is there.
    pub fn pid(&self) -> Option<Pid> {
        self.0.as_ref().filter(|_| self.runs()).map(|running| running.pid)
    }

    /// Starts it.
    pub fn start(&mut self, mut command: Command) -> io::Result<()> {
        let child = command.spawn()?;
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (sender, ended) = watch::channel(false);
        thread::Builder::new()
            .name("server".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || wait(child, &sender))?;
        self.0 = Some(Running { pid, ended });
        Ok(())
    }

    /// Lets it read its configuration again.
    pub fn reload(&self) -> io::Result<()> {
        self.signal(Signal::HUP)
    }

    /// Tells it to end, and waits for that for a while.
    pub async fn stop(&mut self, how: Stop) -> io::Result<()> {
        let (signal, patience) = match how {
            Stop::Fast => (Signal::INT, FAST),
            Stop::Immediate => (Signal::QUIT, IMMEDIATE),
        };
        self.signal(signal)?;
        if !self.wait(patience).await && how == Stop::Immediate {
            tracing::warn!("the server does not end and is killed");
            self.signal(Signal::KILL)?;
            self.wait(IMMEDIATE).await;
        }
        Ok(())
    }

    async fn wait(&mut self, patience: Duration) -> bool {
        let Some(running) = &mut self.0 else { return true };
        // The other end is gone only after it has said so.
        timeout(patience, running.ended.wait_for(|ended| *ended)).await.is_ok()
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        self.pid().map_or(Ok(()), |pid| Ok(kill_process(pid, signal)?))
    }
}

fn wait(mut child: Child, ended: &watch::Sender<bool>) {
    match child.wait() {
        Ok(status) => tracing::info!(%status, "the server has ended"),
        Err(error) => tracing::error!(%error, "nothing is known of the server any more"),
    }
    ended.send_replace(true);
}

/// Removes the mark of a server that is gone: in a container its number may be somebody else's
/// now, which would keep a new one from starting.
pub fn clear_stale_mark(data: &Path) -> io::Result<()> {
    let mark = data.join("postmaster.pid");
    let text = match fs::read_to_string(&mark) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_server = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()).is_some_and(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
    });
    if is_server { Ok(()) } else { fs::remove_file(&mark) }
}

/// Takes note of the ends of orphans, where this is the first process.
pub fn reap_orphans() -> io::Result<()> {
    if getpid() != Pid::INIT {
        return Ok(());
    }
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        if is_orphan(&fs::read_to_string(entry.path().join("stat")).unwrap_or_default()) {
            // Whoever is gone by now needs it no more.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
    Ok(())
}

/// From `/proc/PID/stat`: a backend of a server that is gone, which ended. Our own children lead no
/// session, and are waited for elsewhere.
fn is_orphan(stat: &str) -> bool {
    let (head, tail) = stat.rsplit_once(") ").unwrap_or_default();
    let number = head.split_once(' ').map_or("", |(number, _)| number);
    let fields: Vec<&str> = tail.split(' ').collect();
    fields.first() == Some(&"Z") && fields.get(1) == Some(&"1") && fields.get(3) == Some(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_backends_without_a_server_are_orphans() {
        assert!(is_orphan("77 (postgres) Z 1 77 77 0 -1 4194560 0"));
        assert!(!is_orphan("77 (postgres) S 1 77 77 0 -1 4194560 0"));
        assert!(!is_orphan("77 (postgres) Z 12 77 77 0 -1 4194560 0"));
        assert!(!is_orphan("77 (pg_rewind) Z 1 1 1 0 -1 4194560 0"));
        assert!(!is_orphan(""));
    }

    #[tokio::test]
    async fn a_child_is_told_to_end() -> io::Result<()> {
        let mut server = Server::default();
        assert!(!server.runs());
        // A test that runs in the background hands its children that they ignore these.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,QUIT", "sleep", "60"]);
        server.start(command)?;
        assert!(server.runs());
        // Until it is over, as the agent does: the first may reach `env`, which ignores it yet.
        for _ in 0..20 {
            server.stop(Stop::Fast).await?;
        }
        assert!(!server.runs());
        server.stop(Stop::Immediate).await
    }
}
