//! Looks whether a pod has an older login to the database, or an older password of Redis, while that changes.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use trading_api::labels::CONFIG_CHECKSUM;
use trading_core::{
    credentials::{Stage, is_current},
    plan::{ComponentPlan, Plan},
    step::Steps,
};

use super::{Context, ReconcileError};
use crate::objects::pods_of;

/// Whether this is the moment to look: all Deployments have rolled, and pods of before may still be ending.
pub fn may_be_settled(steps: &Steps) -> bool {
    steps.login == Some(Stage::Ending)
}

/// Whether every pod of these components has the newest. Those that are ending are counted: they may log in once
/// more.
pub async fn are_settled(
    plan: &Plan,
    consumers: impl Iterator<Item = &ComponentPlan>,
    context: &Context,
) -> Result<bool, ReconcileError> {
    let identity = &plan.identity;
    for component in consumers {
        let name = &component.name;
        let api: Api<Pod> = Api::namespaced(context.client.clone(), identity.namespace_of(name));
        // One that was evicted stays for long, and does nothing.
        let running = pods_of(&identity.name, name).fields("status.phase!=Failed,status.phase!=Succeeded");
        let pods = api.list_metadata(&running).await;
        let pods = pods.map_err(ReconcileError::reading(format!("pods of {name:?}")))?;
        let checksum =
            |pod: &kube::core::PartialObjectMeta<Pod>| pod.annotations().get(CONFIG_CHECKSUM).cloned();
        if pods.iter().any(|pod| !is_current(component, checksum(pod).as_deref())) {
            return Ok(false);
        }
    }
    Ok(true)
}
