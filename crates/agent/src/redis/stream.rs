//! Stream stage, I/O: bytes to and from a server, with TLS where this program was told so at its start.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use thiserror::Error;

use crate::tls::AUTHORITY;

/// Why servers can't be talked to.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The name is none.
    #[error("{name:?} is no name of a server")]
    Name {
        /// As given.
        name: String,
        /// What is wrong.
        source: InvalidDnsNameError,
    },
}

/// One for the process: all its servers are of one store.
static ENCRYPTION: OnceLock<Encryption> = OnceLock::new();

struct Encryption {
    authority: PathBuf,
    /// Servers are reached by addresses that change; what every certificate has is this.
    name: ServerName<'static>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whom the configuration trusts, as the file had it.
    authority: Vec<u8>,
    config: Option<Arc<ClientConfig>>,
}

/// From now on every server is talked to with TLS, and has to have a certificate of this authority with this name.
///
/// # Errors
/// Where the name is none.
pub fn encrypt(folder: &Path, name: &str) -> Result<(), StreamError> {
    let parsed = ServerName::try_from(name.to_owned());
    let name = parsed.map_err(|source| StreamError::Name { name: name.to_owned(), source })?;
    let authority = folder.join(AUTHORITY);
    // Told once, at the start.
    let _ = ENCRYPTION.set(Encryption { authority, name, known: Mutex::default() });
    Ok(())
}

impl Encryption {
    /// As the file is now; sessions are taken up again as long as it stays the same.
    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let authority = fs::read(&self.authority)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.config.as_ref().filter(|_| known.authority == authority) {
            return Ok(config.clone());
        }
        let mut trusted = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&authority) {
            trusted.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let config = Arc::new(config);
        *known = Known { authority, config: Some(config.clone()) };
        Ok(config)
    }
}

/// A connection.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With it.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects; what TLS has to say is said with the first bytes.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, patience)?;
        let Some(encryption) = ENCRYPTION.get() else { return Ok(Self::Plain(socket)) };
        let session = ClientConnection::new(encryption.config()?, encryption.name.clone());
        let session = session.map_err(io::Error::other)?;
        Ok(Self::Encrypted(Box::new(StreamOwned::new(session, socket))))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => stream.get_ref(),
        }
    }

    /// How long to wait for any of it from now on: either direction may have to wait for the other.
    pub fn set_timeout(&self, left: Duration) -> io::Result<()> {
        self.socket().set_read_timeout(Some(left))?;
        self.socket().set_write_timeout(Some(left))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Encrypted(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
