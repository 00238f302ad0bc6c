//! Link stage, I/O: a conversation with one server, within one deadline for it all.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::password::{Password, Passwords};
use super::probe::{Deadline, ProbeError, Server};
use super::resp::{self, Reply};
use super::verdict::{self, VerdictError};

/// Why a server did not do what it was asked.
#[derive(Debug, Error)]
pub enum LinkError {
    /// It did not answer.
    #[error(transparent)]
    Silent(#[from] ProbeError),
    /// It refuses the password.
    #[error(transparent)]
    Stranger(#[from] VerdictError),
    /// It refuses the command.
    #[error("{step} was refused: {reason}")]
    Refused {
        /// What was asked.
        step: &'static str,
        /// What Redis said.
        reason: String,
    },
    /// It answers, but not as Redis does.
    #[error("{step} was not answered as Redis answers it")]
    Odd {
        /// What was asked.
        step: &'static str,
    },
}

impl LinkError {
    /// It does not answer, which is otherwise told of; one that answers too much or otherwise is told of here.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Silent(cause) if !matches!(cause, ProbeError::Resp { .. }))
    }
}

/// A conversation with one server.
pub struct Link(Server);

impl Link {
    /// Connects, and names a password that the server takes, where there are some.
    pub fn open(ip: IpAddr, port: u16, passwords: &Passwords, patience: Duration) -> Result<Self, LinkError> {
        Self::open_with(ip, port, &passwords.all(), patience)
    }

    /// The same with these, tried in turn.
    pub fn open_with(
        ip: IpAddr,
        port: u16,
        passwords: &[Arc<Password>],
        patience: Duration,
    ) -> Result<Self, LinkError> {
        let mut server = Server::connect(SocketAddr::from((ip, port)), Deadline::after(patience))?;
        let mut taken = Ok(());
        for password in passwords {
            taken = verdict::is_authenticated(&server.ask("AUTH", &[b"AUTH", password.bytes()])?);
            if taken.is_ok() {
                break;
            }
        }
        Ok(taken.map(|()| Self(server))?)
    }

    /// Takes replies of so many bytes.
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.0.take_up_to(bytes);
        self
    }

    /// Has as much time again.
    pub fn go_on(&mut self, patience: Duration) {
        self.0.go_on(Deadline::after(patience));
    }

    fn ask(&mut self, step: &'static str, words: &[&str]) -> Result<Reply, LinkError> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask_bytes(step, &words)
    }

    fn ask_bytes(&mut self, step: &'static str, words: &[&[u8]]) -> Result<Reply, LinkError> {
        match self.0.ask(step, words)? {
            Reply::Error(reason) => Err(LinkError::Refused { step, reason: verdict::one_line(&reason) }),
            reply => Ok(reply),
        }
    }

    /// A command that is answered with `OK`.
    pub fn order(&mut self, step: &'static str, words: &[&str]) -> Result<(), LinkError> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.order_bytes(step, &words)
    }

    /// A command of any bytes that is answered with `OK`, or with `NOKEY` where nothing was left to do.
    pub fn order_bytes(&mut self, step: &'static str, words: &[&[u8]]) -> Result<(), LinkError> {
        match self.ask_bytes(step, words)? {
            Reply::Simple(_) => Ok(()),
            _ => Err(LinkError::Odd { step }),
        }
    }

    /// A command that is answered with `OK`, or with how many it was done to.
    pub fn count_or_order(&mut self, step: &'static str, words: &[&str]) -> Result<(), LinkError> {
        match self.ask(step, words)? {
            Reply::Simple(_) | Reply::Integer(_) => Ok(()),
            _ => Err(LinkError::Odd { step }),
        }
    }

    /// A command that is answered with a text.
    pub fn text(&mut self, step: &'static str, words: &[&str]) -> Result<String, LinkError> {
        match self.ask(step, words)? {
            Reply::Bulk(text) => Ok(resp::text(&text)),
            _ => Err(LinkError::Odd { step }),
        }
    }

    /// A command that is answered with some bytes.
    pub fn bytes(&mut self, step: &'static str, words: &[&str]) -> Result<Vec<u8>, LinkError> {
        match self.ask(step, words)? {
            Reply::Bulk(bytes) => Ok(bytes),
            _ => Err(LinkError::Odd { step }),
        }
    }

    /// A command that is answered with any number of byte strings.
    pub fn list(&mut self, step: &'static str, words: &[&str]) -> Result<Vec<Vec<u8>>, LinkError> {
        let Reply::List(replies) = self.ask(step, words)? else { return Err(LinkError::Odd { step }) };
        let bytes = |reply| match reply {
            Reply::Bulk(bytes) => Ok(bytes),
            _ => Err(LinkError::Odd { step }),
        };
        replies.into_iter().map(bytes).collect()
    }

    /// A command that is answered with names and their values in turn: the values of some.
    pub fn values(
        &mut self,
        step: &'static str,
        words: &[&str],
        names: &[&str],
    ) -> Result<Vec<String>, LinkError> {
        let Reply::List(replies) = self.ask(step, words)? else { return Err(LinkError::Odd { step }) };
        let value = |name: &&str| {
            let mut pairs = replies.chunks_exact(2);
            pairs.find_map(|pair| match pair {
                [Reply::Bulk(key), Reply::Bulk(value)] if key == name.as_bytes() => Some(resp::text(value)),
                _ => None,
            })
        };
        names.iter().map(|name| value(name).ok_or(LinkError::Odd { step })).collect()
    }

    /// A command of any bytes that is answered with how many there are, or with nothing.
    pub fn count_bytes(&mut self, step: &'static str, words: &[&[u8]]) -> Result<Option<u64>, LinkError> {
        match self.ask_bytes(step, words)? {
            Reply::Integer(number) => u64::try_from(number).map(Some).map_err(|_| LinkError::Odd { step }),
            Reply::Nothing => Ok(None),
            _ => Err(LinkError::Odd { step }),
        }
    }

    /// A command that is answered with how many there are.
    pub fn count(&mut self, step: &'static str, words: &[&str]) -> Result<u64, LinkError> {
        match self.ask(step, words)? {
            Reply::Integer(number) => u64::try_from(number).map_err(|_| LinkError::Odd { step }),
            _ => Err(LinkError::Odd { step }),
        }
    }
}

/// A value of `INFO` or `CLUSTER INFO`.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    verdict::field(info, name).map(str::trim_end)
}
