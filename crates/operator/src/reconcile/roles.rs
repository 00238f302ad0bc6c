//! Labels the pod of a database that holds its Lease as primary, and all others as replicas: the
//! Services of the database follow.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::Patch, core::PartialObjectMeta};
use serde_json::json;
use trading_api::labels::{FIELD_MANAGER, ROLE_PRIMARY, ROLE_REPLICA, STORE_ROLE};
use trading_core::{
    kinds::Kind,
    plan::{POSTGRES, Plan},
    step::Observed,
};

use super::{Context, ReconcileError};
use crate::objects::apply_as;

/// Whoever was primary loses the label before another gets it. Where nobody holds the Lease all
/// stays: the last primary lets no clients in, and may hold it again.
pub async fn mark(plan: &Plan, live: &Observed, context: &Context) -> Result<(), ReconcileError> {
    let Some(servers) = plan.postgres.as_ref().and_then(|database| database.servers.as_ref()) else {
        return Ok(());
    };
    let lease = live.get(&plan.identity.key(Kind::Lease, POSTGRES));
    let holder = lease.and_then(|lease| lease.holder.as_deref()?.split_once('/'));
    let Some((primary, uid)) = holder else { return Ok(()) };
    let set = plan.identity.child(POSTGRES);
    // The servers write the Lease: whoever took one over may not have other pods labelled.
    let number = primary.strip_prefix(&set).and_then(|rest| rest.strip_prefix('-'));
    if number.is_none_or(|number| number.parse::<u8>().is_err()) {
        return Ok(());
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), plan.identity.namespace_of(POSTGRES));
    for other in (0..servers.instances).map(|number| format!("{set}-{number}")) {
        if other != primary {
            label(&api, &other, None, ROLE_REPLICA).await?;
        }
    }
    label(&api, primary, Some(uid), ROLE_PRIMARY).await
}

/// A pod that comes back starts as a replica, as its template says, so that the `uid` tells whether
/// it is still the one that is meant.
async fn label(api: &Api<Pod>, name: &str, uid: Option<&str>, role: &str) -> Result<(), ReconcileError> {
    let what = || format!("Pod {name:?}");
    let found = api.get_metadata_opt(name).await.map_err(ReconcileError::reading(what()))?;
    let differs = |pod: &PartialObjectMeta<Pod>| {
        let is_other = pod.labels().get(STORE_ROLE).is_none_or(|found| found != role);
        is_other && uid.is_none_or(|uid| pod.uid().is_some_and(|found| found == uid))
    };
    let Some(pod) = found.filter(differs) else { return Ok(()) };
    // The UID keeps it from making a pod where this one went meanwhile.
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": pod.uid(), "labels": {STORE_ROLE: role}},
    });
    let params = apply_as(&format!("{FIELD_MANAGER}-role")).force();
    match api.patch(name, &params, &Patch::Apply(&body)).await {
        // It went; the next one starts as a replica.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(drop).map_err(ReconcileError::writing(what())),
    }
}
