//! What Prometheus and Grafana read, and what components are told about traces and logs.

#![allow(clippy::unwrap_used)] // a test ends where a resource can't be read

mod support;

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use support::{documents, repository, then};
use trading_api::TradingPlatform;
use trading_core::{
    add_ons::{Capabilities, missing},
    inputs::Inputs,
    kinds::{AddOn, Kind},
    object::Object,
    plan::Plan,
    render::render,
    resolve::resolve,
};

fn resource() -> Value {
    let text = fs::read_to_string(repository("tests/good/monitoring.yaml")).unwrap();
    documents(&text).remove(0)
}

fn rendered(resource: &Value) -> (Plan, Vec<Object>) {
    let mut resource = resource.clone();
    resource["metadata"]["namespace"] = json!("prod");
    let platform: TradingPlatform = serde_json::from_value(resource).unwrap();
    let plan = resolve(&platform, &Inputs::offline(then()));
    let objects = render(&plan);
    (plan, objects)
}

fn with(monitoring: &Value) -> (Plan, Vec<Object>) {
    let mut resource = resource();
    resource["spec"]["monitoring"] = monitoring.clone();
    rendered(&resource)
}

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Value {
    &objects.iter().find(|object| object.kind == kind && object.name == name).unwrap().body
}

fn names(objects: &[Object], kind: Kind) -> Vec<&str> {
    objects.iter().filter(|object| object.kind == kind).map(|object| object.name.as_str()).collect()
}

fn alerts(objects: &[Object]) -> Vec<Value> {
    let groups = find(objects, Kind::PrometheusRule, "shop-alerts")["spec"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alert(objects: &[Object], name: &str) -> Value {
    alerts(objects).into_iter().find(|rule| rule["alert"] == name).unwrap()
}

#[test]
fn what_a_service_has_is_scraped_through_it_and_the_rest_at_the_pods() {
    let (_, objects) = rendered(&resource());
    let monitor = find(&objects, Kind::ServiceMonitor, "shop-backend");
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(
        monitor["spec"],
        json!({
            "selector": {"matchLabels": {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/name": "backend"}},
            "endpoints": [{
                "port": "http", "path": "/metrics", "interval": "15s",
                "relabelings": [
                    {"targetLabel": "platform", "replacement": "shop"},
                    {"targetLabel": "component", "replacement": "backend"},
                ],
            }],
        })
    );
    let endpoint = &find(&objects, Kind::PodMonitor, "shop-worker")["spec"]["podMetricsEndpoints"][0];
    assert_eq!((&endpoint["portNumber"], &endpoint["path"]), (&json!(9100), &json!("/stats")));

    // The policy admits what is scraped, and the traces.
    let policy = find(&objects, Kind::NetworkPolicy, "shop-worker")["spec"].to_string();
    assert!(policy.contains(r#"{"port":9100,"protocol":"TCP"}"#), "{policy}");
    assert!(policy.contains(r#""kubernetes.io/metadata.name":"monitoring""#), "{policy}");
    assert!(policy.contains(r#""kubernetes.io/metadata.name":"observability""#), "{policy}");
}

#[test]
fn by_default_everything_with_a_port_but_the_frontend_is_scraped() {
    let (_, objects) = with(&json!({}));
    assert_eq!(names(&objects, Kind::ServiceMonitor), ["shop-backend"]);
    assert!(names(&objects, Kind::PodMonitor).is_empty());
}

#[test]
fn development_is_not_watched_unless_it_says_so() {
    let mut resource = resource();
    resource["spec"]["environment"] = json!("Development");
    resource["spec"]["monitoring"] = json!({});
    let (_, objects) = rendered(&resource);
    assert!(objects.iter().all(|object| object.kind.info().add_on.is_none()));
    assert!(names(&objects, Kind::ConfigMap).iter().all(|name| !name.contains("dashboard")));
    resource["spec"]["monitoring"]["enabled"] = json!(true);
    assert!(!names(&rendered(&resource).1, Kind::PrometheusRule).is_empty());
}

#[test]
fn alerts_have_thresholds_durations_severities_and_receivers() {
    let (_, objects) = rendered(&resource());
    let queue = alert(&objects, "PlatformQueueDepth");
    assert_eq!(
        queue["expr"],
        r#"max by (component) (tradewise_task_queue_length{namespace="prod",platform="shop"}) > 1000"#
    );
    assert_eq!(queue["for"], "10m");
    assert_eq!(
        queue["labels"],
        json!({"platform": "shop", "receiver": "slack", "severity": "warning", "team": "trading"})
    );
    let names: Vec<Value> = alerts(&objects).iter().map(|rule| rule["alert"].clone()).collect();
    assert!(!names.contains(&json!("PlatformCpu")), "it is switched off");
    assert_eq!(alert(&objects, "PlatformMemory")["labels"]["severity"], "info");
    assert_eq!(alert(&objects, "PlatformErrorRate")["for"], "2m");
    assert!(alert(&objects, "PlatformRestarts").get("for").is_none());

    let custom = &find(&objects, Kind::PrometheusRule, "shop-custom-alerts")["spec"]["groups"][0]["rules"];
    assert_eq!(
        custom[0],
        json!({
            "alert": "NoTrades", "expr": "sum(rate(trades_total[1h])) == 0", "for": "30m",
            "labels": {"platform": "shop", "receiver": "pager", "severity": "critical", "team": "trading"},
            "annotations": {"summary": "Nobody trades", "description": "Look at the market first."},
        })
    );
}

#[test]
fn an_alert_without_its_metric_is_not_made_and_told_only_where_it_is_asked_for() {
    let (plan, objects) = with(&json!({}));
    assert!(alerts(&objects).iter().all(|rule| rule["alert"] != "PlatformQueueDepth"));
    assert!(plan.problems.iter().all(|problem| problem.reason != "MetricNotNamed"));
    let (plan, _) = with(&json!({"alerts": [{"name": "QueueDepth", "threshold": 9}]}));
    let problem = plan.problems.iter().find(|problem| problem.reason == "MetricNotNamed").unwrap();
    assert!(problem.warning && problem.message.contains("set queueDepth"), "{problem:?}");
}

#[test]
fn dashboards_are_valid_and_each_has_an_identity_of_its_own() {
    let (_, objects) = rendered(&resource());
    let maps: Vec<&Object> = objects.iter().filter(|object| object.name.contains("-dashboard-")).collect();
    assert_eq!(maps.len(), 5);
    let mut uids = BTreeSet::new();
    for map in maps {
        assert_eq!(map.body["metadata"]["labels"]["grafana_dashboard"], "1");
        let files = map.body["data"].as_object().unwrap();
        let dashboard: Value =
            serde_json::from_str(files.values().next().unwrap().as_str().unwrap()).unwrap();
        assert!(dashboard["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
        let uid = dashboard["uid"].as_str().unwrap().to_owned();
        assert!(uid.len() <= 40 && uids.insert(uid), "{dashboard}");
    }
}

#[test]
fn a_service_has_a_dashboard_of_its_own_by_choice() {
    let (_, objects) = rendered(&resource());
    let dashboard = |name: &str| -> Value {
        let map = find(&objects, Kind::ConfigMap, &format!("shop-dashboard-{name}"));
        serde_json::from_str(map["data"].as_object().unwrap().values().next().unwrap().as_str().unwrap())
            .unwrap()
    };
    for name in ["application", "resources", "scaling"] {
        let dashboard = dashboard(name);
        let variable = &dashboard["templating"]["list"][1];
        assert_eq!((&variable["name"], &variable["query"]), (&json!("component"), &json!("backend,worker")));
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                assert!(query.contains("$component"), "{name}: {query}");
            }
        }
    }
    let stores = dashboard("stores");
    assert!(stores["templating"]["list"][1].is_null() && !stores.to_string().contains("$component"));
}

#[test]
fn components_learn_where_traces_go_and_how_to_log() {
    let (_, objects) = rendered(&resource());
    let template = &find(&objects, Kind::Deployment, "shop-backend")["spec"]["template"];
    let env = template["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| env.iter().find(|v| v["name"] == name).map(|v| v["value"].clone()).unwrap();
    assert_eq!(value("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://jaeger.observability:4317");
    assert_eq!(value("OTEL_EXPORTER_OTLP_PROTOCOL"), "grpc");
    assert_eq!(value("OTEL_SERVICE_NAME"), "shop-backend");
    assert_eq!(value("OTEL_TRACES_SAMPLER_ARG"), "0.10");
    assert_eq!(value("LOG_FORMAT"), "json");
    assert_eq!(template["metadata"]["labels"]["platform.trading/log-retention"], "30d");
}

#[test]
fn traces_that_the_policies_keep_back_are_told() {
    let tracing =
        |endpoint: &str| with(&json!({"enabled": false, "tracing": {"endpoint": endpoint}})).0.problems;
    let problem = tracing("http://jaeger.observability:4317");
    assert!(
        problem.iter().any(|problem| problem.reason == "TracesBlocked" && problem.warning),
        "{problem:?}"
    );
    assert!(tracing("http://10.0.0.7:4317").iter().all(|problem| problem.reason != "TracesBlocked"));
}

#[test]
fn without_prometheus_only_its_objects_are_left_out() {
    let (_, objects) = rendered(&resource());
    let none = Capabilities::of(&[]);
    let left_out: Vec<&Object> = objects.iter().filter(|object| !none.serves(object.kind)).collect();
    let problems = missing(left_out.iter().copied());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].warning && problems[0].message.starts_with(AddOn::PrometheusOperator.title()));
    assert_eq!(left_out.len(), 4, "two monitors, two rules");
}
