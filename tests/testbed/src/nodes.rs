//! Nodes that exist only as objects; kwok keeps them Ready.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// Marks the nodes that kwok plays.
pub(crate) const FAKE_NODE: &str = "kwok.x-k8s.io/node=fake";

/// An example keeps its data there.
pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const ZONES: [&str; 3] = ["sim-1a", "sim-1b", "sim-1c"];

/// What a node is called.
pub(crate) fn name(index: usize) -> String {
    format!("node-{index}")
}

/// Creates the nodes, spread evenly over the zones.
pub(crate) async fn create(client: &Client, count: usize) -> Result<()> {
    let api = Api::<Node>::all(client.clone());
    stream::iter(0..count)
        .map(|index| {
            let api = api.clone();
            async move { Ok::<_, anyhow::Error>(api.create(&PostParams::default(), &node(index)?).await?) }
        })
        .buffer_unordered(4)
        .try_collect::<Vec<_>>()
        .await
        .context("cannot create the simulated nodes")?;
    Ok(())
}

/// Fails until pods can be scheduled on all of them.
pub(crate) async fn check_ready(client: Client, count: usize) -> Result<()> {
    let nodes = Api::<Node>::all(client).list(&ListParams::default()).await?;
    let ready = nodes.iter().filter(|node| is_ready(node)).count();
    ensure!(ready >= count, "only {ready} of {count} nodes are ready");
    Ok(())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    let tainted =
        node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty());
    ready && !tainted
}

fn node(index: usize) -> Result<Node> {
    let name = name(index);
    let (annotation, value) = FAKE_NODE.split_once('=').unwrap_or_default();
    let resources = json!({ "cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti" });
    let node = json!({
        "metadata": {
            "name": name,
            "annotations": { annotation: value },
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": REGION,
                "topology.kubernetes.io/zone": ZONES[index % ZONES.len()],
                "storage": "ssd",
            },
        },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": format!("10.63.{}.{}", index / 250, index % 250 + 1) },
                { "type": "Hostname", "address": name },
            ],
            "capacity": resources,
            "allocatable": resources,
        },
    });
    Ok(serde_json::from_value(node)?)
}
