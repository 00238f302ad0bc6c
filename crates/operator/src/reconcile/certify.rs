//! Makes and renews certificates, before anything else is applied.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use trading_api::labels::CERTIFICATE;
use trading_core::{
    certificate::{Certificate, digest_of},
    object::Object,
};

use super::{Context, ReconcileError, apply::is_ours, generate};
use crate::{
    cache::PlatformKey,
    certificates::{self, Made},
};

/// Makes the Secret's certificate, or another one.
///
/// # Errors
/// Where the apiserver refuses or fails, somebody changes it meanwhile, or it is somebody else's.
pub async fn certify(
    object: &Object,
    names: &[String],
    now: Timestamp,
    key: &PlatformKey,
    context: &Context,
) -> Result<(), ReconcileError> {
    let what = || format!("Secret {:?}", object.name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &object.namespace);
    let Some(live) = api.get_opt(&object.name).await.map_err(ReconcileError::reading(what()))? else {
        let Made { data, renew } = make(&object.name, &object.namespace, names, &BTreeMap::new(), now)?;
        return generate::create(object, data, &annotation(names, renew), context).await.map(drop);
    };
    if !is_ours(&live.metadata, key) {
        return Err(ReconcileError::Foreign { name: object.name.clone() });
    }
    let renewed = anew(&api, &live, names, now).await?;
    generate::note(object, &renewed, renewed.data.clone(), context);
    Ok(())
}

/// Renews what is due of a platform whose resource can't be acted upon, as it is: its servers run on, and would be
/// refused by their clients. Returns when the next one is due.
///
/// # Errors
/// Where the apiserver refuses or fails, or somebody changes one meanwhile.
pub async fn renew(
    key: &PlatformKey,
    now: Timestamp,
    context: &Context,
) -> Result<Option<Timestamp>, ReconcileError> {
    let live = context.caches.children.observed(key, std::iter::empty()).observed;
    let (mut next, mut first) = (None, Ok(()));
    for (secret, certificate) in live.values().filter_map(|child| Some((child, child.certificate.as_ref()?)))
    {
        let due = if certificate.renew > now {
            Ok(certificate.renew)
        } else {
            renew_one(&secret.namespace, &secret.name, key, now, context).await
        };
        match due {
            Ok(due) => next = [next, Some(due)].into_iter().flatten().min(),
            // The others end as well.
            Err(error) => first = first.and(Err(error)),
        }
    }
    first.map(|()| next)
}

/// When it is to be renewed again.
async fn renew_one(
    namespace: &str,
    name: &str,
    key: &PlatformKey,
    now: Timestamp,
    context: &Context,
) -> Result<Timestamp, ReconcileError> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let what = || format!("Secret {name:?}");
    let found = api.get(name).await.map_err(ReconcileError::reading(what()))?;
    if !is_ours(&found.metadata, key) {
        return Err(ReconcileError::Foreign { name: name.to_owned() });
    }
    let names = certificates::names(found.data.as_ref().unwrap_or(&BTreeMap::new()));
    if names.is_empty() {
        return Err(ReconcileError::Refused(format!("{}, whose certificate can't be read,", what())));
    }
    let renewed = anew(&api, &found, &names, now).await?;
    let told = renewed.annotations().get(CERTIFICATE).and_then(|text| Certificate::parse(text));
    Ok(told.map_or(now, |certificate| certificate.renew))
}

/// Another certificate in place of the one that a Secret has.
async fn anew(
    api: &Api<Secret>,
    live: &Secret,
    names: &[String],
    now: Timestamp,
) -> Result<Secret, ReconcileError> {
    let (secret, namespace) = (live.name_any(), live.namespace().unwrap_or_default());
    let held = live.data.clone().unwrap_or_default();
    let Made { data, renew } = make(&secret, &namespace, names, &held, now)?;
    tracing::info!(secret, namespace, %renew, "the certificate is made anew");
    let annotations = annotation(names, renew);
    let metadata = json!({"resourceVersion": live.resource_version(), "annotations": annotations});
    let body = json!({"metadata": metadata, "data": data});
    let params = PatchParams { field_manager: Some(generate::generator()), ..PatchParams::default() };
    let patched = api.patch(&secret, &params, &Patch::Merge(&body)).await;
    patched.map_err(ReconcileError::writing(format!("Secret {secret:?}")))
}

fn make(
    secret: &str,
    namespace: &str,
    names: &[String],
    held: &BTreeMap<String, ByteString>,
    now: Timestamp,
) -> Result<Made, ReconcileError> {
    certificates::make(&format!("{secret} of {namespace}"), names, held, now)
        .map_err(|source| ReconcileError::Certificate { secret: secret.to_owned(), source })
}

/// What is known of it without reading it.
fn annotation(names: &[String], renew: Timestamp) -> BTreeMap<String, String> {
    let certificate = Certificate { renew, names: digest_of(names) };
    BTreeMap::from([(CERTIFICATE.to_owned(), json!(certificate).to_string())])
}
