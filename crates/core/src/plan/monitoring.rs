//! How the platform is watched, with every value decided.

use std::collections::BTreeMap;

use trading_api::monitoring::{AlertName, AlertRule, LatencyObjective, OtlpProtocol, Panel, Severity};

/// What the platform's components get, whether Prometheus is there or not.
#[derive(Clone, Debug, Default)]
pub struct TelemetryPlan {
    /// Where traces go.
    pub tracing: Option<TracingPlan>,
    /// How many days logs are kept.
    pub log_retention_days: Option<i32>,
}

/// Where traces go.
#[derive(Clone, Debug)]
pub struct TracingPlan {
    /// OTLP endpoint.
    pub endpoint: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// Traces that are kept, percent.
    pub sampling_percent: i32,
    /// Labels of the collector's namespace.
    pub namespace: BTreeMap<String, String>,
}

/// Scraping, alerts and dashboards.
#[derive(Clone, Debug)]
pub struct MonitoringPlan {
    /// Labels by which Prometheus selects.
    pub labels: BTreeMap<String, String>,
    /// What is scraped.
    pub targets: Vec<ScrapePlan>,
    /// Names of metrics.
    pub metrics: MetricsPlan,
    /// Alerts.
    pub alerts: Vec<AlertPlan>,
    /// Labels of every alert.
    pub alert_labels: BTreeMap<String, String>,
    /// Alerts with expressions of the user.
    pub rules: Vec<AlertRule>,
    /// Requests that must succeed, percent.
    pub availability: Option<String>,
    /// Requests that must be answered in time.
    pub latency: Option<LatencyObjective>,
    /// Dashboards.
    pub dashboards: Option<DashboardsPlan>,
}

/// A component that is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapePlan {
    /// Its name.
    pub component: String,
    /// Its port.
    pub port: ScrapePort,
    /// Path.
    pub path: String,
    /// How often.
    pub interval: String,
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrapePort {
    /// At a port of the component's Service.
    Service(String),
    /// At a port of the pods alone.
    Pod(i32),
}

/// Names of metrics; alerts about those that have none are not made.
#[derive(Clone, Debug)]
pub struct MetricsPlan {
    /// Counter of requests.
    pub requests: String,
    /// Counter of failed requests, or else the label of `requests` with the status.
    pub errors: ErrorsMetric,
    /// Histogram of response times.
    pub duration: String,
    /// Gauge 0–1.
    pub cache_hit_rate: Option<String>,
    /// Gauge.
    pub queue_depth: Option<String>,
    /// Gauge, 0 while down.
    pub database_up: Option<String>,
    /// Counter.
    pub database_errors: Option<String>,
    /// Gauges of connections in use and at most.
    pub pool: Option<(String, String)>,
    /// Counters of all and of failed payments.
    pub payments: Option<(String, String)>,
    /// Counter.
    pub failed_logins: Option<String>,
    /// Counter.
    pub audit_errors: Option<String>,
    /// Gauge.
    pub cost: Option<String>,
}

/// How failed requests are counted.
#[derive(Clone, Debug)]
pub enum ErrorsMetric {
    /// By a counter of their own.
    Counter(String),
    /// By the HTTP status in this label.
    Status(String),
}

/// An alert of the operator's.
#[derive(Clone, Debug)]
pub struct AlertPlan {
    /// What it is about.
    pub name: AlertName,
    /// Fires above or below this.
    pub threshold: i64,
    /// How long it must last.
    pub lasts: Option<String>,
    /// How urgent it is.
    pub severity: Severity,
    /// Labels of this alert alone.
    pub labels: BTreeMap<String, String>,
}

/// Dashboards.
#[derive(Clone, Debug)]
pub struct DashboardsPlan {
    /// Labels by which Grafana finds them.
    pub labels: BTreeMap<String, String>,
    /// Panels of the business dashboard.
    pub business: Vec<Panel>,
}
