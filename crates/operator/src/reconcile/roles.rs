//! Marks the pod of a database that takes writes, so that the Service of the read replicas does
//! not lead to it.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::Patch};
use serde_json::json;
use trading_api::labels::{FIELD_MANAGER, ROLE_PRIMARY, STORE_ROLE};
use trading_core::plan::{POSTGRES, Plan};

use super::{Context, ReconcileError};
use crate::objects::apply_as;

/// The first pod, which is the primary. A pod that comes back carries the label of a replica again;
/// its `StatefulSet` then changes, which wakes the platform.
pub async fn mark(plan: &Plan, context: &Context) -> Result<(), ReconcileError> {
    let servers = plan.postgres.as_ref().and_then(|database| database.servers.as_ref());
    if servers.is_none_or(|servers| servers.instances < 2) {
        return Ok(());
    }
    let namespace = plan.identity.namespace_of(POSTGRES);
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let name = format!("{}-0", plan.identity.child(POSTGRES));
    let what = || format!("Pod {name:?}");
    let found = api.get_metadata_opt(&name).await.map_err(ReconcileError::reading(what()))?;
    let Some(pod) = found.filter(|pod| pod.labels().get(STORE_ROLE).is_none_or(|role| role != ROLE_PRIMARY))
    else {
        return Ok(());
    };
    // The UID keeps it from making a pod where this one went meanwhile.
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": pod.uid(), "labels": {STORE_ROLE: ROLE_PRIMARY}},
    });
    let params = apply_as(&format!("{FIELD_MANAGER}-role")).force();
    match api.patch(&name, &params, &Patch::Apply(&body)).await {
        // It went; the next one is marked when it comes.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(drop).map_err(ReconcileError::writing(what())),
    }
}
