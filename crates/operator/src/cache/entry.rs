//! A live object of the operator's, reduced to what matters.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use trading_api::labels::{self, FIELD_MANAGER};
use trading_core::{
    certificate::Certificate,
    kinds::Kind,
    step::{Child, Ownership, ReplicasOwnership},
    tls::Level,
};

/// What an event or an answer says of a child.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the core needs of it.
    pub child: Child,
    /// Resource version, to know older events from newer ones.
    pub version: u64,
    /// Digest of our managed fields, to know whether anybody touched them.
    pub fields: u64,
}

impl Entry {
    /// What the core needs of it.
    pub fn into_child(self) -> Child {
        self.child
    }
}

/// Whether the operator wrote the object. Labels don't tell: Kubernetes copies those of a Service
/// to the `EndpointSlices` that it makes for it.
fn is_written_by_us(meta: &ObjectMeta) -> bool {
    meta.managed_fields
        .iter()
        .flatten()
        .any(|entry| entry.manager.as_deref().is_some_and(|manager| manager.starts_with(FIELD_MANAGER)))
}

/// Reduces an object to what its metadata says. `None` where it is not the operator's.
pub fn child(kind: Kind, meta: &ObjectMeta) -> Option<Entry> {
    if !is_written_by_us(meta) {
        return None;
    }
    let label = |key: &str| meta.labels.as_ref().and_then(|all| all.get(key)).cloned();
    let annotation = |key: &str| Some(meta.annotations.as_ref()?.get(key)?.as_str());
    let fields = our_fields(meta);
    let mut hasher = DefaultHasher::new();
    fields.hash(&mut hasher);
    let namespace = meta.namespace.clone()?;
    let child = Child {
        kind,
        name: meta.name.clone()?,
        home: label(labels::HOME).unwrap_or_else(|| namespace.clone()),
        namespace,
        is_copy: annotation(labels::COPIED_FROM).is_some(),
        uid: meta.uid.clone()?,
        platform: label(labels::INSTANCE)?,
        platform_uid: label(labels::PLATFORM_UID).unwrap_or_default(),
        component: label(labels::NAME).unwrap_or_default(),
        is_store: meta.owner_references.as_ref().is_none_or(Vec::is_empty),
        store_mode: label(labels::STORE_MODE),
        digest: annotation(labels::APPLIED).map(str::to_owned),
        replicas: replicas(meta),
        ownership: Ownership::Fields(fields),
        deleting: meta.deletion_timestamp.is_some(),
        workload: None,
        autoscaler: None,
        holder: None,
        told: None,
        tls: annotation(labels::TLS).and_then(Level::parse),
        certificate: annotation(labels::CERTIFICATE).and_then(Certificate::parse),
        made: meta.creation_timestamp.as_ref().filter(|_| kind == Kind::ObjectStore).map(|time| time.0),
    };
    let version = meta.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default();
    Some(Entry { child, version, fields: hasher.finish() })
}

fn our_fields(meta: &ObjectMeta) -> Arc<str> {
    let fields = meta
        .managed_fields
        .iter()
        .flatten()
        .find(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        })
        .and_then(|entry| entry.fields_v1.as_ref());
    fields.map(|fields| fields.0.to_string()).unwrap_or_default().into()
}

fn replicas(meta: &ObjectMeta) -> ReplicasOwnership {
    let mut ownership = ReplicasOwnership::default();
    for entry in meta.managed_fields.iter().flatten() {
        let has =
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some());
        if !has {
            continue;
        }
        if entry.manager.as_deref() == Some(FIELD_MANAGER) {
            ownership.ours = true;
        } else {
            ownership.others = true;
        }
    }
    ownership
}
