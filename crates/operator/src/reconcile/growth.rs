//! Lets the volumes of data stores grow: first every claim, then the set is deleted around its pods and made anew.
//! Wherever this stops, the next reconcile goes on; a claim that can't grow leaves the set as it is.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PropagationPolicy},
    core::DynamicObject,
};
use serde_json::json;
use tokio::time::sleep;
use trading_api::{Quantity, TradingPlatform};
use trading_core::{
    amount::amount,
    growth::Growth,
    kinds::Kind,
    object::Key,
    step::{Apply, Replicas},
};

use super::{
    Context, ReconcileError,
    apply::{self, Failure},
    prune::{delete, is_current},
};
use crate::{cache::PlatformKey, objects::resource};

/// Not one of the operator's names for what it owns: claims stay the set's.
const MANAGER: &str = "trading-platform-volumes";

/// Kubernetes takes a moment to let go of the pods.
const ATTEMPTS: u32 = 100;
const INTERVAL: Duration = Duration::from_millis(100);

/// Lets every store's volumes grow, and returns what could not be done.
pub async fn grow(
    growths: &[Growth],
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for growth in growths {
        match one(growth, platform, key, context).await {
            Ok(more) => failures.extend(more),
            Err(error) => failures.push(Failure::failed(&growth.object, error)),
        }
    }
    failures
}

async fn one(
    growth: &Growth,
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<Vec<Failure>, ReconcileError> {
    let Claims { refused, unbound } = claims(growth, context).await?;
    // Kubernetes lets only bound claims grow: a pod that gets its volume wakes us.
    if !refused.is_empty() || unbound {
        return Ok(refused);
    }
    // What was decided on may be old by now; the newer one wakes us.
    if !is_current(platform, key, context).await?
        || !delete(&growth.set, platform, PropagationPolicy::Orphan, context).await?
        || !is_gone(&growth.set.key, context).await?
    {
        return Ok(Vec::new());
    }
    let object = growth.object.clone();
    let anew = Apply { object, known: false, replicas: Replicas::AsRendered, certifies: false };
    let outcome = apply::apply(vec![anew], key, context).await;
    tracing::info!(set = growth.set.key.name, "volumes grow; the set was made anew around its pods");
    Ok(outcome.failures)
}

struct Claims {
    refused: Vec<Failure>,
    unbound: bool,
}

/// Asks for more of each claim of the set that has less.
async fn claims(growth: &Growth, context: &Context) -> Result<Claims, ReconcileError> {
    let set = &growth.set.key;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &set.namespace);
    // By their names: those that somebody made by hand have no labels, and serve all the same.
    let live = api.list(&ListParams::default()).await.map_err(ReconcileError::reading("volume claims"))?;
    let mut claims = Claims { refused: Vec::new(), unbound: false };
    for claim in live {
        let name = claim.name_any();
        let size = growth.sizes.iter().find(|(template, _)| is_of(&name, template, &set.name));
        let Some((_, size)) = size.filter(|(_, size)| asks_for_less(&claim, size)) else { continue };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            claims.unbound = true;
            continue;
        }
        let body = json!({
            // The UID keeps it from another claim of this name.
            "metadata": { "uid": claim.uid() },
            "spec": { "resources": { "requests": { "storage": size } } },
        });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        if let Err(error) = api.patch(&name, &params, &Patch::Merge(&body)).await {
            let component = &growth.object.component;
            claims.refused.push(Failure::new(Kind::PersistentVolumeClaim, &name, component, error));
        }
    }
    Ok(claims)
}

/// Waits until the deleted set is gone; otherwise the next reconcile makes it anew.
async fn is_gone(set: &Key, context: &Context) -> Result<bool, ReconcileError> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &set.namespace, &resource(set.kind.info()));
    for _ in 0..ATTEMPTS {
        let live = api.get_metadata_opt(&set.name).await.map_err(ReconcileError::reading("the set"))?;
        if live.is_none() {
            return Ok(true);
        }
        sleep(INTERVAL).await;
    }
    Ok(false)
}

/// `TEMPLATE-SET-NUMBER` is how Kubernetes names the claims of a set.
fn is_of(claim: &str, template: &str, set: &str) -> bool {
    claim
        .strip_prefix(template)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_prefix(set))
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Exactly, and not where either can't be read.
fn asks_for_less(claim: &PersistentVolumeClaim, size: &Quantity) -> bool {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let asked = requests.and_then(|requests| amount(&requests.get("storage")?.0));
    asked.zip(amount(&size.0)).is_some_and(|(asked, size)| asked < size)
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn only_the_claims_of_the_set_are_its() {
        assert!(is_of("data-shop-redis-0", "data", "shop-redis"));
        assert!(is_of("data-shop-redis-12", "data", "shop-redis"));
        for other in ["data-shop-redis-x-0", "wal-shop-redis-0", "data-shop-redis-", "data-shop-redis"] {
            assert!(!is_of(other, "data", "shop-redis"), "{other}");
        }
    }
}
