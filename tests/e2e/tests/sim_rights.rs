//! The chart gives the operator the rights that it uses, and not one more: a run that makes, changes and
//! removes every kind is held against the role.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use trading_core::kinds::{KINDS, Kind};
use trading_e2e::add_ons;
use trading_e2e::sim::{
    LONG, Propagation, SETTLE, Space, Stack, backup, cloudnative_database, database_secret, every_kind,
    merge, own_database, platform, wait_for,
};
use trading_testbed::audit::Entry;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";

/// Verb, group, resource with subresource.
type Right = (String, String, String);

/// Rights that this run does not use.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    // Of what is told apart by its labels, where an apply meets somebody else's object.
    ("get", "", "persistentvolumeclaims"),
    // The label of a database's primary: `sim_roles`.
    ("get", "", "pods"),
    ("patch", "", "pods"),
    // Whether a pod has the login before: the operator's own scenario of a change of logins.
    ("list", "", "pods"),
    // Pods of stores that are replaced: `sim_replacing`.
    ("create", "", "pods/eviction"),
    ("delete", "", "pods"),
    // Copies of logins in other namespaces: `sim_tiers`.
    ("patch", "", "secrets"),
    // Asked for by the admission plugin OwnerReferencesPermissionEnforcement, which not every cluster runs.
    ("update", "platform.trading", "tradingplatforms/finalizers"),
];

/// Platforms that together have an object of every kind.
fn platforms() -> [Value; 3] {
    let mut whole = every_kind();
    let add_ons = json!({
        "frontend": { "verticalScaling": { "mode": "Initial" } },
        "backend": { "egress": [{ "fqdn": "api.example.com" }] },
        "secrets": { "external": [{
            "name": "payments",
            "storeRef": { "name": "vault" },
            "data": [{ "secretKey": "stripe", "remoteRef": { "key": "prod/stripe" } }],
        }] },
        "monitoring": { "scrape": [{ "component": "backend" }, { "component": "frontend", "portNumber": 9100 }] },
        "mesh": { "mtls": "Strict", "retries": { "attempts": 2 }, "circuitBreaker": { "maxConnections": 100 } },
    });
    merge(&mut whole, &add_ons);
    let mut scaled = own_database();
    let queue = json!({ "type": "RedisList", "source": "orders", "threshold": 100 });
    merge(&mut scaled, &json!({ "backend": { "autoscaling": { "triggers": [queue] } } }));
    let mut routed = cloudnative_database();
    let ingress = json!({ "ingress": {
        "controller": "Gateway",
        "parentRefs": [{ "name": "edge", "namespace": "edge", "sectionName": "https" }],
        "hosts": [{ "host": "shop.example.com" }],
    } });
    merge(&mut routed, &ingress);
    merge(&mut routed, &json!({ "postgres": { "pooler": {} } }));
    merge(&mut routed, &backup());
    [whole, scaled, routed]
}

/// What is left of each: everything that can be removed is.
fn remainder() -> Value {
    let mut remainder = platform(NAME, &json!({}));
    remainder["spec"] = json!({
        "version": "1.0.0",
        "frontend": { "image": { "repository": "shop/frontend" }, "replicas": 1, "connectsTo": [] },
        "networkPolicy": { "enabled": false },
        "deletion": { "data": "Delete", "acknowledgeStoreRemoval": ["Redis", "Postgres"] },
    });
    remainder
}

#[tokio::test]
async fn nearly_every_right_is_used() -> Result<()> {
    let kubectl = STACK.kubectl()?;
    add_ons::install_all(&kubectl)?;
    add_ons::install_policies_of_cilium(&kubectl)?;
    let mut spaces = Vec::new();
    for (index, spec) in platforms().iter().enumerate() {
        let space = STACK.space(&format!("rights-{index}")).await?;
        space.put(&database_secret("a")).await?;
        space.put(&platform(NAME, spec)).await?;
        spaces.push(space);
    }
    wait_for("an object of every kind is there", SETTLE, async || {
        let kinds = kinds(&spaces).await?;
        let missing: Vec<Kind> =
            KINDS.iter().map(|info| info.kind).filter(|kind| !kinds.contains(&kind.to_string())).collect();
        ensure!(missing.is_empty(), "{missing:?}");
        Ok(())
    })
    .await?;

    for space in &spaces {
        space.replace(&remainder()).await?;
    }
    wait_for("only the frontend is left", LONG, async || {
        let kinds = kinds(&spaces).await?;
        let expected =
            ["ConfigMap", "Deployment", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"];
        ensure!(kinds.iter().all(|kind| expected.contains(&kind.as_str())), "{kinds:?}");
        Ok(())
    })
    .await?;
    for space in &spaces {
        space.delete("TradingPlatform", NAME, Propagation::Background).await?;
        space.gone("TradingPlatform", NAME, SETTLE).await?;
    }

    let used = used()?;
    let elsewhere = ELSEWHERE.map(|(verb, group, resource)| (verb.into(), group.into(), resource.into()));
    let granted: BTreeSet<Right> = STACK.rules().flat_map(rights).collect();
    let elsewhere = BTreeSet::from(elsewhere);
    ensure!(elsewhere.is_subset(&granted), "not granted at all: {elsewhere:#?}");
    let unused: Vec<&Right> = granted.difference(&used).filter(|right| !elsewhere.contains(*right)).collect();
    ensure!(unused.is_empty(), "{} of {} are not used: {unused:#?}", unused.len(), granted.len());
    Ok(())
}

async fn kinds(spaces: &[Space<'_>]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for space in spaces {
        found.extend(space.children(NAME).await?.into_keys().map(|(kind, _)| kind));
    }
    Ok(found)
}

/// What the operator was allowed to do from its start on.
fn used() -> Result<BTreeSet<Right>> {
    let entries = STACK.requests_since(&Stack::beginning())?;
    let own = entries.into_iter().filter(|entry| entry.user == STACK.user() && entry.code < 400);
    Ok(own.flat_map(|entry| rights_for(&entry)).collect())
}

/// An apply that makes an object needs the right to create it, too.
fn rights_for(entry: &Entry) -> Vec<Right> {
    let Entry { group, resource, subresource, .. } = entry;
    let resource =
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let made = (entry.verb == "patch" && entry.code == 201).then_some("create");
    [Some(entry.verb.as_str()), made]
        .into_iter()
        .flatten()
        .map(|verb| (verb.to_owned(), group.clone(), resource.clone()))
        .collect()
}

fn rights(rule: &Value) -> Vec<Right> {
    let texts = |key: &str| -> Vec<String> {
        rule[key]
            .as_array()
            .into_iter()
            .flatten()
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let mut found = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            found.extend(texts("verbs").into_iter().map(|verb| (verb, group.clone(), resource.clone())));
        }
    }
    found
}
