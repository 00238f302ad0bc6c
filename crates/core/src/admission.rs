//! The rules of admission, without a cluster: the schema, its CEL rules, and duplicates in lists
//! that are maps. The same schema is installed in the cluster, so the verdicts agree, but for the rules in
//! `costly`: Kubernetes 1.31 can't afford them, and the operator refuses what the apiserver let in.

mod costly;
mod unique;
mod words;

use std::{fmt, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value, json};
use trading_api::schema::open_api_schema;

use crate::problem::Problem;
use unique::{Unique, duplicates};
use words::in_words;

/// A rule that a resource breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field, such as `spec.redis.shards`; empty for the resource itself.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// Why the operator does nothing for a resource that breaks these rules although it got past the apiserver;
/// none where it breaks none.
#[must_use]
pub fn refusal(violations: &[Violation]) -> Option<Problem> {
    let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let message = format!("nothing is changed until this is mended: {}", all.join("; "));
    (!all.is_empty()).then(|| Problem::whole("InvalidResource", message))
}

struct Rules {
    unique: Unique,
    structure: Result<jsonschema::Validator, String>,
    cel: CompiledSchema,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let schema = open_api_schema();
    Rules {
        structure: jsonschema::draft4::new(&as_json_schema(&schema)).map_err(|error| error.to_string()),
        cel: compile_schema(&schema),
        unique: Unique::of(&schema).unwrap_or_default(),
    }
});

/// Makes the rules, which takes some tenths of a second; otherwise the first check does.
pub fn prepare() {
    LazyLock::force(&RULES);
}

/// Every rule that `object` breaks, transition rules included where `old` is given.
#[must_use]
pub fn check(object: &Value, old: Option<&Value>) -> Vec<Violation> {
    let structure = match &RULES.structure {
        Ok(structure) => structure,
        Err(error) => {
            return vec![Violation {
                field: String::new(),
                message: format!("the schema is broken: {error}"),
            }];
        }
    };
    if object.pointer("/metadata/name").and_then(Value::as_str).is_none() {
        let message = "the platform needs a name: names of its objects are made from it".to_owned();
        return vec![Violation { field: "metadata.name".to_owned(), message }];
    }
    // As the apiserver: null is absent, and rules are evaluated only over what has the right shape.
    let object = without_nulls(object);
    let mut violations: Vec<Violation> =
        structure.iter_errors(&object).map(|error| in_words(&error)).collect();
    duplicates(&RULES.unique, &object, "", &mut violations);
    if violations.is_empty() {
        violations.extend(cel(&object, old.map(without_nulls).as_ref()));
        violations.extend(costly::check(&object));
    }
    violations.sort();
    violations.dedup();
    violations
}

/// The value as the apiserver keeps it: null is absent.
#[must_use]
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        scalar => scalar.clone(),
    }
}

fn cel(object: &Value, old: Option<&Value>) -> Vec<Violation> {
    let Err(errors) = Validator::new().validate_compiled(&RULES.cel, object, old) else {
        return Vec::new();
    };
    errors
        .into_vec()
        .into_iter()
        .map(|error| Violation {
            field: error.field_path.trim_start_matches('.').to_owned(),
            message: error.message,
        })
        .collect()
}

/// `OpenAPI` v3 as Kubernetes writes it, in terms of JSON Schema; unknown fields are refused, as
/// `kubectl` does.
fn as_json_schema(schema: &Value) -> Value {
    let Some(map) = schema.as_object() else { return schema.clone() };
    let mut out: Map<String, Value> = map
        .iter()
        .filter(|(key, _)| !key.starts_with("x-kubernetes-") && *key != "format" && *key != "description")
        .map(|(key, value)| {
            let value = match (key.as_str(), value) {
                ("properties", Value::Object(fields)) => Value::Object(
                    fields.iter().map(|(name, field)| (name.clone(), as_json_schema(field))).collect(),
                ),
                ("items" | "additionalProperties", value) => as_json_schema(value),
                (_, value) => value.clone(),
            };
            (key.clone(), value)
        })
        .collect();
    if map.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        out.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if map.contains_key("properties") && !map.contains_key("additionalProperties") {
        out.insert("additionalProperties".to_owned(), json!(false));
        if let Some(fields) = out.get_mut("properties").and_then(Value::as_object_mut) {
            // Only the root of a resource has these; Kubernetes itself checks them.
            if fields.contains_key("spec") {
                for name in ["apiVersion", "kind", "metadata", "status"] {
                    fields.insert(name.to_owned(), json!({}));
                }
            }
        }
    }
    Value::Object(out)
}
