//! What the apiserver records in `managedFields` for an applied document, after
//! structured-merge-diff and the merge keys of Kubernetes' own OpenAPI.

use serde_json::{Map, Value, json};

/// Lists whose elements are told apart by keys, by the name of their field. All others are
/// replaced as a whole.
const KEYED: [(&str, &[&str]); 9] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("imagePullSecrets", &["name"]),
    ("ownerReferences", &["uid"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("ports", &["containerPort", "port", "protocol"]),
];
/// Maps that are replaced as a whole.
const WHOLE: [&str; 6] =
    ["selector", "podSelector", "labelSelector", "nodeSelector", "fieldRef", "secretKeyRef"];

/// The `FieldsV1` of everything in the document.
pub fn all(applied: &Value) -> Value {
    of("", applied, true)
}

/// `in_pod_or_service` tells the ports of containers and Services from those of policies and
/// `EndpointSlices`, which are replaced as a whole.
fn of(field: &str, value: &Value, in_pod_or_service: bool) -> Value {
    match value {
        Value::Object(map) if !map.is_empty() && !WHOLE.contains(&field) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (format!("f:{key}"), of(key, value, in_pod_or_service && !is_policy(key))))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => match KEYED.iter().find(|(name, _)| *name == field) {
            Some((_, keys)) if in_pod_or_service => {
                let mut fields = Map::new();
                for item in items {
                    let mut inner = of("", item, true);
                    inner["."] = json!({});
                    fields.insert(format!("k:{}", key(item, keys)), inner);
                }
                fields.into()
            }
            _ => json!({}),
        },
        _ => json!({}),
    }
}

fn is_policy(field: &str) -> bool {
    ["ingress", "egress", "endpoints"].contains(&field)
}

fn key(item: &Value, keys: &[&str]) -> Value {
    keys.iter()
        .filter_map(|&key| Some((key.to_owned(), item.get(key)?.clone())))
        .collect::<Map<_, _>>()
        .into()
}

/// All ways to take one field out of a `FieldsV1`, as when another manager took it over.
pub fn without_one(fields: &Value) -> Vec<Value> {
    let Value::Object(map) = fields else { return Vec::new() };
    let mut all = Vec::new();
    for (key, inner) in map.iter().filter(|(key, _)| *key != ".") {
        let is_leaf = inner.as_object().is_none_or(Map::is_empty);
        if is_leaf {
            let mut rest = map.clone();
            rest.remove(key);
            // An empty object would be a leaf that is owned as a whole.
            rest.entry(".").or_insert(json!({}));
            all.push(Value::Object(rest));
        }
        all.extend(without_one(inner).into_iter().map(|inner| {
            let mut rest = map.clone();
            rest.insert(key.clone(), inner);
            Value::Object(rest)
        }));
    }
    all
}
