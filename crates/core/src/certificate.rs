//! When the certificate of a store's servers is to be made, pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest;

/// What is known of a certificate without reading it; an annotation of its Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// When it is to be renewed.
    pub renew: Timestamp,
    /// Digest of the names that it is for.
    pub names: String,
}

impl Certificate {
    /// From the annotation; `None` where it is not understood, so that it is made anew.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether it is to be made anew.
    #[must_use]
    pub fn is_due(&self, names: &[String], now: Timestamp) -> bool {
        self.renew <= now || self.names != digest_of(names)
    }
}

/// Digest of the names of a certificate.
#[must_use]
pub fn digest_of(names: &[String]) -> String {
    digest::of_bytes(names.join("\n").as_bytes())
}
