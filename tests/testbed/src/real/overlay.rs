//! What changes of a platform for it to run on real nodes of a small machine, pure: its images are stood in
//! for, its requests lowered, and its database is of the version that stands in. Everything else stays as it is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::images::{POSTGRES_ALPINE_IMAGE, POSTGRES_IMAGE, REDIS_ALPINE_IMAGE, REDIS_IMAGE, STANDIN_IMAGE};

/// Parts of a platform's spec that are containers.
const PARTS: [&str; 6] = ["frontend", "backend", "worker", "scraper", "redis", "postgres"];
/// Version of the PostgreSQL that stands in.
const POSTGRES_MAJOR: u32 = 15;
/// And the list of further ones.
const SERVICES: &str = "services";

/// Lowers what each container asks for, so that the scheduler finds room, and has the database be of the version that
/// stands in for others. Limits stay, so with the quality
/// of service `Guaranteed`, which raises requests to them, that goes too.
pub fn lower_requests(platform: &mut Value) {
    let spec = &mut platform["spec"];
    for part in PARTS {
        if let Some(part) = spec.get_mut(part) {
            lower(part);
        }
    }
    // A database of its own is Debian's.
    if let Some(version) = spec.pointer_mut("/postgres/version") {
        *version = json!(POSTGRES_MAJOR);
    }
    for service in spec.get_mut(SERVICES).and_then(Value::as_array_mut).into_iter().flatten() {
        lower(service);
    }
}

fn lower(part: &mut Value) {
    let is_outside = part["mode"] == "External";
    if let Some(part) = part.as_object_mut().filter(|_| !is_outside) {
        part.remove("qos");
        let resources = part.entry("resources").or_insert_with(|| json!({}));
        resources["requests"] = json!({ "cpu": "10m", "memory": "32Mi" });
    }
}

/// The images of all containers in rendered objects.
#[must_use]
pub fn images(objects: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects {
        collect(object, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("image").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Which of our images stands in for an image; none for the operator's own.
pub(super) fn stands_in_for(image: &str) -> Option<String> {
    let path = image.split('@').next().unwrap_or(image);
    let name = path.rsplit('/').next().unwrap_or(path);
    let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
    match (name, tag.contains("alpine")) {
        ("trading-platform-operator", _) => None,
        ("redis", false) => Some(REDIS_IMAGE.to_owned()),
        ("redis", true) => Some(REDIS_ALPINE_IMAGE.to_owned()),
        // Debian's PgBouncer is in the layer of all stores.
        ("postgres" | "pgbouncer", false) => Some(POSTGRES_IMAGE.to_owned()),
        ("postgres" | "pgbouncer", true) => Some(POSTGRES_ALPINE_IMAGE.to_owned()),
        _ => Some(format!("{STANDIN_IMAGE}:1.0.0")),
    }
}

/// As containerd knows an image that the kubelet asks for.
pub(super) fn full_name(image: &str) -> String {
    let has_tag = image.rsplit('/').next().is_some_and(|name| name.contains(':'));
    let tagged = if has_tag { image.to_owned() } else { format!("{image}:latest") };
    match tagged.split_once('/') {
        None => format!("docker.io/library/{tagged}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tagged,
        Some(_) => format!("docker.io/{tagged}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_are_lowered() {
        let mut platform = json!({ "spec": {
            "frontend": { "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": "4" } } },
            "services": [{ "name": "api" }],
            "postgres": { "mode": "External", "external": {} },
            "redis": { "mode": "Cluster", "qos": "Guaranteed" },
        }});
        lower_requests(&mut platform);
        let low = json!({ "cpu": "10m", "memory": "32Mi" });
        let spec = &platform["spec"];
        assert_eq!(spec["frontend"]["resources"], json!({ "requests": low, "limits": { "cpu": "4" } }));
        assert_eq!(spec["services"][0]["resources"]["requests"], low);
        assert_eq!(spec["postgres"], json!({ "mode": "External", "external": {} }));
        assert_eq!(spec["redis"], json!({ "mode": "Cluster", "resources": { "requests": low } }));
    }

    #[test]
    fn images_are_found_and_named_in_full() {
        let pod = json!({ "spec": { "initContainers": [{ "image": "a/b:1" }], "containers": [{ "image": "redis:7" }] } });
        assert_eq!(images(&[pod]), BTreeSet::from(["a/b:1".to_owned(), "redis:7".to_owned()]));
        assert_eq!(full_name("redis:7"), "docker.io/library/redis:7");
        assert_eq!(full_name("a/b"), "docker.io/a/b:latest");
        assert_eq!(full_name("registry.example.com/a/b:1"), "registry.example.com/a/b:1");
        assert_eq!(full_name("localhost:5000/b:1"), "localhost:5000/b:1");
    }

    #[test]
    fn stores_stand_in_for_stores() {
        assert_eq!(stands_in_for("redis:7").as_deref(), Some(REDIS_IMAGE));
        assert_eq!(stands_in_for("redis:7-alpine").as_deref(), Some(REDIS_ALPINE_IMAGE));
        assert_eq!(stands_in_for("postgres:16-alpine").as_deref(), Some(POSTGRES_ALPINE_IMAGE));
        assert_eq!(stands_in_for("docker.io/library/postgres:15").as_deref(), Some(POSTGRES_IMAGE));
        assert_eq!(stands_in_for("ghcr.io/cloudnative-pg/pgbouncer:1.25.1").as_deref(), Some(POSTGRES_IMAGE));
        assert_eq!(stands_in_for("shop/redis-exporter:1").as_deref(), Some("testbed.local/standin:1.0.0"));
        assert_eq!(stands_in_for("trading-platform-operator:0.1.0"), None);
    }
}
