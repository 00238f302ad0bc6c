//! Resources that must be refused (`tests/bad`) and such that must be accepted (`tests/good`), at
//! the edges of every rule. A test of level 2 gives the same files to a real apiserver.
//!
//! A bad resource says in `why` what would go wrong, and in `field` and `message` what the person
//! gets to read. Where a rule is about a change, `old` is what is there before.

#![allow(clippy::unwrap_used)] // a test ends where its files can't be read

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde::Deserialize;
use serde_json::Value;
use support::repository;
use trading_api::{TradingPlatform, schema::open_api_schema};
use trading_core::admission::{Violation, check, without_nulls};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    name: String,
    why: String,
    field: String,
    message: String,
    old: Option<Value>,
    resource: Value,
}

impl Bad {
    fn violations(&self) -> Vec<Violation> {
        check(&self.resource, self.old.as_ref())
    }
}

/// Content of each file in a folder, by its name without `.yaml`.
fn files(folder: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(repository(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".yaml")?.to_owned();
            Some((name, fs::read_to_string(&path).unwrap()))
        })
        .collect()
}

fn bad(folder: &str) -> Vec<Bad> {
    files(folder)
        .into_iter()
        .map(|(file, text)| {
            let bad: Bad = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{file}.yaml: {error}"));
            assert_eq!(bad.name, file, "{file}.yaml has another name inside");
            assert!(!bad.why.is_empty(), "{file}.yaml does not say why");
            assert!(!bad.message.is_empty(), "{file}.yaml does not say what a person gets to read");
            bad
        })
        .collect()
}

fn in_words(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n    {violation}")).collect::<Vec<_>>().concat()
}

#[test]
fn every_bad_resource_is_refused_with_field_and_remedy() {
    let bad = bad("tests/bad");
    assert!(!bad.is_empty());
    let mut wrong = Vec::new();
    for bad in &bad {
        let (violations, Bad { name, field, message, .. }) = (bad.violations(), bad);
        if !violations.iter().any(|found| found.field == *field && found.message.contains(message)) {
            wrong.push(format!("  {name}: wanted {field}: …{message}…, got{}", in_words(&violations)));
        }
        // A fault elsewhere would hide a rule that no longer works.
        if violations.iter().any(|found| found.field != *field) {
            wrong.push(format!("  {name}: is wrong in other fields too:{}", in_words(&violations)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), bad.len(), wrong.join("\n"));
}

/// Otherwise the change is not what is refused.
#[test]
fn what_bad_changes_start_from_is_accepted() {
    for Bad { name, old, resource, .. } in bad("tests/bad") {
        let Some(old) = old else { continue };
        assert_eq!(check(&old, None), [], "what {name} starts from");
        assert_eq!(check(&old, Some(&old)), [], "what {name} starts from, applied twice");
        assert_eq!(check(&resource, None), [], "{name} as a new resource");
    }
}

#[test]
fn every_rule_has_a_bad_resource() {
    let mut rules = Vec::new();
    collect_rules(&open_api_schema(), &mut rules);
    assert!(rules.len() > 50, "the rules are not where this test looks for them");
    let hit: Vec<Violation> = bad("tests/bad").iter().flat_map(Bad::violations).collect();
    let missed: Vec<&Rule> = rules
        .iter()
        .filter(|rule| {
            !hit.iter().any(|found| found.message == rule.message && found.field.ends_with(&rule.field_path))
        })
        .collect();
    assert!(missed.is_empty(), "rules without a file in tests/bad: {missed:#?}");
}

/// A CEL rule of the schema; one that many components share counts once.
#[derive(Debug, PartialEq)]
struct Rule {
    message: String,
    field_path: String,
}

fn collect_rules(schema: &Value, rules: &mut Vec<Rule>) {
    match schema {
        Value::Object(map) => {
            for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
                let message = text("message");
                assert!(!message.is_empty(), "a rule without a message: {rule}");
                let rule = Rule { message, field_path: text("fieldPath") };
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
            map.values().for_each(|inner| collect_rules(inner, rules));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_rules(inner, rules)),
        _ => {}
    }
}

/// Each pattern, each list of values, each name of a field that can't be left out, and each kind of bound. That
/// it is so at every field, a test of level 2 finds out.
#[test]
fn every_class_of_constraint_has_a_bad_resource() {
    let mut classes = BTreeSet::new();
    collect_classes(&open_api_schema()["properties"]["spec"], &mut classes);
    assert!(classes.len() > 100, "the constraints are not where this test looks for them");
    let hit: Vec<Violation> = bad("tests/bad").iter().flat_map(Bad::violations).collect();
    let missed: Vec<&String> =
        classes.iter().filter(|class| !hit.iter().any(|found| found.message.contains(*class))).collect();
    assert!(missed.is_empty(), "constraints without a file in tests/bad: {missed:#?}");
}

/// What a person reads of each class of constraint.
fn collect_classes(schema: &Value, classes: &mut BTreeSet<String>) {
    let bounds = [
        ("minimum", " is less than the minimum "),
        ("maximum", " is greater than the maximum "),
        ("minLength", " is shorter than "),
        ("maxLength", " is longer than "),
        ("minItems", " has less than "),
        ("maxItems", " items"),
        ("maxProperties", " properties"),
    ];
    classes.extend(
        bounds.iter().filter(|(key, _)| schema.get(key).is_some()).map(|(_, words)| (*words).to_owned()),
    );
    classes.extend(schema["pattern"].as_str().map(|pattern| format!(" does not have the form {pattern}")));
    if schema["enum"].is_array() {
        classes.insert(format!(" is not one of {}", schema["enum"]));
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    classes.extend(required.map(|name| format!("{name} is missing")));
    let properties = schema["properties"].as_object().into_iter().flatten().map(|(_, inner)| inner);
    let further = ["items", "additionalProperties"].into_iter().filter_map(|key| schema.get(key));
    properties.chain(further).for_each(|inner| collect_classes(inner, classes));
}

#[test]
fn good_resources_are_accepted_and_read() {
    for (file, text) in files("tests/good") {
        let content: Value =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{file}.yaml: {error}"));
        let is_change = content.get("resource").is_some();
        let (old, resource) =
            if is_change { (Some(&content["old"]), &content["resource"]) } else { (None, &content) };
        for resource in old.into_iter().chain([resource]) {
            assert_eq!(check(resource, None), [], "{file}.yaml");
            let read: TradingPlatform = serde_json::from_value(without_nulls(resource))
                .unwrap_or_else(|error| panic!("{file}.yaml: {error}"));
            let written = serde_json::to_value(&read).unwrap();
            assert_eq!(check(&written, Some(resource)), [], "{file}.yaml, as the operator writes it");
        }
        assert_eq!(check(resource, old), [], "{file}.yaml, the change");
    }
}
