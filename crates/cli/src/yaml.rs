//! YAML as `kubectl` reads it. Pure.
//!
//! `kubectl` still speaks YAML 1.1, where a bare `yes`, `off` or `1_000` is a boolean or a number.
//! Reading it as text would admit here what the cluster refuses, and printing it bare would
//! change a text on its way to the cluster.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_yaml::{Deserializer, Mapping, Value};

/// Every document, null where it is empty; errors name the line.
///
/// # Errors
/// Where the text is not YAML, or has something in it that JSON can't say.
pub fn parse(text: &str) -> Result<Vec<Json>> {
    let mut documents = parse_1_2(text)?;
    if documents.iter().any(is_ambiguous) {
        // Only a bare word stops being text when it is exchanged for its meaning; within quotes
        // and blocks the result is text still, and is not taken over.
        for (document, exchanged) in documents.iter_mut().zip(&parse_1_2(&exchange(text))?) {
            adopt(document, exchanged);
        }
    }
    Ok(documents)
}

/// As text, with the keys in the order in which people read them.
///
/// # Errors
/// Never for JSON; the writer's type has errors.
pub fn print(document: &Json) -> Result<String> {
    // The writer leaves bare what only YAML 1.1 misreads. Such text goes through it between two
    // marks, which are quotes in the end.
    let plain = document.to_string();
    let mark = ('\u{E000}'..='\u{F8FF}').find(|mark| !plain.contains(*mark)).unwrap_or('\'');
    Ok(serde_yaml::to_string(&ordered(document, mark)?)?.replace(mark, "'"))
}

fn parse_1_2(text: &str) -> Result<Vec<Json>> {
    let mut documents = Vec::new();
    for document in Deserializer::from_str(text) {
        let mut value = Value::deserialize(document)?;
        value.apply_merge()?;
        documents.push(to_json(value)?);
    }
    Ok(documents)
}

/// A whole number is written without a fraction, as JSON in Kubernetes is.
fn to_json(value: Value) -> Result<Json> {
    let mut json = serde_json::to_value(value)?;
    whole_numbers(&mut json);
    Ok(json)
}

fn whole_numbers(value: &mut Json) {
    match value {
        Json::Number(number) if number.is_f64() => {
            let text = number.to_string();
            if let Some(whole) = text.strip_suffix(".0").and_then(|text| text.parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        Json::Array(items) => items.iter_mut().for_each(whole_numbers),
        Json::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// What a bare word means in YAML 1.1, where that differs from YAML 1.2.
fn meaning(word: &str) -> Option<Json> {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true.into()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false.into()),
        number => number_of(number),
    }
}

/// `1_000` is a number, and so is `0123`, in base 8 where it can be.
fn number_of(word: &str) -> Option<Json> {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    let octal =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || !(octal || digits.contains('_')) {
        return None;
    }
    let plain = word.replace('_', "");
    let in_base_8 = octal.then(|| i64::from_str_radix(&plain, 8).ok()).flatten();
    match in_base_8.or_else(|| plain.parse().ok()) {
        Some(whole) => Some(whole.into()),
        None => plain.parse::<f64>().ok().map(Json::from),
    }
}

fn is_ambiguous(value: &Json) -> bool {
    match value {
        Json::String(text) => meaning(text).is_some(),
        Json::Array(items) => items.iter().any(is_ambiguous),
        Json::Object(fields) => fields.values().any(is_ambiguous),
        _ => false,
    }
}

/// The text with each ambiguous word that stands alone exchanged for its meaning.
fn exchange(text: &str) -> String {
    let ends_word = |c: char| c.is_whitespace() || "[]{},".contains(c);
    text.split_inclusive(ends_word)
        .map(|piece| {
            let word = piece.trim_end_matches(ends_word);
            match meaning(word) {
                Some(value) => format!("{value}{}", &piece[word.len()..]),
                None => piece.to_owned(),
            }
        })
        .collect()
}

/// Takes over what became of bare words.
fn adopt(value: &mut Json, exchanged: &Json) {
    match (value, exchanged) {
        (value @ Json::String(_), Json::Bool(_) | Json::Number(_)) => *value = exchanged.clone(),
        (Json::Array(items), Json::Array(others)) => {
            for (item, other) in items.iter_mut().zip(others) {
                adopt(item, other);
            }
        }
        (Json::Object(fields), Json::Object(others)) => {
            for (name, field) in fields {
                if let Some(other) = others.get(name) {
                    adopt(field, other);
                }
            }
        }
        _ => {}
    }
}

/// Keys that come first, in this order; the others follow by name.
const FIRST: [&str; 7] = ["apiVersion", "kind", "metadata", "name", "namespace", "labels", "annotations"];

fn ordered(value: &Json, mark: char) -> Result<Value> {
    let text = |content: &str| {
        Value::String(if meaning(content).is_some() {
            format!("{mark}{content}{mark}")
        } else {
            content.to_owned()
        })
    };
    Ok(match value {
        Json::Object(fields) => {
            let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
            let sorted: BTreeMap<(usize, &str), &Json> =
                fields.iter().map(|(key, field)| ((rank(key), key.as_str()), field)).collect();
            let mut mapping = Mapping::new();
            for ((_, key), field) in sorted {
                mapping.insert(text(key), ordered(field, mark)?);
            }
            Value::Mapping(mapping)
        }
        Json::Array(items) => {
            Value::Sequence(items.iter().map(|item| ordered(item, mark)).collect::<Result<_>>()?)
        }
        Json::String(content) => text(content),
        scalar => serde_yaml::to_value(scalar)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{parse, print};

    fn value(yaml: &str) -> Value {
        parse(&format!("a: {yaml}\n")).unwrap()[0]["a"].clone()
    }

    #[test]
    fn bare_words_are_read_as_kubectl_reads_them() {
        for (bare, meant) in [
            ("yes", json!(true)),
            ("Off # comment", json!(false)),
            ("[n, on]", json!([false, true])),
            ("{b: y}", json!({"b": true})),
            ("!!str yes", json!("yes")),
            ("1_000", json!(1000)),
            ("0644", json!(420)),
            ("089", json!(89)),
            ("2.0", json!(2)),
            ("2.5", json!(2.5)),
            ("2.0.0", json!("2.0.0")),
            ("0_a", json!("0_a")),
            ("yes and no", json!("yes and no")),
        ] {
            assert_eq!(value(bare), meant, "{bare}");
        }
    }

    #[test]
    fn text_in_quotes_and_blocks_stays_text() {
        for (quoted, text) in
            [("\"yes\"", "yes"), ("'0644'", "0644"), ("|-\n  on", "on"), (">-\n  off\n  on", "off on")]
        {
            assert_eq!(value(quoted), json!(text), "{quoted}");
        }
        assert_eq!(
            parse("a: on\nb: 'on'\nc: |\n  on\n").unwrap(),
            [json!({"a": true, "b": "on", "c": "on\n"})]
        );
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let strange = [
            "yes",
            "N",
            "off",
            "1_000",
            "0644",
            "true",
            "null",
            "~",
            "",
            " ",
            "1.0",
            "0x1F",
            "1e3",
            ".5",
            "2.0.0",
            "a: b",
            "# c",
            "- d",
            "x\ny\n",
            "x\n\n",
            " x\ny",
            "'",
            "\"",
            "\u{E000}",
            "\u{E000}yes\u{E000}",
            "é\t",
            "*a",
            "&a",
            "!a",
            "2001-01-01",
            "12:30",
            "=",
            "<<",
            "---",
        ];
        let mut keys = serde_json::Map::new();
        for text in strange {
            keys.insert(text.to_owned(), json!(text));
        }
        // Merge keys are a feature of the reader, not a text.
        keys.remove("<<");
        let document = json!({"list": strange.to_vec(), "keys": keys});
        let printed = print(&document).unwrap();
        assert_eq!(parse(&printed).unwrap(), [document], "{printed}");
    }

    #[test]
    fn keys_are_printed_in_the_order_of_reading() {
        let document = json!({"spec": {"b": 1, "a": [{"image": "x", "name": "app"}]}, "metadata": {"labels": {}, "namespace": "prod", "name": "m"}, "kind": "K", "apiVersion": "v1", "data": {"flag": "on"}});
        assert_eq!(
            print(&document).unwrap(),
            "apiVersion: v1\nkind: K\nmetadata:\n  name: m\n  namespace: prod\n  labels: {}\ndata:\n  flag: 'on'\nspec:\n  a:\n  - name: app\n    image: x\n  b: 1\n"
        );
    }

    #[test]
    fn anchors_and_merges_are_resolved() {
        assert_eq!(
            parse("base: &base {a: 1}\nmore:\n  <<: *base\n  b: 2\n").unwrap(),
            [json!({"base": {"a": 1}, "more": {"a": 1, "b": 2}})]
        );
    }
}
