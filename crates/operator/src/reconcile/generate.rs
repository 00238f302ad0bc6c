//! Makes passwords and certificates, before anything else is applied.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use rand::RngExt;
use serde::Deserialize;
use serde_json::json;
use trading_api::labels::FIELD_MANAGER;
use trading_core::{
    inputs::{Reference, ReferenceKind},
    object::{Chosen, Content, Object},
    step::Apply,
};

use super::{
    Context, ReconcileError,
    apply::{in_words, remember, values_of, with_password},
    certify::certify,
    references,
};
use crate::cache::{Caches, PlatformKey, child};

/// Length of generated passwords: 62 different characters, so 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// A password is to be made for it.
pub fn is_due(step: &Apply) -> bool {
    match &step.object.content {
        Content::GeneratedOnce(_) => !step.known,
        Content::AddedOnce(keys) => keys.values().any(|is_there| !is_there),
        Content::Certified { .. } => step.certifies,
        Content::Rendered
        | Content::CopiedFrom { .. }
        | Content::CollectedFrom { .. }
        | Content::FilledFrom { .. } => false,
    }
}

/// Makes all that is due. Returns the objects whose password a person chose and that can't be used, and those that are
/// somebody else's.
pub async fn all(
    steps: &[Apply],
    key: &PlatformKey,
    context: &Context,
) -> Result<Vec<(Object, ReconcileError)>, ReconcileError> {
    let mut unusable = Vec::new();
    for step in steps.iter().filter(|step| is_due(step)) {
        let (object, reference) = (&step.object, reference(&step.object));
        let Caches { children, references, .. } = &*context.caches;
        let _applying = children.applying(&object.key(), &object.digest);
        let _making = references.making(&reference, key);
        let made = match &object.content {
            Content::Certified { names, now, .. } => certify(object, names, *now, key, context).await,
            _ => generate(object, context).await,
        };
        match made {
            Err(error @ (ReconcileError::Unusable { .. } | ReconcileError::Foreign { .. })) => {
                unusable.push((object.clone(), error));
            }
            made => made?,
        }
    }
    Ok(unusable)
}

/// Whether it is made with its password, which a store then begins with.
fn is_first(object: &Object) -> bool {
    matches!(object.content, Content::GeneratedOnce(_))
}

/// Makes a Secret with random values, or adds one to it. What exists is never replaced.
async fn generate(object: &Object, context: &Context) -> Result<(), ReconcileError> {
    let chosen = chosen(object, context).await?;
    match &object.content {
        Content::GeneratedOnce(texts) => {
            // Where there is one it is kept from an earlier platform of this name, or the cache is behind: it is
            // taken up as it is.
            let password = chosen.map_or_else(password, |(_, chosen)| chosen);
            create(object, with_password(texts, &password), &BTreeMap::new(), context).await.map(drop)
        }
        Content::AddedOnce(keys) => {
            let value = |key: &String| match &chosen {
                Some((of, chosen)) if of == key => chosen.clone(),
                _ => password(),
            };
            let values: BTreeMap<String, ByteString> =
                keys.keys().map(|key| (key.clone(), ByteString(value(key).into_bytes()))).collect();
            if create(object, values.clone(), &BTreeMap::new(), context).await? {
                Ok(())
            } else {
                add(object, values, context).await
            }
        }
        Content::Rendered
        | Content::Certified { .. }
        | Content::CopiedFrom { .. }
        | Content::CollectedFrom { .. }
        | Content::FilledFrom { .. } => Ok(()),
    }
}

/// The password that a person has chosen for one of its keys.
async fn chosen(object: &Object, context: &Context) -> Result<Option<(String, String)>, ReconcileError> {
    let Some(Chosen { key, original, from, .. }) = &object.chosen else { return Ok(None) };
    let unusable = |why: &str| ReconcileError::Unusable {
        why: format!("{} {why} under key {from:?}: mend it there", in_words(original)),
        is_first: is_first(object),
    };
    let value = values_of(original, context).await?.remove(from).ok_or_else(|| unusable("has nothing"))?;
    let value = String::from_utf8(value.0).map_err(|_| unusable("has no text"))?;
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(unusable("has no password of one line (see that nothing comes after it)"));
    }
    Ok(Some((key.clone(), value)))
}

/// Whether it was made; it is not where the Secret exists.
pub async fn create(
    object: &Object,
    data: BTreeMap<String, ByteString>,
    annotations: &BTreeMap<String, String>,
    context: &Context,
) -> Result<bool, ReconcileError> {
    let what = || format!("Secret {:?}", object.name);
    let mut secret: Secret = Secret::deserialize(&*object.body)
        .map_err(|error| ReconcileError::writing(what())(kube::Error::SerdeError(error)))?;
    secret.data = Some(data);
    secret.metadata.annotations.get_or_insert_default().extend(annotations.clone());
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &object.namespace);
    let params = PostParams { field_manager: Some(generator()), ..PostParams::default() };
    match api.create(&params, &secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        result => {
            note(object, &result.map_err(ReconcileError::writing(what()))?, secret.data, context);
            Ok(true)
        }
    }
}

/// Adds values where the Secret has none under their keys, and nobody else adds one meanwhile.
async fn add(
    object: &Object,
    mut values: BTreeMap<String, ByteString>,
    context: &Context,
) -> Result<(), ReconcileError> {
    let what = || format!("Secret {:?}", object.name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &object.namespace);
    let live = api.get(&object.name).await.map_err(ReconcileError::reading(what()))?;
    values.retain(|key, _| live.data.as_ref().is_none_or(|data| !data.contains_key(key)));
    if values.is_empty() {
        note(object, &live, live.data.clone(), context);
        return Ok(());
    }
    let body = json!({"metadata": {"resourceVersion": live.resource_version()}, "data": values});
    let params = PatchParams { field_manager: Some(generator()), ..PatchParams::default() };
    let added = api.patch(&object.name, &params, &Patch::Merge(&body)).await;
    let added = added.map_err(ReconcileError::writing(what()))?;
    note(object, &added, added.data.clone(), context);
    Ok(())
}

/// Owns what is generated, so that applying the rest leaves it alone.
pub fn generator() -> String {
    format!("{FIELD_MANAGER}-generated")
}

fn reference(object: &Object) -> Reference {
    Reference { kind: ReferenceKind::Secret, namespace: object.namespace.clone(), name: object.name.clone() }
}

/// What was just made need not be read again.
pub fn note(object: &Object, live: &Secret, data: Option<BTreeMap<String, ByteString>>, context: &Context) {
    let version = live.resource_version().unwrap_or_default();
    context.has_read(&reference(object), &version, &references::digests(data));
    remember(object, child(object.kind, &live.metadata), context);
}

/// A random one.
pub fn password() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(PASSWORD_LENGTH).map(char::from).collect()
}
