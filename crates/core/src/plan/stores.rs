//! What data stores have in common.

use jiff::Timestamp;
use trading_api::{Quantity, deletion::Store};

use super::{POSTGRES, Plan, REDIS, SENTINEL};
use crate::kinds::Kind;

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSource {
    /// Secret.
    pub secret: String,
    /// Key in it.
    pub key: String,
    /// Made by the operator.
    pub generated: bool,
    /// Whether the Secret holds one now.
    pub is_there: bool,
}

/// An account at a data store beside that of the platform.
#[derive(Clone, Debug)]
pub struct AccountPlan {
    /// Name.
    pub name: String,
    /// Where its password is.
    pub password: PasswordSource,
    /// Digest of its password.
    pub password_digest: String,
    /// Its generated Secret is gone, but the servers have its password.
    pub is_lost: bool,
}

/// The certificate of a store's servers, and the authority that it is of.
#[derive(Clone, Debug)]
pub struct StoreCertificate {
    /// Secret that holds them.
    pub secret: String,
    /// Names that the certificate is for.
    pub names: Vec<String>,
    /// Whether the Secret has all keys, as far as is known.
    pub is_whole: bool,
    /// The time, by which certificates are due.
    pub now: Timestamp,
}

impl StoreCertificate {
    /// Key of the authorities that clients trust: the one that the certificate is of, and while it changes another.
    pub const AUTHORITY: &str = "ca.crt";
    /// Key of the authority's private key, which no pod gets.
    pub const AUTHORITY_KEY: &str = "ca.key";
    /// Key of the certificate.
    pub const CERTIFICATE: &str = "tls.crt";
    /// Key of its private key.
    pub const KEY: &str = "tls.key";
    /// All of them.
    pub const KEYS: [&str; 4] = [Self::AUTHORITY, Self::AUTHORITY_KEY, Self::CERTIFICATE, Self::KEY];
}

/// A volume of a data store.
#[derive(Clone, Debug)]
pub struct VolumePlan {
    /// Size.
    pub size: Quantity,
    /// Class; the cluster's default where it is left out.
    pub class: Option<String>,
}

/// What must hold of a data store that the platform runs, whichever it is.
#[derive(Clone, Debug)]
pub struct StoreFacts<'a> {
    /// Which.
    pub store: Store,
    /// Name among components.
    pub name: &'static str,
    /// Topology, as the resource writes it.
    pub mode: &'static str,
    /// Kind of the object that is its servers.
    pub kind: Kind,
    /// Whether its servers speak TLS alone, where that is of the data's making.
    pub tls: Option<bool>,
    /// Where its passwords are.
    pub passwords: Vec<&'a PasswordSource>,
}

/// Every data store that a platform can run, with its name among components and the word for it.
pub const STORES: [(Store, &str, &str); 2] =
    [(Store::Redis, REDIS, "Redis"), (Store::Postgres, POSTGRES, "Postgres")];

/// The store that a component is a part of.
#[must_use]
pub fn store_of(component: &str) -> Option<Store> {
    match component {
        REDIS | SENTINEL => Some(Store::Redis),
        POSTGRES => Some(Store::Postgres),
        _ => None,
    }
}

impl Plan {
    /// The data stores that the platform runs.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreFacts<'_>> {
        let redis = self.redis.as_ref().map(|redis| StoreFacts {
            store: Store::Redis,
            name: REDIS,
            mode: redis.mode.as_str(),
            kind: Kind::StatefulSet,
            tls: Some(redis.tls.is_some()),
            passwords: vec![&redis.password],
        });
        let servers = self.postgres.as_ref().and_then(|database| database.servers.as_ref());
        let postgres = servers.map(|servers| StoreFacts {
            store: Store::Postgres,
            name: POSTGRES,
            mode: "Managed",
            kind: Kind::StatefulSet,
            tls: None,
            passwords: servers.passwords.all(),
        });
        let cluster = self.postgres.as_ref().and_then(|database| database.cluster.as_ref());
        let cluster = cluster.map(|cluster| StoreFacts {
            store: Store::Postgres,
            name: POSTGRES,
            mode: "CloudNativePG",
            kind: Kind::Cluster,
            tls: None,
            passwords: vec![&cluster.password],
        });
        redis.into_iter().chain(postgres).chain(cluster).collect()
    }

    /// Whether the platform runs this store.
    #[must_use]
    pub fn runs(&self, store: Store) -> bool {
        self.stores().iter().any(|facts| facts.store == store)
    }
}
