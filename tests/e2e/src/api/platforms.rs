//! Platforms that together use every field of the kind.

use anyhow::{Context, Result};
use serde_json::Value;

use super::documents;

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
    ];
    yaml.into_iter().map(read).collect()
}

fn read(yaml: &str) -> Result<Value> {
    documents(yaml)?.pop().context("nothing there")
}
