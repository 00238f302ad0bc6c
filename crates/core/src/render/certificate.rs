//! The Secret with the certificate of a store's servers, and how pods have it.

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use super::{pod, store::Store};
use crate::{
    object::{Content, Object},
    plan::StoreCertificate,
};

/// Where it is in their containers.
pub(super) const FOLDER: &str = "/tls";
const VOLUME: &str = "tls";

pub(super) fn render(store: &Store, certificate: &StoreCertificate) -> Object {
    let StoreCertificate { secret, names, is_whole, now } = certificate;
    let mut object = store.secret(secret);
    object.content = Content::Certified { names: names.clone(), is_whole: *is_whole, now: *now };
    object
}

/// All but the authority's private key. The kubelet keeps it up to date: a renewed one restarts nobody.
pub(super) fn volume(certificate: &StoreCertificate) -> Volume {
    let items = [StoreCertificate::AUTHORITY, StoreCertificate::CERTIFICATE, StoreCertificate::KEY];
    let item = |key: &str| KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None };
    let source = SecretVolumeSource {
        secret_name: Some(certificate.secret.clone()),
        items: Some(items.map(item).into()),
        default_mode: Some(pod::GROUP_READS),
        ..SecretVolumeSource::default()
    };
    Volume { name: VOLUME.to_owned(), secret: Some(source), ..Volume::default() }
}

pub(super) fn mount() -> VolumeMount {
    pod::mount(VOLUME, FOLDER, true)
}

/// Where a file of it is.
pub(super) fn file(key: &str) -> String {
    format!("{FOLDER}/{key}")
}
