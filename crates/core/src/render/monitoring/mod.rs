//! What Prometheus and Grafana read: monitors, alert rules and dashboards.

mod alerts;
mod dashboards;
mod objectives;
mod queries;

use serde_json::{Value, json};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{
        Plan,
        monitoring::{MonitoringPlan, ScrapePlan, ScrapePort},
    },
};
use queries::Queries;

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let Some(monitoring) = &plan.monitoring else { return Vec::new() };
    let queries = Queries { plan, monitoring, chosen: false };
    let mut objects: Vec<Object> =
        monitoring.targets.iter().map(|target| monitor(plan, monitoring, target)).collect();
    let mut groups = alerts::groups(&queries);
    groups.extend(objectives::groups(&queries));
    objects.push(rules(plan, monitoring, "alerts", &groups));
    if !monitoring.rules.is_empty() {
        objects.push(rules(plan, monitoring, "custom-alerts", &[alerts::custom(&queries)]));
    }
    objects.extend(dashboards::render(&queries));
    objects
}

/// A `ServiceMonitor`, or a `PodMonitor` where no Service has the port.
fn monitor(plan: &Plan, monitoring: &MonitoringPlan, target: &ScrapePlan) -> Object {
    let selector = meta::selector(&plan.identity.name, &target.component);
    let mut endpoint = json!({
        "path": target.path,
        "interval": target.interval,
        "relabelings": [
            label("platform", &plan.identity.name),
            label("component", &target.component),
        ],
    });
    let (kind, endpoints) = match &target.port {
        ScrapePort::Service(name) => {
            endpoint["port"] = json!(name);
            (Kind::ServiceMonitor, "endpoints")
        }
        ScrapePort::Pod(number) => {
            endpoint["portNumber"] = json!(number);
            (Kind::PodMonitor, "podMetricsEndpoints")
        }
    };
    let mut object = with_labels(plan, monitoring, &target.component, &target.component);
    object["spec"] = json!({ "selector": { "matchLabels": selector }, endpoints: [endpoint] });
    Object::new(kind, &target.component, Lifetime::Platform, &object)
}

/// A label of every scraped series, by which the rules find them.
fn label(name: &str, value: &str) -> Value {
    json!({ "targetLabel": name, "replacement": value })
}

fn rules(plan: &Plan, monitoring: &MonitoringPlan, suffix: &str, groups: &[Value]) -> Object {
    let mut object = with_labels(plan, monitoring, suffix, "monitoring");
    object["spec"] = json!({ "groups": groups });
    Object::new(Kind::PrometheusRule, "", Lifetime::Platform, &object)
}

fn with_labels(plan: &Plan, monitoring: &MonitoringPlan, suffix: &str, component: &str) -> Value {
    let mut metadata = meta::object(plan, suffix, component, meta::APPLICATION, Lifetime::Platform);
    metadata.labels.get_or_insert_default().extend(monitoring.labels.clone());
    json!({ "metadata": metadata })
}
