//! Grafana dashboards as `ConfigMaps`, found by the sidecar's labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::queries::Queries;
use crate::{
    digest,
    kinds::Kind,
    object::{Lifetime, Object},
    plan::monitoring::DashboardsPlan,
    render::meta,
};

/// A panel: title, unit, and a legend and query for each line.
struct Panel {
    title: String,
    unit: &'static str,
    lines: Vec<(String, String)>,
}

fn panel(title: &str, unit: &'static str, legend: &str, query: String) -> Panel {
    Panel { title: title.to_owned(), unit, lines: vec![(legend.to_owned(), query)] }
}

pub(super) fn render(queries: &Queries) -> Vec<Object> {
    let Some(dashboards) = &queries.monitoring.dashboards else { return Vec::new() };
    // With one component chosen, the first three are that service's own.
    let chosen = &Queries { plan: queries.plan, monitoring: queries.monitoring, chosen: true };
    let all = [
        ("application", chosen, application(chosen)),
        ("resources", chosen, resources(chosen)),
        ("scaling", chosen, scaling(chosen)),
        ("business", queries, business(queries, dashboards)),
        ("stores", queries, stores(queries)),
    ];
    all.into_iter()
        .filter(|(_, _, panels)| !panels.is_empty())
        .map(|(name, queries, panels)| config_map(queries, dashboards, name, &panels))
        .collect()
}

fn application(queries: &Queries) -> Vec<Panel> {
    let component = "{{component}}";
    let mut panels = vec![
        panel("Requests", "reqps", component, queries.requests("5m")),
        panel("Failed requests", "percentunit", component, queries.error_ratio("5m")),
        panel("Response time, 95th percentile", "s", component, queries.latency("0.95", "5m")),
        panel("Response time, median", "s", component, queries.latency("0.5", "5m")),
    ];
    let metrics = &queries.monitoring.metrics;
    let scraped = queries.scraped();
    panels.extend(metrics.cache_hit_rate.iter().map(|name| {
        panel("Cache hits", "percentunit", component, format!("avg by (component) ({name}{{{scraped}}})"))
    }));
    panels.extend(metrics.queue_depth.iter().map(|name| {
        panel("Waiting tasks", "short", component, format!("max by (component) ({name}{{{scraped}}})"))
    }));
    panels
}

fn resources(queries: &Queries) -> Vec<Panel> {
    let container = "{{pod}} {{container}}";
    let pods = queries.pods();
    let network = |direction: &str| {
        format!("sum by (pod) (rate(container_network_{direction}_bytes_total{{{pods}}}[5m]))")
    };
    vec![
        panel("Cpu, percent of the limit", "percent", container, queries.cpu()),
        panel("Memory, percent of the limit", "percent", container, queries.memory()),
        panel("Restarts in 15 minutes", "short", container, queries.restarts()),
        Panel {
            title: "Network".to_owned(),
            unit: "Bps",
            lines: vec![
                ("{{pod}} in".to_owned(), network("receive")),
                ("{{pod}} out".to_owned(), network("transmit")),
            ],
        },
    ]
}

fn scaling(queries: &Queries) -> Vec<Panel> {
    let (deployments, autoscalers) = (queries.deployments(), queries.autoscalers());
    let autoscaler = |what: &str| format!("kube_horizontalpodautoscaler_{what}{{{autoscalers}}}");
    let name = "{{horizontalpodautoscaler}}";
    vec![
        panel(
            "Available replicas",
            "short",
            "{{deployment}}",
            format!("kube_deployment_status_replicas_available{{{deployments}}}"),
        ),
        Panel {
            title: "Autoscaler".to_owned(),
            unit: "short",
            lines: vec![
                (format!("{name} wants"), autoscaler("status_desired_replicas")),
                (format!("{name} has"), autoscaler("status_current_replicas")),
            ],
        },
        Panel {
            title: "Autoscaler's limits".to_owned(),
            unit: "short",
            lines: vec![
                (format!("{name} at least"), autoscaler("spec_min_replicas")),
                (format!("{name} at most"), autoscaler("spec_max_replicas")),
            ],
        },
    ]
}

fn business(queries: &Queries, dashboards: &DashboardsPlan) -> Vec<Panel> {
    let metrics = &queries.monitoring.metrics;
    let scraped = queries.scraped();
    let per_minute = |name: &str| format!("60 * sum(rate({name}{{{scraped}}}[5m]))");
    let mut panels: Vec<Panel> = dashboards
        .business
        .iter()
        .map(|panel| Panel {
            title: panel.title.clone(),
            unit: "short",
            lines: vec![(panel.title.clone(), panel.expr.clone())],
        })
        .collect();
    panels.extend(metrics.payments.iter().map(|(all, failed)| Panel {
        title: "Payments a minute".to_owned(),
        unit: "short",
        lines: vec![("all".to_owned(), per_minute(all)), ("failed".to_owned(), per_minute(failed))],
    }));
    panels.extend(
        metrics
            .failed_logins
            .iter()
            .map(|name| panel("Failed logins a minute", "short", "failed", per_minute(name))),
    );
    panels.extend(
        queries.cost().iter().map(|cost| panel("Cost", "currencyUSD", "cost", format!("sum({cost})"))),
    );
    panels
}

fn stores(queries: &Queries) -> Vec<Panel> {
    let own = queries.stateful_sets().zip(queries.store_pods());
    let mut panels: Vec<Panel> =
        own.iter().flat_map(|(sets, pods)| servers_of_its_own(queries, sets, pods)).collect();
    panels.extend(
        queries.monitoring.metrics.database_up.iter().map(|name| {
            panel("Database up", "short", "up", format!("max({name}{{{}}})", queries.namespace()))
        }),
    );
    panels
}

fn servers_of_its_own(queries: &Queries, sets: &str, pods: &str) -> [Panel; 4] {
    [
        panel(
            "Ready servers",
            "short",
            "{{statefulset}}",
            format!("kube_statefulset_status_replicas_ready{{{sets}}}"),
        ),
        panel(
            "Cpu",
            "short",
            "{{pod}}",
            format!("sum by (pod) (rate(container_cpu_usage_seconds_total{{{pods},container!=\"\"}}[5m]))"),
        ),
        panel(
            "Memory",
            "bytes",
            "{{pod}}",
            format!("sum by (pod) (container_memory_working_set_bytes{{{pods},container!=\"\"}})"),
        ),
        panel("Volumes, percent full", "percent", "{{persistentvolumeclaim}}", queries.volume_use()),
    ]
}

fn config_map(queries: &Queries, dashboards: &DashboardsPlan, name: &str, panels: &[Panel]) -> Object {
    let plan = queries.plan;
    let suffix = format!("dashboard-{name}");
    let mut metadata = meta::object(plan, &suffix, "monitoring", meta::APPLICATION, Lifetime::Platform);
    metadata.labels.get_or_insert_default().extend(dashboards.labels.clone());
    let identity = &plan.identity;
    let file = format!("{}-{}-{name}.json", identity.namespace, identity.name);
    let map = ConfigMap {
        metadata,
        data: Some(BTreeMap::from([(file, dashboard(queries, name, panels).to_string())])),
        ..ConfigMap::default()
    };
    Object::new(Kind::ConfigMap, "", Lifetime::Platform, &map)
}

fn dashboard(queries: &Queries, name: &str, panels: &[Panel]) -> Value {
    let identity = &queries.plan.identity;
    let uid = digest::of(&json!([identity.namespace, identity.name, name]));
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let panels: Vec<Value> = panels
        .iter()
        .enumerate()
        .map(|(index, panel)| {
            let targets: Vec<Value> = panel
                .lines
                .iter()
                .zip('A'..='Z')
                .map(|((legend, query), letter)| {
                    json!({
                        "datasource": source, "expr": query, "legendFormat": legend,
                        "refId": letter.to_string(),
                    })
                })
                .collect();
            json!({
                "id": index + 1,
                "type": "timeseries",
                "title": panel.title,
                "datasource": source,
                "gridPos": { "h": 8, "w": 12, "x": index % 2 * 12, "y": index / 2 * 8 },
                "fieldConfig": { "defaults": { "unit": panel.unit }, "overrides": [] },
                "targets": targets,
            })
        })
        .collect();
    json!({
        "uid": uid.chars().take(40).collect::<String>(),
        "title": format!("{} / {}: {name}", identity.namespace, identity.name),
        "tags": ["trading-platform", identity.name],
        "schemaVersion": 39,
        "editable": false,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "templating": { "list": variables(queries) },
        "panels": panels,
    })
}

/// What the reader chooses: where Prometheus is, and of which components.
fn variables(queries: &Queries) -> Vec<Value> {
    let mut variables = vec![
        json!({ "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus" }),
    ];
    if queries.chosen {
        let names: Vec<&str> =
            queries.plan.components.iter().map(|component| component.name.as_str()).collect();
        variables.push(json!({
            "name": "component", "label": "Component", "type": "custom", "query": names.join(","),
            "multi": true, "includeAll": true, "current": { "text": ["All"], "value": ["$__all"] },
        }));
    }
    variables
}
