//! The platforms in a file or on standard input. Reads, and decides nothing about them.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt, fs,
    io::{self, Read},
    path::PathBuf,
    str::FromStr,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use trading_api::GROUP;

use crate::yaml;

/// The kind that is looked for.
pub const KIND: &str = "TradingPlatform";

/// Where documents come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::File(text.into()) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("stdin"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Source {
    fn text(&self) -> Result<String> {
        let bytes = match self {
            Self::Stdin => {
                let mut bytes = Vec::new();
                io::stdin().read_to_end(&mut bytes).map(|_| bytes)
            }
            Self::File(path) if path.is_dir() => bail!(
                "is a directory: build it and read the result, as in kubectl kustomize {} | kubectl trading validate -f -",
                path.display()
            ),
            Self::File(path) => fs::read(path),
        };
        String::from_utf8(bytes.context("cannot be read")?).context("is not text in UTF-8")
    }
}

/// A document that is a platform, or is meant to be one.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which document of its source it is, from 1.
    pub number: usize,
    /// What it says.
    pub object: Value,
}

impl Document {
    /// Its name, or its place where it has none.
    #[must_use]
    pub fn name(&self) -> String {
        match text(&self.object, "/metadata/name") {
            "" => format!("document {}", self.number),
            name => name.to_owned(),
        }
    }
}

/// The text at a pointer; empty where there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Every platform of the source. Documents that are clearly something else are passed over, as
/// the output of kustomize has them.
///
/// # Errors
/// Where the source can't be read, is not YAML, or has no platform in it.
pub fn read(source: &Source) -> Result<Vec<Document>> {
    platforms(&source.text()?)
}

fn platforms(content: &str) -> Result<Vec<Document>> {
    let mut platforms = Vec::new();
    let mut others = BTreeSet::new();
    for (index, object) in yaml::parse(content)?.into_iter().enumerate() {
        let number = index + 1;
        if object.is_null() {
            continue;
        }
        if !object.is_object() {
            bail!("document {number} is not an object: it needs apiVersion, kind, metadata and spec");
        }
        for object in items(object) {
            if is_meant(&object) {
                platforms.push(Document { number, object: without_nulls(object) });
            } else {
                others.insert(text(&object, "/kind").to_owned());
            }
        }
    }
    if platforms.is_empty() {
        return Err(nothing_but(&others));
    }
    Ok(platforms)
}

fn nothing_but(others: &BTreeSet<String>) -> anyhow::Error {
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let only = if others.is_empty() { String::new() } else { format!(", only {}", others.join(", ")) };
    anyhow!("has no {KIND} in it{only}: it needs apiVersion: {GROUP}/v1alpha1 and kind: {KIND}")
}

/// What a list holds, such as the one that `kubectl get -o yaml` prints.
fn items(mut object: Value) -> Vec<Value> {
    let is_list = text(&object, "/kind").ends_with("List");
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        _ => vec![object],
    }
}

/// Whether somebody wanted a platform. Half right counts: it is refused later, with a remedy.
fn is_meant(object: &Value) -> bool {
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    kind.is_empty() || kind.eq_ignore_ascii_case(KIND) || version.split('/').next() == Some(GROUP)
}

/// As the apiserver: a field that is null is absent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name, without_nulls(field)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, platforms};

    const PLATFORM: &str =
        "apiVersion: platform.trading/v1alpha1\nkind: TradingPlatform\nmetadata: {name: shop}\n";

    fn names(content: &str) -> Vec<String> {
        platforms(content).unwrap().iter().map(Document::name).collect()
    }

    fn error(content: &str) -> String {
        format!("{:#}", platforms(content).unwrap_err())
    }

    #[test]
    fn other_documents_are_passed_over() {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n";
        assert_eq!(names(&format!("{namespace}---\n{PLATFORM}---\n# nothing\n---\n{namespace}")), ["shop"]);
        assert_eq!(
            error(namespace),
            "has no TradingPlatform in it, only Namespace: it needs apiVersion: platform.trading/v1alpha1 and kind: TradingPlatform"
        );
        assert_eq!(
            error(""),
            "has no TradingPlatform in it: it needs apiVersion: platform.trading/v1alpha1 and kind: TradingPlatform"
        );
    }

    #[test]
    fn what_is_almost_a_platform_is_not_passed_over() {
        for almost in [
            "apiVersion: platform.trading/v2\nkind: TradingPlatform",
            "apiVersion: platform.trading/v1alpha1\nkind: Tradingplatfrom",
            "apiVersion: trading/v1alpha1\nkind: tradingplatform",
            "kind: TradingPlatform",
            "apiVersion: platform.trading/v1alpha1",
        ] {
            assert_eq!(names(almost), ["document 1"], "{almost}");
        }
    }

    #[test]
    fn lists_are_opened() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- {kind: Secret}\n- {kind: TradingPlatform, metadata: {name: a}}\n- {kind: TradingPlatform, metadata: {name: b}}\n";
        assert_eq!(names(list), ["a", "b"]);
    }

    #[test]
    fn null_is_absent() {
        let found = platforms(&format!("{PLATFORM}spec: {{redis: null, args: [null]}}\n")).unwrap();
        assert_eq!(found[0].object["spec"], serde_json::json!({"args": [null]}));
    }

    #[test]
    fn wrong_yaml_names_the_line() {
        assert_eq!(
            error("kind: TradingPlatform\nspec:\n  version: a: b\n"),
            "mapping values are not allowed in this context at line 3 column 13"
        );
        assert_eq!(
            error(&format!("{PLATFORM}---\na: 1\nb:\n  c: 1\n  c: 2\n")),
            "b: duplicate entry with key \"c\" at line 7 column 3"
        );
        assert_eq!(
            error(&format!("{PLATFORM}---\n# nothing\n---\n- a\n")),
            "document 3 is not an object: it needs apiVersion, kind, metadata and spec"
        );
    }
}
