//! Leave stage, I/O: a master that Sentinels watch hands over before it stops.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::link::{Link, LinkError, field};
use super::password::Passwords;
use super::replicated;
use crate::with_causes;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for one conversation.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for the replicas to receive what was acknowledged; they lag by milliseconds.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Why nobody took over.
#[derive(Debug, Error)]
enum LeaveError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("no replica is connected")]
    NoReplica,
    #[error("the replicas lag behind")]
    Lag,
    #[error("no Sentinel answers at {0}")]
    NoSentinel(String),
    #[error("the Sentinels have chosen no other master in time")]
    NoOther,
}

/// A server that Sentinels watch.
#[derive(Clone)]
pub struct Watched {
    /// Address of the server.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Name under which the Sentinels know it.
    pub host: String,
    /// Where they answer, as host:port.
    pub sentinels: String,
    /// Name under which they watch it.
    pub name: String,
    /// Of the servers and the Sentinels.
    pub passwords: Passwords,
}

impl Watched {
    /// A replica becomes master first, where this server is master and within `patience`.
    ///
    /// Writes wait meanwhile: what they would change here the new master would not know.
    pub fn leave(&self, patience: Duration) {
        let end = Instant::now() + patience;
        match self.hand_over(end) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("stops without handing over: {}", with_causes(&error));
            }
        }
    }

    fn hand_over(&self, end: Instant) -> Result<(), LeaveError> {
        let info = self.replication()?;
        if field(&info, "role") != Some("master") {
            return Ok(());
        }
        if offsets(&info).1.is_empty() {
            return Err(LeaveError::NoReplica);
        }
        let left = end.saturating_duration_since(Instant::now());
        let millis = left.as_millis().to_string();
        self.own()?.order("CLIENT PAUSE", &["CLIENT", "PAUSE", &millis, "WRITE"])?;
        let handed_over = self.have_another_chosen(end);
        if handed_over.is_err() {
            self.own()?.order("CLIENT UNPAUSE", &["CLIENT", "UNPAUSE"])?;
        }
        handed_over
    }

    fn have_another_chosen(&self, end: Instant) -> Result<(), LeaveError> {
        let caught_up = end.min(Instant::now() + CATCH_UP);
        loop {
            let (sent, received) = offsets(&self.replication()?);
            if received.iter().all(|offset| *offset >= sent) {
                break;
            }
            if Instant::now() > caught_up {
                return Err(LeaveError::Lag);
            }
            thread::sleep(PAUSE);
        }
        let nobody = || LeaveError::NoSentinel(self.sentinels.clone());
        let address = replicated::address(&self.sentinels).ok_or_else(nobody)?;
        Link::open(address.ip(), address.port(), &self.passwords, PATIENCE)?
            .order("SENTINEL FAILOVER", &["SENTINEL", "FAILOVER", &self.name])?;
        while Instant::now() < end {
            let master = replicated::master(&self.sentinels, &self.name, &self.passwords);
            if master.is_some_and(|master| master.host != self.host) {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Err(LeaveError::NoOther)
    }

    fn own(&self) -> Result<Link, LinkError> {
        Link::open(self.ip, self.port, &self.passwords, PATIENCE)
    }

    fn replication(&self) -> Result<String, LinkError> {
        self.own()?.text("INFO", &["INFO", "replication"])
    }
}

/// Bytes that the master has sent, and that each connected replica has received.
fn offsets(info: &str) -> (u64, Vec<u64>) {
    let sent = field(info, "master_repl_offset").and_then(|it| it.parse().ok()).unwrap_or(0);
    let received = info
        .lines()
        .filter(|line| line.starts_with("slave") && line.contains("state=online"))
        .filter_map(|line| line.split(',').find_map(|it| it.strip_prefix("offset="))?.trim_end().parse().ok())
        .collect();
    (sent, received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replicas_in_step_count() {
        let info = "role:master\r\nconnected_slaves:2\r\n\
            slave0:ip=a,port=6379,state=online,offset=40,lag=1\r\n\
            slave1:ip=b,port=6379,state=wait_bgsave,offset=0,lag=0\r\nmaster_repl_offset:42\r\n";
        assert_eq!(offsets(info), (42, vec![40]));
    }
}
