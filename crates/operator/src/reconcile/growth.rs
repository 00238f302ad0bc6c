//! Lets the volumes of data stores grow: first every claim, then the set is deleted around its pods, and the next
//! reconcile makes it anew. Wherever this stops, the next one goes on; a claim that can't grow leaves the set
//! as it is.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::json;
use trading_api::{Quantity, TradingPlatform, labels};
use trading_core::{growth::Growth, kinds::Kind};

use super::{
    Context, ReconcileError,
    apply::Failure,
    prune::{delete, is_current},
};
use crate::cache::PlatformKey;

/// Lets every store's volumes grow, and returns what could not be done.
///
/// # Errors
/// Where the apiserver can't be read.
pub async fn grow(
    growths: &[Growth],
    platform: &TradingPlatform,
    key: &PlatformKey,
    context: &Context,
) -> Result<Vec<Failure>, ReconcileError> {
    let mut failures = Vec::new();
    // What was decided on may be old; the newer one wakes us.
    if growths.is_empty() || !is_current(platform, key, context).await? {
        return Ok(failures);
    }
    for growth in growths {
        let refused = claims(growth, key, context).await?;
        if refused.is_empty() {
            delete(&growth.set, platform, PropagationPolicy::Orphan, context).await?;
            tracing::info!(set = growth.set.key.name, "volumes grow; the set is made anew around its pods");
        }
        failures.extend(refused);
    }
    Ok(failures)
}

/// Asks for more of each claim that has less, and returns what is refused.
async fn claims(
    growth: &Growth,
    key: &PlatformKey,
    context: &Context,
) -> Result<Vec<Failure>, ReconcileError> {
    let set = &growth.set.key;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &set.namespace);
    let selector = format!("{}={},{}={}", labels::INSTANCE, key.name, labels::NAME, growth.component);
    let live = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(ReconcileError::reading("volume claims"))?;
    let mut refused = Vec::new();
    for claim in live {
        let name = claim.name_any();
        let size = growth.sizes.iter().find(|(template, _)| is_of(&name, template, &set.name));
        let Some((_, size)) = size.filter(|(_, size)| asks_for_less(&claim, size)) else { continue };
        let body = json!({
            // The UID keeps it from another claim of this name.
            "metadata": { "uid": claim.uid() },
            "spec": { "resources": { "requests": { "storage": size } } },
        });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        if let Err(error) = api.patch(&name, &params, &Patch::Merge(&body)).await {
            refused.push(Failure::new(Kind::PersistentVolumeClaim, &name, &growth.component, error));
        }
    }
    Ok(refused)
}

/// Not one of the operator's names for what it owns: claims stay the set's.
const MANAGER: &str = "trading-platform-volumes";

/// `TEMPLATE-SET-NUMBER` is how Kubernetes names the claims of a set.
fn is_of(claim: &str, template: &str, set: &str) -> bool {
    claim
        .strip_prefix(template)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_prefix(set))
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn asks_for_less(claim: &PersistentVolumeClaim, size: &Quantity) -> bool {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let asked = requests.and_then(|requests| Quantity(requests.get("storage")?.0.clone()).value());
    asked.is_none_or(|asked| size.value().is_some_and(|size| asked < size))
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
