//! Supervise stage, I/O: a data store's server as this program's child.
//!
//! In a container this program is process 1: it hands signals on, buries whatever ends in the pod's
//! process namespace, and ends as the server does.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::iterator::Signals;
use thiserror::Error;

/// Where images keep servers that are not on `PATH`.
const USUAL_FOLDERS: [&str; 6] = [
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/opt/bitnami/redis/bin",
    "/opt/bitnami/pgbouncer/bin",
];

/// Why a server could not be run to its end.
#[derive(Debug, Error)]
pub enum SuperviseError {
    /// The image has not the program.
    #[error("{0} is neither on PATH nor in {folders}: use an image that has it", folders = USUAL_FOLDERS.join(", "))]
    NoProgram(String),
    /// The program is there and does not start.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let signals be handled.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// The system does not let signals be sent, or processes be waited for.
    #[error("cannot {what}")]
    System {
        /// What failed.
        what: &'static str,
        /// What the system said.
        source: Errno,
    },
}

/// Signals that are handed on, or that tell of an end.
const HANDLED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCHLD,
];

enum Event {
    Signal(Signal),
    /// What has to be done before the server is stopped is done.
    MayStop,
}

/// A server that runs.
pub struct Supervised {
    server: Pid,
    /// What means to it that it is to stop.
    stop: Signal,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

impl Supervised {
    /// Starts a server. Signals are handled first, so that none is lost; the server starts with the
    /// system's own handling of them.
    pub fn start(program: &Path, arguments: &[&OsStr]) -> Result<Self, SuperviseError> {
        let mut signals =
            Signals::new(HANDLED.map(|signal| signal as i32)).map_err(SuperviseError::Signals)?;
        let (sender, events) = channel();
        let told = sender.clone();
        // Ends with the process, or once nobody listens.
        thread::spawn(move || {
            let known = signals.forever().filter_map(|number| Signal::try_from(number).ok());
            for signal in known {
                if told.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        });
        let child = Command::new(program)
            .args(arguments)
            .spawn()
            .map_err(|source| SuperviseError::Start { program: program.to_owned(), source })?;
        Ok(Self { server: pid(child.id()), stop: Signal::SIGTERM, events, sender })
    }

    /// The same server, which is stopped by another signal.
    pub fn stopped_by(self, stop: Signal) -> Self {
        Self { stop, ..self }
    }

    /// Sends the server a signal, as long as it runs.
    pub fn signal(&self, signal: Signal) -> impl Fn() + Send + use<> {
        let server = self.server;
        move || {
            // It may be ending.
            let _ = kill(server, signal);
        }
    }

    /// Hands signals on until the server ends; its exit status, as a shell would tell it.
    ///
    /// Before the first request to stop is handed on, `before_stop` runs in a thread of its own; a
    /// second request does not wait for it.
    pub fn until_end(self, before_stop: impl FnOnce() + Send + 'static) -> Result<u8, SuperviseError> {
        let mut before_stop = Some(before_stop);
        // The sender lives in `self`, so there is always a next event.
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Signal(Signal::SIGCHLD) => {
                    if let Some(status) = bury(self.server)? {
                        return Ok(status);
                    }
                }
                Event::Signal(Signal::SIGTERM | Signal::SIGINT) => match before_stop.take() {
                    Some(prepare) => {
                        let told = self.sender.clone();
                        thread::spawn(move || {
                            prepare();
                            // Nobody listens where the server has ended meanwhile.
                            let _ = told.send(Event::MayStop);
                        });
                    }
                    None => self.send(self.stop)?,
                },
                Event::Signal(signal) => self.send(signal)?,
                Event::MayStop => self.send(self.stop)?,
            }
        }
        Ok(0)
    }

    fn send(&self, signal: Signal) -> Result<(), SuperviseError> {
        match kill(self.server, signal) {
            // Its end is about to be told.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(SuperviseError::System { what: "hand a signal on", source }),
        }
    }
}

/// Takes note of every process that ended; the server's status if it is among them.
fn bury(server: Pid) -> Result<Option<u8>, SuperviseError> {
    let mut status = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(process, code)) if process == server => {
                status = Some(u8::try_from(code).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::Signaled(process, signal, _)) if process == server => {
                // Signals have numbers below 65.
                status = Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => return Err(SuperviseError::System { what: "wait for processes", source }),
        }
    }
}

fn pid(id: u32) -> Pid {
    // The kernel's process ids fit: they are at most 2^22.
    Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX))
}

/// A server's program, on `PATH` or in a folder where images keep it.
pub fn find(program: &str) -> Result<PathBuf, SuperviseError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(USUAL_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| SuperviseError::NoProgram(program.to_owned()))
}
