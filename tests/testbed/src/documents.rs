//! The documents of a YAML stream.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// Every document that is not empty.
///
/// # Errors
/// When the text is not YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    serde_yaml::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).context("not YAML"))
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}
