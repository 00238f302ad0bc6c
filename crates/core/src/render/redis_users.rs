//! Further users of Redis: a Secret for each that gets a generated password, and one with the passwords of
//! all, which the servers have. So users come and go, and no server's pod changes for it.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, SecretVolumeSource, Volume},
};
use trading_api::labels;

use super::store::Store;
use crate::{
    digest,
    kinds::Kind,
    object::{Content, Object, PASSWORD},
    plan::{Plan, REDIS_USERS, RedisPlan, RedisUserPlan},
    resolve::references,
};

/// Where the servers have the passwords.
pub(super) const FOLDER: &str = "/users";

pub(super) fn render(store: &Store, redis: &RedisPlan) -> Vec<Object> {
    let generated = redis.users.iter().filter(|user| user.password.generated && !user.is_lost);
    let mut objects: Vec<Object> = generated
        .map(|user| {
            let login = [("username", user.name.clone()), (user.password.key.as_str(), PASSWORD.to_owned())];
            store.secret(&user.password.secret).generated_once(login)
        })
        .collect();
    objects.extend((!redis.users.is_empty()).then(|| all(store, redis)));
    objects
}

/// The values are filled in when it is applied. Their digest makes it differ when they do.
fn all(store: &Store, redis: &RedisPlan) -> Object {
    let there: Vec<&RedisUserPlan> = redis.users.iter().filter(|user| user.password.is_there).collect();
    let digests: BTreeMap<&str, &str> =
        there.iter().map(|user| (user.name.as_str(), user.password_digest.as_str())).collect();
    let mut metadata = store.metadata(REDIS_USERS);
    metadata
        .annotations
        .get_or_insert_default()
        .insert(labels::CONFIG_CHECKSUM.to_owned(), digest::of(&serde_json::json!(digests)));
    let data: BTreeMap<String, ByteString> =
        there.iter().map(|user| (user.name.clone(), ByteString(Vec::new()))).collect();
    let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
    let namespace = store.plan.identity.namespace_of(store.name);
    let originals = there.iter().map(|user| {
        let password = &user.password;
        (user.name.clone(), (references::secret(namespace, &password.secret), password.key.clone()))
    });
    let mut object = store.object(Kind::Secret, &secret);
    object.content = Content::CollectedFrom {
        originals: originals.collect(),
        // One that is lost is in it, and only there.
        is_there: redis.users.iter().all(|user| !user.is_lost),
    };
    object
}

/// It may come later.
pub(super) fn volume(plan: &Plan) -> Volume {
    Volume {
        name: "users".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(plan.identity.child(REDIS_USERS)),
            optional: Some(true),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
