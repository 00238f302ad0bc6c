//! Deletes volumes of data stores, where the resource asks for it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};
use trading_api::labels;

use super::{Context, ReconcileError};
use crate::cache::PlatformKey;

/// Deletes the claims of one store in a namespace, or of everything of the platform there.
pub async fn delete(
    key: &PlatformKey,
    namespace: &str,
    store: Option<&str>,
    context: &Context,
) -> Result<(), ReconcileError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    let home = if namespace == key.namespace {
        format!("!{}", labels::HOME)
    } else {
        format!("{}={}", labels::HOME, key.namespace)
    };
    let mut selector =
        format!("{}={},{}={},{home}", labels::INSTANCE, key.name, labels::MANAGED_BY, labels::OPERATOR);
    if let Some(store) = store {
        selector = format!("{selector},{}={store}", labels::NAME);
    }
    let claims = api
        .list_metadata(&ListParams::default().labels(&selector))
        .await
        .map_err(ReconcileError::reading("volume claims"))?;
    for claim in claims {
        let name = claim.name_any();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: claim.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match api.delete(&name, &params).await {
            Ok(_) => tracing::info!(claim = name, "deleted a volume claim, as deletion.data asks"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => {
                return Err(ReconcileError::Write { what: format!("volume claim {name:?}"), source });
            }
        }
    }
    Ok(())
}
