//! Every example becomes ready on a real control plane with the add-ons' real definitions, with the values that
//! its papers demand (`tests/facts`).

#![allow(clippy::unwrap_used)] // of the facts' reader, in which a test ends where its files can't be read

#[path = "../../facts/mod.rs"]
mod facts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;
use trading_e2e::add_ons;
use trading_e2e::sim::Stack;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[tokio::test]
async fn every_example_is_ready_and_what_its_papers_say() -> Result<()> {
    let kubectl = STACK.kubectl()?;
    add_ons::install_all(&kubectl)?;
    for papers in facts::all(&Path::new(ROOT).join("tests/facts")) {
        let (example, environment) =
            papers.example.split_once('/').unwrap_or((&papers.example, "production"));
        let manifests =
            kubectl.run(&["kustomize", &format!("{ROOT}/examples/{example}/overlays/{environment}")])?;
        let began = Instant::now();
        kubectl.apply(&manifests)?;
        let space = STACK.existing_space(&papers.namespace).await?;
        space.ready(&papers.platform).await?;
        eprintln!("{}: ready after {:.1} s", papers.example, began.elapsed().as_secs_f64());

        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        for namespace in papers.tiers.iter().chain([&papers.namespace]) {
            let space = STACK.existing_space(namespace).await?;
            for ((kind, name), object) in space.children(&papers.platform).await? {
                objects.insert(papers.name_of(&kind, namespace, &name), object);
            }
            for claim in space.list("PersistentVolumeClaim", "").await? {
                let name = claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                objects.insert(papers.name_of("PersistentVolumeClaim", namespace, &name), claim);
            }
        }
        ensure!(papers.count() > 10, "only {} facts of {}", papers.count(), papers.example);
        let wrong = papers.contradictions(&objects);
        ensure!(wrong.is_empty(), "{}:\n{}", papers.example, wrong.join("\n"));
    }
    Ok(())
}
