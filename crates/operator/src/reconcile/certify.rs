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
        let Made { data, renew } = make(object, names, &BTreeMap::new(), now)?;
        return generate::create(object, data, &annotation(names, renew), context).await.map(drop);
    };
    if !is_ours(&live.metadata, key) {
        return Err(ReconcileError::Foreign { name: object.name.clone() });
    }
    let Made { data, renew } = make(object, names, &live.data.clone().unwrap_or_default(), now)?;
    tracing::info!(secret = object.name, namespace = object.namespace, %renew, "the certificate is made anew");
    let annotations = annotation(names, renew);
    let metadata = json!({"resourceVersion": live.resource_version(), "annotations": annotations});
    let body = json!({"metadata": metadata, "data": data});
    let params = PatchParams { field_manager: Some(generate::generator()), ..PatchParams::default() };
    let patched = api.patch(&object.name, &params, &Patch::Merge(&body)).await;
    let patched = patched.map_err(ReconcileError::writing(what()))?;
    generate::note(object, &patched, patched.data.clone(), context);
    Ok(())
}

fn make(
    object: &Object,
    names: &[String],
    held: &BTreeMap<String, ByteString>,
    now: Timestamp,
) -> Result<Made, ReconcileError> {
    let owner = format!("{} of {}", object.name, object.namespace);
    certificates::make(&owner, names, held, now)
        .map_err(|source| ReconcileError::Certificate { secret: object.name.clone(), source })
}

/// What is known of it without reading it.
fn annotation(names: &[String], renew: Timestamp) -> BTreeMap<String, String> {
    let certificate = Certificate { renew, names: digest_of(names) };
    BTreeMap::from([(CERTIFICATE.to_owned(), json!(certificate).to_string())])
}
