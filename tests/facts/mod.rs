//! Reads `tests/facts/*.yaml` and holds them against objects. Included by the tests of two levels.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use trading_api::Quantity;

/// One file of facts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Papers {
    /// `<example>/<environment>`.
    pub example: String,
    /// Name of the resource.
    pub platform: String,
    /// Where the papers put it.
    pub namespace: String,
    /// Namespaces of tiers that live elsewhere.
    #[serde(default)]
    pub tiers: Vec<String>,
    /// Component to object (`Kind/name`, or `Kind/namespace/name` elsewhere) to field to value. An object that is `null` must not be there.
    facts: BTreeMap<String, BTreeMap<String, Option<BTreeMap<String, Value>>>>,
}

/// Every file.
pub fn all(folder: &Path) -> Vec<Papers> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

impl Papers {
    /// How the papers call an object.
    pub fn name_of(&self, kind: &str, namespace: &str, name: &str) -> String {
        let elsewhere = if namespace == self.namespace { String::new() } else { format!("{namespace}/") };
        format!("{kind}/{elsewhere}{name}")
    }

    /// How many facts there are.
    pub fn count(&self) -> usize {
        let objects = self.facts.values().flat_map(BTreeMap::values);
        objects.map(|fields| fields.as_ref().map_or(1, BTreeMap::len)).sum()
    }

    /// What does not hold of these objects, by `Kind/name`.
    pub fn contradictions(&self, objects: &BTreeMap<String, Value>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (component, facts) in &self.facts {
            for (name, fields) in facts {
                let Some(fields) = fields else {
                    wrong.extend(objects.get(name).map(|_| format!("{component}: there is a {name}")));
                    continue;
                };
                for (field, wanted) in fields {
                    let found = objects.get(name).and_then(|body| value(body, field));
                    if !same(found.as_ref().unwrap_or(&Value::Null), wanted) {
                        let found = found.map_or("nothing".to_owned(), |found| found.to_string());
                        wrong.push(format!(
                            "{component}: {name} {field} is {found}, the papers ask for {wanted}"
                        ));
                    }
                }
            }
        }
        wrong
    }
}

/// What a field of an object is. `$env/<name>` is a variable of its first container, `$alert/<name>` one of its
/// alerts, and `limit` of that the comparison with which its expression ends. `$redis/<name>` is a setting of its
/// `redis.conf`.
fn value(body: &Value, field: &str) -> Option<Value> {
    if let Some(name) = field.strip_prefix("$env/") {
        let variables = body.pointer(&pointer("$container/env"))?.as_array()?;
        let variable = variables.iter().find(|variable| variable["name"] == name)?;
        return variable.get("value").or_else(|| variable.get("valueFrom")).cloned();
    }
    if let Some(name) = field.strip_prefix("$redis/") {
        let mut lines = body["data"]["redis.conf"].as_str()?.lines().filter_map(|line| line.split_once(' '));
        return lines.find(|(setting, _)| *setting == name).map(|(_, value)| value.into());
    }
    let Some((name, field)) = field.strip_prefix("$alert/").and_then(|field| field.split_once('/')) else {
        return body.pointer(&pointer(field)).cloned();
    };
    let groups = body["spec"]["groups"].as_array()?.iter();
    let mut rules = groups.filter_map(|group| group["rules"].as_array()).flatten();
    let alert = rules.find(|rule| rule["alert"] == name)?;
    if field == "limit" {
        let expression = alert["expr"].as_str()?;
        let start = expression.rfind(['<', '>'])?;
        return Some(expression[start..].into());
    }
    alert.pointer(&format!("/{field}")).cloned()
}

/// The pointer that a short one stands for.
fn pointer(field: &str) -> String {
    field.replace("$container", "/spec/template/spec/containers/0").replace("$pod", "/spec/template/spec")
}

/// The apiserver writes quantities in its own way: `1000` is `1k`.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            found.len() == wanted.len()
                && wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| same(found, value)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| same(found, wanted))
        }
        (Value::String(found), Value::String(wanted)) => {
            let amount = |text: &str| Quantity(text.to_owned()).value();
            found == wanted || (amount(found).is_some() && amount(found) == amount(wanted))
        }
        _ => found == wanted,
    }
}
