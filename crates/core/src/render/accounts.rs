//! Passwords of further accounts at a data store: one Secret with all of them, which the servers have as files.
//! So accounts come and go, and no server's pod changes for it.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, SecretVolumeSource, Volume},
};
use trading_api::labels;

use super::{pod, store::Store};
use crate::{
    digest,
    kinds::Kind,
    object::{Content, Object},
    plan::{AccountPlan, Plan},
    resolve::references,
};

/// The values are filled in when it is applied. Their digest makes it differ when they do. `None` where there are
/// no accounts.
pub(super) fn all(store: &Store, suffix: &str, accounts: &[&AccountPlan]) -> Option<Object> {
    if accounts.is_empty() {
        return None;
    }
    let there = || accounts.iter().filter(|account| account.password.is_there);
    let digests: BTreeMap<&str, &str> =
        there().map(|account| (account.name.as_str(), account.password_digest.as_str())).collect();
    let mut metadata = store.metadata(suffix);
    metadata
        .annotations
        .get_or_insert_default()
        .insert(labels::CONFIG_CHECKSUM.to_owned(), digest::of(&serde_json::json!(digests)));
    let data: BTreeMap<String, ByteString> =
        there().map(|account| (account.name.clone(), ByteString(Vec::new()))).collect();
    let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
    let namespace = store.plan.identity.namespace_of(store.name);
    let originals = there().map(|account| {
        let password = &account.password;
        (account.name.clone(), (references::secret(namespace, &password.secret), password.key.clone()))
    });
    let mut object = store.object(Kind::Secret, &secret);
    object.content = Content::CollectedFrom {
        originals: originals.collect(),
        // One that is lost is in it, and only there.
        is_there: accounts.iter().all(|account| !account.is_lost),
    };
    Some(object)
}

/// It may come later.
pub(super) fn volume(plan: &Plan, name: &str, suffix: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(plan.identity.child(suffix)),
            optional: Some(true),
            default_mode: Some(pod::GROUP_READS),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
