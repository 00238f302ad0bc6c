//! The rules of admission, without a cluster: the schema, its CEL rules, and duplicates in lists
//! that are maps. The same schema is installed in the cluster, so the verdicts agree.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use jsonschema::{ValidationError, error::ValidationErrorKind};
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value, json};
use trading_api::{
    Quantity,
    quantity::{POSITIVE_QUANTITY_PATTERN, QUANTITY_PATTERN},
    schema::open_api_schema,
};

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
        violations.extend(requests_of_services(&object));
    }
    violations.sort();
    violations.dedup();
    violations
}

/// Requests above limits of services: as a CEL rule, 24 services would cost more than apiserver
/// 1.31 allows, so the cluster learns of it only from the operator's condition.
fn requests_of_services(object: &Value) -> Vec<Violation> {
    let services = object.pointer("/spec/services").and_then(Value::as_array);
    let mut violations = Vec::new();
    for (index, service) in services.into_iter().flatten().enumerate() {
        for what in ["cpu", "memory"] {
            let amount = |of: &str| {
                let amount = service.pointer(&format!("/resources/{of}/{what}"))?;
                serde_json::from_value::<Quantity>(amount.clone()).ok()?.value()
            };
            if let (Some(request), Some(limit)) = (amount("requests"), amount("limits"))
                && request > limit
            {
                violations.push(Violation {
                    field: format!("spec.services[{index}].resources.requests"),
                    message: format!("requests.{what} must not be greater than limits.{what}"),
                });
            }
        }
    }
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

fn in_words(error: &ValidationError) -> Violation {
    let field = dotted(error.instance_path().as_str());
    let message = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let path = format!("tradingplatform.{}", field.split('[').next().unwrap_or_default());
            format!(
                "unknown field {}: check the spelling, see kubectl explain {}",
                unexpected.join(", "),
                path.trim_end_matches('.')
            )
        }
        ValidationErrorKind::Enum { options } => format!("{} is not one of {options}", error.instance()),
        ValidationErrorKind::Pattern { pattern } => {
            format!("{} does not have the form {pattern}{}", error.instance(), hint(pattern))
        }
        ValidationErrorKind::Required { property } => {
            format!("{} is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::Type { .. } if error.instance().is_number() || error.instance().is_boolean() => {
            format!("{error}: if text is meant, put it in quotes")
        }
        ValidationErrorKind::Maximum { limit } => {
            format!("{} is greater than the maximum {}", error.instance(), whole(limit))
        }
        ValidationErrorKind::Minimum { limit } => {
            format!("{} is less than the minimum {}", error.instance(), whole(limit))
        }
        _ => error.to_string(),
    };
    Violation { field, message }
}

/// What a pattern means, for those that say little by themselves.
fn hint(pattern: &str) -> &'static str {
    if pattern.ends_with("100)%$") {
        ": use a whole number such as 1 (without quotes) or a percentage such as 25%"
    } else if pattern == QUANTITY_PATTERN {
        ": use a quantity such as 500m, 2 or 1Gi"
    } else if pattern == POSITIVE_QUANTITY_PATTERN {
        ": use a quantity greater than 0, such as 100 or 500m"
    } else {
        ""
    }
}

/// `1000.0` as `1000`.
fn whole(limit: &Value) -> String {
    limit.to_string().trim_end_matches(".0").to_owned()
}

/// `/spec/services/0/name` as `spec.services[0].name`.
fn dotted(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, segment| {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.chars().all(|c| c.is_ascii_digit()) {
            format!("{path}[{segment}]")
        } else if path.is_empty() {
            segment
        } else {
            format!("{path}.{segment}")
        }
    })
}

/// Where in a resource the lists are whose entries must differ.
#[derive(Default)]
struct Unique {
    /// The fields by which entries of this list differ; none where it is a set, whose entries are values.
    keys: Option<Vec<String>>,
    fields: BTreeMap<String, Self>,
    items: Option<Box<Self>>,
}

impl Unique {
    /// `None` where there is no such list below.
    fn of(schema: &Value) -> Option<Self> {
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
fn duplicates(unique: &Unique, value: &Value, path: &str, violations: &mut Vec<Violation>) {
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
