//! The generated CustomResourceDefinition, thinned so that client-side apply can carry it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use regex::bytes::RegexBuilder;
use serde_json::Value;

use crate::TradingPlatform;

/// Largest CRD that `kubectl apply` can carry in its annotation, in bytes.
pub const MAX_CRD_BYTES: usize = 262_144;

/// The definition of the kind as it is installed in a cluster.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let definition = TradingPlatform::crd();
    let mut json = serde_json::to_value(&definition).unwrap_or_default();
    thin(&mut json);
    shorten_rules(&mut json);
    describe_platform_once(&mut json);
    describe_components_once(&mut json);
    describe_stores_once(&mut json);
    describe_twins_once(&mut json);
    drop_costly_rules(&mut json);
    // The value came from this type and lost only descriptions; reading it back can't fail.
    serde_json::from_value(json).unwrap_or(definition)
}

/// The OpenAPI v3 schema of the kind, as JSON.
#[must_use]
pub fn open_api_schema() -> Value {
    let json = serde_json::to_value(crd()).unwrap_or_default();
    json.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default()
}

/// Rules over quantities of up to 24 services cost more than apiserver 1.31 allows for a kind.
/// Those of services are checked without a cluster and before reconciling instead, see
/// `trading_core::admission`.
fn drop_costly_rules(definition: &mut Value) {
    let resources = definition.pointer_mut(&format!("{SPEC}/services/items/properties/resources"));
    if let Some(Value::Object(resources)) = resources {
        resources.remove("x-kubernetes-validations");
    }
}

/// Writes every rule without the spaces that only people need: they are a twentieth of the definition.
fn shorten_rules(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(rules)) = map.get_mut("x-kubernetes-validations") {
                for rule in rules {
                    let short = rule.get("rule").and_then(Value::as_str).map(without_spaces);
                    if let Some(short) = short {
                        rule["rule"] = Value::String(short);
                    }
                }
            }
            map.values_mut().for_each(shorten_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(shorten_rules),
        _ => {}
    }
}

/// CEL without spaces beside operators and punctuation. Texts stay as they are.
fn without_spaces(rule: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut short = String::with_capacity(rule.len());
    let (mut quote, mut escaped, mut spaced) = (None, false, false);
    for c in rule.chars() {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| escaped || *open != c);
            escaped = c == '\\' && !escaped;
            short.push(c);
        } else if c == ' ' {
            spaced = true;
        } else {
            // Of words, only `in` stands beside another.
            if spaced && is_word(c) && short.chars().next_back().is_some_and(is_word) {
                short.push(' ');
            }
            quote = matches!(c, '\'' | '"').then_some(c);
            spaced = false;
            short.push(c);
        }
    }
    short
}

/// Where the definition describes the fields of `spec`.
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

/// The kind is described at its root; `spec` would say the same.
fn describe_platform_once(definition: &mut Value) {
    let spec = definition.pointer_mut(SPEC.trim_end_matches("/properties"));
    if let Some(Value::Object(spec)) = spec {
        spec.insert("description".to_owned(), Value::from("How the platform is to be."));
    }
}

/// Five parts of the platform have the fields of a component. They are described at `spec.backend` only,
/// and the others say so: it saves a quarter of the definition.
fn describe_components_once(definition: &mut Value) {
    for component in ["frontend", "scraper", "worker", "services/items"] {
        let fields = definition.pointer_mut(&format!("{SPEC}/{component}/properties"));
        let Some(Value::Object(fields)) = fields else { continue };
        for (_, field) in fields.iter_mut().filter(|(name, _)| *name != "name") {
            drop_descriptions(field);
        }
    }
}

/// Fields of data stores, the runtime and the placement that are those of a component too, scheduling above all.
fn describe_stores_once(definition: &mut Value) {
    let backend = definition.pointer(&format!("{SPEC}/backend/properties")).cloned().unwrap_or_default();
    for store in ["redis", "postgres", "containerRuntime", "placement"] {
        let fields = definition.pointer_mut(&format!("{SPEC}/{store}/properties"));
        let Some(Value::Object(fields)) = fields else { continue };
        for (name, field) in fields.iter_mut() {
            let Some(own) = field.get("description").and_then(Value::as_str).map(str::to_owned) else {
                continue;
            };
            if is_same(&backend[name.as_str()], field) && drop_descriptions(field) > 1 {
                field["description"] = Value::String(ELSEWHERE.to_owned());
            } else if field.get("description").is_none() {
                field["description"] = Value::String(own);
            }
        }
    }
}

/// Where a field is described that is the same there.
const ELSEWHERE: &str = "As spec.backend.";

/// Fields that have the shape of a neighbour: their own fields are described there.
const TWINS: [(&str, &str, &[&str]); 3] = [
    ("backend/properties/probes", "liveness", &["readiness", "startup"]),
    ("backend/properties/autoscaling/properties/behavior", "scaleDown", &["scaleUp"]),
    ("postgres", "storage", &["walStorage"]),
];

fn describe_twins_once(definition: &mut Value) {
    for (parent, first, others) in TWINS {
        for other in others {
            let twin = definition.pointer_mut(&format!("{SPEC}/{parent}/properties/{other}"));
            let Some(Value::Object(twin)) = twin else { continue };
            twin.get_mut("properties").map(drop_descriptions);
            if let Some(Value::String(own)) = twin.get_mut("description") {
                *own = format!("{own} Fields as in `{first}`.");
            }
        }
    }
}

/// Whether two fields differ in descriptions alone.
fn is_same(one: &Value, other: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        drop_descriptions(&mut value);
        value
    };
    bare(one) == bare(other)
}

/// Drops all descriptions and returns how many there were.
fn drop_descriptions(value: &mut Value) -> usize {
    match value {
        Value::Object(map) => {
            let own = matches!(map.get("description"), Some(Value::String(_)));
            if own {
                map.remove("description");
            }
            usize::from(own) + map.values_mut().map(drop_descriptions).sum::<usize>()
        }
        Value::Array(items) => items.iter_mut().map(drop_descriptions).sum(),
        _ => 0,
    }
}

/// Whether an empty text has the form of the pattern, or there is none.
fn matches_nothing(pattern: Option<&Value>) -> bool {
    let Some(Value::String(pattern)) = pattern else { return true };
    // Without Unicode, as Go reads `\w` and `\d`: with it, each of hundreds takes milliseconds to compile.
    RegexBuilder::new(pattern).unicode(false).build().map_or(true, |pattern| pattern.is_match(b""))
}

/// The first sentence. Kubernetes' own descriptions begin with the field's name, in lower case.
fn sentence(text: &str) -> String {
    text.split_once(". ").map_or_else(|| text.to_owned(), |(first, _)| format!("{first}."))
}

/// Keeps only the first paragraph of the descriptions that come with Kubernetes' own types, and
/// drops the number formats that only Go knows.
fn thin(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                let first = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
                *text = if first.starts_with(|c: char| c.is_ascii_lowercase()) {
                    sentence(&first)
                } else {
                    first
                };
            }
            // Bounds say more than the width of a number.
            if map.contains_key("minimum") && map.contains_key("maximum") {
                map.remove("format");
            }
            // A service has the rules of its component twice.
            if let Some(Value::Array(rules)) = map.get_mut("x-kubernetes-validations") {
                let mut seen = Vec::new();
                rules.retain(|rule| {
                    !seen.contains(rule) && {
                        seen.push(rule.clone());
                        true
                    }
                });
            }
            // Most patterns leave no room for an empty text.
            if map.get("minLength") == Some(&Value::from(1)) && !matches_nothing(map.get("pattern")) {
                map.remove("minLength");
            }
            // Without it the apiserver treats null as absent, and so do the rules.
            map.remove("nullable");
            if let Some(Value::String(format)) = map.get("format")
                && matches!(format.as_str(), "uint8" | "uint16" | "uint32" | "uint64")
            {
                map.remove("format");
            }
            map.values_mut().for_each(thin);
        }
        Value::Array(items) => items.iter_mut().for_each(thin),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_lose_only_the_spaces_that_say_nothing() {
        for (rule, short) in [
            ("!has(self.a) || self.a >= 1 && self.b < 2", "!has(self.a)||self.a>=1&&self.b<2"),
            ("'a b' in self ? self['a b'] : ''", "'a b'in self?self['a b']:''"),
            ("k in ['x', 'it\\'s  so'] || \"a  'b\" == k", "k in['x','it\\'s  so']||\"a  'b\"==k"),
        ] {
            assert_eq!(without_spaces(rule), short);
        }
    }
}
