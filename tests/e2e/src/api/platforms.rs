//! Platforms that together use every field of the kind.

use anyhow::{Context, Result};
use serde_json::Value;
use trading_testbed::documents;

/// One that uses every field that becomes objects of KEDA, the Vertical Pod Autoscaler and Istio.
///
/// # Errors
/// When it is not YAML.
pub fn with_add_ons() -> Result<Value> {
    read(include_str!("platforms/add-ons.yaml"))
}

/// Each of them; what excludes each other is in different ones.
///
/// # Errors
/// When one is not YAML.
pub fn all() -> Result<Vec<Value>> {
    let yaml = [
        include_str!("platforms/rich.yaml"),
        include_str!("platforms/plain.yaml"),
        include_str!("platforms/stores.yaml"),
        include_str!("platforms/outside.yaml"),
        include_str!("platforms/backed-up.yaml"),
    ];
    yaml.into_iter().map(read).collect()
}

fn read(yaml: &str) -> Result<Value> {
    documents(yaml)?.pop().context("nothing there")
}
