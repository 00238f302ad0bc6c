//! Proxy stage, I/O: clients reach the server through here alone, byte by byte; what the server
//! says leaves while the gate is open. TLS and passwords pass through unread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::gate::Gate;

/// Of each direction of a connection.
const BUFFER: usize = 8 * 1024;
/// After the system had no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What it is made of.
#[derive(Clone)]
pub struct Proxy {
    /// The server, on loopback.
    pub server: SocketAddr,
    /// Lets answers out.
    pub gate: Gate,
    /// Connections now.
    pub connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// Serves until the process ends.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let proxy = self.clone();
                    tokio::spawn(async move { proxy.connect(client).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "a client could not be let in");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connect(self, mut client: TcpStream) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if self.gate.is_open() {
            // A connection that breaks is the client's and the server's to notice.
            tokio::select! {
                _ = self.pass(&mut client) => {}
                () = self.gate.wait_closed() => {}
            }
        }
        if !self.gate.is_open() {
            // What the kernel has not sent yet is dropped too.
            let _ = client.set_zero_linger();
        }
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    async fn pass(&self, client: &mut TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(questions(from_client, to_server), answers(from_server, to_client, &self.gate))?;
        Ok(())
    }
}

async fn questions(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

/// The gate is asked right before each write, because the process can be frozen anywhere.
async fn answers(mut from: ReadHalf<'_>, to: WriteHalf<'_>, gate: &Gate) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            // The server ended it; what the client still says would go nowhere.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut left = &buffer[..length];
        while !left.is_empty() {
            to.writable().await?;
            if !gate.is_open() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            match to.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::clock;
    use super::*;

    #[tokio::test]
    async fn answers_leave_only_while_the_gate_is_open() -> io::Result<()> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let gate = Gate::closed();
        let proxy = Proxy { server: server.local_addr()?, gate: gate.clone(), connections: Arc::default() };
        let connections = proxy.connections.clone();
        tokio::spawn(proxy.serve(listener));

        let mut refused = TcpStream::connect(address).await?;
        assert!(refused.read_u8().await.is_err());

        gate.open_until(clock::now() + Duration::from_mins(1));
        let mut client = TcpStream::connect(address).await?;
        let (mut behind, _) = server.accept().await?;
        client.write_all(b"commit").await?;
        let mut question = [0; 6];
        behind.read_exact(&mut question).await?;
        behind.write_all(b"y").await?;
        assert_eq!((&question, client.read_u8().await?), (b"commit", b'y'));
        assert_eq!(connections.load(Ordering::Relaxed), 1);

        client.write_all(b"commit").await?;
        behind.read_exact(&mut question).await?;
        gate.close();
        behind.write_all(b"y").await?;
        assert!(client.read_u8().await.is_err());
        gate.open_until(clock::now() + Duration::from_mins(1));
        assert!(client.read_u8().await.is_err());
        assert_eq!(connections.load(Ordering::Relaxed), 0);
        Ok(())
    }
}
