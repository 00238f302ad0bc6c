//! Questions to the schema of the kind.

use std::collections::BTreeSet;

use serde_json::Value;

/// The messages of all CEL rules in a schema.
#[must_use]
pub fn rule_messages(schema: &Value) -> BTreeSet<String> {
    let mut messages = BTreeSet::new();
    collect_messages(schema, &mut messages);
    messages
}

fn collect_messages(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            let rules = map.get("x-kubernetes-validations").and_then(Value::as_array);
            messages.extend(
                rules.into_iter().flatten().filter_map(|rule| rule["message"].as_str()).map(str::to_owned),
            );
            map.values().for_each(|inner| collect_messages(inner, messages));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_messages(inner, messages)),
        _ => {}
    }
}

/// Every field below a schema, such as `.redis.config{}` or `.services[].name`.
#[must_use]
pub fn fields(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect_fields(schema, "", &mut found);
    found
}

fn collect_fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(path.clone());
        collect_fields(inner, &path, found);
    }
    if schema["items"].is_object() {
        collect_fields(&schema["items"], &format!("{path}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        found.insert(format!("{path}{{}}"));
    }
}

/// The fields that a value has, in the words of [`fields`].
#[must_use]
pub fn fields_of(value: &Value, schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect_fields_of(value, schema, "", &mut found);
    found
}

fn collect_fields_of(value: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        // A map with keys of the user's own; an empty one exercises nothing.
        Value::Object(map) if schema["additionalProperties"].is_object() => {
            found.extend((!map.is_empty()).then(|| format!("{path}{{}}")));
        }
        Value::Object(map) => {
            for (name, inner) in map {
                let path = format!("{path}.{name}");
                found.insert(path.clone());
                collect_fields_of(inner, &schema["properties"][name], &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_fields_of(item, &schema["items"], &format!("{path}[]"), found);
            }
        }
        _ => {}
    }
}
