//! Burn-rate alerts of service level objectives over 30 days: a fast burn is critical, a slow one a
//! warning; a short window beside each long one lets the alert end soon after its cause.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trading_api::monitoring::Severity;

use super::{alerts::labels, queries::Queries};

/// Windows over which ratios are recorded.
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// How many times faster than allowed the budget burns, over which windows.
const BURNS: [(&str, &str, &str, Severity); 4] = [
    ("14.4", "1h", "5m", Severity::Critical),
    ("6", "6h", "30m", Severity::Critical),
    ("3", "1d", "2h", Severity::Warning),
    ("1", "3d", "6h", Severity::Warning),
];

/// One objective: the share of requests that count against it must stay within the budget.
struct Objective<'a> {
    group: &'static str,
    alert: &'static str,
    record: &'static str,
    percent: &'a str,
    words: String,
    ratio: Box<dyn Fn(&str) -> String + 'a>,
}

pub(super) fn groups(queries: &Queries) -> Vec<Value> {
    let monitoring = queries.monitoring;
    let availability = monitoring.availability.as_ref().map(|percent| Objective {
        group: "availability",
        alert: "PlatformAvailabilityBudget",
        record: "platform:request_errors:ratio_rate",
        percent,
        words: format!("{percent} % of requests succeed"),
        ratio: Box::new(|window| queries.error_ratio(window)),
    });
    let latency = monitoring.latency.as_ref().map(|latency| Objective {
        group: "latency",
        alert: "PlatformLatencyBudget",
        record: "platform:slow_requests:ratio_rate",
        percent: &latency.percent,
        words: format!("{} % of requests take at most {} ms", latency.percent, latency.milliseconds),
        ratio: Box::new(|window| queries.slow_ratio(latency.milliseconds, window)),
    });
    availability.into_iter().chain(latency).map(|objective| group(queries, &objective)).collect()
}

fn group(queries: &Queries, objective: &Objective) -> Value {
    let identity = &queries.plan.identity;
    let records = WINDOWS.iter().map(|window| {
        json!({
            "record": format!("{}{window}", objective.record),
            "expr": (objective.ratio)(window),
            "labels": { "namespace": identity.namespace, "platform": identity.name },
        })
    });
    let alerts = BURNS.iter().map(|(factor, long, short, severity)| {
        let burns = |window: &str| {
            format!(
                "{}{window}{{{}}} > {factor} * (1 - {} / 100)",
                objective.record,
                queries.scraped(),
                objective.percent
            )
        };
        json!({
            "alert": objective.alert,
            "expr": format!("{} and {}", burns(long), burns(short)),
            "labels": labels(queries, *severity, &BTreeMap::from([("window".to_owned(), (*long).to_owned())])),
            "annotations": {
                "summary": format!(
                    "{{{{ $labels.component }}}} of platform {} misses its objective that {}: over {long} the budget burns more than {factor} times too fast",
                    identity.name, objective.words
                ),
            },
        })
    });
    json!({ "name": objective.group, "rules": records.chain(alerts).collect::<Vec<_>>() })
}
