//! Every constraint of the schema, broken alone in a resource that is sound otherwise.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use regex::Regex;
use serde_json::{Map, Value, json};

/// A resource in which one constraint is broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Field and keyword, such as `.component.replicas minimum`.
    pub constraint: String,
    /// Path of the damaged value, as the apiserver writes it.
    pub field: String,
    /// The resource.
    pub resource: Value,
}

/// The keywords that are broken here; of `required`, each name is one of its own.
const KEYWORDS: [&str; 11] = [
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

/// Every constraint below a schema of `spec`.
#[must_use]
pub fn all(spec: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(spec, "", &mut found);
    found
}

fn collect(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    found.extend(of(schema).into_iter().map(|keyword| constraint(path, &keyword)));
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        collect(inner, &format!("{path}.{name}"), found);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            collect(&schema[key], &format!("{path}{mark}"), found);
        }
    }
}

/// The constraints that a schema has itself.
fn of(schema: &Value) -> Vec<String> {
    let own = KEYWORDS.into_iter().filter(|keyword| schema.get(keyword).is_some()).map(str::to_owned);
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let unique = schema.get("x-kubernetes-list-map-keys").map(|_| "unique".to_owned());
    own.chain(required.map(|name| format!("required {name}"))).chain(unique).collect()
}

/// All components have the same fields.
fn constraint(path: &str, keyword: &str) -> String {
    for role in [".frontend", ".backend", ".scraper", ".worker", ".services[]"] {
        if let Some(rest) = path.strip_prefix(role).filter(|rest| !rest.starts_with("[]")) {
            return format!(".component{rest} {keyword}");
        }
    }
    format!("{path} {keyword}")
}

/// Where something is, in three ways of writing.
#[derive(Clone, Default)]
struct Place {
    pointer: String,
    field: String,
    schema: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        Self {
            pointer: format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1")),
            field: format!("{}.{name}", self.field),
            schema: format!("{}.{name}", self.schema),
        }
    }

    fn key(&self, name: &str) -> Self {
        Self { schema: format!("{}{{}}", self.schema), ..self.field(name) }
    }

    fn item(&self, index: usize) -> Self {
        Self {
            pointer: format!("{}/{index}", self.pointer),
            field: format!("{}[{index}]", self.field),
            schema: format!("{}[]", self.schema),
        }
    }
}

/// Breaks every constraint for which a sound resource has a value, unless it was broken before.
///
/// # Errors
/// When nothing is found that a pattern refuses.
pub fn broken(resource: &Value, spec: &Value, found: &mut BTreeMap<String, Broken>) -> Result<()> {
    let place = Place { pointer: "/spec".to_owned(), field: "spec".to_owned(), schema: String::new() };
    visit(resource, spec, &place, found)
}

fn visit(whole: &Value, schema: &Value, place: &Place, found: &mut BTreeMap<String, Broken>) -> Result<()> {
    let Some(value) = whole.pointer(&place.pointer) else { return Ok(()) };
    for keyword in of(schema) {
        let constraint = constraint(&place.schema, &keyword);
        if found.contains_key(&constraint) {
            continue;
        }
        let Some(wrong) = violation(value, schema, &keyword).with_context(|| constraint.clone())? else {
            continue;
        };
        let mut resource = whole.clone();
        if let Some(spot) = resource.pointer_mut(&place.pointer) {
            *spot = wrong;
        }
        found.insert(constraint.clone(), Broken { constraint, field: place.field.clone(), resource });
    }
    match value {
        Value::Object(map) => {
            for name in map.keys() {
                if schema["additionalProperties"].is_object() {
                    visit(whole, &schema["additionalProperties"], &place.key(name), found)?;
                } else {
                    visit(whole, &schema["properties"][name], &place.field(name), found)?;
                }
            }
        }
        Value::Array(items) => {
            for index in 0..items.len() {
                visit(whole, &schema["items"], &place.item(index), found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A value that breaks the constraint; none where it is about another type. Amounts are numbers or texts.
fn violation(value: &Value, schema: &Value, keyword: &str) -> Result<Option<Value>> {
    // The definition writes some as 1.0.
    let bound =
        || anyhow::Ok(format!("{:.0}", schema[keyword].as_f64().context("no number")?).parse::<i64>()?);
    let length = || anyhow::Ok(usize::try_from(bound()?)?);
    Ok(match (keyword, value) {
        ("type", Value::Array(_) | Value::Object(_)) => Some(json!("x")),
        ("type" | "enum", _) => Some(if keyword == "type" { json!([]) } else { json!("nonesuch") }),
        ("pattern", Value::String(_) | Value::Number(_)) => Some(json!(mismatch(schema)?)),
        ("minimum", Value::String(_) | Value::Number(_)) => Some(json!(bound()? - 1)),
        ("maximum", Value::String(_) | Value::Number(_)) => Some(json!(bound()? + 1)),
        ("minLength", Value::String(_)) => Some(json!("x".repeat(length()?.saturating_sub(1)))),
        ("maxLength", Value::String(_)) => Some(json!("x".repeat(length()? + 1))),
        ("minItems", Value::Array(items)) => Some(json!(items[..length()?.saturating_sub(1)])),
        ("maxItems", Value::Array(items)) => Some(json!(vec![items.last().context("empty")?; length()? + 1])),
        ("minProperties", Value::Object(_)) => Some(json!({})),
        ("maxProperties", Value::Object(map)) => {
            let example = map.values().next().context("empty")?;
            let many = (0..=length()?).map(|number| (format!("key{number}"), example.clone()));
            Some(Value::Object(many.collect::<Map<_, _>>()))
        }
        ("unique", Value::Array(items)) => {
            let first = items.first().context("empty")?;
            Some(json!(items.iter().chain([first]).collect::<Vec<_>>()))
        }
        (keyword, Value::Object(map)) => keyword.strip_prefix("required ").map(|name| {
            let mut map = map.clone();
            map.remove(name);
            Value::Object(map)
        }),
        _ => None,
    })
}

/// A text of allowed length that the pattern of a schema refuses.
fn mismatch(schema: &Value) -> Result<&'static str> {
    let pattern = Regex::new(schema["pattern"].as_str().context("not a text")?)?;
    let least = schema["minLength"].as_u64().unwrap_or_default();
    let candidates = ["é é", "-", "/", "", "\n"];
    let fits = |text: &&str| text.len() as u64 >= least && !pattern.is_match(text);
    candidates.into_iter().find(fits).with_context(|| format!("nothing is refused by {pattern}"))
}
