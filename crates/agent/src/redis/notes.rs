//! Notes stage, I/O: who was master last, where the Sentinels have forgotten.
//!
//! Sentinels have no volume. Where all of their pods are replaced at once, as when a platform is
//! stopped and started, they would take the first server for the master, and its data for the data.
//! So each server's agent writes down beside the data what a Sentinel said last, and tells it to
//! those that start.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::password::Passwords;
use super::replicated;
use crate::install::{self, InstallError};
use crate::said::Said;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Time for one agent to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const LONGEST: u64 = 4096;
/// Where an agent tells its note.
pub const PATH: &str = "/master";

/// Who is master, and since which failover. The later failover wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mastership {
    /// The Sentinels' number of the failover; 0 before the first.
    pub epoch: u64,
    /// Name of the master.
    pub host: String,
}

impl Mastership {
    /// From `EPOCH HOST`.
    fn parse(text: &str) -> Option<Self> {
        let (epoch, host) = text.trim_end().split_once(' ')?;
        Some(Self { epoch: epoch.parse().ok()?, host: host.to_owned() })
    }

    /// As it is written down.
    pub fn line(&self) -> String {
        format!("{} {}\n", self.epoch, self.host)
    }
}

/// What an agent has written down; `None` before it has heard of a master.
pub fn read(file: &Path) -> io::Result<Option<Mastership>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Mastership::parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(file: &Path, note: &Mastership) -> Result<(), InstallError> {
    install::replace(file, 0o600, &mut note.line().as_bytes())
}

/// Where a server or Sentinel asks who is master.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The own note, beside the data; none of a Sentinel.
    pub note: Option<PathBuf>,
    /// Hosts of the servers' agents, or one name for all of them.
    pub agents: Vec<String>,
    /// Port of the agents.
    pub port: u16,
    /// How many servers there are.
    pub servers: usize,
}

impl Sources {
    /// Who is master: waits for a Sentinel that has not forgotten, or for what the majority of the
    /// servers has written down. `None` where no failover was ever written down.
    pub fn master(&self, sentinel: impl Fn() -> Option<Mastership>) -> io::Result<Option<Mastership>> {
        let own = self.note.as_deref().map(read).transpose()?.flatten();
        let mut said = false;
        loop {
            if let Some(told) = sentinel()
                && own.as_ref().is_none_or(|own| told.epoch >= own.epoch)
            {
                return Ok(Some(told));
            }
            let notes = self.notes();
            if let Some(agreed) = latest(&notes, own.as_ref(), self.servers) {
                return Ok(agreed);
            }
            if !said {
                eprintln!(
                    "waits to be told who is master: by a Sentinel, or by a majority of the {} servers; {} answer",
                    self.servers,
                    notes.len()
                );
                said = true;
            }
            thread::sleep(PAUSE);
        }
    }

    /// What the agents that answer have written down; this pod's own among them.
    fn notes(&self) -> Vec<Option<Mastership>> {
        let mut addresses: Vec<SocketAddr> = self
            .agents
            .iter()
            .filter_map(|host| (host.as_str(), self.port).to_socket_addrs().ok())
            .flatten()
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
            .into_iter()
            .filter_map(|address| ask(address).ok())
            .map(|it| Mastership::parse(&it))
            .collect()
    }
}

/// The latest note, where a majority was heard.
#[allow(clippy::option_option)] // no majority, or a majority that knows nobody
fn latest(
    notes: &[Option<Mastership>],
    own: Option<&Mastership>,
    servers: usize,
) -> Option<Option<Mastership>> {
    (notes.len() * 2 > servers).then(|| notes.iter().flatten().chain(own).max().cloned())
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Writes down, for as long as the server runs, who is master as the Sentinels say.
pub fn keep(file: &Path, sentinels: &str, name: &str, passwords: &Passwords) {
    let mut said = Said::default();
    loop {
        if let Some(told) = replicated::master(sentinels, name, passwords) {
            let news = read(file).map_err(|source| InstallError::Read { path: file.to_owned(), source });
            // A Sentinel that was cut off may say what is no longer so.
            let written = news.and_then(|known| match known {
                Some(known) if known.epoch > told.epoch || known == told => Ok(()),
                _ => write(file, &told),
            });
            let trouble = written.err().map(|error| crate::with_causes(&error)).unwrap_or_default();
            said.once("cannot write down who is master", trouble);
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(epoch: u64, host: &str) -> Mastership {
        Mastership { epoch, host: host.to_owned() }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let written = note(3, "shop-redis-1.h");
        assert_eq!(Mastership::parse(&written.line()), Some(written));
        for odd in ["", "3", "x shop", "\n"] {
            assert_eq!(Mastership::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn the_latest_note_of_a_majority_counts() {
        let (stale, newer) = (note(0, "a"), note(2, "b"));
        let heard = [Some(stale.clone()), Some(newer.clone())];
        assert_eq!(latest(&heard[..1], Some(&stale), 3), None, "one of three is no majority");
        assert_eq!(latest(&heard, Some(&stale), 3), Some(Some(newer.clone())));
        assert_eq!(latest(&[None, None], None, 3), Some(None), "a new platform");
        assert_eq!(latest(&[None, None], Some(&newer), 3), Some(Some(newer)));
        assert_eq!(latest(&[None], None, 2), None);
    }
}
