//! Looks whether a store that somebody else runs answers: no login, no more than the first bytes.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use trading_core::members::{Failure, NO_TLS, Protocol, Report, Role, UNREACHABLE};

/// For the look-up of the name, for each address, and for the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// For all of it: others wait for their turn.
const LONGEST: Duration = Duration::from_secs(6);
/// Addresses of a name that are tried.
const TRIED: usize = 4;
/// `SSLRequest`, with which a client of Postgres may begin: its length, and a number that is no version.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Why it is not as clients need it.
#[derive(Debug, thiserror::Error)]
enum OutsideError {
    #[error("has a name that is not found: {0}")]
    NoName(io::Error),
    #[error("has no address that may be called")]
    NoAddress,
    #[error("takes no connection: {0}")]
    NoConnection(io::Error),
    #[error("takes a connection, but does not answer as {0} does")]
    OtherProtocol(&'static str),
    #[error("offers no TLS, which clients are told to insist on")]
    NoTls,
}

/// What it would say of itself.
pub async fn look(protocol: Protocol, host: &str, port: u16, admits: fn(IpAddr) -> bool) -> Report {
    let tried = timeout(LONGEST, try_it(protocol, host, port, admits)).await;
    let failure = match tried.unwrap_or_else(|_| Err(OutsideError::NoConnection(too_late(LONGEST)))) {
        Ok(()) => None,
        Err(error) => {
            let reason = if matches!(error, OutsideError::NoTls) { NO_TLS } else { UNREACHABLE };
            Some(Failure { reason: reason.to_owned(), message: error.to_string() })
        }
    };
    let role = if failure.is_none() { Role::Primary } else { Role::Unknown };
    Report { name: host.to_owned(), role, failure, ..Report::default() }
}

/// Whether an address may be called: not the operator's own pod, nor its node or the cloud's metadata service,
/// whatever a name leads to.
pub fn is_admitted(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_near = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    };
    !(is_near || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

async fn try_it(
    protocol: Protocol,
    host: &str,
    port: u16,
    admits: fn(IpAddr) -> bool,
) -> Result<(), OutsideError> {
    let found = in_time(lookup_host((host, port))).await.map_err(OutsideError::NoName)?;
    let mut refused = OutsideError::NoAddress;
    for address in found.filter(|address| admits(address.ip())).take(TRIED) {
        match in_time(TcpStream::connect(address)).await {
            Ok(stream) => return converse(protocol, stream).await,
            Err(error) => refused = OutsideError::NoConnection(about(address, &error)),
        }
    }
    Err(refused)
}

fn about(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} ({})", error, address.ip()))
}

async fn converse(protocol: Protocol, mut stream: TcpStream) -> Result<(), OutsideError> {
    match protocol {
        Protocol::Postgres { tls } => match ask(&mut stream, &SSL_REQUEST).await {
            Ok(b'N') if tls => Err(OutsideError::NoTls),
            // An error, such as too many clients, is Postgres' too.
            Ok(b'S' | b'N' | b'E') => Ok(()),
            Ok(_) | Err(_) => Err(OutsideError::OtherProtocol("PostgreSQL")),
        },
        // `PONG`, or that a password is missing.
        Protocol::Redis { tls: false } => match ask(&mut stream, b"PING\r\n").await {
            Ok(b'+' | b'-') => Ok(()),
            Ok(_) | Err(_) => Err(OutsideError::OtherProtocol("Redis without TLS")),
        },
        // Who speaks TLS says nothing before the client has.
        Protocol::Redis { tls: true } | Protocol::Agent => Ok(()),
    }
}

/// The first byte that comes back.
async fn ask(stream: &mut TcpStream, question: &[u8]) -> io::Result<u8> {
    in_time(async {
        stream.write_all(question).await?;
        stream.read_u8().await
    })
    .await
}

fn too_late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing came back within {} s", limit.as_secs()))
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(too_late(PATIENCE)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Takes one connection and answers with this.
    async fn answering(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut question = [0; 6];
            stream.read_exact(&mut question).await?;
            stream.write_all(answer).await
        });
        port
    }

    async fn failure(protocol: Protocol, port: u16) -> Option<(String, String)> {
        let report = look(protocol, "127.0.0.1", port, |_| true).await;
        assert_eq!(
            (report.name.as_str(), report.role == Role::Primary),
            ("127.0.0.1", report.failure.is_none())
        );
        report.failure.map(|failure| (failure.reason, failure.message))
    }

    #[tokio::test]
    async fn who_speaks_the_protocol_answers() {
        let insists = Protocol::Postgres { tls: true };
        let takes_both = Protocol::Postgres { tls: false };
        let plain = Protocol::Redis { tls: false };
        let cases: [(Protocol, &'static [u8], Option<&str>); 8] = [
            (insists, b"S", None),
            (insists, b"E", None),
            (insists, b"N", Some(NO_TLS)),
            (takes_both, b"N", None),
            (takes_both, b"HTTP/1.1 400", Some(UNREACHABLE)),
            (plain, b"-NOAUTH Authentication required.\r\n", None),
            (plain, b"+PONG\r\n", None),
            (plain, b"", Some(UNREACHABLE)),
        ];
        for (protocol, answer, reason) in cases {
            let found = failure(protocol, answering(answer).await).await;
            let found = found.as_ref().map(|(reason, _)| reason.as_str());
            assert_eq!(found, reason, "{protocol:?} {answer:?}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_said() {
        let protocol = Protocol::Redis { tls: true };
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = taken.local_addr().expect("it has an address").port();
        assert_eq!(failure(protocol, port).await, None);
        drop(taken);
        let (_, message) = failure(protocol, port).await.expect("nobody is there");
        assert!(message.contains("refused") && message.contains("127.0.0.1"), "{message}");
        let message = async |host: &str| {
            let failure = look(protocol, host, port, is_admitted).await.failure;
            failure.expect("it can't be reached").message
        };
        assert!(message("no-such-host.invalid").await.contains("not found"));
        assert_eq!(message("127.0.0.1").await, OutsideError::NoAddress.to_string());
    }

    #[test]
    fn neither_the_pod_nor_the_node_is_called() {
        let refused = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "169.254.169.254",
            "fe80::1",
            "::ffff:127.0.0.1",
            "fd00:ec2::254",
        ];
        for address in refused {
            assert!(!is_admitted(address.parse().expect("an address")), "{address}");
        }
        for address in ["10.0.0.7", "192.0.2.1", "2001:db8::1", "fd00::1"] {
            assert!(is_admitted(address.parse().expect("an address")), "{address}");
        }
    }
}
