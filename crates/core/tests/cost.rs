//! The estimate, against sums made by hand from the platform's own papers.

#![allow(clippy::unwrap_used)] // a test ends where it can't go on

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{example, rendered};
use trading_api::{TradingPlatform, status::ComponentStatus};
use trading_core::{
    cost::{Basis, CostError, Estimate, Line, PriceTable, estimate, money, status},
    kinds::Kind,
    object::{Lifetime, Object},
};

/// Round prices: a core costs 1 a month, a GiB of memory 0.1, a GiB of volume 0.01, half on spot.
fn round() -> PriceTable {
    let per_hour = |monthly: f64| format!("{:.9}", monthly / 730.0);
    let data = BTreeMap::from([
        ("cpu.onDemand".to_owned(), per_hour(1.0)),
        ("cpu.spot".to_owned(), per_hour(0.5)),
        ("memory.onDemand".to_owned(), per_hour(0.1)),
        ("memory.spot".to_owned(), per_hour(0.05)),
        ("storage".to_owned(), "0.01".to_owned()),
        ("storage.fast".to_owned(), "0.02".to_owned()),
        ("source".to_owned(), "test".to_owned()),
        ("date".to_owned(), "2026-01-01".to_owned()),
    ]);
    PriceTable::read(&data).unwrap()
}

fn object(kind: Kind, component: &str, body: &Value) -> Object {
    Object::new(kind, component, Lifetime::Platform, body)
}

fn workload(name: &str, pod: &Value) -> Object {
    let body = json!({"metadata": {"name": name}, "spec": {"replicas": 3, "template": {"spec": pod}}});
    object(Kind::Deployment, name, &body)
}

fn container(cpu: &str, memory: &str) -> Value {
    json!({"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "4", "memory": "8Gi"}}})
}

fn one(objects: &[Object]) -> Line {
    let Estimate { mut lines, .. } = estimate(objects, &round(), Basis::Requests).unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn amounts(line: &Line) -> [String; 6] {
    let text = |number: rust_decimal::Decimal| number.normalize().to_string();
    let (cpu, memory, storage) = (line.cpu, line.memory, line.storage);
    [cpu.min, cpu.max, memory.min, memory.max, storage.min, storage.max].map(text)
}

#[test]
fn tradewizard_in_production_is_what_its_table_adds_up_to() {
    let (_, objects) = rendered(&example("production"));
    let Estimate { lines, total, .. } = estimate(&objects, &round(), Basis::Requests).unwrap();
    let found: Vec<(&str, [String; 6])> =
        lines.iter().map(|line| (line.component.as_str(), amounts(line))).collect();
    let row = |name, amounts: [&str; 6]| (name, amounts.map(str::to_owned));
    // Pods × request, at the minimum and at the maximum of the table of workloads.
    let expected = [
        row("redis", ["3", "3", "6", "6", "120", "120"]),
        row("backend", ["1", "5", "1", "5", "0", "0"]),
        row("frontend", ["1", "5", "1", "5", "0", "0"]),
        row("scraper", ["1", "2.5", "2", "5", "0", "0"]),
    ];
    for expected in &expected {
        assert!(found.contains(expected), "{expected:?} in {found:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
    // 6 cores, 10 GiB, 120 GiB of volumes; 15.5 cores, 21 GiB, the same volumes.
    assert_eq!((money(total.min), money(total.max)), ("8.20".to_owned(), "18.80".to_owned()));

    let limits = estimate(&objects, &round(), Basis::Limits).unwrap();
    // Redis 6×2, frontend 2×1, backend 2×2, scraper 2×2 cores; 24 + 2 + 4 + 8 GiB.
    assert_eq!(money(limits.total.min), "27.00");
}

#[test]
fn a_fixed_environment_costs_the_same_at_both_ends() {
    let (_, objects) = rendered(&example("development"));
    let total = estimate(&objects, &PriceTable::default(), Basis::Requests).unwrap().total;
    assert_eq!(total.min, total.max);
    assert!(total.min > 0.into());
}

#[test]
fn a_pod_counts_as_the_scheduler_counts_it() {
    let sidecar =
        json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}});
    let pod = json!({
        // The second init container runs beside the sidecar, and asks for more than what runs later.
        "initContainers": [sidecar, container("2", "512Mi")],
        "containers": [container("500m", "1Gi"), container("250m", "1Gi")],
        "overhead": {"cpu": "50m"},
    });
    let line = one(&[workload("a", &pod)]);
    assert_eq!(amounts(&line), ["6.45", "6.45", "9", "9", "0", "0"]);
}

#[test]
fn a_limit_stands_for_a_request_that_is_left_out() {
    let pod = json!({"containers": [{"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]});
    assert_eq!(amounts(&one(&[workload("a", &pod)])), ["6", "6", "3", "3", "0", "0"]);
}

#[test]
fn an_autoscaler_counts_only_for_its_target() {
    let pod = json!({"containers": [container("1", "1Gi")]});
    let scaler = |name: &str| {
        let spec = json!({"scaleTargetRef": {"kind": "Deployment", "name": name}, "minReplicas": 2, "maxReplicas": 7});
        object(Kind::HorizontalPodAutoscaler, name, &json!({"metadata": {"name": name}, "spec": spec}))
    };
    let line = one(&[workload("a", &pod), scaler("a")]);
    assert_eq!((line.pods.min, line.pods.max), (2.into(), 7.into()));
    let line = one(&[workload("a", &pod), scaler("b")]);
    assert_eq!((line.pods.min, line.pods.max), (3.into(), 3.into()));
}

#[test]
fn volumes_cost_what_their_class_costs() {
    let claim = |class: Option<&str>| json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": "100Gi"}}}});
    let body = json!({"metadata": {"name": "r"}, "spec": {"replicas": 2, "template": {"spec": {}},
        "volumeClaimTemplates": [claim(Some("fast")), claim(None), claim(Some("slow"))]}});
    let line = one(&[object(Kind::StatefulSet, "redis", &body)]);
    // 2 × 100 GiB × (0.02 + 0.01 + 0.01)
    assert_eq!((money(line.storage_cost.min), amounts(&line)[4].as_str()), ("8.00".to_owned(), "600"));
}

#[test]
fn pods_that_need_spot_nodes_cost_less() {
    let affinity = |values: &[&str]| {
        let term = json!({"matchExpressions": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": values}]});
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}})
    };
    let pod = |key: &str, value: Value| {
        let mut pod = json!({"containers": [container("1", "0")]});
        pod[key] = value;
        one(&[workload("a", &pod)])
    };
    let spot = [
        pod("nodeSelector", json!({"karpenter.sh/capacity-type": "spot"})),
        pod("nodeSelector", json!({"cloud.google.com/gke-spot": "true"})),
        pod("affinity", affinity(&["spot"])),
    ];
    assert!(spot.iter().all(|line| line.spot && money(line.cost.min) == "1.50"), "{spot:?}");
    let other = [
        pod("nodeSelector", json!({"karpenter.sh/capacity-type": "on-demand"})),
        pod("affinity", affinity(&["spot", "on-demand"])),
        pod("affinity", json!({})),
    ];
    assert!(other.iter().all(|line| !line.spot && money(line.cost.min) == "3.00"), "{other:?}");
}

#[test]
fn an_amount_that_no_node_has_is_named() {
    let pod = json!({"containers": [container("1e40", "1Gi")]});
    let error = estimate(&[workload("a", &pod)], &round(), Basis::Requests).unwrap_err();
    assert_eq!(error, CostError::Amount { object: "Deployment a".to_owned(), quantity: "1e40".to_owned() });
    assert_eq!(
        error.to_string(),
        "Deployment a: \"1e40\" is no amount that can be reckoned with: use one such as 500m or 2Gi"
    );
}

#[test]
fn the_status_changes_only_with_a_cause() {
    let platform = example("production");
    let prices = PriceTable::default();
    let of = |platform: &TradingPlatform, prices: &PriceTable| {
        status(Ok(&estimate(&rendered(platform).1, prices, Basis::Requests).unwrap()))
    };
    let before = of(&platform, &prices);
    assert_eq!(before.prices.as_deref(), Some("AWS us-east-1, EC2 m5 and r5, EBS gp3 (2025)"));
    assert_eq!((before.currency.as_deref(), before.message.as_deref()), (Some("USD"), None));

    // What costs nothing changes nothing.
    let mut relabelled = platform.clone();
    relabelled.spec.version = "9.9.9".to_owned();
    assert_eq!(of(&relabelled, &prices), before);

    let mut grown = platform.clone();
    grown.spec.frontend.as_mut().and_then(|c| c.autoscaling.as_mut()).unwrap().max_replicas += 1;
    let after = of(&grown, &prices);
    assert_eq!(after.minimum, before.minimum);
    assert_ne!(after.maximum, before.maximum);
    assert_ne!(of(&platform, &round()), before);
}

#[test]
fn without_prices_there_is_a_word_and_no_number() {
    let found = status(Err("ConfigMap a/b: storage: is missing"));
    assert_eq!(found.message.as_deref(), Some("ConfigMap a/b: storage: is missing"));
    assert_eq!((found.minimum, found.maximum, found.prices), (None, None, None));
}

#[test]
fn what_runs_now_costs_something_in_between() {
    let (_, objects) = rendered(&example("production"));
    let estimate = estimate(&objects, &round(), Basis::Requests).unwrap();
    let with = |backend: i32| {
        let mut components: Vec<ComponentStatus> = estimate
            .lines
            .iter()
            .map(|line| ComponentStatus {
                name: line.component.clone(),
                kind: line.kind.clone(),
                desired: line.pods.min.try_into().unwrap(),
                ..ComponentStatus::default()
            })
            .collect();
        components.iter_mut().filter(|c| c.name == "backend").for_each(|c| c.desired = backend);
        money(estimate.at_present(&components))
    };
    assert_eq!(with(2), money(estimate.total.min));
    // Three more pods of half a core and half a GiB.
    assert_eq!(with(5), "9.85");
    // Before anything runs, it is what it begins with.
    assert_eq!(money(estimate.at_present(&[])), money(estimate.total.min));
}
