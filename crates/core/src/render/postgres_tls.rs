//! The Secret with the certificate of a database's servers, and how their pods and the pooler's have it.

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use super::{pod, store::Store};
use crate::{
    object::{Content, Object},
    plan::{PostgresServers, TlsPlan},
    tls::Level,
};

/// Where it is in their containers.
pub(super) const FOLDER: &str = "/tls";
const VOLUME: &str = "tls";
/// The kubelet gives it to the group of the pod.
const GROUP_READS: i32 = 0o440;

pub(super) fn render(store: &Store, servers: &PostgresServers) -> Option<Object> {
    let tls = servers.tls.as_ref()?;
    let mut object = store.secret(&tls.secret);
    object.content = Content::Certified { names: tls.names.clone(), is_whole: tls.is_whole, now: tls.now };
    Some(object)
}

/// All but the authority's private key. The kubelet keeps it up to date: a renewed one restarts nobody.
pub(super) fn volume(tls: &TlsPlan) -> Volume {
    let items = [TlsPlan::AUTHORITY, TlsPlan::CERTIFICATE, TlsPlan::KEY];
    let item = |key: &str| KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None };
    let source = SecretVolumeSource {
        secret_name: Some(tls.secret.clone()),
        items: Some(items.map(item).into()),
        default_mode: Some(GROUP_READS),
        ..SecretVolumeSource::default()
    };
    Volume { name: VOLUME.to_owned(), secret: Some(source), ..Volume::default() }
}

pub(super) fn mount() -> VolumeMount {
    pod::mount(VOLUME, FOLDER, true)
}

/// Which kind of connection `pg_hba.conf` lets in.
pub(super) fn connections(servers: &PostgresServers) -> &'static str {
    let is_required = servers.tls.as_ref().is_some_and(|tls| tls.level == Level::Required);
    if is_required { "hostssl" } else { "host" }
}
