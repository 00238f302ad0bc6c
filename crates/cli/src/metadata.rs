//! Rules for `metadata` that are Kubernetes' own, for every kind. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use trading_core::admission::Violation;

/// Whether the object has a name.
#[must_use]
pub fn name(object: &Value) -> Option<Violation> {
    let message = match object.pointer("/metadata/name") {
        Some(Value::String(_)) => return None,
        None => "is missing: the names of all objects are made from it".to_owned(),
        Some(found) => not_text(found),
    };
    Some(violation("metadata.name", message))
}

/// Every rule that the metadata of an object with a name breaks.
#[must_use]
pub fn check(object: &Value) -> Vec<Violation> {
    let none = Map::new();
    let metadata = object["metadata"].as_object().unwrap_or(&none);
    let mut violations = Vec::new();
    for field in ["labels", "annotations"] {
        for (key, value) in metadata.get(field).and_then(Value::as_object).into_iter().flatten() {
            let wrong = wrong_key(field, key).or_else(|| wrong_value(field, value));
            violations.extend(wrong.map(|message| violation(&format!("metadata.{field}[{key}]"), message)));
        }
    }
    if let Some(Value::String(namespace)) = metadata.get("namespace")
        && !is_dns_label(namespace)
    {
        let message =
            format!("{namespace:?} is no namespace: {}", rule("lower-case letters, digits and '-'"));
        violations.push(violation("metadata.namespace", message));
    }
    if violations.is_empty() {
        violations.extend(shape(metadata));
    }
    violations
}

fn violation(field: &str, message: String) -> Violation {
    Violation { field: field.to_owned(), message }
}

fn rule(characters: &str) -> String {
    format!("at most 63 {characters}, with a letter or digit at both ends")
}

fn not_text(found: &Value) -> String {
    format!("{found} is not text: put it in quotes")
}

fn wrong_key(field: &str, key: &str) -> Option<String> {
    // For annotations case does not matter in the prefix.
    let key = if field == "annotations" { key.to_lowercase() } else { key.to_owned() };
    let (prefix, name) =
        key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
    let is_domain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_domain_part);
    let right = is_word(name) && prefix.is_none_or(is_domain);
    (!right).then(|| {
        format!(
            "{key:?} is no key: a domain and '/' where wanted, then {}",
            rule("letters, digits, '-', '_' and '.'")
        )
    })
}

fn wrong_value(field: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) if field == "labels" && !text.is_empty() && !is_word(text) => {
            Some(format!("{value} is no label value: {}", rule("letters, digits, '-', '_' and '.'")))
        }
        Value::String(_) => None,
        other => Some(not_text(other)),
    }
}

/// What does not fit Kubernetes' type, and fields that it does not have.
fn shape(metadata: &Map<String, Value>) -> Vec<Violation> {
    let known = serde_json::from_value::<ObjectMeta>(Value::Object(metadata.clone()))
        .and_then(|metadata| serde_json::to_value(&metadata));
    match known {
        Err(error) => vec![violation("metadata", error.to_string())],
        Ok(known) => metadata
            .keys()
            .filter(|field| known.get(field.as_str()).is_none())
            .map(|field| violation("metadata", format!("unknown field {field}: check the spelling")))
            .collect(),
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_domain_part(text)
}

fn is_domain_part(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_inner) && text.ends_with(is_inner) && text.chars().all(|c| is_inner(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check, name};

    fn broken(mut metadata: Value) -> Vec<String> {
        metadata["name"] = json!("shop");
        check(&json!({"metadata": metadata})).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn right_metadata_passes() {
        let long = "a".repeat(63);
        for metadata in [
            json!({}),
            json!({"namespace": "prod-1", "labels": {}, "finalizers": ["platform.trading/finalizer"]}),
            json!({"labels": {"team": "", "example.com/Tier_1.x": "A-b_c.d", &long: long}}),
            json!({"annotations": {"Example.com/Owner": "anything at all\n"}, "creationTimestamp": "2026-01-02T03:04:05Z"}),
        ] {
            assert_eq!(broken(metadata.clone()), [""; 0], "{metadata}");
        }
    }

    #[test]
    fn names_are_text_and_there() {
        let wrong = |object: Value| name(&object).unwrap().to_string();
        assert_eq!(wrong(json!({})), "metadata.name: is missing: the names of all objects are made from it");
        assert_eq!(wrong(json!({"metadata": {"name": 7}})), "metadata.name: 7 is not text: put it in quotes");
        assert_eq!(
            broken(json!({"namespace": "Prod"})),
            [
                "metadata.namespace: \"Prod\" is no namespace: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends"
            ]
        );
    }

    #[test]
    fn labels_and_annotations_have_their_form() {
        let word = "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
        assert_eq!(
            broken(json!({"labels": {"a": "b c"}})),
            [format!("metadata.labels[a]: \"b c\" is no label value: {word}")]
        );
        assert_eq!(
            broken(json!({"labels": {"a": true}})),
            ["metadata.labels[a]: true is not text: put it in quotes"]
        );
        for (field, key) in [
            ("labels", "a b"),
            ("labels", "-a"),
            ("labels", "A.com/b"),
            ("labels", "a/b/c"),
            ("annotations", "/a"),
        ] {
            assert_eq!(
                broken(json!({field: {key: "v"}})),
                [format!(
                    "metadata.{field}[{key}]: {key:?} is no key: a domain and '/' where wanted, then {word}"
                )]
            );
        }
    }

    #[test]
    fn what_kubernetes_has_no_place_for_is_refused() {
        assert_eq!(broken(json!({"label": {}})), ["metadata: unknown field label: check the spelling"]);
        assert_eq!(
            broken(json!({"finalizers": "x"})),
            ["metadata: invalid type: string \"x\", expected a sequence"]
        );
    }
}
