//! What keeps a pod from being ready, in words; pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use serde_json::Value;

/// At most so many pods are told of; the others mostly wait for the same.
const SHOWN: usize = 8;

/// A line for each pod that is not ready, with what it waits for.
#[must_use]
pub fn waiting(pods: &[Pod]) -> Vec<String> {
    let mut lines: Vec<String> = pods.iter().filter_map(line).collect();
    lines.sort();
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

fn line(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Some(format!("{name}  {}", reason(pod)?))
}

/// `None` where it is ready, or ended as it should.
fn reason(pod: &Pod) -> Option<String> {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |type_: &str| -> Option<&PodCondition> {
        status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
    };
    let is = |type_: &str, wanted: &str| condition(type_).is_some_and(|condition| condition.status == wanted);
    if is("Ready", "True") || status.phase.as_deref() == Some("Succeeded") {
        return None;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("is stopping".to_owned());
    }
    if let Some(unscheduled) = condition("PodScheduled").filter(|condition| condition.status == "False") {
        let why = unscheduled.message.as_deref().unwrap_or("no node is chosen yet");
        return Some(format!("finds no node: {why}"));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let told = containers.filter(|container| !container.ready).find_map(container);
    let other = status.message.or(status.reason).unwrap_or_else(|| "is starting".to_owned());
    Some(told.unwrap_or(other))
}

/// What a container that is not ready waits for; `None` for an init container that is done.
fn container(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let state = container.state.clone().unwrap_or_default();
    if let Some(waiting) = state.waiting {
        let reason = waiting.reason.unwrap_or_default();
        // Others have not begun, because this or another comes first.
        if reason == "PodInitializing" || reason == "ContainerCreating" {
            return None;
        }
        let said = ended(container).or(waiting.message).unwrap_or_default();
        return Some(format!("{name}: {reason}: {said}"));
    }
    if let Some(terminated) = state.terminated {
        return (terminated.exit_code != 0)
            .then(|| format!("{name} ended with exit code {}", terminated.exit_code));
    }
    let before = ended(container).map(|said| format!(", started again after: {said}")).unwrap_or_default();
    state.running.map(|_| format!("{name} runs, but is not ready{before}"))
}

/// How it ended the last time.
fn ended(container: &ContainerStatus) -> Option<String> {
    let last = container.last_state.clone()?.terminated?;
    let reason = last.reason.filter(|reason| reason != "Error" && reason != "Completed");
    let said = last.message.map(|message| in_words(message.trim())).filter(|message| !message.is_empty());
    let words: Vec<String> =
        reason.into_iter().chain([format!("exit code {}", last.exit_code)]).chain(said).collect();
    Some(format!("{} (restarts: {})", words.join(", "), container.restart_count))
}

/// Agents leave a reason and a message as JSON.
fn in_words(message: &str) -> String {
    let told: Option<Value> = serde_json::from_str(message).ok();
    let part = |name: &str| told.as_ref()?.get(name)?.as_str();
    match part("reason").zip(part("message")) {
        Some((reason, message)) => format!("{reason}: {message}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "shop-redis-2" }, "status": status })).unwrap()
    }

    fn not_ready(container: &Value) -> Value {
        let mut container = container.clone();
        for (field, value) in [("ready", json!(false)), ("image", json!("a")), ("imageID", json!(""))] {
            container[field] = value;
        }
        json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": [container] })
    }

    #[test]
    fn a_pod_tells_what_it_waits_for() {
        let crash = json!({ "name": "redis", "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 1m20s" } },
            "lastState": { "terminated": { "exitCode": 1, "reason": "Error", "message": "{\"error\":\"disk full\"}\n" } } });
        let told = json!({ "name": "redis", "restartCount": 2,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 1, "message": "{\"reason\":\"ImageWithoutServer\",\"message\":\"use another\"}\n" } } });
        let image = json!({ "name": "redis", "restartCount": 0,
            "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } });
        let memory = json!({ "name": "redis", "restartCount": 1, "state": { "running": {} },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } });
        let calm = json!({ "name": "redis", "restartCount": 0, "state": { "running": {} } });
        for (status, expected) in [
            (
                not_ready(&crash),
                "redis: CrashLoopBackOff: exit code 1, {\"error\":\"disk full\"} (restarts: 4)",
            ),
            (
                not_ready(&told),
                "redis: CrashLoopBackOff: exit code 1, ImageWithoutServer: use another (restarts: 2)",
            ),
            (not_ready(&image), "redis: ImagePullBackOff: no such image"),
            (
                not_ready(&memory),
                "redis runs, but is not ready, started again after: OOMKilled, exit code 137 (restarts: 1)",
            ),
            (not_ready(&calm), "redis runs, but is not ready"),
            (
                json!({ "phase": "Pending", "conditions": [
                    { "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" },
                ] }),
                "finds no node: 0/3 nodes are available",
            ),
            (json!({ "phase": "Pending" }), "is starting"),
            (json!({ "phase": "Failed", "reason": "Evicted", "message": "low on disk" }), "low on disk"),
        ] {
            assert_eq!(waiting(&[pod(&status)]), [format!("shop-redis-2  {expected}")]);
        }
    }

    #[test]
    fn ready_and_finished_pods_say_nothing() {
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(waiting(&[pod(&ready), pod(&json!({ "phase": "Succeeded" }))]), [""; 0]);
    }

    #[test]
    fn many_are_summed_up() {
        let pods = vec![pod(&json!({ "phase": "Pending" })); 20];
        assert_eq!(waiting(&pods).last().map(String::as_str), Some("and 12 more"));
    }
}
