//! Alert rules: the operator's, and those of the user.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trading_api::monitoring::{AlertName, AlertRule, Severity};

use super::queries::Queries;
use crate::plan::monitoring::AlertPlan;

/// What a rule says when it fires.
struct Words {
    alert: &'static str,
    expr: String,
    summary: String,
}

pub(super) fn groups(queries: &Queries) -> Vec<Value> {
    let rules: Vec<Value> =
        queries.monitoring.alerts.iter().filter_map(|alert| rule(queries, alert)).collect();
    if rules.is_empty() {
        return Vec::new();
    }
    vec![json!({ "name": "platform", "rules": rules })]
}

/// The group with the user's own expressions.
pub(super) fn custom(queries: &Queries) -> Value {
    let rules: Vec<Value> = queries.monitoring.rules.iter().map(|rule| own(queries, rule)).collect();
    json!({ "name": "custom", "rules": rules })
}

fn own(queries: &Queries, rule: &AlertRule) -> Value {
    let severity = rule.severity.unwrap_or(Severity::Warning);
    let further = rule.labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let mut annotations = BTreeMap::new();
    annotations.extend(rule.summary.as_ref().map(|text| ("summary", text)));
    annotations.extend(rule.description.as_ref().map(|text| ("description", text)));
    let mut object = json!({
        "alert": rule.name,
        "expr": rule.expr,
        "labels": labels(queries, severity, &further),
    });
    if !annotations.is_empty() {
        object["annotations"] = json!(annotations);
    }
    if let Some(lasts) = &rule.for_ {
        object["for"] = json!(lasts);
    }
    object
}

fn rule(queries: &Queries, alert: &AlertPlan) -> Option<Value> {
    let words = words(queries, alert)?;
    let mut object = json!({
        "alert": words.alert,
        "expr": words.expr,
        "labels": labels(queries, alert.severity, &alert.labels),
        "annotations": {
            "summary": format!("{} of platform {}", words.summary, queries.plan.identity.name),
        },
    });
    if let Some(lasts) = &alert.lasts {
        object["for"] = json!(lasts);
    }
    Some(object)
}

/// Labels of an alert: where it comes from, how urgent it is, and who is to hear of it.
pub(super) fn labels(
    queries: &Queries,
    severity: Severity,
    further: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = queries.monitoring.alert_labels.clone();
    all.extend(further.clone());
    all.insert("severity".to_owned(), severity.as_str().to_owned());
    all.insert("platform".to_owned(), queries.plan.identity.name.clone());
    all
}

/// The expression of an alert; none where its metric has no name.
fn words(queries: &Queries, alert: &AlertPlan) -> Option<Words> {
    let (metrics, threshold) = (&queries.monitoring.metrics, alert.threshold);
    let scraped = queries.scraped();
    let namespace = queries.namespace();
    let (name, expr, summary) = match alert.name {
        AlertName::ErrorRate => (
            "PlatformErrorRate",
            format!("100 * {} > {threshold}", queries.error_ratio("5m")),
            "{{ $value | printf \"%.1f\" }} % of the requests to {{ $labels.component }} fail",
        ),
        AlertName::Latency => (
            "PlatformLatency",
            format!("1000 * {} > {threshold}", queries.latency("0.95", "5m")),
            "95 % of the requests to {{ $labels.component }} take up to {{ $value | printf \"%.0f\" }} ms",
        ),
        AlertName::DatabaseDown => {
            let here = format!(
                "max by (namespace) (kube_statefulset_status_replicas_ready{{{}}}) == 0",
                queries.sets_of(crate::plan::POSTGRES)
            );
            let expr = match &metrics.database_up {
                Some(up) => format!("max by (namespace) ({up}{{{namespace}}}) == 0 or {here}"),
                None => here,
            };
            ("PlatformDatabaseDown", expr, "the database is down")
        }
        AlertName::DatabaseErrors => (
            "PlatformDatabaseErrors",
            format!(
                "60 * sum by (component) (rate({}{{{scraped}}}[5m])) > {threshold}",
                metrics.database_errors.as_ref()?
            ),
            "{{ $labels.component }} fails to connect to the database {{ $value | printf \"%.1f\" }} times a minute",
        ),
        AlertName::ConnectionPool => {
            let (used, size) = metrics.pool.as_ref()?;
            (
                "PlatformConnectionPool",
                format!(
                    "100 * sum by (component, pod) ({used}{{{scraped}}}) / sum by (component, pod) ({size}{{{scraped}}}) > {threshold}"
                ),
                "the connection pool of {{ $labels.pod }} is {{ $value | printf \"%.0f\" }} % full",
            )
        }
        AlertName::Restarts => (
            "PlatformRestarts",
            format!("{} > {threshold}", queries.restarts()),
            "{{ $labels.container }} in {{ $labels.pod }} restarted {{ $value | printf \"%.0f\" }} times in 15 minutes",
        ),
        AlertName::ComponentDown => (
            "PlatformComponentDown",
            queries.down(),
            "{{ $labels.deployment }}{{ $labels.statefulset }}{{ $labels.daemonset }} has no ready pod",
        ),
        AlertName::Cpu => (
            "PlatformCpu",
            format!("{} > {threshold}", queries.cpu()),
            "{{ $labels.container }} in {{ $labels.pod }} uses {{ $value | printf \"%.0f\" }} % of its cpu",
        ),
        AlertName::Memory => (
            "PlatformMemory",
            format!("{} > {threshold}", queries.memory()),
            "{{ $labels.container }} in {{ $labels.pod }} uses {{ $value | printf \"%.0f\" }} % of its memory",
        ),
        AlertName::CacheHitRate => (
            "PlatformCacheHitRate",
            format!(
                "100 * avg by (component) ({}{{{scraped}}}) < {threshold}",
                metrics.cache_hit_rate.as_ref()?
            ),
            "the cache answers {{ $value | printf \"%.0f\" }} % of the reads of {{ $labels.component }}",
        ),
        AlertName::QueueDepth => (
            "PlatformQueueDepth",
            format!("max by (component) ({}{{{scraped}}}) > {threshold}", metrics.queue_depth.as_ref()?),
            "{{ $value | printf \"%.0f\" }} tasks wait",
        ),
        AlertName::Volume => (
            "PlatformVolume",
            format!("{} > {threshold}", queries.volume_use()),
            "volume {{ $labels.persistentvolumeclaim }} is {{ $value | printf \"%.0f\" }} % full",
        ),
        AlertName::PaymentFailures
        | AlertName::FailedLogins
        | AlertName::AuditIntegrity
        | AlertName::Cost => return business(queries, alert),
    };
    Some(Words { alert: name, expr, summary: summary.to_owned() })
}

/// The same for what the business looks at.
fn business(queries: &Queries, alert: &AlertPlan) -> Option<Words> {
    let (metrics, threshold) = (&queries.monitoring.metrics, alert.threshold);
    let scraped = queries.scraped();
    let (alert, expr, summary) = match alert.name {
        AlertName::PaymentFailures => {
            let (all, failed) = metrics.payments.as_ref()?;
            (
                "PlatformPaymentFailures",
                format!(
                    "100 * sum(rate({failed}{{{scraped}}}[5m])) / sum(rate({all}{{{scraped}}}[5m])) > {threshold}"
                ),
                "{{ $value | printf \"%.1f\" }} % of the payments fail",
            )
        }
        AlertName::FailedLogins => (
            "PlatformFailedLogins",
            format!("60 * sum(rate({}{{{scraped}}}[5m])) > {threshold}", metrics.failed_logins.as_ref()?),
            "{{ $value | printf \"%.0f\" }} logins a minute fail",
        ),
        AlertName::AuditIntegrity => (
            "PlatformAuditIntegrity",
            format!("sum(increase({}{{{scraped}}}[15m])) > {threshold}", metrics.audit_errors.as_ref()?),
            "entries of the audit log fail verification",
        ),
        AlertName::Cost => {
            let cost = queries.cost()?;
            (
                "PlatformCost",
                format!("100 * (sum({cost}) / sum({cost} offset 1d) - 1) > {threshold}"),
                "cost grew by {{ $value | printf \"%.0f\" }} % within a day",
            )
        }
        _ => return None,
    };
    Some(Words { alert, expr, summary: summary.to_owned() })
}
