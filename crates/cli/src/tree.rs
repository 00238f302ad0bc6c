//! A platform's status as a tree for a terminal. Pure, and without a clock: it says since when
//! something is so, never for how long.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use owo_colors::Style;
use trading_api::{
    TradingPlatform,
    status::{ComponentStatus, Endpoint, MemberStatus, TradingPlatformStatus},
};
use trading_core::status::state;

/// Whether the operator says of the newest version of the resource that it is Ready.
#[must_use]
pub fn is_ready(platform: &TradingPlatform) -> bool {
    let ready = platform.status.as_ref().and_then(|status| condition(status, "Ready"));
    ready.is_some_and(|ready| ready.status == "True")
        && outdated(platform).is_none()
        && platform.metadata.deletion_timestamp.is_none()
}

/// The tree, its lines ended by newlines; `pods` says what those wait for that are not ready.
#[must_use]
pub fn tree(platform: &TradingPlatform, pods: &[String], colour: bool) -> String {
    let paint = Paint { colour };
    let mut lines = header(platform, &paint);
    if let Some(status) = &platform.status {
        let sections: Vec<(String, Vec<Leaf>)> = [
            (title("components", status.summary.as_deref()), components(&status.components, &paint)),
            (title("pods that are not ready", None), bare(pods.iter().map(|line| one_line(line)).collect())),
            (title("endpoints", None), bare(endpoints(&status.endpoints))),
            (title("conditions", None), bare(conditions(&status.conditions, &paint))),
        ]
        .into_iter()
        .filter(|(_, leaves)| !leaves.is_empty())
        .collect();
        lines.extend(branches(&sections, &paint));
    }
    lines.into_iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A line, and lines below it.
type Leaf = (String, Vec<String>);

fn bare(lines: Vec<String>) -> Vec<Leaf> {
    lines.into_iter().map(|line| (line, Vec::new())).collect()
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, style: Style, text: &str) -> String {
        if self.colour { style.style(text).to_string() } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn state(&self, state: &str) -> String {
        let (symbol, style) = match state {
            state::READY => ("✔", Style::new().green()),
            state::PROGRESSING => ("◐", Style::new().yellow()),
            state::WAITING => ("◌", Style::new().magenta()),
            state::OUT_OF_STEP => ("◔", Style::new().yellow()),
            state::FAILED => ("✘", Style::new().red()),
            _ => ("?", Style::new().red()),
        };
        self.with(style, symbol)
    }
}

fn condition<'a>(status: &'a TradingPlatformStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// The generation that the status speaks of and that of the resource, where they differ.
fn outdated(platform: &TradingPlatform) -> Option<(i64, i64)> {
    let observed = platform.status.as_ref().and_then(|status| status.observed_generation).unwrap_or_default();
    let wished = platform.metadata.generation.unwrap_or_default();
    (observed < wished).then_some((observed, wished))
}

fn header(platform: &TradingPlatform, paint: &Paint) -> Vec<String> {
    let metadata = &platform.metadata;
    let name = paint.with(Style::new().bold(), metadata.name.as_deref().unwrap_or_default());
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let mut lines =
        vec![format!("{name}  namespace {namespace}, version {}", one_line(&platform.spec.version))];
    if let Some(time) = &metadata.deletion_timestamp {
        lines.push(format!("being deleted since {}", time.0));
    }
    let ready = platform.status.as_ref().and_then(|status| Some((status, condition(status, "Ready")?)));
    let Some((status, ready)) = ready else {
        lines.push("no status yet: is the operator running?".to_owned());
        return lines;
    };
    if let Some((observed, wished)) = outdated(platform) {
        lines.push(format!(
            "the operator has not seen the latest edit yet: generation {wished}, what follows is of {observed}"
        ));
    }
    lines.push(verdict(status, ready, paint));
    lines
}

fn verdict(status: &TradingPlatformStatus, ready: &Condition, paint: &Paint) -> String {
    let stalled = condition(status, "Stalled").is_some_and(|stalled| stalled.status == "True");
    let (state, word) = match (ready.status.as_str(), stalled) {
        ("True", _) => (state::READY, "Ready"),
        (_, true) => (state::FAILED, "Not ready"),
        _ => (state::PROGRESSING, "Not ready"),
    };
    let reason =
        if ready.reason == "Ready" { String::new() } else { format!(" ({})", one_line(&ready.reason)) };
    let since = ready.last_transition_time.0;
    format!("{} {word}{reason} since {since}{}", paint.state(state), said(&ready.message))
}

fn title(name: &str, summary: Option<&str>) -> String {
    summary.map_or_else(|| name.to_owned(), |summary| format!("{name} {}", one_line(summary)))
}

fn components(components: &[ComponentStatus], paint: &Paint) -> Vec<Leaf> {
    let rows: Vec<[String; 4]> = components
        .iter()
        .map(|component| {
            [
                one_line(&component.name),
                one_line(&component.kind),
                format!("{}/{}", component.ready, component.desired),
                one_line(component.version.as_deref().unwrap_or("-")),
            ]
        })
        .collect();
    let message = |component: &ComponentStatus| one_line(component.message.as_deref().unwrap_or_default());
    components
        .iter()
        .zip(aligned(&rows))
        .map(|(component, row)| {
            let line = format!("{} {row}  {}", paint.state(&component.state), message(component));
            (line, members(&component.members, paint))
        })
        .collect()
}

/// The servers of a store. What is well needs no word.
fn members(members: &[MemberStatus], paint: &Paint) -> Vec<String> {
    let rows: Vec<[String; 3]> = members
        .iter()
        .map(|member| {
            let state = match member.state.as_str() {
                state::READY => "",
                state::OUT_OF_STEP => "not in step",
                state::SILENT => "does not answer",
                state::WAITING => "waits",
                state::FAILED => "can't run",
                other => other,
            };
            let role = member.role.as_deref().unwrap_or("-");
            [one_line(&member.name), one_line(role), one_line(state)]
        })
        .collect();
    members
        .iter()
        .zip(aligned(&rows))
        .map(|(member, row)| format!("{} {}", paint.state(&member.state), row.trim_end()))
        .collect()
}

fn endpoints(endpoints: &[Endpoint]) -> Vec<String> {
    let rows: Vec<[String; 2]> =
        endpoints.iter().map(|endpoint| [one_line(&endpoint.name), one_line(&endpoint.address)]).collect();
    aligned(&rows)
}

/// The conditions that are not as they should be. `Ready` is in the header already.
fn conditions(conditions: &[Condition], paint: &Paint) -> Vec<String> {
    conditions
        .iter()
        .filter(|condition| {
            matches!(
                (condition.type_.as_str(), condition.status.as_str()),
                ("Degraded" | "Stalled" | "VolumeNearlyFull", "True")
                    | (
                        "AutoscalingActive" | "CertificatesAvailable" | "VolumesExpandable" | "BackupHealthy",
                        "False"
                    )
            )
        })
        .map(|condition| {
            let what =
                paint.with(Style::new().yellow(), &format!("{} {}", condition.type_, condition.status));
            format!("{what} ({}){}", one_line(&condition.reason), said(&condition.message))
        })
        .collect()
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", one_line(message)) }
}

/// Columns of one width each.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ")
        })
        .collect()
}

fn branches(sections: &[(String, Vec<Leaf>)], paint: &Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, (title, leaves)) in sections.iter().enumerate() {
        let (fork, below) = forks(index + 1 == sections.len());
        lines.push(format!("{}{title}", paint.dim(fork)));
        for (index, (leaf, twigs)) in leaves.iter().enumerate() {
            let (fork, under) = forks(index + 1 == leaves.len());
            lines.push(format!("{}{leaf}", paint.dim(&format!("{below}{fork}"))));
            for (index, twig) in twigs.iter().enumerate() {
                let (fork, _) = forks(index + 1 == twigs.len());
                lines.push(format!("{}{twig}", paint.dim(&format!("{below}{under}{fork}"))));
            }
        }
    }
    lines
}

/// What is before a line, and before those below it.
fn forks(is_last: bool) -> (&'static str, &'static str) {
    if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") }
}

/// Without line breaks, and without anything that a terminal would obey.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trading_api::TradingPlatform;

    use super::{is_ready, tree};

    fn platform(generation: i64, status: &Value) -> TradingPlatform {
        serde_json::from_value(json!({
            "apiVersion": "platform.trading/v1alpha1",
            "kind": "TradingPlatform",
            "metadata": {"name": "exchange", "namespace": "prod", "generation": generation},
            "spec": {"version": "2.0.0"},
            "status": status,
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-02T03:04:05Z"})
    }

    fn ready(status: &str) -> Value {
        json!({"observedGeneration": 2, "conditions": [condition("Ready", status, "Ready", "all is well")]})
    }

    #[test]
    fn a_platform_in_trouble_shows_all_that_matters() {
        let component = |name, kind, state, ready, desired| json!({"name": name, "kind": kind, "state": state, "ready": ready, "desired": desired});
        let mut components = vec![
            component("frontend", "Deployment", "Ready", 2, 2),
            component("backend", "Deployment", "Progressing", 10, 12),
            component("scraper", "Deployment", "Failed", 0, 2),
            component("redis", "StatefulSet", "Waiting", 0, 6),
        ];
        components[0]["version"] = json!("2.0.0");
        components[1]["message"] = json!("10 of 12 pods ready");
        components[2]["message"] = json!("quota\nexceeded");
        components[3]["version"] = json!("7.4-alpine");
        components[3]["members"] = json!([
            {"name": "exchange-redis-0", "role": "master", "state": "Ready"},
            {"name": "exchange-redis-1", "role": "replica", "state": "OutOfStep"},
            {"name": "exchange-redis-2", "state": "Silent\u{7}"},
        ]);
        let status = json!({
            "observedGeneration": 2,
            "summary": "1/4",
            "conditions": [
                condition("Ready", "False", "ComponentFailed", "scraper: quota\nexceeded"),
                condition("Available", "False", "ComponentsDown", "not shown"),
                condition("Reconciling", "True", "Progressing", "not shown"),
                condition("Stalled", "True", "ComponentFailed", "scraper"),
                condition("Degraded", "True", "EvictionRisk", "redis"),
                condition("AutoscalingActive", "False", "MetricsUnavailable", ""),
            ],
            "components": components,
            "endpoints": [{"name": "backend", "address": "exchange-backend.prod.svc:8080"}, {"name": "a.example", "address": "https://a.example"}],
        });
        assert_eq!(
            tree(&platform(2, &status), &["exchange-redis-0  finds no\nnode".to_owned()], false),
            "\
exchange  namespace prod, version 2.0.0
✘ Not ready (ComponentFailed) since 2026-01-02T03:04:05Z: scraper: quota exceeded
├─ components 1/4
│  ├─ ✔ frontend  Deployment   2/2    2.0.0
│  ├─ ◐ backend   Deployment   10/12  -           10 of 12 pods ready
│  ├─ ✘ scraper   Deployment   0/2    -           quota exceeded
│  └─ ◌ redis     StatefulSet  0/6    7.4-alpine
│     ├─ ✔ exchange-redis-0  master
│     ├─ ◔ exchange-redis-1  replica  not in step
│     └─ ? exchange-redis-2  -        Silent
├─ pods that are not ready
│  └─ exchange-redis-0  finds no node
├─ endpoints
│  ├─ backend    exchange-backend.prod.svc:8080
│  └─ a.example  https://a.example
└─ conditions
   ├─ Stalled True (ComponentFailed): scraper
   ├─ Degraded True (EvictionRisk): redis
   └─ AutoscalingActive False (MetricsUnavailable)
"
        );
    }

    #[test]
    fn a_ready_platform_is_short() {
        let platform = platform(2, &ready("True"));
        assert!(is_ready(&platform));
        assert_eq!(
            tree(&platform, &[], false),
            "exchange  namespace prod, version 2.0.0\n✔ Ready since 2026-01-02T03:04:05Z: all is well\n"
        );
    }

    #[test]
    fn without_a_status_the_operator_is_asked_for() {
        for status in [Value::Null, json!({})] {
            let platform = platform(1, &status);
            assert!(!is_ready(&platform));
            assert_eq!(
                tree(&platform, &[], false),
                "exchange  namespace prod, version 2.0.0\nno status yet: is the operator running?\n"
            );
        }
    }

    #[test]
    fn a_status_of_an_earlier_edit_does_not_count() {
        let platform = platform(3, &ready("True"));
        assert!(!is_ready(&platform));
        assert!(tree(&platform, &[], false).contains(
            "\nthe operator has not seen the latest edit yet: generation 3, what follows is of 2\n✔ Ready"
        ));
    }

    #[test]
    fn a_platform_that_goes_is_not_ready() {
        let mut platform = platform(2, &ready("True"));
        platform.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-02T03:04:05Z")).unwrap());
        assert!(!is_ready(&platform));
        assert!(tree(&platform, &[], false).contains("\nbeing deleted since 2026-01-02T03:04:05Z\n"));
    }

    #[test]
    fn colours_change_nothing_else() {
        let platform = platform(2, &ready("False"));
        let coloured = tree(&platform, &[], true);
        assert!(coloured.contains("\x1b[33m◐\x1b[0m"), "{coloured:?}");
        let mut plain = String::new();
        for (index, piece) in coloured.split('\x1b').enumerate() {
            plain += if index == 0 { piece } else { piece.split_once('m').unwrap().1 };
        }
        assert_eq!(plain, tree(&platform, &[], false));
    }

    #[test]
    fn a_message_cannot_command_the_terminal() {
        let status = json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", "A\x1b[2J", "b\x07")]});
        assert!(!tree(&platform(2, &status), &[], false).contains(|c: char| c.is_control() && c != '\n'));
    }
}
