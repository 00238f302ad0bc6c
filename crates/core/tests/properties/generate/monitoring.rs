//! What is watched, and who is told.

use std::collections::BTreeMap;

use trading_api::{
    monitoring::{
        Alert, AlertName, AlertRule, Dashboards, LatencyObjective, LogFormat, Logs, MetricName, MetricNames,
        Monitoring, Objectives, OtlpProtocol, Panel, ScrapeTarget, Severity, Tracing,
    },
    scheduling::LabelValue,
};

use super::names::{TEXTS, is_ours, labels, unique};
use crate::tape::Tape;

pub(super) fn monitoring(tape: &mut Tape, names: &[String]) -> Monitoring {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    Monitoring {
        enabled: tape.maybe(50, |tape| tape.chance(80)),
        labels: labels(tape, 2).into_iter().filter(|(key, _)| !is_ours(key)).collect(),
        scrape: tape.maybe(50, |tape| {
            let targets = unique(tape, 4, &all).into_iter();
            targets
                .map(|component| {
                    let number = tape.maybe(30, |tape| tape.between(1, 65535));
                    let name = if number.is_some() { 0 } else { 30 };
                    ScrapeTarget {
                        component,
                        port: tape.maybe(name, |tape| tape.pick(&["http", "nowhere"]).to_owned()),
                        port_number: number,
                        path: tape.maybe(30, |_| "/stats/prometheus".to_owned()),
                        interval: tape.maybe(30, |_| "15s".to_owned()),
                    }
                })
                .collect()
        }),
        metrics: tape.maybe(60, metric_names),
        alerts: if tape.chance(50) {
            vec![Alert {
                name: tape.copy(&[AlertName::QueueDepth, AlertName::Latency]),
                enabled: tape.maybe(30, |tape| tape.chance(50)),
                threshold: tape.maybe(50, |tape| i64::from(tape.between(0, 1_000_000))),
                for_: tape.maybe(50, |_| "5m".to_owned()),
                severity: tape.maybe(50, |tape| tape.copy(&SEVERITIES)),
                labels: alert_labels(tape),
            }]
        } else {
            Vec::new()
        },
        alert_labels: alert_labels(tape),
        dashboards: tape.maybe(50, |tape| Dashboards {
            enabled: tape.maybe(50, |tape| tape.chance(80)),
            labels: labels(tape, 2).into_iter().filter(|(key, _)| !is_ours(key)).collect(),
            business: tape.list(2, |tape, index| Panel {
                title: format!("{}{index}", tape.pick(&TEXTS)),
                expr: tape.pick(&["up", "sum(a{b=\"c\"})"]).to_owned(),
            }),
        }),
        objectives: tape.maybe(40, |tape| Objectives {
            availability: Some("99.9".to_owned()),
            latency: tape.maybe(50, |tape| LatencyObjective {
                milliseconds: tape.between(1, 600_000),
                percent: "95".to_owned(),
            }),
        }),
        rules: tape.list(2, |tape, index| AlertRule {
            name: format!("Own{index}"),
            expr: tape.pick(&["up == 0", "vector(1)"]).to_owned(),
            for_: tape.maybe(50, |_| "5m".to_owned()),
            severity: tape.maybe(50, |tape| tape.copy(&SEVERITIES)),
            labels: alert_labels(tape),
            summary: tape.maybe(50, |tape| tape.pick(&TEXTS[1..]).to_owned()),
            description: tape.maybe(50, |tape| tape.pick(&TEXTS[1..]).to_owned()),
        }),
        tracing: tape.maybe(40, |tape| Tracing {
            endpoint: tape.pick(&["http://jaeger.observability:4317", "https://10.0.0.1:4318/v1"]).to_owned(),
            sampling_percent: tape.maybe(50, |tape| tape.between(0, 100)),
            protocol: tape.maybe(50, |tape| tape.copy(&[OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf])),
            namespace_labels: labels(tape, 2),
        }),
        logs: tape.maybe(40, |tape| Logs {
            format: tape.maybe(50, |tape| tape.copy(&[LogFormat::Json, LogFormat::Text])),
            retention_days: tape.maybe(50, |tape| tape.between(1, 3650)),
        }),
    }
}

const SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::Warning, Severity::Info];

fn metric_names(tape: &mut Tape) -> MetricNames {
    let name = |tape: &mut Tape| MetricName(tape.pick(&["m", "a:b_total"]).to_owned());
    let metric = |tape: &mut Tape| tape.maybe(40, name);
    let request_errors = metric(tape);
    let (pool_in_use, pool_size) = tape.maybe(40, |tape| (name(tape), name(tape))).unzip();
    let (payments, payment_failures) = tape.maybe(40, |tape| (name(tape), name(tape))).unzip();
    MetricNames {
        requests: metric(tape),
        status_label: metric(tape).filter(|_| request_errors.is_none()),
        request_errors,
        request_duration: metric(tape),
        cache_hit_rate: metric(tape),
        queue_depth: metric(tape),
        database_up: metric(tape),
        database_errors: metric(tape),
        pool_in_use,
        pool_size,
        payments,
        payment_failures,
        failed_logins: metric(tape),
        audit_errors: metric(tape),
        cost: metric(tape),
    }
}

fn alert_labels(tape: &mut Tape) -> BTreeMap<String, LabelValue> {
    let keys = unique(tape, 2, &["team", "receiver", "_x1"]);
    keys.into_iter().map(|key| (key, LabelValue("trading".to_owned()))).collect()
}
