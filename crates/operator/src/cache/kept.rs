//! Children as they are kept. There are dozens for each platform, which have most of their texts in
//! common with each other or with those of other platforms; such a text is there once.

use std::{fmt, sync::Arc};

use internment::ArcIntern;
use jiff::Timestamp;
use trading_core::{
    certificate::Certificate,
    kinds::Kind,
    object::Key,
    status::workload::{Autoscaler, Workload},
    step::{Child, Ownership, ReplicasOwnership},
    tls::Level,
    told::Told,
};
use uuid::Uuid;

use super::{Entry, PlatformKey};

/// A text that is there once, as long as anything has it.
pub type Text = ArcIntern<str>;

/// Finds it, or makes it.
pub fn text(text: &str) -> Text {
    Text::from(text)
}

/// A UID: Kubernetes makes UUIDs, which take a quarter of the memory of their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uid {
    Uuid(Uuid),
    /// Of another form, as tests and other API servers may have it.
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        match Uuid::try_parse(text) {
            Ok(uuid) if uuid.to_string() == text => Self::Uuid(uuid),
            _ => Self::Other(text.into()),
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Other(text) => text.fmt(f),
        }
    }
}

/// A [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeptKey {
    pub kind: Kind,
    pub namespace: Text,
    pub name: Text,
}

impl From<&Key> for KeptKey {
    fn from(key: &Key) -> Self {
        Self { kind: key.kind, namespace: text(&key.namespace), name: text(&key.name) }
    }
}

impl From<&KeptKey> for Key {
    fn from(key: &KeptKey) -> Self {
        Self::new(key.kind, &*key.namespace, &*key.name)
    }
}

/// The platform of a child.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    namespace: Text,
    name: Text,
}

impl From<&PlatformKey> for Owner {
    fn from(platform: &PlatformKey) -> Self {
        Self { namespace: text(&platform.namespace), name: text(&platform.name) }
    }
}

impl From<&Owner> for PlatformKey {
    fn from(owner: &Owner) -> Self {
        Self { namespace: owner.namespace.to_string(), name: owner.name.to_string() }
    }
}

/// An [`Entry`].
#[derive(Debug)]
pub struct Kept {
    pub uid: Uid,
    pub version: u64,
    pub digest: Option<Text>,
    fields: u64,
    ownership: Evidence,
    platform: Text,
    home: Text,
    platform_uid: Text,
    component: Text,
    store_mode: Option<Text>,
    holder: Option<Text>,
    told: Option<Box<Told>>,
    certificate: Option<Box<Certificate>>,
    made: Option<Box<Timestamp>>,
    pub tls: Option<Level>,
    workload: Option<Box<Workload>>,
    autoscaler: Option<Box<Autoscaler>>,
    replicas: ReplicasOwnership,
    is_store: bool,
    is_copy: bool,
    deleting: bool,
}

/// An [`Ownership`].
#[derive(Clone, Debug)]
enum Evidence {
    Verified(Text),
    Fields(Text),
}

impl From<Entry> for Kept {
    fn from(Entry { child, version, fields }: Entry) -> Self {
        Self {
            uid: child.uid.as_str().into(),
            version,
            digest: child.digest.as_deref().map(text),
            fields,
            ownership: match &child.ownership {
                Ownership::Verified(digest) => Evidence::Verified(text(digest)),
                Ownership::Fields(fields) => Evidence::Fields(text(fields)),
            },
            platform: text(&child.platform),
            home: text(&child.home),
            platform_uid: text(&child.platform_uid),
            component: text(&child.component),
            store_mode: child.store_mode.as_deref().map(text),
            holder: child.holder.as_deref().map(text),
            told: child.told.map(Box::new),
            certificate: child.certificate.map(Box::new),
            made: child.made.map(Box::new),
            tls: child.tls,
            workload: child.workload.map(Box::new),
            autoscaler: child.autoscaler.map(Box::new),
            replicas: child.replicas,
            is_store: child.is_store,
            is_copy: child.is_copy,
            deleting: child.deleting,
        }
    }
}

impl Kept {
    /// Its platform.
    pub fn owner(&self) -> Owner {
        Owner { namespace: self.home.clone(), name: self.platform.clone() }
    }

    /// Whether it belongs to this component.
    pub fn is_of(&self, component: &str) -> bool {
        &*self.component == component
    }

    /// As the core needs it.
    pub fn child(&self, key: &KeptKey) -> Child {
        Child {
            kind: key.kind,
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: self.uid.to_string(),
            platform: self.platform.to_string(),
            home: self.home.to_string(),
            platform_uid: self.platform_uid.to_string(),
            component: self.component.to_string(),
            is_store: self.is_store,
            is_copy: self.is_copy,
            store_mode: self.store_mode.as_ref().map(ToString::to_string),
            digest: self.digest.as_ref().map(ToString::to_string),
            ownership: match &self.ownership {
                Evidence::Verified(digest) => Ownership::Verified(digest.to_string()),
                Evidence::Fields(fields) => Ownership::Fields(Arc::from(&**fields)),
            },
            replicas: self.replicas,
            deleting: self.deleting,
            workload: self.workload.as_deref().cloned(),
            autoscaler: self.autoscaler.as_deref().cloned(),
            holder: self.holder.as_ref().map(ToString::to_string),
            told: self.told.as_deref().cloned(),
            certificate: self.certificate.as_deref().cloned(),
            made: self.made.as_deref().copied(),
            tls: self.tls,
        }
    }

    /// Every field of the document with this digest is the operator's.
    pub fn verify(&mut self, digest: &str) {
        self.ownership = Evidence::Verified(text(digest));
    }

    /// Takes over what was found out of the same object, where nothing of that has changed since.
    pub fn learn_from(&mut self, known: &Self) {
        // Of another document, even one with the same fields, nothing was verified.
        if known.uid == self.uid && known.fields == self.fields && known.digest == self.digest {
            self.ownership = known.ownership.clone();
        }
    }

    /// Whether anything that matters to the platform differs.
    pub fn differs(&self, new: &Self) -> bool {
        self.fields != new.fields
            || self.uid != new.uid
            || self.digest != new.digest
            || self.platform_uid != new.platform_uid
            || self.store_mode != new.store_mode
            || self.replicas != new.replicas
            || self.deleting != new.deleting
            || self.workload != new.workload
            || self.autoscaler != new.autoscaler
            || self.holder != new.holder
            || self.told != new.told
            || self.certificate != new.certificate
            || self.tls != new.tls
    }
}

#[cfg(test)]
mod tests {
    use super::Uid;

    #[test]
    fn every_uid_comes_out_as_it_went_in() {
        let uuid = "0b9f3c1e-6a2d-4b7e-9c55-2f1d8e7a4b60";
        assert!(matches!(Uid::from(uuid), Uid::Uuid(_)));
        for text in
            [uuid, "0B9F3C1E-6A2D-4B7E-9C55-2F1D8E7A4B60", "0b9f3c1e6a2d4b7e9c552f1d8e7a4b60", "a-pod", ""]
        {
            assert_eq!(Uid::from(text).to_string(), text);
        }
    }
}
