//! The resources in `tests/bad` and `tests/good`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trading_testbed::documents;

use super::repository;

/// A resource that is refused, or one that is admitted although it looks odd.
#[derive(Clone, Debug)]
pub struct Case {
    /// File and name.
    pub name: String,
    /// The field that is at fault; empty where it is the resource itself, or nothing is at fault.
    pub field: String,
    /// Words of the message; empty where nothing is at fault.
    pub message: String,
    /// What is there before, where the rule is about a change.
    pub old: Option<Value>,
    /// The resource.
    pub resource: Value,
}

/// Those that must be refused.
///
/// # Errors
/// When there are none or they cannot be read.
pub fn bad() -> Result<Vec<Case>> {
    let cases = read(&repository("tests/bad"))?;
    for case in &cases {
        ensure!(!case.message.is_empty(), "{}: the case does not say which message it expects", case.name);
    }
    Ok(cases)
}

/// Those that must be admitted.
///
/// # Errors
/// When there are none or they cannot be read.
pub fn good() -> Result<Vec<Case>> {
    read(&repository("tests/good"))
}

fn read(dir: &Path) -> Result<Vec<Case>> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("no cases in {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        cases.extend(in_file(&path).with_context(|| format!("in {}", path.display()))?);
    }
    ensure!(!cases.is_empty(), "no cases in {}", dir.display());
    Ok(cases)
}

fn in_file(path: &Path) -> Result<Vec<Case>> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut values = Vec::new();
    for document in documents(&fs::read_to_string(path)?)? {
        match document {
            Value::Array(items) => values.extend(items),
            other => values.push(other),
        }
    }
    values.into_iter().map(|value| case(&file, value)).collect()
}

fn case(file: &str, mut value: Value) -> Result<Case> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().trim().to_owned();
    // A file of `good` may be the resource itself.
    let whole = value.get("kind").is_some_and(Value::is_string) && value.get("resource").is_none();
    let resource = if whole { value.clone() } else { value["resource"].take() };
    ensure!(resource.is_object(), "a case without resource");
    Ok(Case {
        name: format!("{file} {}", text(&value, "name")).trim_end().to_owned(),
        field: text(&value, "field"),
        message: text(&value, "message"),
        old: value.get_mut("old").map(Value::take).filter(|old| !old.is_null()),
        resource,
    })
}
