//! Platforms that together use every field of the kind.

use anyhow::{Context, Result};
use serde_json::Value;

use super::documents;

/// Everything at once.
///
/// # Errors
/// When it is not YAML.
pub fn rich() -> Result<Value> {
    read(include_str!("platforms/rich.yaml"))
}

/// What excludes parts of [`rich`].
///
/// # Errors
/// When it is not YAML.
pub fn plain() -> Result<Value> {
    read(include_str!("platforms/plain.yaml"))
}

fn read(yaml: &str) -> Result<Value> {
    documents(yaml)?.pop().context("nothing there")
}
