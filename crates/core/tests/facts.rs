//! What the papers of the platforms demand (`tests/facts`), held against what is rendered.

#![allow(clippy::unwrap_used)] // a test ends where its files can't be read

#[path = "../../../tests/facts/mod.rs"]
mod facts;
mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::{platform_of, rendered, repository};

#[test]
fn every_platform_is_what_its_papers_say() {
    let mut wrong = Vec::new();
    for papers in facts::all(&repository("tests/facts")) {
        let platform = platform_of(&papers.example);
        assert_eq!(platform.metadata.name.as_deref(), Some(papers.platform.as_str()), "{}", papers.example);
        let (_, objects) = rendered(&platform);
        let objects: BTreeMap<String, Value> = objects
            .into_iter()
            .map(|object| {
                let kind = object.kind.to_string();
                (papers.name_of(&kind, &object.namespace, &object.name), object.into_body())
            })
            .collect();
        for (name, body) in &objects {
            let namespace = body["metadata"]["namespace"].as_str().unwrap();
            let is_known = namespace == papers.namespace || papers.tiers.iter().any(|tier| tier == namespace);
            assert!(is_known, "{name} of {} is in {namespace}", papers.example);
        }
        assert!(papers.count() > 10, "{} facts of {}", papers.count(), papers.example);
        wrong.extend(
            papers.contradictions(&objects).into_iter().map(|text| format!("{}: {text}", papers.example)),
        );
    }
    assert!(wrong.is_empty(), "{} facts do not hold:\n{}", wrong.len(), wrong.join("\n"));
}
