//! How the platform is watched: metrics, alerts, dashboards, traces and logs.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scheduling::LabelValue;

/// A duration as Prometheus writes it.
const DURATION: &str = r"^[1-9][0-9]{0,4}(s|m|h|d)$";
/// Name of a metric.
const METRIC: &str = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$";

/// Monitoring of the platform, for the Prometheus operator (add-on) and Grafana.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Scraping, alerts and dashboards; default `false` in `Development`, `true` elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Labels by which Prometheus selects monitors and rules, such as `release: prometheus`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("!self.exists(k, k.startsWith('app.kubernetes.io/') || k.startsWith('platform.trading/'))")
        .message("labels under app.kubernetes.io/ and platform.trading/ are the operator's"))]
    pub labels: BTreeMap<String, LabelValue>,
    /// What is scraped; where it is left out, `/metrics` of every component with a port but the
    /// frontend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["component".into()]))]
    pub scrape: Option<Vec<ScrapeTarget>>,
    /// Names of the platform's own metrics. An alert about one that is not named is not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricNames>,
    /// Changes to the alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub alerts: Vec<Alert>,
    /// Labels of every alert, such as `team: trading`, by which Alertmanager finds receivers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("self.all(k, k in ['severity', 'alertname', 'namespace', 'platform', 'component'] ? false : k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))")
        .message("labels of alerts are words such as team or receiver; severity, alertname, namespace, platform and component are taken"))]
    pub alert_labels: BTreeMap<String, LabelValue>,
    /// Further alerts with expressions of your own, in a PrometheusRule of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<AlertRule>,
    /// Service level objectives; each gets burn-rate alerts over several windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
    /// Grafana dashboards, as ConfigMaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboards: Option<Dashboards>,
    /// Where components send traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// What components log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<Logs>,
}

/// One component that Prometheus scrapes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.port) || !has(self.portNumber)")
    .message("set port (a name in ports) or portNumber (one that is not in ports), not both")
    .field_path(".portNumber"))]
pub struct ScrapeTarget {
    /// Name of the component.
    #[schemars(length(min = 1, max = 22))]
    pub component: String,
    /// Name of its port; default `http` or the first.
    #[schemars(length(min = 1, max = 15))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Number of a port that is not in the component's `ports`; the pods are scraped without a
    /// Service.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<i32>,
    /// Path; default `/metrics`.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^/[A-Za-z0-9/_.~-]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How often, such as `15s`; default `30s`.
    #[schemars(regex(pattern = DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// Name of a metric, such as `http_requests_total`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct MetricName(pub String);

impl JsonSchema for MetricName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MetricName".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "pattern": METRIC,
        })
    }
}

/// Names of the platform's own metrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.poolInUse) == has(self.poolSize) ? has(self.payments) == has(self.paymentFailures) : false")
    .message("poolInUse goes with poolSize, and payments with paymentFailures: set both, or neither"))]
#[x_kube(validation = Rule::new("!has(self.statusLabel) || !has(self.requestErrors)")
    .message("failed requests have a counter of their own: remove statusLabel or requestErrors"))]
pub struct MetricNames {
    /// Counter of requests; default `http_requests_total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<MetricName>,
    /// Counter of failed requests; default `requests` with the label `status` from 500 to 599.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_errors: Option<MetricName>,
    /// Label of `requests` that holds the HTTP status; default `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_label: Option<MetricName>,
    /// Histogram of response times in seconds, without `_bucket`; default
    /// `http_request_duration_seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_duration: Option<MetricName>,
    /// Gauge of the share of reads that a cache answers, 0–1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_hit_rate: Option<MetricName>,
    /// Gauge of waiting tasks or messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<MetricName>,
    /// Gauge that is 0 while the database is down, such as `pg_up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_up: Option<MetricName>,
    /// Counter of failed connections to the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_errors: Option<MetricName>,
    /// Gauge of database connections in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_in_use: Option<MetricName>,
    /// Gauge of the most database connections; with `poolInUse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_size: Option<MetricName>,
    /// Counter of payments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payments: Option<MetricName>,
    /// Counter of failed payments; with `payments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_failures: Option<MetricName>,
    /// Counter of failed logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_logins: Option<MetricName>,
    /// Counter of audit log entries that fail verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_errors: Option<MetricName>,
    /// Gauge of the money spent per day or month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<MetricName>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum AlertName {
    /// Failed requests, percent.
    ErrorRate,
    /// 95th percentile of response times, milliseconds.
    Latency,
    /// The database does not answer.
    DatabaseDown,
    /// Failed connections to the database a minute.
    DatabaseErrors,
    /// Connections in use, percent of the pool.
    ConnectionPool,
    /// Container restarts in 15 minutes.
    Restarts,
    /// A component has no ready pod.
    ComponentDown,
    /// Cpu, percent of the limit.
    Cpu,
    /// Memory, percent of the limit.
    Memory,
    /// Reads that a cache answers, percent.
    CacheHitRate,
    /// Waiting tasks.
    QueueDepth,
    /// A volume's use, percent.
    Volume,
    /// Failed payments, percent.
    PaymentFailures,
    /// Failed logins a minute.
    FailedLogins,
    /// Audit log entries that fail verification.
    AuditIntegrity,
    /// Growth of cost within a day, percent.
    Cost,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Somebody must look.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// As Alertmanager's users write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What is different about one of the operator's alerts.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.threshold) || self.threshold <= 100 || self.name in ['Latency', 'DatabaseErrors', 'Restarts', 'QueueDepth', 'FailedLogins', 'AuditIntegrity', 'Cost']")
    .message("the threshold of this alert is in percent: at most 100")
    .field_path(".threshold"))]
#[x_kube(validation = Rule::new("!has(self.threshold) || !(self.name in ['DatabaseDown', 'ComponentDown'])")
    .message("DatabaseDown and ComponentDown have no threshold: remove it")
    .field_path(".threshold"))]
pub struct Alert {
    /// Which: see `docs/monitoring.md` for units and defaults.
    pub name: AlertName,
    /// Default `true` where its metric is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Fires above (`CacheHitRate`: below) this: percent, milliseconds (`Latency`) or a number.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i64>,
    /// How long it must last, such as `5m`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub for_: Option<String>,
    /// `Critical`, `Warning` or `Info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Further labels, such as `receiver: slack`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("self.all(k, k in ['severity', 'alertname', 'namespace', 'platform', 'component'] ? false : k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))")
        .message("labels of alerts are words such as team or receiver; severity, alertname, namespace, platform and component are taken"))]
    pub labels: BTreeMap<String, LabelValue>,
}

/// An alert of your own.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRule {
    /// Name of the alert.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// PromQL expression; the alert fires for every series that it returns.
    #[schemars(length(min = 1, max = 4096))]
    pub expr: String,
    /// How long it must last, such as `5m`; default at once.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION))]
    pub for_: Option<String>,
    /// `Critical`, `Warning` (default) or `Info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Further labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("self.all(k, k in ['severity', 'alertname', 'platform'] ? false : k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))")
        .message("labels of alerts are words such as team or receiver; severity, alertname and platform are taken"))]
    pub labels: BTreeMap<String, LabelValue>,
    /// One line for people.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What to do.
    #[schemars(length(min = 1, max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Service level objectives over 30 days.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.availability) || has(self.latency)")
    .message("set availability or latency, or remove objectives"))]
pub struct Objectives {
    /// Requests that succeed, percent, such as `"99.9"`.
    #[schemars(regex(pattern = r"^[5-9][0-9](\.[0-9]{1,3})?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability: Option<String>,
    /// Requests that are answered in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyObjective>,
}

/// How many requests are answered in which time.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyObjective {
    /// Time in milliseconds; the histogram must have a bucket that ends there.
    #[schemars(range(min = 1, max = 600_000))]
    pub milliseconds: i32,
    /// Requests that take at most that long, percent, such as `"95"`.
    #[schemars(regex(pattern = r"^[5-9][0-9](\.[0-9]{1,3})?$"))]
    pub percent: String,
}

/// Grafana dashboards.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dashboards {
    /// Default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Labels by which Grafana's sidecar finds them; default `grafana_dashboard: "1"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("!self.exists(k, k.startsWith('app.kubernetes.io/') || k.startsWith('platform.trading/'))")
        .message("labels under app.kubernetes.io/ and platform.trading/ are the operator's"))]
    pub labels: BTreeMap<String, LabelValue>,
    /// Panels of the business dashboard, such as registrations or volume of payments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["title".into()]))]
    pub business: Vec<Panel>,
}

/// A panel of the business dashboard.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// Title.
    #[schemars(length(min = 1, max = 63))]
    pub title: String,
    /// PromQL expression.
    #[schemars(length(min = 1, max = 4096))]
    pub expr: String,
}

/// OpenTelemetry settings that every component gets as environment variables.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// OTLP endpoint of the collector with its port, such as `http://jaeger.observability:4317`.
    #[schemars(
        length(min = 1, max = 300),
        regex(
            pattern = r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[1-9][0-9]{0,4}(/[A-Za-z0-9/_.~-]*)?$"
        )
    )]
    pub endpoint: String,
    /// `Grpc` (default) or `HttpProtobuf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<OtlpProtocol>,
    /// Traces that are kept, percent; default 100.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_percent: Option<i32>,
    /// Labels of the collector's namespace, for the network policies; default
    /// `networkPolicy.monitoringNamespaceLabels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub namespace_labels: BTreeMap<String, LabelValue>,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf over HTTP.
    HttpProtobuf,
}

impl OtlpProtocol {
    /// As OpenTelemetry writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        }
    }
}

/// Logs of the components.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// `Json` or `Text`: the environment variable `LOG_FORMAT`, as `json` or `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// How many days logs are kept: the pods' label `platform.trading/log-retention`, such as
    /// `30d`, for the log store's retention rules.
    #[schemars(range(min = 1, max = 3650))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// As `LOG_FORMAT` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}
