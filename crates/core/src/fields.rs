//! Whether the operator still owns every field that it applied.
//!
//! Another client that changes a field takes it out of our `managedFields` entry, so comparing
//! that entry with what we would apply finds drift without reading the object itself: a watch of
//! metadata is enough. The format is `FieldsV1` of the apiserver (structured-merge-diff).

use serde_json::{Map, Value};

/// Whether `fields` (a `FieldsV1`) has every leaf of `applied`.
#[must_use]
pub fn cover(fields: &Value, applied: &Value) -> bool {
    let Some(fields) = fields.as_object() else {
        return false;
    };
    if fields.is_empty() {
        // A leaf: a scalar, or a map or list that is replaced as a whole.
        return true;
    }
    match applied {
        Value::Object(map) => {
            map.iter().filter(|(_, value)| !value.is_null()).all(|(key, value)| {
                match fields.get(&format!("f:{key}")) {
                    Some(inner) => cover(inner, value),
                    None => is_empty(value),
                }
            })
        }
        Value::Array(items) => items.iter().all(|item| covers_item(fields, item)),
        _ => true,
    }
}

/// The apiserver may not track a map or list that has nothing in it.
fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn covers_item(fields: &Map<String, Value>, item: &Value) -> bool {
    match item {
        Value::Object(element) => fields.iter().any(|(key, inner)| {
            key.strip_prefix("k:")
                .and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok())
                .is_some_and(|keys| {
                    // A key that we leave out was filled in by the apiserver (`protocol: TCP`).
                    keys.iter().all(|(k, v)| element.get(k).is_none_or(|ours| ours == v))
                })
                && cover(inner, item)
        }),
        scalar => fields.contains_key(&format!("v:{scalar}")),
    }
}

/// The applied document without what the apiserver does not track for its manager: the identity
/// of the object.
#[must_use]
pub fn tracked(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::cover;

    #[test]
    fn a_field_taken_by_another_manager_is_missed() {
        let applied = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "app", "image": "a:1", "ports": [{"containerPort": 80}]}]}}}});
        let ours = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"app\"}": {".": {}, "f:name": {}, "f:image": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}});
        assert!(cover(&ours, &applied));

        let mut without_image = ours.clone();
        without_image["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"app\"}"]
            .as_object_mut()
            .expect("an object")
            .remove("f:image");
        assert!(!cover(&without_image, &applied));
    }

    #[test]
    fn lists_that_are_replaced_whole_are_leaves() {
        assert!(cover(&json!({"f:spec": {"f:rules": {}}}), &json!({"spec": {"rules": [{"host": "a"}]}})));
        assert!(!cover(&json!({"f:spec": {"f:other": {}}}), &json!({"spec": {"rules": [1]}})));
    }

    #[test]
    fn an_emptied_map_is_missed() {
        let applied = json!({"labels": {"team": "a"}});
        assert!(!cover(&json!({"f:labels": {".": {}}}), &applied));
    }

    #[test]
    fn set_elements_are_found_by_value() {
        let fields = json!({"f:finalizers": {".": {}, "v:\"a\"": {}}});
        assert!(cover(&fields, &json!({"finalizers": ["a"]})));
        assert!(!cover(&fields, &json!({"finalizers": ["b"]})));
    }
}
