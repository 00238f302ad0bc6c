//! Probe stage, I/O: asks the server in this pod over loopback, within one deadline for it all.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::password::{PasswordError, Passwords};
use super::resp::{self, Reply, RespError};
use super::stream::Stream;
use super::verdict::{self, VerdictError};
use super::{Check, ProbeArgs};

/// Why the probe failed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Nobody listens.
    #[error("cannot connect to {address}")]
    Connect {
        /// The server's address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("{step} took longer than the {} ms of the probe", timeout.as_millis())]
    TimedOut {
        /// Connecting, or the command that got no answer.
        step: &'static str,
        /// The time that the whole probe had.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("connection lost during {step}")]
    Lost {
        /// The command that got no answer.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The reply is not one.
    #[error("{step} was not answered in RESP")]
    Resp {
        /// The command that was answered so.
        step: &'static str,
        /// What is wrong with the reply.
        source: RespError,
    },
    /// The passwords can't be read.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The server answered, and is not well.
    #[error(transparent)]
    Verdict(#[from] VerdictError),
}

/// `Ok` if the server passes the check.
pub fn run(args: &ProbeArgs) -> Result<(), ProbeError> {
    let passwords = Passwords::of(args.passwords.as_ref())?.all();
    let mut server =
        Server::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), Deadline::after(args.timeout()))?;

    let mut taken = Ok(());
    for password in passwords {
        taken = verdict::is_authenticated(&server.ask("AUTH", &[b"AUTH", password.bytes()])?);
        if taken.is_ok() {
            break;
        }
    }
    match taken {
        // It answered, and a restart would not change its mind.
        Err(VerdictError::AuthRefused(_)) if args.check == Check::Liveness => return Ok(()),
        taken => taken?,
    }

    let pong = server.ask("PING", &[b"PING"])?;
    if args.check == Check::Liveness {
        return Ok(verdict::is_alive(&pong)?);
    }
    verdict::is_serving(&pong)?;
    if args.cluster {
        let info = server.ask("CLUSTER INFO", &[b"CLUSTER", b"INFO"])?;
        verdict::is_cluster_serving(&info)?;
    }
    Ok(())
}

/// The end of a whole conversation.
#[derive(Clone, Copy)]
pub struct Deadline {
    end: Instant,
    timeout: Duration,
}

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, timeout }
    }

    /// Never zero, which sockets refuse as a timeout.
    fn left(&self, step: &'static str) -> Result<Duration, ProbeError> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.missed(step));
        }
        Ok(left)
    }

    fn missed(&self, step: &'static str) -> ProbeError {
        ProbeError::TimedOut { step, timeout: self.timeout }
    }

    fn lost(&self, step: &'static str, source: io::Error) -> ProbeError {
        if is_timeout(&source) {
            return self.missed(step);
        }
        ProbeError::Lost { step, source }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    // A socket's timeout shows as one or the other.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A connection to a server.
pub struct Server {
    stream: Stream,
    deadline: Deadline,
    room: usize,
}

impl Server {
    pub fn connect(address: SocketAddr, deadline: Deadline) -> Result<Self, ProbeError> {
        let step = "connecting";
        let left = || deadline.left(step).map_err(|_| io::ErrorKind::TimedOut.into());
        let stream = Stream::connect(address, left).map_err(|source| {
            if is_timeout(&source) {
                return deadline.missed(step);
            }
            ProbeError::Connect { address, source }
        })?;
        Ok(Self { stream, deadline, room: resp::MAX_REPLY })
    }

    /// Has until another deadline.
    pub fn go_on(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Takes replies of so many bytes.
    pub fn take_up_to(&mut self, bytes: usize) {
        self.room = bytes;
    }

    pub fn ask(&mut self, step: &'static str, words: &[&[u8]]) -> Result<Reply, ProbeError> {
        // A server at its maxclients says so and hangs up before it is asked: the write may
        // fail while an answer is there to be read.
        let sent = self.send(step, &resp::command(words));
        match self.receive(step) {
            Ok(reply) => Ok(reply),
            Err(error) => sent.and(Err(error)),
        }
    }

    fn send(&mut self, step: &'static str, command: &[u8]) -> Result<(), ProbeError> {
        let left = self.deadline.left(step)?;
        self.stream
            .set_timeout(left)
            .and_then(|()| self.stream.write_all(command))
            .and_then(|()| self.stream.flush())
            .map_err(|source| self.deadline.lost(step, source))
    }

    fn receive(&mut self, step: &'static str) -> Result<Reply, ProbeError> {
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let reply = resp::parse_within(self.room, &received);
            if let Some(reply) = reply.map_err(|source| ProbeError::Resp { step, source })? {
                return Ok(reply);
            }
            // Anew each time, or a server that sends byte by byte would outlast the deadline.
            let left = self.deadline.left(step)?;
            let read = self.stream.set_timeout(left).and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(0) => {
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(ProbeError::Lost { step, source });
                }
                Ok(length) => received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.deadline.lost(step, error)),
            }
        }
    }
}
