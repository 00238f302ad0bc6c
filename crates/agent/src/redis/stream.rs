//! Stream stage, I/O: bytes to and from a server, with TLS where this program was told so at its start.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned, WantsVerifier,
};
use thiserror::Error;

use crate::tls::AUTHORITY;

/// Why servers can't be talked to.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The library has no TLS.
    #[error("cannot speak TLS")]
    Tls(#[from] rustls::Error),
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
    /// Of this pod.
    own: Option<IpAddr>,
    /// For the server of this pod.
    trusting: Arc<ClientConfig>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whom the configuration trusts, as the file had it.
    authority: Vec<u8>,
    config: Option<Arc<ClientConfig>>,
}

/// From now on every server is talked to with TLS, and has to have a certificate of this authority with this name. Of
/// the one in this pod nothing is asked: whether it lives, and that it takes up another certificate, must not depend on
/// the one that it has.
///
/// # Errors
/// Where the name is none.
pub fn encrypt(folder: &Path, name: &str, own: Option<&OsStr>) -> Result<(), StreamError> {
    let parsed = ServerName::try_from(name.to_owned());
    let name = parsed.map_err(|source| StreamError::Name { name: name.to_owned(), source })?;
    let provider = Arc::new(ring::default_provider());
    let trusting = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let encryption = Encryption {
        authority: folder.join(AUTHORITY),
        name,
        own: own.and_then(|ip| ip.to_string_lossy().parse().ok()),
        trusting: Arc::new(trusting.with_no_client_auth()),
        known: Mutex::default(),
    };
    // Told once, at the start.
    let _ = ENCRYPTION.set(encryption);
    Ok(())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
}

impl Encryption {
    fn config_for(&self, ip: IpAddr) -> io::Result<Arc<ClientConfig>> {
        if ip == Ipv4Addr::LOCALHOST || Some(ip) == self.own {
            return Ok(self.trusting.clone());
        }
        self.config()
    }

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
        let config =
            builder().map_err(io::Error::other)?.with_root_certificates(trusted).with_no_client_auth();
        let config = Arc::new(config);
        *known = Known { authority, config: Some(config.clone()) };
        Ok(config)
    }
}

/// Takes any certificate; that who shows it has its key is checked all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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
    /// Connects, within what is left each time.
    pub fn connect(address: SocketAddr, left: impl Fn() -> io::Result<Duration>) -> io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&address, left()?)?;
        let Some(encryption) = ENCRYPTION.get() else { return Ok(Self::Plain(socket)) };
        let config = encryption.config_for(address.ip())?;
        let mut session = ClientConnection::new(config, encryption.name.clone()).map_err(io::Error::other)?;
        while session.is_handshaking() {
            let left = Some(left()?);
            socket.set_read_timeout(left)?;
            socket.set_write_timeout(left)?;
            if session.wants_write() {
                session.write_tls(&mut socket)?;
            } else if session.read_tls(&mut socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            } else {
                session.process_new_packets().map_err(io::Error::other)?;
            }
        }
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
