//! Applies objects, server-side. What fails is told and does not hold up the rest.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use trading_api::labels::{self, FIELD_MANAGER, REPLICAS_MANAGER};
use trading_core::{
    add_ons,
    inputs::Reference,
    kinds::{AddOn, Kind, Watch},
    object::{Content, Object, PASSWORD},
    problem::Problem,
    step::{Apply, Replicas},
};

use super::{Context, ReconcileError, repair};
use crate::{
    cache::{Entry, PlatformKey, answered, child, made, starts_blank},
    metrics::ObjectOutcome,
    objects::{apply_as, resource},
};

/// An object that could not be applied.
pub struct Failure {
    kind: Kind,
    name: String,
    component: String,
    cause: Cause,
}

enum Cause {
    /// Somebody else's object has the name.
    Foreign,
    /// The apiserver said no, and will say so again until something changes.
    Refused(String),
    /// The add-on that serves the kind is going.
    Unserved,
    /// It may work the next time.
    Failed(ReconcileError),
}

impl Failure {
    /// What the apiserver said of a change of this object.
    pub fn new(kind: Kind, name: &str, component: &str, error: kube::Error) -> Self {
        let cause = cause(kind, name, error);
        Self { kind, name: name.to_owned(), component: component.to_owned(), cause }
    }

    /// What went wrong on the way to this object.
    pub fn failed(object: &Object, error: ReconcileError) -> Self {
        let (kind, name, component) = (object.kind, object.name.clone(), object.component.clone());
        let cause = match error {
            ReconcileError::Foreign { .. } => Cause::Foreign,
            error => Cause::Failed(error),
        };
        Self { kind, name, component, cause }
    }

    /// In words.
    pub fn problem(&self) -> Problem {
        let (kind, name) = (self.kind, &self.name);
        let (reason, message) = match &self.cause {
            Cause::Foreign => (
                "NameTaken",
                format!(
                    "{kind} {name:?} exists and was not made by this operator: delete or rename it, or rename the platform"
                ),
            ),
            Cause::Refused(message) => {
                ("ApplyRefused", format!("the apiserver refuses {kind} {name:?}: {message}"))
            }
            Cause::Failed(ReconcileError::Unusable { why, .. }) => ("PasswordUnusable", why.clone()),
            Cause::Failed(error) => ("ApplyFailed", error.to_string()),
            Cause::Unserved => (add_ons::MISSING, format!("{kind} {name:?} is not served any more")),
        };
        let component = Some(self.component.clone()).filter(|name| !name.is_empty());
        let serves = matches!(self.cause, Cause::Failed(ReconcileError::Unusable { is_first: false, .. }));
        let warning = serves || kind.info().add_on.is_some_and(AddOn::is_aside);
        Problem { reason, component, message, warning }
    }

    /// The error that repeats the reconcile with backoff. Refusals too: a quota or a policy may
    /// change without any object of ours changing.
    pub fn into_error(self) -> ReconcileError {
        match self.cause {
            Cause::Failed(error) => error,
            Cause::Foreign | Cause::Refused(_) | Cause::Unserved => {
                ReconcileError::Refused(format!("{} {:?}", self.kind, self.name))
            }
        }
    }
}

/// What could not be applied.
#[derive(Default)]
pub struct Outcome {
    /// What failed.
    pub failures: Vec<Failure>,
    /// Objects of an add-on that is going: no failure, and whoever sees it come back wakes us.
    pub unserved: Vec<Object>,
}

/// Applies everything, one kind after the other: what pods need is there before them. What is applied is dropped.
pub async fn apply(mut steps: Vec<Apply>, key: &PlatformKey, context: &Context) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(kind) = steps.first().map(|step| step.object.kind) {
        let others = steps.iter().position(|step| step.object.kind != kind).unwrap_or(steps.len());
        let of_kind: Vec<_> = steps.drain(..others).collect();
        let results = join_all(of_kind.iter().map(|step| in_turn(step, key, context))).await;
        for (step, result) in of_kind.into_iter().zip(results) {
            match result {
                Ok(()) => context.metrics.objects(step.object.kind, ObjectOutcome::Applied, 1),
                Err(Cause::Unserved) => outcome.unserved.push(step.object),
                Err(cause) => outcome.failures.push(Failure {
                    kind: step.object.kind,
                    name: step.object.name,
                    component: step.object.component,
                    cause,
                }),
            }
        }
    }
    outcome
}

/// However many platforms are worked on, the apiserver gets only so many objects at once.
async fn in_turn(step: &Apply, key: &PlatformKey, context: &Context) -> Result<(), Cause> {
    // Nobody closes the semaphore.
    let _turn = context.turns.acquire().await;
    let _applying = context.caches.children.applying(&step.object.key(), &step.object.digest);
    one(step, key, context).await
}

async fn one(step: &Apply, key: &PlatformKey, context: &Context) -> Result<(), Cause> {
    let (object, known) = (&step.object, step.known);
    match &object.content {
        Content::CopiedFrom { original, .. } => {
            return put(&copied(object, original, context).await?, known, key, context).await;
        }
        Content::FilledFrom { original, key: from, texts, .. } => {
            return put(&filled(object, original, from, texts, context).await?, known, key, context).await;
        }
        Content::CollectedFrom { originals, .. } => {
            return put(&collected(object, originals, context).await?, known, key, context).await;
        }
        Content::Rendered | Content::GeneratedOnce(_) | Content::AddedOnce(_) | Content::Certified { .. } => {
        }
    }
    match step.replicas {
        Replicas::AsRendered => put(object, known, key, context).await,
        Replicas::Seed(replicas) | Replicas::Keep(replicas) => {
            let body = with_replicas(object, replicas);
            // Without force: a number that is another's, or changed meanwhile, is a conflict and stays.
            let params = apply_as(FIELD_MANAGER);
            match send(&api(object, context), object, &body, known, &params, context).await {
                Ok(()) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 || (status.code == 422 && known) => {
                    hand_over(object, known, key, context).await
                }
                Err(error) => Err(cause(object.kind, &object.name, error)),
            }
        }
    }
}

/// The values of a Secret that others are made from.
pub(super) async fn values_of(
    original: &Reference,
    context: &Context,
) -> Result<BTreeMap<String, ByteString>, ReconcileError> {
    let Reference { namespace, name, .. } = original;
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = secrets.get(name).await.map_err(ReconcileError::reading(in_words(original)))?;
    Ok(found.data.unwrap_or_default())
}

pub(super) fn in_words(secret: &Reference) -> String {
    format!("Secret {:?} in namespace {:?}", secret.name, secret.namespace)
}

/// One that went a moment ago wakes the platform.
fn lacks(original: &Reference, key: &str) -> Cause {
    Cause::Failed(ReconcileError::Refused(format!("{} without key {key:?}", in_words(original))))
}

/// With the value of each key, from another Secret each.
async fn collected(
    object: &Object,
    originals: &BTreeMap<String, (Reference, String)>,
    context: &Context,
) -> Result<Object, Cause> {
    let mut collected = object.clone();
    for (key, (original, of)) in originals {
        let mut values = values_of(original, context).await.map_err(Cause::Failed)?;
        collected.body_mut()["data"][key] = json!(values.remove(of).ok_or_else(|| lacks(original, of))?);
    }
    Ok(collected)
}

/// A copy with the values of the original.
async fn copied(object: &Object, original: &Reference, context: &Context) -> Result<Object, Cause> {
    let mut values = values_of(original, context).await.map_err(Cause::Failed)?;
    let mut copied = object.clone();
    for (key, value) in copied.body_mut()["data"].as_object_mut().into_iter().flatten() {
        *value = json!(values.remove(key).ok_or_else(|| lacks(original, key))?);
    }
    Ok(copied)
}

/// The texts with the password of the original.
async fn filled(
    object: &Object,
    original: &Reference,
    key: &str,
    texts: &BTreeMap<String, String>,
    context: &Context,
) -> Result<Object, Cause> {
    let values = values_of(original, context).await.map_err(Cause::Failed)?;
    let password = values.get(key).and_then(|value| std::str::from_utf8(&value.0).ok());
    let password = password.ok_or_else(|| lacks(original, key))?;
    let mut filled = object.clone();
    filled.body_mut()["data"] = json!(with_password(texts, password));
    Ok(filled)
}

/// In a URI it is written as such.
pub(super) fn with_password(
    texts: &BTreeMap<String, String>,
    password: &str,
) -> BTreeMap<String, ByteString> {
    let in_uri = utf8_percent_encode(password, NON_ALPHANUMERIC).to_string();
    let fill = |text: &String| {
        let password = if text.contains("://") { &in_uri } else { password };
        ByteString(text.replace(PASSWORD, password).into_bytes())
    };
    texts.iter().map(|(key, text)| (key.clone(), fill(text))).collect()
}

fn with_replicas(object: &Object, replicas: i32) -> Value {
    let mut body = Value::clone(&object.body);
    body["spec"]["replicas"] = json!(replicas);
    body
}

/// A second field manager keeps the live number of replicas while the first lets go of it.
async fn hand_over(object: &Object, known: bool, key: &PlatformKey, context: &Context) -> Result<(), Cause> {
    let live = api(object, context)
        .get(&object.name)
        .await
        .map_err(|error| cause(object.kind, &object.name, error))?;
    if !known && !is_ours(&live.metadata, key) {
        return Err(Cause::Foreign);
    }
    keep_replicas(object, &live, context).await?;
    put(object, true, key, context).await
}

pub(super) fn remember(object: &Object, live: Option<Entry>, context: &Context) {
    let overtaken = live.and_then(|entry| context.caches.children.applied(entry, &object.digest));
    if let Some(platform) = overtaken {
        context.caches.triggers.wake(platform, "an object changed while it was applied");
    }
}

/// Applies a document of the object and remembers the answer, which is no more than the metadata where that
/// is enough.
async fn send(
    api: &Api<DynamicObject>,
    object: &Object,
    body: &Value,
    known: bool,
    params: &PatchParams,
    context: &Context,
) -> Result<(), kube::Error> {
    let (name, patch) = (&object.name, Patch::Apply(body));
    let live = match object.kind.info().watch {
        Watch::Metadata => child(object.kind, &api.patch_metadata(name, params, &patch).await?.metadata),
        // Nobody has said anything of a new one, but what was sent.
        Watch::Status if !known && starts_blank(object.kind) => {
            made(object.kind, api.patch_metadata(name, params, &patch).await?.metadata, body)
        }
        Watch::Status => answered(object.kind, &api.patch(name, params, &patch).await?),
    };
    remember(object, live, context);
    Ok(())
}

fn api(object: &Object, context: &Context) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), &object.namespace, &resource(object.kind.info()))
}

async fn put(object: &Object, known: bool, key: &PlatformKey, context: &Context) -> Result<(), Cause> {
    let api = api(object, context);
    let careful = apply_as(FIELD_MANAGER);
    let forceful = careful.clone().force();
    let params = if known { &forceful } else { &careful };
    match send(&api, object, &object.body, known, params, context).await {
        Err(kube::Error::Api(status)) if status.code == 409 && !known => {
            // It exists though we had not seen it: ours from before (kept data, a stale cache) or
            // somebody else's?
            let live =
                api.get(&object.name).await.map_err(|error| cause(object.kind, &object.name, error))?;
            if !is_ours(&live.metadata, key) {
                return Err(Cause::Foreign);
            }
            send(&api, object, &object.body, true, &forceful, context).await
        }
        Err(kube::Error::Api(status)) if status.code == 422 && known => {
            match repair::apply(&api, &object.name, &object.body).await {
                Ok(Some(live)) => {
                    remember(object, answered(object.kind, &live), context);
                    Ok(())
                }
                Ok(None) => Err(kube::Error::Api(status)),
                Err(error) => Err(error),
            }
        }
        result => result,
    }
    .map_err(|error| cause(object.kind, &object.name, error))
}

/// Made by an operator of this kind for a platform of this name.
pub(super) fn is_ours(live: &ObjectMeta, key: &PlatformKey) -> bool {
    let label = |name: &str| live.labels.as_ref()?.get(name).map(String::as_str);
    let home = label(labels::HOME).or(live.namespace.as_deref());
    label(labels::MANAGED_BY) == Some(labels::OPERATOR)
        && label(labels::INSTANCE) == Some(&key.name)
        && home == Some(&key.namespace)
}

/// A second field manager takes the live number of replicas, so that it stays when the first one
/// lets go. The UID keeps it from making a new object where the old one went meanwhile.
async fn keep_replicas(object: &Object, live: &DynamicObject, context: &Context) -> Result<(), Cause> {
    let body = json!({
        "apiVersion": object.kind.api_version(),
        "kind": object.kind.to_string(),
        "metadata": {"name": object.name, "namespace": object.namespace, "uid": live.uid()},
        "spec": {"replicas": live.data.pointer("/spec/replicas")},
    });
    send(&api(object, context), object, &body, true, &apply_as(REPLICAS_MANAGER), context)
        .await
        .map_err(|error| cause(object.kind, &object.name, error))
}

fn cause(kind: Kind, name: &str, error: kube::Error) -> Cause {
    match error {
        kube::Error::Api(status) if kind.info().add_on.is_some() && matches!(status.code, 404 | 405) => {
            Cause::Unserved
        }
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 422) => {
            Cause::Refused(status.message.clone())
        }
        error => Cause::Failed(ReconcileError::Write { what: format!("{kind} {name:?}"), source: error }),
    }
}
