//! Authorities that tests trust.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

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

    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
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
