//! Lists whose entries must differ.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Violation;

/// Where in a resource the lists are whose entries must differ.
#[derive(Default)]
pub(super) struct Unique {
    /// The fields by which entries of this list differ; none where it is a set, whose entries are values.
    keys: Option<Vec<String>>,
    fields: BTreeMap<String, Self>,
    items: Option<Box<Self>>,
}

impl Unique {
    /// `None` where there is no such list below.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let keys = match schema["x-kubernetes-list-type"].as_str() {
            Some("map") => schema["x-kubernetes-list-map-keys"]
                .as_array()
                .map(|keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            Some("set") => Some(Vec::new()),
            _ => None,
        };
        let fields = schema["properties"].as_object().into_iter().flatten();
        let fields: BTreeMap<String, Self> =
            fields.filter_map(|(name, field)| Some((name.clone(), Self::of(field)?))).collect();
        let items = schema.get("items").and_then(Self::of).map(Box::new);
        (keys.is_some() || items.is_some() || !fields.is_empty()).then_some(Self { keys, fields, items })
    }
}

/// Two entries with one key in a list that is a map, or one value twice in a list that is a set.
pub(super) fn duplicates(unique: &Unique, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(inner) = unique.fields.get(name) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    duplicates(inner, field, &path, violations);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(inner) = &unique.items {
                    duplicates(inner, item, &format!("{path}[{index}]"), violations);
                }
                let Some(keys) = &unique.keys else { continue };
                let same = |other: &Value| {
                    if keys.is_empty() {
                        other == item
                    } else {
                        keys.iter().all(|key| other[key] == item[key])
                    }
                };
                if items[..index].iter().any(same) {
                    let what: Vec<String> = keys.iter().map(|key| format!("{key} {}", item[key])).collect();
                    let what = if what.is_empty() { item.to_string() } else { what.join(", ") };
                    violations.push(Violation {
                        field: format!("{path}[{index}]"),
                        message: format!("{what} is there twice: remove one"),
                    });
                }
            }
        }
        _ => {}
    }
}
