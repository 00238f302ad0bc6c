//! Probe stage, I/O: begins a connection to the server in this pod, as `pg_isready` does, and looks
//! at the first answer. No login is needed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{Check, ProbeArgs};

/// Longest error message that is read.
const MAX_MESSAGE: usize = 64 * 1024;
/// SQLSTATE of a server that starts, stops or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";

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
    /// The server did not answer in time, or hung up.
    #[error("no answer within {} ms", timeout.as_millis())]
    Silent {
        /// The time that the probe had.
        timeout: Duration,
        /// What the system said.
        source: io::Error,
    },
    /// Something answered, but not as Postgres would.
    #[error("the answer is not Postgres'")]
    NotPostgres,
    /// The server answered, and takes no clients now.
    #[error("the server takes no clients now: {0}")]
    NotNow(String),
}

/// `Ok` if the server passes the check.
pub fn run(args: &ProbeArgs) -> Result<(), ProbeError> {
    let timeout = args.timeout();
    let end = Instant::now() + timeout;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let silent = |source| ProbeError::Silent { timeout, source };
    let mut stream = TcpStream::connect_timeout(&address, timeout)
        .map_err(|source| ProbeError::Connect { address, source })?;
    stream.set_write_timeout(Some(timeout)).map_err(silent)?;
    stream.write_all(&startup()).map_err(silent)?;
    let mut received = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        if let Some(answer) = parse(&received)? {
            return verdict(args.check, answer);
        }
        // Never zero, which sockets refuse as a timeout.
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let read = stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut chunk));
        match read {
            Ok(0) => return Err(silent(io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => received.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(silent(error)),
        }
        if Instant::now() >= end {
            return Err(silent(io::ErrorKind::TimedOut.into()));
        }
    }
}

/// The first message of protocol 3.0: its length, the version, user and database.
fn startup() -> Vec<u8> {
    let parameters = b"user\0postgres\0database\0postgres\0application_name\0probe\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes()[..], &parameters[..]].concat()
}

/// What the server said first.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It asks who we are.
    Login,
    /// It refuses, with a SQLSTATE and in words.
    Refusal(String, String),
}

fn verdict(check: Check, answer: Answer) -> Result<(), ProbeError> {
    match (check, answer) {
        (Check::Readiness, Answer::Refusal(state, message)) if state == CANNOT_CONNECT_NOW => {
            Err(ProbeError::NotNow(message))
        }
        // It answers; a refusal of this login says nothing of others.
        _ => Ok(()),
    }
}

/// The first message; `None` while its end has not arrived.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, ProbeError> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    match kind {
        b'R' => return Ok(Some(Answer::Login)),
        b'E' => {}
        _ => return Err(ProbeError::NotPostgres),
    }
    let Some(length) = bytes.get(1..5).and_then(|field| field.try_into().ok()).map(u32::from_be_bytes) else {
        return Ok(None);
    };
    let length = usize::try_from(length).ok().filter(|length| (4..=MAX_MESSAGE).contains(length));
    let length = length.ok_or(ProbeError::NotPostgres)?;
    let Some(body) = bytes.get(5..=length) else { return Ok(None) };
    let field = |code: u8| {
        let found = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&code));
        found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    };
    Ok(Some(Answer::Refusal(field(b'C'), field(b'M'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(state: &str, message: &str) -> Vec<u8> {
        let fields = format!("SFATAL\0C{state}\0M{message}\0\0");
        let length = u32::try_from(4 + fields.len()).expect("short");
        [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
    }

    #[test]
    fn answers_are_read_whole() {
        let bytes = refusal("57P03", "the database system is starting up");
        for end in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..end]), Ok(None)), "{end}");
        }
        let answer = parse(&bytes).expect("Postgres'").expect("whole");
        assert_eq!(answer, Answer::Refusal("57P03".into(), "the database system is starting up".into()));
        assert!(verdict(Check::Liveness, Answer::Refusal("57P03".into(), String::new())).is_ok());
        assert!(verdict(Check::Readiness, answer).is_err());
        assert!(verdict(Check::Readiness, Answer::Refusal("28000".into(), String::new())).is_ok());
    }

    #[test]
    fn other_servers_are_told_apart() {
        assert!(matches!(parse(b"R"), Ok(Some(Answer::Login))));
        assert!(matches!(parse(b"HTTP/1.1 400"), Err(ProbeError::NotPostgres)));
        assert!(matches!(parse(b"E\xff\xff\xff\xff"), Err(ProbeError::NotPostgres)));
        assert!(matches!(parse(b"E\0\0\0\x01"), Err(ProbeError::NotPostgres)));
    }
}
