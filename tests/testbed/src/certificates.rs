//! A certificate authority for one control plane, the servers' certificate, and the key that signs
//! service accounts' tokens.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The first address of [`SERVICE_RANGE`], at which pods reach the apiserver.
const APISERVER_SERVICE_IP: &str = "10.96.0.1";
/// The Service, in `kube-system`, whose name the servers' certificate bears too: what stands behind it can be
/// an API beside the apiserver's own.
pub(crate) const AGGREGATED_SERVICE: &str = "aggregated";
/// Addresses of Services.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The files that hold them.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pub(crate) ca: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) service_accounts: PathBuf,
    pub(crate) service_accounts_key: PathBuf,
}

impl Certificates {
    /// The servers are known by names, and by loopback's address and this one.
    pub(crate) fn create(dir: &Path, address: Ipv4Addr) -> Result<Self> {
        let files = Self {
            ca: dir.join("ca.crt"),
            server: dir.join("server.crt"),
            server_key: dir.join("server.key"),
            service_accounts: dir.join("service-accounts.pub"),
            service_accounts_key: dir.join("service-accounts.key"),
        };

        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "trading-testbed");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_key = KeyPair::generate()?;
        fs::write(&files.ca, authority.self_signed(&authority_key)?.pem())?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(vec![
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
            APISERVER_SERVICE_IP.to_owned(),
            address.to_string(),
            format!("{AGGREGATED_SERVICE}.kube-system.svc"),
        ])?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let server_key = KeyPair::generate()?;
        fs::write(&files.server, server.signed_by(&server_key, &issuer)?.pem())?;
        fs::write(&files.server_key, server_key.serialize_pem())?;

        let service_accounts = KeyPair::generate()?;
        fs::write(&files.service_accounts, service_accounts.public_key_pem())?;
        fs::write(&files.service_accounts_key, service_accounts.serialize_pem())?;
        Ok(files)
    }
}
