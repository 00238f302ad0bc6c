//! Storage classes, and the provisioner behind them: on simulated nodes volumes that hold nothing but
//! bind, grow and go like real ones; on real nodes folders of the node that the scheduler chose.

use std::fs::{self, Permissions};
use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::quantity;

/// The class for claims that name none.
const DEFAULT_CLASS: &str = "standard";
const CLASSES: [&str; 3] = [DEFAULT_CLASS, "efs", "fast-ssd"];

/// No controller of Kubernetes knows this provisioner, so they leave its volumes to us.
const PROVISIONER: &str = "testbed.platform.trading/volumes";

/// Hundreds of platforms ask for volumes at once; the apiserver of a small machine is slower with more
/// than this.
const CONCURRENCY: usize = 8;

/// Where the scheduler says for which node it wants the volume.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

const HOSTNAME: &str = "kubernetes.io/hostname";

const ATTEMPTS: u32 = 20;
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What the volumes are.
#[derive(Clone, Debug)]
pub(crate) enum Backing {
    /// Nothing: the nodes are simulated.
    Nothing,
    /// Folders below this one, each for one node where it is not shared. They have the size of the disk that they are on.
    Folders(PathBuf),
}

impl Backing {
    fn binding_mode(&self) -> &'static str {
        match self {
            Self::Nothing => "Immediate",
            Self::Folders(_) => "WaitForFirstConsumer",
        }
    }

    /// The part of a volume's spec that says where it is; none while its node is not chosen.
    fn place(&self, volume: &str, claim: &PersistentVolumeClaim) -> Result<Option<Value>> {
        let Self::Folders(dir) = self else {
            return Ok(Some(json!({ "hostPath": { "path": format!("/simulated/{volume}") } })));
        };
        let Some(node) = claim.annotations().get(SELECTED_NODE) else { return Ok(None) };
        let path = dir.join(volume);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if is_shared(claim) {
            // As a file server would, for whoever comes: hostPath knows no fsGroup.
            fs::set_permissions(&path, Permissions::from_mode(0o777))?;
            return Ok(Some(json!({ "hostPath": { "path": path } })));
        }
        let on_node = json!({ "key": HOSTNAME, "operator": "In", "values": [node] });
        Ok(Some(json!({
            // Unlike hostPath it is opened to the pod's fsGroup, as the volumes of real clusters are.
            "local": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [on_node] }] } },
        })))
    }

    fn clear(&self, volume: &str) -> Result<()> {
        let Self::Folders(dir) = self else { return Ok(()) };
        let path = dir.join(volume);
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Creates the classes. All let claims grow.
pub(crate) async fn create_classes(client: &Client, backing: &Backing) -> Result<()> {
    let api = Api::<StorageClass>::all(client.clone());
    for name in CLASSES {
        let is_default = (name == DEFAULT_CLASS).to_string();
        let class = json!({
            "metadata": { "name": name, "annotations": { "storageclass.kubernetes.io/is-default-class": is_default } },
            "provisioner": PROVISIONER,
            "allowVolumeExpansion": true,
            "volumeBindingMode": backing.binding_mode(),
        });
        api.create(&PostParams::default(), &serde_json::from_value(class)?)
            .await
            .with_context(|| format!("cannot create storage class {name}"))?;
    }
    Ok(())
}

/// Serves claims until it is dropped.
pub(crate) async fn provision(client: Client, backing: Backing) {
    futures::join!(serve_claims(&client, &backing), remove_released(&client, &backing));
}

async fn serve_claims(client: &Client, backing: &Backing) {
    watcher(Api::<PersistentVolumeClaim>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .applied_objects()
        // The watch recovers from its errors by itself.
        .filter_map(|claim| ready(claim.ok()))
        .for_each_concurrent(CONCURRENCY, async |claim| {
            // The apiserver may be restarting, and no further event would remind us of this claim.
            for _ in 0..ATTEMPTS {
                let Err(error) = serve_claim(client, backing, &claim).await else {
                    return;
                };
                tracing::debug!(claim = claim.name_any(), "cannot serve claim: {error:#}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        })
        .await;
}

async fn serve_claim(client: &Client, backing: &Backing, claim: &PersistentVolumeClaim) -> Result<()> {
    let Some(spec) = claim.spec.as_ref().filter(|_| claim.metadata.deletion_timestamp.is_none()) else {
        return Ok(());
    };
    if !spec.storage_class_name.as_deref().is_some_and(|class| CLASSES.contains(&class)) {
        return Ok(());
    }
    match &spec.volume_name {
        None => create_volume(client, backing, claim).await,
        Some(volume) => grow(client, claim, volume).await,
    }
}

async fn create_volume(client: &Client, backing: &Backing, claim: &PersistentVolumeClaim) -> Result<()> {
    let spec = claim.spec.as_ref().context("claim without spec")?;
    let uid = claim.metadata.uid.as_deref().context("claim without UID")?;
    let name = format!("pvc-{uid}");
    let Some(place) = backing.place(&name, claim)? else { return Ok(()) };
    let mut volume = json!({
        "metadata": { "name": name, "annotations": { "pv.kubernetes.io/provisioned-by": PROVISIONER } },
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": { "storage": requested(claim) },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": uid,
            },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.storage_class_name,
            "volumeMode": spec.volume_mode,
        },
    });
    for (key, value) in place.as_object().into_iter().flatten() {
        volume["spec"][key] = value.clone();
    }
    let api = Api::<PersistentVolume>::all(client.clone());
    match api.create(&PostParams::default(), &serde_json::from_value(volume)?).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(drop).map_err(Into::into),
    }
}

/// Does what a resizer does when a bound claim asks for more than it has.
async fn grow(client: &Client, claim: &PersistentVolumeClaim, volume: &str) -> Result<()> {
    let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let (Some(has), Some(wants)) = (capacity.map(|quantity| quantity.0.as_str()), requested(claim)) else {
        return Ok(());
    };
    if quantity::bytes(wants) <= quantity::bytes(has) {
        return Ok(());
    }
    let capacity = json!({ "capacity": { "storage": wants } });
    Api::<PersistentVolume>::all(client.clone()).patch(volume, &params(), &merge("spec", &capacity)).await?;
    let namespace = claim.metadata.namespace.as_deref().context("claim without namespace")?;
    Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace)
        .patch_status(&claim.name_any(), &params(), &merge("status", &capacity))
        .await?;
    Ok(())
}

async fn remove_released(client: &Client, backing: &Backing) {
    let api = Api::<PersistentVolume>::all(client.clone());
    watcher(api.clone(), watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .filter_map(|volume| ready(volume.ok()))
        .filter(|volume| ready(is_ours_and_released(volume)))
        .for_each_concurrent(CONCURRENCY, async |volume| {
            if let Err(error) = remove(&api, backing, &volume.name_any()).await {
                tracing::debug!(volume = volume.name_any(), "cannot remove volume: {error:#}");
            }
        })
        .await;
}

async fn remove(api: &Api<PersistentVolume>, backing: &Backing, volume: &str) -> Result<()> {
    backing.clear(volume)?;
    api.delete(volume, &DeleteParams::default()).await?;
    Ok(())
}

fn is_ours_and_released(volume: &PersistentVolume) -> bool {
    let ours =
        volume.annotations().get("pv.kubernetes.io/provisioned-by").is_some_and(|by| by == PROVISIONER);
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    ours && policy == Some("Delete")
        && phase == Some("Released")
        && volume.metadata.deletion_timestamp.is_none()
}

/// Whether pods of several nodes may use it at once.
fn is_shared(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteMany"))
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&str> {
    Some(&claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0)
}

fn params() -> PatchParams {
    PatchParams::default()
}

fn merge(section: &str, value: &Value) -> Patch<Value> {
    Patch::Merge(json!({ section: value }))
}
