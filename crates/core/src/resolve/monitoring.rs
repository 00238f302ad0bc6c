//! Decides what is scraped, which alerts there are and what components get for traces and logs.

use std::collections::BTreeMap;

use trading_api::{
    monitoring::{Alert, AlertName, MetricName, MetricNames, Monitoring, ScrapeTarget, Severity, Tracing},
    postgres::PostgresMode,
    scheduling::LabelValue,
};

use super::Context;
use crate::{
    plan::{
        ComponentPlan, NetworkPlan, Role,
        monitoring::{
            AlertPlan, DashboardsPlan, ErrorsMetric, MetricsPlan, MonitoringPlan, ScrapePlan, ScrapePort,
            TelemetryPlan, TracingPlan,
        },
    },
    problem::Problem,
};

/// Reason of the warning that the network policies keep traces from the collector.
const TRACES_BLOCKED: &str = "TracesBlocked";

/// What every component gets.
pub(super) fn telemetry(context: &mut Context, network: Option<&NetworkPlan>) -> TelemetryPlan {
    let Some(monitoring) = context.spec.monitoring.clone() else { return TelemetryPlan::default() };
    TelemetryPlan {
        tracing: monitoring.tracing.and_then(|tracing| traces(context, &tracing, network)),
        log_retention_days: monitoring.logs.and_then(|logs| logs.retention_days),
    }
}

fn traces(context: &mut Context, tracing: &Tracing, network: Option<&NetworkPlan>) -> Option<TracingPlan> {
    let (host, port) = address(&tracing.endpoint)?;
    let mut namespace = plain(&tracing.namespace_labels);
    if namespace.is_empty() {
        namespace = network.map(|network| network.monitoring_namespace.clone()).unwrap_or_default();
    }
    if network.is_some() && namespace.is_empty() && host.parse::<std::net::Ipv4Addr>().is_err() {
        context.problems.push(Problem::whole(TRACES_BLOCKED, format!(
            "network policies admit no traces to {host}: set monitoring.tracing.namespaceLabels to labels of the collector's namespace, or use the collector's IPv4 address"
        )).as_warning());
    }
    Some(TracingPlan {
        endpoint: tracing.endpoint.clone(),
        host,
        port,
        protocol: tracing.protocol.unwrap_or_default(),
        sampling_percent: context.fill(
            "monitoring.tracing.samplingPercent",
            tracing.sampling_percent.as_ref(),
            100,
            "operator",
        ),
        namespace,
    })
}

/// Host and port of `http://host:port/path`.
fn address(endpoint: &str) -> Option<(String, i32)> {
    let rest = endpoint.split_once("://")?.1;
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// Scraping, alerts and dashboards, unless they are off.
pub(super) fn resolve(context: &mut Context, components: &[ComponentPlan]) -> Option<MonitoringPlan> {
    let monitoring = context.spec.monitoring.clone()?;
    if !is_enabled(context, &monitoring) {
        return None;
    }
    let metrics = metrics(monitoring.metrics.clone().unwrap_or_default());
    let objectives = monitoring.objectives.clone().unwrap_or_default();
    Some(MonitoringPlan {
        labels: plain(&monitoring.labels),
        targets: targets(context, &monitoring, components),
        alerts: alerts(context, &monitoring.alerts, &metrics),
        alert_labels: plain(&monitoring.alert_labels),
        rules: monitoring.rules,
        availability: objectives.availability,
        latency: objectives.latency,
        dashboards: dashboards(context, monitoring.dashboards.unwrap_or_default()),
        metrics,
    })
}

/// Whether Prometheus is asked for; the network policies depend on it too.
pub(super) fn is_enabled(context: &mut Context, monitoring: &Monitoring) -> bool {
    let (preset, from) = (context.preset.monitoring, context.preset_name());
    context.fill("monitoring.enabled", monitoring.enabled.as_ref(), preset, &from)
}

fn plain(labels: &BTreeMap<String, LabelValue>) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn targets(context: &mut Context, monitoring: &Monitoring, components: &[ComponentPlan]) -> Vec<ScrapePlan> {
    let wished = monitoring.scrape.clone().unwrap_or_else(|| {
        let serves =
            |component: &&ComponentPlan| component.role != Role::Frontend && !component.ports.is_empty();
        let target = |component: &ComponentPlan| ScrapeTarget {
            component: component.name.clone(),
            ..ScrapeTarget::default()
        };
        components.iter().filter(serves).map(target).collect()
    });
    wished
        .into_iter()
        .filter_map(|target| {
            let component = components.iter().find(|component| component.name == target.component)?;
            match port(&target, component) {
                Ok(port) => Some(ScrapePlan {
                    component: target.component,
                    port,
                    path: target.path.unwrap_or_else(|| "/metrics".to_owned()),
                    interval: target.interval.unwrap_or_else(|| "30s".to_owned()),
                }),
                Err(message) => {
                    context.problems.push(Problem::whole("NoPort", message).as_warning());
                    None
                }
            }
        })
        .collect()
}

fn port(target: &ScrapeTarget, component: &ComponentPlan) -> Result<ScrapePort, String> {
    let name = &component.name;
    let named = |wanted: &String| component.ports.iter().find(|port| port.name == *wanted);
    match (&target.port, target.port_number) {
        (_, Some(number)) => match component.ports.iter().find(|port| port.container_port == number) {
            Some(port) => Ok(ScrapePort::Service(port.name.clone())),
            None => Ok(ScrapePort::Pod(number)),
        },
        (Some(wanted), None) => named(wanted).map(|port| ScrapePort::Service(port.name.clone())).ok_or_else(|| {
            format!("monitoring.scrape: {name} has no port {wanted:?}, so it is not scraped: use a name of its ports, or portNumber")
        }),
        (None, None) => component.main_port().map(|port| ScrapePort::Service(port.name.clone())).ok_or_else(|| {
            format!("monitoring.scrape: {name} has no port, so it is not scraped: set portNumber")
        }),
    }
}

fn metrics(given: MetricNames) -> MetricsPlan {
    let or = |name: Option<MetricName>, default: &str| name.map_or_else(|| default.to_owned(), |name| name.0);
    let name = |name: Option<MetricName>| name.map(|name| name.0);
    MetricsPlan {
        requests: or(given.requests, "http_requests_total"),
        errors: match given.request_errors {
            Some(counter) => ErrorsMetric::Counter(counter.0),
            None => ErrorsMetric::Status(or(given.status_label, "status")),
        },
        duration: or(given.request_duration, "http_request_duration_seconds"),
        cache_hit_rate: name(given.cache_hit_rate),
        queue_depth: name(given.queue_depth),
        database_up: name(given.database_up),
        database_errors: name(given.database_errors),
        pool: name(given.pool_in_use).zip(name(given.pool_size)),
        payments: name(given.payments).zip(name(given.payment_failures)),
        failed_logins: name(given.failed_logins),
        audit_errors: name(given.audit_errors),
        cost: name(given.cost),
    }
}

/// Every alert with its threshold, how long it must last, and its severity.
const ALERTS: [(AlertName, i64, &str, Severity); 16] = [
    (AlertName::ErrorRate, 5, "2m", Severity::Critical),
    (AlertName::Latency, 500, "5m", Severity::Critical),
    (AlertName::DatabaseDown, 0, "1m", Severity::Critical),
    (AlertName::DatabaseErrors, 0, "2m", Severity::Critical),
    (AlertName::ConnectionPool, 95, "2m", Severity::Critical),
    (AlertName::Restarts, 3, "", Severity::Critical),
    (AlertName::ComponentDown, 0, "2m", Severity::Critical),
    (AlertName::Cpu, 70, "5m", Severity::Warning),
    (AlertName::Memory, 85, "5m", Severity::Warning),
    (AlertName::CacheHitRate, 50, "10m", Severity::Warning),
    (AlertName::QueueDepth, 50, "5m", Severity::Warning),
    (AlertName::Volume, 85, "5m", Severity::Warning),
    (AlertName::PaymentFailures, 5, "5m", Severity::Critical),
    (AlertName::FailedLogins, 10, "1m", Severity::Warning),
    (AlertName::AuditIntegrity, 0, "", Severity::Critical),
    (AlertName::Cost, 20, "1h", Severity::Warning),
];

fn alerts(context: &mut Context, given: &[Alert], metrics: &MetricsPlan) -> Vec<AlertPlan> {
    ALERTS
        .into_iter()
        .filter_map(|(name, threshold, lasts, severity)| {
            let change = given.iter().find(|alert| alert.name == name);
            if change.and_then(|change| change.enabled) == Some(false) {
                return None;
            }
            if let Err(needed) = is_measured(context, name, metrics) {
                if change.is_some() {
                    context.problems.push(unmeasured(name, needed));
                }
                return None;
            }
            let lasts = (!lasts.is_empty()).then(|| lasts.to_owned());
            Some(AlertPlan {
                name,
                threshold: change.and_then(|change| change.threshold).unwrap_or(threshold),
                lasts: change.and_then(|change| change.for_.clone()).or(lasts),
                severity: change.and_then(|change| change.severity).unwrap_or(severity),
                labels: change.map(|change| plain(&change.labels)).unwrap_or_default(),
            })
        })
        .collect()
}

/// Whether the alert can ever fire, or else the field that names its metric.
fn is_measured(context: &Context, name: AlertName, metrics: &MetricsPlan) -> Result<(), &'static str> {
    let named = |is_named: bool, field: &'static str| if is_named { Ok(()) } else { Err(field) };
    match name {
        AlertName::DatabaseDown => {
            // Kubernetes counts the servers of the platform's own.
            let database = context.spec.postgres.as_ref();
            let is_own = database.is_some_and(|database| database.mode == PostgresMode::Managed);
            named(metrics.database_up.is_some() || is_own, "databaseUp")
        }
        AlertName::DatabaseErrors => named(metrics.database_errors.is_some(), "databaseErrors"),
        AlertName::ConnectionPool => named(metrics.pool.is_some(), "poolInUse and poolSize"),
        AlertName::CacheHitRate => named(metrics.cache_hit_rate.is_some(), "cacheHitRate"),
        AlertName::QueueDepth => named(metrics.queue_depth.is_some(), "queueDepth"),
        AlertName::PaymentFailures => named(metrics.payments.is_some(), "payments and paymentFailures"),
        AlertName::FailedLogins => named(metrics.failed_logins.is_some(), "failedLogins"),
        AlertName::AuditIntegrity => named(metrics.audit_errors.is_some(), "auditErrors"),
        AlertName::Cost => named(metrics.cost.is_some(), "cost"),
        AlertName::ErrorRate
        | AlertName::Latency
        | AlertName::Restarts
        | AlertName::ComponentDown
        | AlertName::Cpu
        | AlertName::Memory
        | AlertName::Volume => Ok(()),
    }
}

fn unmeasured(name: AlertName, needed: &str) -> Problem {
    Problem::whole(
        "MetricNotNamed",
        format!(
            "alert {name:?} is not made, because nothing says by which metric: set {needed} in monitoring.metrics"
        ),
    )
    .as_warning()
}

fn dashboards(context: &mut Context, given: trading_api::monitoring::Dashboards) -> Option<DashboardsPlan> {
    if !context.fill("monitoring.dashboards.enabled", given.enabled.as_ref(), true, "operator") {
        return None;
    }
    let mut labels = plain(&given.labels);
    if labels.is_empty() {
        labels.insert("grafana_dashboard".to_owned(), "1".to_owned());
    }
    Some(DashboardsPlan { labels, business: given.business })
}
