//! TLS stage: the certificate of a server and its key, from a mounted Secret; reads files, no other I/O.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// Files of the folder, called as the keys of Secrets of type `kubernetes.io/tls`.
pub const CERTIFICATE: &str = "tls.crt";
/// See [`CERTIFICATE`].
pub const KEY: &str = "tls.key";
/// See [`CERTIFICATE`].
pub const AUTHORITY: &str = "ca.crt";
/// Link by which the kubelet exchanges all files of a Secret at once.
const STATE: &str = "..data";

/// Why there is none.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} has no {what}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// They are no pair.
    #[error("{KEY} in {} is not the key of {CERTIFICATE}: put both of one certificate there", folder.display())]
    NoPair {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// A certificate with its key and the authorities that the servers' own clients trust.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and its authority.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// The authorities.
    pub authority: Vec<u8>,
}

impl Identity {
    /// What is in the folder now, all from one state of the Secret.
    ///
    /// # Errors
    /// Where a file is missing, or the key is not that of the certificate.
    pub fn read(folder: &Path) -> Result<Self, TlsError> {
        let state = fs::canonicalize(folder.join(STATE)).unwrap_or_else(|_| folder.to_owned());
        let file = |name: &str| {
            let path = state.join(name);
            fs::read(&path).map_err(|source| TlsError::Read { path, source })
        };
        let found = Self { certificate: file(CERTIFICATE)?, key: file(KEY)?, authority: file(AUTHORITY)? };
        found.check(folder)?;
        Ok(found)
    }

    fn check(&self, folder: &Path) -> Result<(), TlsError> {
        let unreadable = |name, what| {
            let path = folder.join(name);
            move |source| TlsError::Unreadable { path, what, source }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(unreadable(CERTIFICATE, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(unreadable(KEY, "private key"))?;
        CertificateDer::from_pem_slice(&self.authority).map_err(unreadable(AUTHORITY, "certificate"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|source| TlsError::NoPair { folder: folder.to_owned(), source })?;
        Ok(())
    }
}
