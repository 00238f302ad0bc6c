//! Makes certificates of data stores' servers, each by an authority of its platform's own. What is held already is
//! kept as far as it is of use, so that nobody who trusts it is surprised.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use thiserror::Error;
use trading_core::plan::StoreCertificate;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// As PEM calls one.
const CERTIFICATE: &str = "CERTIFICATE";
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long an authority is good.
const AUTHORITY_DAYS: i32 = 3650;
/// How long before its end there is another: longer than a certificate of it is good.
const AUTHORITY_LEFT_DAYS: i32 = 365;
/// How long a certificate is good, and when it is renewed: as cert-manager has it.
const DAYS: i32 = 90;
const RENEWED_AFTER_DAYS: i32 = 60;
/// Most characters of a common name (RFC 5280, `ub-common-name`).
const LONGEST_NAME: usize = 64;
/// Clocks of those who check it may be behind by so much.
const BEHIND: SignedDuration = SignedDuration::from_hours(1);

/// Why none was made.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The names or keys are not fit for it.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// The time can't be reckoned with.
    #[error("cannot reckon with the time")]
    Time(#[from] jiff::Error),
}

/// What a Secret is to hold.
pub struct Made {
    /// All of its keys.
    pub data: BTreeMap<String, ByteString>,
    /// When the certificate is to be renewed.
    pub renew: Timestamp,
}

struct Authority {
    certificate: Pem,
    key: KeyPair,
    end: Timestamp,
}

/// A new certificate for these names. `owner` is what people see of its authority.
///
/// # Errors
/// Where a name can't stand in a certificate.
pub fn make(
    owner: &str,
    names: &[String],
    held: &BTreeMap<String, ByteString>,
    now: Timestamp,
) -> Result<Made, CertificateError> {
    let trusted = trusted(held, now);
    let old = trusted.first().and_then(|(certificate, end)| Authority::held(certificate, *end, held));
    let (issuer, next) = match old {
        Some(old) if old.end > now + DAY * AUTHORITY_LEFT_DAYS => (old, None),
        // By the one that all clients trust, until they have heard of the next.
        Some(old) => (old, Some(Authority::new(owner, now)?)),
        None => (Authority::new(owner, now)?, None),
    };
    let (certificate, key) = leaf(names, &issuer, now)?;
    let current = next.as_ref().unwrap_or(&issuer);
    let others = trusted.iter().map(|(pem, _)| pem).filter(|pem| **pem != current.certificate);
    let all: String = [&current.certificate].into_iter().chain(others).map(written).collect();
    let bytes = |text: String| ByteString(text.into_bytes());
    let data = [
        (StoreCertificate::AUTHORITY, all),
        (StoreCertificate::AUTHORITY_KEY, current.key.serialize_pem()),
        (StoreCertificate::CERTIFICATE, certificate),
        (StoreCertificate::KEY, key),
    ];
    Ok(Made {
        data: data.map(|(key, text)| (key.to_owned(), bytes(text))).into(),
        renew: now.checked_add(DAY * RENEWED_AFTER_DAYS)?,
    })
}

/// The names that the certificate of a Secret is for; none where it can't be read.
#[must_use]
pub fn names(held: &BTreeMap<String, ByteString>) -> Vec<String> {
    let read = || {
        let certificate = pem::parse(&held.get(StoreCertificate::CERTIFICATE)?.0).ok()?;
        let (_, parsed) = X509Certificate::from_der(certificate.contents()).ok()?;
        let names = parsed.subject_alternative_name().ok()??.value.general_names.iter();
        let name = |name: &GeneralName| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Some(names.filter_map(name).collect())
    };
    read().unwrap_or_default()
}

impl Authority {
    fn new(owner: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let name: String = owner.chars().take(LONGEST_NAME).collect();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let end = valid(&mut params, AUTHORITY_DAYS, now)?;
        let certificate = Pem::new(CERTIFICATE, params.self_signed(&key)?.der().to_vec());
        Ok(Self { certificate, key, end })
    }

    /// `None` where its key is not held.
    fn held(certificate: &Pem, end: Timestamp, held: &BTreeMap<String, ByteString>) -> Option<Self> {
        let key = held.get(StoreCertificate::AUTHORITY_KEY)?;
        let key = KeyPair::from_pem(std::str::from_utf8(&key.0).ok()?).ok()?;
        let (_, parsed) = X509Certificate::from_der(certificate.contents()).ok()?;
        let is_its = parsed.public_key().subject_public_key.data == key.public_key_raw();
        is_its.then(|| Self { certificate: certificate.clone(), key, end })
    }
}

/// Authorities that are trusted and still good, the current one first.
fn trusted(held: &BTreeMap<String, ByteString>, now: Timestamp) -> Vec<(Pem, Timestamp)> {
    let all = held
        .get(StoreCertificate::AUTHORITY)
        .and_then(|all| pem::parse_many(&all.0).ok())
        .unwrap_or_default();
    let read = |pem: Pem| {
        let (_, parsed) = X509Certificate::from_der(pem.contents()).ok()?;
        let end = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
        (end > now).then_some((pem, end))
    };
    all.into_iter().filter_map(read).collect()
}

fn written(certificate: &Pem) -> String {
    pem::encode_config(certificate, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// The certificate and its key.
fn leaf(names: &[String], issuer: &Authority, now: Timestamp) -> Result<(String, String), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Servers of a Redis Cluster are each other's clients, and ask for a certificate on their bus whatever is set.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, DAYS, now)?;
    let by = Issuer::from_ca_cert_der(&issuer.certificate.contents().into(), &issuer.key)?;
    Ok((params.signed_by(&key, &by)?.pem(), key.serialize_pem()))
}

/// Until when it is good.
fn valid(params: &mut CertificateParams, days: i32, now: Timestamp) -> Result<Timestamp, CertificateError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let at = |time: Timestamp| epoch + Duration::from_secs(time.as_second().try_into().unwrap_or_default());
    let end = now.checked_add(DAY * days)?;
    (params.not_before, params.not_after) = (at(now.checked_sub(BEHIND)?), at(end));
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "shop-postgres of trading";

    fn start() -> Timestamp {
        "2026-11-30T12:00:00Z".parse().expect("it is a time")
    }

    fn names() -> Vec<String> {
        vec!["shop-postgres".to_owned(), "*.shop-postgres-headless.trading.svc".to_owned()]
    }

    fn made(held: &BTreeMap<String, ByteString>, now: Timestamp) -> Made {
        make(OWNER, &names(), held, now).expect("it is made")
    }

    fn pems(made: &Made, key: &str) -> Vec<Pem> {
        pem::parse_many(&made.data[key].0).expect("they are certificates")
    }

    /// Whether the certificate is of this authority, and good.
    fn is_of(made: &Made, authority: &Pem, now: Timestamp) -> bool {
        let (_, issuer) = X509Certificate::from_der(authority.contents()).expect("it is one");
        let leaf = pems(made, StoreCertificate::CERTIFICATE).remove(0);
        let (_, leaf) = X509Certificate::from_der(leaf.contents()).expect("it is one");
        let usage = leaf.extended_key_usage().expect("it can be read").expect("it is there");
        assert!(usage.value.server_auth && usage.value.client_auth);
        let validity = leaf.validity();
        let good = validity.not_before.timestamp()..validity.not_after.timestamp();
        good.contains(&now.as_second()) && leaf.verify_signature(Some(issuer.public_key())).is_ok()
    }

    #[test]
    fn a_renewed_certificate_is_of_the_same_authority() {
        let first = made(&BTreeMap::new(), start());
        let authority = pems(&first, StoreCertificate::AUTHORITY);
        assert_eq!(authority.len(), 1);
        assert!(is_of(&first, &authority[0], start()));
        assert_eq!(first.renew, "2027-01-29T12:00:00Z".parse().expect("it is a time"));

        assert_eq!(super::names(&first.data), names(), "the same can be made without knowing them");

        let second = made(&first.data, first.renew);
        assert_eq!(pems(&second, StoreCertificate::AUTHORITY), authority);
        assert_eq!(second.data[StoreCertificate::AUTHORITY_KEY], first.data[StoreCertificate::AUTHORITY_KEY]);
        assert!(is_of(&second, &authority[0], first.renew));
        assert_ne!(second.data[StoreCertificate::KEY], first.data[StoreCertificate::KEY]);
    }

    #[test]
    fn another_authority_is_trusted_before_a_certificate_is_of_it() {
        let mut held = made(&BTreeMap::new(), start());
        let first = pems(&held, StoreCertificate::AUTHORITY).remove(0);
        let mut now = start();
        let mut before = vec![first.clone()];
        while pems(&held, StoreCertificate::AUTHORITY).len() == 1 {
            now = held.renew;
            assert!(now < start() + DAY * AUTHORITY_DAYS, "the authority ends");
            before = pems(&held, StoreCertificate::AUTHORITY);
            held = made(&held.data, now);
            // Who trusts what there was before trusts what there is now.
            assert!(before.iter().any(|authority| is_of(&held, authority, now)));
        }
        assert_eq!(before, std::slice::from_ref(&first));
        let both = pems(&held, StoreCertificate::AUTHORITY);
        assert_eq!((both.len(), &both[1]), (2, &first));
        assert!(is_of(&held, &first, now));
        let later = made(&held.data, held.renew);
        assert_eq!(pems(&later, StoreCertificate::AUTHORITY), both);
        assert!(is_of(&later, &both[0], held.renew));

        // What has ended is not trusted for ever.
        let much_later = made(&later.data, start() + DAY * (AUTHORITY_DAYS + 1));
        assert_eq!(pems(&much_later, StoreCertificate::AUTHORITY), both[..1]);
    }

    #[test]
    fn where_the_key_is_lost_both_are_trusted() {
        let first = made(&BTreeMap::new(), start());
        let old = pems(&first, StoreCertificate::AUTHORITY).remove(0);
        for damage in [None, Some(&b"no key"[..])] {
            let mut held = first.data.clone();
            match damage {
                None => held.remove(StoreCertificate::AUTHORITY_KEY),
                Some(text) => {
                    held.insert(StoreCertificate::AUTHORITY_KEY.to_owned(), ByteString(text.to_vec()))
                }
            };
            let second = made(&held, start());
            let both = pems(&second, StoreCertificate::AUTHORITY);
            assert_eq!((both.len(), &both[1]), (2, &old));
            assert!(is_of(&second, &both[0], start()) && !is_of(&second, &old, start()));
        }
        let garbage =
            [(StoreCertificate::AUTHORITY.to_owned(), ByteString(b"no certificate".to_vec()))].into();
        assert_eq!(pems(&made(&garbage, start()), StoreCertificate::AUTHORITY).len(), 1);
    }
}
