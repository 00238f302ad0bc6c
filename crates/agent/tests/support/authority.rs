//! Authorities that tests trust.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// One of them.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("made");
        Self(CertifiedIssuer::self_signed(params, key).expect("made"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a client does who trusts this one alone.
    pub fn trusting(&self) -> ClientConfig {
        let mut trusted = RootCertStore::empty();
        trusted.add(self.0.der().clone()).expect("it is a certificate");
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("it has some")
            .with_root_certificates(trusted)
            .with_no_client_auth()
    }

    /// A certificate for these names or addresses, and its key.
    pub fn certify(&self, names: &[String]) -> [String; 2] {
        let key = KeyPair::generate().expect("made");
        let mut params = CertificateParams::new(names.to_vec()).expect("they are names");
        // What is called as its issuer is taken for its own.
        params.distinguished_name.push(DnType::CommonName, "server");
        // As the operator has it.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        [params.signed_by(&key, &self.0).expect("made").pem(), key.serialize_pem()]
    }
}
