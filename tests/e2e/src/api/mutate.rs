//! Small damage to a resource, one at a time.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A damaged copy.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Where it was damaged, as a JSON pointer.
    pub at: String,
    /// How.
    pub how: String,
    /// The copy.
    pub value: Value,
}

/// How a copy is damaged that lacks something.
pub const REMOVED: &str = "is removed";

/// Copies of a value with one thing changed at or below a pointer.
#[must_use]
pub fn mutants(whole: &Value, below: &str) -> Vec<Mutant> {
    let mut found = Vec::new();
    for at in pointers(whole, below) {
        let Some(value) = whole.pointer(&at) else { continue };
        for (how, replacement) in replacements(value) {
            let mut copy = whole.clone();
            if let Some(place) = copy.pointer_mut(&at) {
                *place = replacement;
            }
            found.push(Mutant { at: at.clone(), how, value: copy });
        }
        if let Some(copy) = without(whole, &at) {
            found.push(Mutant { at: at.clone(), how: REMOVED.to_owned(), value: copy });
        }
    }
    found
}

/// Only the first of those that do the same to the same field of the schema: components share theirs, and so
/// do the items of a list.
#[must_use]
pub fn one_of_each(mutants: Vec<Mutant>) -> Vec<Mutant> {
    let mut seen = BTreeSet::new();
    mutants.into_iter().filter(|mutant| seen.insert((in_schema(&mutant.at), mutant.how.clone()))).collect()
}

fn in_schema(pointer: &str) -> String {
    let names = pointer.split('/').map(|name| match name {
        "frontend" | "backend" | "scraper" | "worker" => "component",
        index if index.parse::<usize>().is_ok() => "[]",
        name => name,
    });
    names.collect::<Vec<_>>().join("/").replace("services/[]", "component")
}

/// A copy without what the pointer leads to.
#[must_use]
pub fn without(whole: &Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let mut copy = whole.clone();
    match copy.pointer_mut(parent)? {
        Value::Object(map) => {
            map.remove(&unescaped(key))?;
        }
        Value::Array(items) => {
            items.remove(key.parse().ok().filter(|index| *index < items.len())?);
        }
        _ => return None,
    }
    Some(copy)
}

/// Pointers to everything below a place, the place itself included.
#[must_use]
pub fn pointers(whole: &Value, below: &str) -> Vec<String> {
    let mut found = vec![below.to_owned()];
    match whole.pointer(below) {
        Some(Value::Object(map)) => {
            for key in map.keys() {
                found.extend(pointers(whole, &format!("{below}/{}", escaped(key))));
            }
        }
        Some(Value::Array(items)) => {
            for index in 0..items.len() {
                found.extend(pointers(whole, &format!("{below}/{index}")));
            }
        }
        _ => {}
    }
    found
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

fn replacements(value: &Value) -> Vec<(String, Value)> {
    let others: Vec<Value> = match value {
        Value::String(text) => vec![
            json!(""),
            json!("A b"),
            json!("x".repeat(5000)),
            json!(format!("{text}\n")),
            json!(format!("{text}-")),
            json!(format!("{text}é")),
            json!(text.to_uppercase()),
            json!("-1"),
            json!("0"),
            json!("nonesuch"),
            json!(7),
            json!(1.5),
            json!({ "a": text }),
        ],
        Value::Number(number) => vec![
            json!(0),
            json!(-1),
            json!(1_000_000),
            json!(2_147_483_648_i64),
            json!(9_223_372_036_854_775_807_i64),
            json!(1e30),
            json!(1.5),
            json!(2.0),
            json!(number.to_string()),
            json!([]),
        ],
        Value::Bool(_) => vec![json!("true"), json!(1)],
        Value::Array(items) => {
            let twice = items.iter().chain(items.first()).cloned().collect::<Vec<_>>();
            let with_null = items.iter().cloned().chain([Value::Null]).collect::<Vec<_>>();
            vec![json!([]), json!({}), json!("x"), Value::Array(twice), Value::Array(with_null)]
        }
        Value::Object(map) => {
            let with = |key: &str, value: Value| {
                let mut more = map.clone();
                more.insert(key.to_owned(), value);
                Value::Object(more)
            };
            vec![
                Value::Object(Map::new()),
                json!([]),
                json!("x"),
                with("nonesuch", json!("x")),
                with("nonesuch", Value::Null),
                with("Bad Key!", json!("x")),
            ]
        }
        Value::Null => Vec::new(),
    };
    others
        .into_iter()
        .chain([Value::Null])
        .filter(|other| other != value)
        .map(|other| {
            let text = other.to_string();
            let short: String = text.chars().take(60).collect();
            (format!("is {short}"), other)
        })
        .collect()
}
