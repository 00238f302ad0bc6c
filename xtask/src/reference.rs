//! Words the schema as a page: every field with its type, bounds, description and rules. Pure.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use serde_json::{Map, Value};

const HEAD: &str = "# Reference of TradingPlatform

Made by `cargo xtask generate` from the schema that the apiserver enforces. Defaults are not in the schema: the
operator fills them in, and `status.effective` lists which and why. `kubectl explain tradingplatform.spec --recursive`
shows the same in a terminal, and `kubectl trading validate -f FILE` checks all of it without a cluster.

A quantity is a number with a unit, such as `500m` (half a core) or `2Gi`. What is not marked as required may be left
out. A rule is what the apiserver answers to a resource that breaks it.
";

/// The page for an OpenAPI schema of the kind.
pub fn page(schema: &Value) -> String {
    let mut page = Page::default();
    let spec = &schema["properties"]["spec"];
    let status = &schema["properties"]["status"];
    let mut contents = String::from("\n## Contents\n");
    let mut body = String::new();
    for (root, whole) in [("spec", spec), ("status", status)] {
        let fields = properties(whole);
        let links: Vec<String> =
            fields.keys().map(|name| format!("[{name}](#{root}{})", slug(name))).collect();
        // Writing to a String can't fail.
        _ = writeln!(contents, "\n**{root}**: {}", links.join(" · "));
        _ = write!(body, "\n## {root}\n\n{}\n{}", description(whole), rules(whole, ""));
        for (name, field) in fields {
            let path = format!("{root}.{name}");
            _ = writeln!(body, "\n### {path}\n\n{}", line(field, is_required(whole, name)));
            body.push_str(&page.inside(field, &path, 0));
        }
    }
    format!("{HEAD}{contents}{body}")
}

/// The path of an object, and its fields.
type Shown = (String, Map<String, Value>);

#[derive(Default)]
struct Page {
    /// Objects that were shown first, by what their fields have in common with those of others.
    shown: HashMap<String, Vec<Shown>>,
}

impl Page {
    /// The fields of an object, of the items of a list or of the values of a map, indented.
    fn inside(&mut self, schema: &Value, path: &str, depth: usize) -> String {
        let indent = "  ".repeat(depth);
        let mut text = rules(schema, &indent);
        let (schema, path) = match (schema.get("items"), schema.get("additionalProperties")) {
            (Some(items), _) => (items, format!("{path}[]")),
            (_, Some(values)) => (values, format!("{path}.*")),
            _ => (schema, path.to_owned()),
        };
        if path.ends_with(['*', ']']) {
            text.push_str(&rules(schema, &indent));
        }
        let mut fields = properties(schema).clone();
        if fields.is_empty() {
            return text;
        }
        if let Some((first, rest)) = self.seen(&fields) {
            let first = if has_heading(&first) {
                format!("[{first}](#{})", slug(&first))
            } else {
                format!("`{first}`")
            };
            _ = writeln!(text, "{indent}- with the fields of {first}");
            fields = rest;
        } else {
            self.shown.entry(key(&fields)).or_default().push((path.clone(), fields.clone()));
        }
        for (name, field) in &fields {
            let inner = format!("{path}.{name}");
            let required = is_required(schema, name);
            _ = writeln!(text, "{indent}- **{name}**: {}", line(field, required));
            text.push_str(&self.inside(field, &inner, depth + 1));
        }
        text
    }

    /// An object that was shown with these fields, and which further ones this one has.
    fn seen(&self, fields: &Map<String, Value>) -> Option<(String, Map<String, Value>)> {
        if fields.len() < 2 {
            return None;
        }
        if let Some(first) = self.first(fields) {
            return Some((first.clone(), Map::new()));
        }
        // Entries of services are components with a name.
        let mut others = fields.clone();
        let name = others.remove("name")?;
        let first = self.first(&others).filter(|_| others.len() > 4)?;
        Some((first.clone(), Map::from_iter([("name".to_owned(), name)])))
    }

    /// Where these fields were shown, unless they say something else here.
    fn first(&self, fields: &Map<String, Value>) -> Option<&String> {
        let agrees = |shown: &Map<String, Value>| {
            let says = |(name, field)| {
                let text = description(field);
                text.is_empty() || shown.get(name).is_some_and(|shown: &Value| description(shown) == text)
            };
            fields.iter().all(says)
        };
        let (path, _) = self.shown.get(&key(fields))?.iter().find(|(_, shown)| agrees(shown))?;
        Some(path)
    }
}

/// What two objects with the same fields have in common. Rules are left out, since the apiserver can't
/// afford all of them everywhere, and descriptions, since the schema gives them once.
fn key(fields: &Map<String, Value>) -> String {
    fn bare(value: &Value) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .filter(|(name, value)| {
                    *name != "x-kubernetes-validations" && !(*name == "description" && value.is_string())
                })
                .map(|(name, value)| (name.clone(), bare(value)))
                .collect(),
            other => other.clone(),
        }
    }
    bare(&Value::Object(fields.clone())).to_string()
}

/// Type, bounds and description of a field.
fn line(schema: &Value, required: bool) -> String {
    let mut facts = vec![type_of(schema)];
    if required {
        facts.push("required".to_owned());
    }
    facts.extend(bounds(schema));
    let facts = facts.join(" · ");
    match description(schema) {
        "" => format!("_{facts}_"),
        text => format!("_{facts}_ — {text}"),
    }
}

fn type_of(schema: &Value) -> String {
    let is_list = schema.get("items").is_some();
    match (schema.get("items"), schema.get("additionalProperties")) {
        (Some(items), _) => format!("list of {}", plural(&type_of(items))),
        (_, Some(values)) if values.is_object() => format!("map of {}", plural(&type_of(values))),
        _ if schema["x-kubernetes-int-or-string"] == true => {
            let pattern = schema["pattern"].as_str().unwrap_or_default();
            if pattern.contains("KMGTPE") { "quantity" } else { "number or percentage" }.to_owned()
        }
        _ if is_list => "list".to_owned(),
        _ => schema["type"].as_str().unwrap_or("object").to_owned(),
    }
}

fn plural(name: &str) -> String {
    match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if name.starts_with("list of") || name.starts_with("map of") => name.to_owned(),
        None => format!("{name}s"),
    }
}

fn bounds(schema: &Value) -> Vec<String> {
    let mut bounds = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(|v| Some(format!("`{}`", v.as_str()?))).collect();
        bounds.push(format!("one of {}", values.join(", ")));
    }
    bounds.extend(range(schema, "minimum", "maximum", ""));
    bounds.extend(range(schema, "minLength", "maxLength", " characters"));
    bounds.extend(range(schema, "minItems", "maxItems", " entries"));
    bounds.extend(range(schema, "minProperties", "maxProperties", " entries"));
    // The unit of a quantity is explained once.
    if let Some(pattern) = schema["pattern"].as_str().filter(|_| type_of(schema) != "quantity") {
        bounds.push(format!("`{pattern}`"));
    }
    if let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        bounds.push(format!("each {} once", keys.join(" and ")));
    }
    let items = &schema["items"];
    if items.get("properties").is_none() && items.is_object() {
        let each = self::bounds(items);
        bounds.extend((!each.is_empty()).then(|| format!("each {}", each.join(", "))));
    }
    let values = &schema["additionalProperties"];
    if values.get("properties").is_none() && values.is_object() {
        let each = self::bounds(values);
        bounds.extend((!each.is_empty()).then(|| format!("each {}", each.join(", "))));
    }
    bounds
}

fn range(schema: &Value, low: &str, high: &str, unit: &str) -> Option<String> {
    let number = |name: &str| schema[name].as_f64();
    match (number(low), number(high)) {
        (Some(low), Some(high)) if (low - high).abs() < f64::EPSILON => Some(format!("exactly {low}{unit}")),
        (Some(low), Some(high)) => Some(format!("{low}–{high}{unit}")),
        (Some(low), None) => Some(format!("at least {low}{unit}")),
        (None, Some(high)) => Some(format!("at most {high}{unit}")),
        (None, None) => None,
    }
}

fn rules(schema: &Value, indent: &str) -> String {
    let all = schema["x-kubernetes-validations"].as_array();
    let mut messages: Vec<&str> =
        all.into_iter().flatten().filter_map(|rule| rule["message"].as_str()).collect();
    let mut said = HashSet::new();
    messages.retain(|message| said.insert(*message));
    messages.into_iter().fold(String::new(), |mut text, message| {
        _ = writeln!(text, "{indent}- rule: {message}");
        text
    })
}

fn properties(schema: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema["properties"].as_object().unwrap_or(&NONE)
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|field| field == name))
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// Whether a path is that of a field of `spec` or `status` itself.
fn has_heading(path: &str) -> bool {
    path.matches('.').count() == 1 && !path.ends_with(']')
}

/// As the pages of a forge make anchors of headings.
fn slug(path: &str) -> String {
    path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::page;

    #[test]
    fn a_field_says_what_it_takes() {
        let schema = json!({"properties": {"spec": {"description": "All.", "required": ["size"],
            "x-kubernetes-validations": [{"rule": "x", "message": "a or b"}], "properties": {
            "size": {"type": "integer", "minimum": 1.0, "maximum": 9.0, "description": "How large."},
            "mode": {"type": "string", "enum": ["A", "B"]},
            "cpu": {"x-kubernetes-int-or-string": true, "pattern": "([KMGTPE]i)"},
            "tags": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 5}},
        }}}});
        let page = page(&schema);
        for expected in [
            "## spec\n\nAll.\n- rule: a or b\n",
            "### spec.size\n\n_integer · required · 1–9_ — How large.\n",
            "_string · one of `A`, `B`_",
            "### spec.cpu\n\n_quantity_\n",
            "_list of strings · at most 3 entries · each at most 5 characters_",
            "[size](#specsize)",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
    }

    #[test]
    fn an_object_that_comes_again_is_shown_once() {
        let inner = json!({"type": "object", "properties": {"a": {"type": "string", "description": "Only once."},
            "b": {"type": "integer"}}});
        let mut silent = inner.clone();
        silent["properties"]["a"] = json!({"type": "string"});
        let page = page(&json!({"properties": {"spec": {"properties": {"one": inner, "two": silent}}}}));
        assert_eq!(page.matches("Only once.").count(), 1);
        assert!(
            page.contains("### spec.two\n\n_object_\n- with the fields of [spec.one](#specone)\n"),
            "{page}"
        );
    }

    #[test]
    fn what_means_something_else_is_no_repetition() {
        let of = |text: &str| {
            json!({"type": "object", "properties": {"a": {"type": "string", "description": text},
            "b": {"type": "integer"}}})
        };
        let page =
            page(&json!({"properties": {"spec": {"properties": {"one": of("This."), "two": of("That.")}}}}));
        assert!(page.contains("This.") && page.contains("That."), "{page}");
    }

    /// Every name and every description of the schema is on the page.
    #[test]
    fn nothing_of_the_schema_is_left_out() {
        fn collect(schema: &Value, names: &mut BTreeSet<String>, words: &mut BTreeSet<String>) {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                names.insert(name.clone());
                words.extend(field["description"].as_str().map(str::to_owned));
                collect(field, names, words);
            }
            for inner in [&schema["items"], &schema["additionalProperties"]] {
                if inner.is_object() {
                    collect(inner, names, words);
                }
            }
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                words.extend(rule["message"].as_str().map(str::to_owned));
            }
        }
        let schema = trading_api::schema::open_api_schema();
        let page = page(&schema);
        let (mut names, mut words) = (BTreeSet::new(), BTreeSet::new());
        for root in ["spec", "status"] {
            collect(&schema["properties"][root], &mut names, &mut words);
        }
        assert!(names.len() > 100);
        let silent: Vec<&String> = names
            .iter()
            .filter(|name| !page.contains(&format!("**{name}**")) && !page.contains(&format!(".{name}\n")))
            .collect();
        assert!(silent.is_empty(), "{silent:?}");
        // Where a component's field is described elsewhere, the page has a link to the whole component.
        words.retain(|word| !word.contains("As spec.backend."));
        let unsaid: Vec<&String> = words.iter().filter(|word| !page.contains(word.as_str())).collect();
        assert!(unsaid.is_empty(), "{unsaid:?}");
    }
}
