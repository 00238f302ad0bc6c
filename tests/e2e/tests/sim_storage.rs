//! `StorageClasses` that are missing, come, and can't grow are told in the status, and cost nothing else.

use std::sync::LazyLock;

use anyhow::{Result, ensure};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use trading_e2e::sim::{SETTLE, Stack, platform, text, wait_for};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const CLASS: &str = "precious";

#[tokio::test]
async fn what_a_class_lacks_is_told_until_it_is_mended() -> Result<()> {
    let space = STACK.space("storage").await?;
    let redis = json!({ "mode": "Standalone", "storage": { "size": "1Gi", "storageClassName": CLASS } });
    space.put(&platform(NAME, &json!({ "frontend": null, "postgres": null, "redis": redis }))).await?;
    let says = async |status: &str, reason: &str, words: &str| {
        wait_for(reason, SETTLE, async || {
            let condition = space.condition(NAME, "VolumesExpandable").await?;
            ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
            ensure!(text(&condition, "/message").contains(words), "{condition}");
            Ok(())
        })
        .await
    };
    says("False", "StorageClassMissing", "\"precious\", which redis asks for, does not exist").await?;
    let degraded = space.condition(NAME, "Degraded").await?;
    ensure!(degraded["status"] == "True" && degraded["reason"] == "StorageClassMissing", "{degraded}");

    let classes = Api::<StorageClass>::all(space.client.clone());
    let class = json!({ "metadata": { "name": CLASS }, "provisioner": "example.com/none" });
    classes.create(&PostParams::default(), &serde_json::from_value(class)?).await?;
    says("False", "NotExpandable", "\"precious\" does not say allowVolumeExpansion: true").await?;

    let grow = json!({ "allowVolumeExpansion": true });
    classes.patch(CLASS, &PatchParams::default(), &Patch::Merge(&grow)).await?;
    says("True", "Expandable", "").await?;
    classes.delete(CLASS, &DeleteParams::default()).await?;
    says("False", "StorageClassMissing", "create it").await
}
