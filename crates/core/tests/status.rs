//! What is reported: conditions tell the truth, and nothing changes without a cause.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
    },
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{here, merged, observed, rendered, shop, then};
use trading_api::status::{ComponentStatus, TradingPlatformStatus};
use trading_core::{
    inputs::{Inputs, Reference, ReferenceKind, ReferenceState},
    kinds::Kind,
    object::Object,
    plan::Plan,
    render::render,
    resolve::resolve,
    status::{
        status,
        workload::{Autoscaler, Workload},
    },
    step::{Observed, Steps, steps},
};

/// A platform with two components, as the operator sees it.
struct Seen {
    plan: Plan,
    objects: Vec<Object>,
    live: Observed,
    before: Option<TradingPlatformStatus>,
}

impl Seen {
    /// All is applied and every pod is ready.
    fn running(spec: &Value) -> Self {
        let mail = json!({"services": [{"name": "mail", "image": {"repository": "shop/mail"}}]});
        let (plan, objects) = rendered(&shop(&merged(&mail, spec)));
        Self { live: observed(&objects), plan, objects, before: None }
    }

    fn steps(&self) -> Steps {
        steps(&self.plan, &self.objects, &self.live)
    }

    /// The status so many seconds after the beginning; it is remembered.
    fn report(&mut self, seconds: i64) -> TradingPlatformStatus {
        let now = status(&self.plan, &self.steps(), &self.live, self.before.as_ref(), at(seconds));
        self.before = Some(now.clone());
        now
    }

    fn pods(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Workload)) {
        let child = self.live.get_mut(&here(kind, &format!("shop-{name}"))).unwrap();
        change(child.workload.as_mut().unwrap());
    }
}

fn at(seconds: i64) -> Timestamp {
    then() + seconds.seconds()
}

fn condition<'a>(status: &'a TradingPlatformStatus, type_: &str) -> &'a Condition {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    found.unwrap_or_else(|| panic!("no condition {type_}"))
}

/// Status and reason of the conditions that people wait for.
fn verdicts(status: &TradingPlatformStatus) -> [(&str, &str); 3] {
    ["Ready", "Reconciling", "Stalled"].map(|type_| {
        let condition = condition(status, type_);
        (condition.status.as_str(), condition.reason.as_str())
    })
}

fn component<'a>(status: &'a TradingPlatformStatus, name: &str) -> &'a ComponentStatus {
    status.components.iter().find(|component| component.name == name).unwrap()
}

/// One old pod still serves beside the new one.
fn rolling(workload: &mut Workload) {
    workload.rolled_out = false;
}

fn failed(workload: &mut Workload) {
    workload.rolled_out = false;
    workload.failure = Some("ReplicaSet \"x\" has timed out progressing.".to_owned());
}

#[test]
fn a_platform_becomes_ready() {
    let mut seen = Seen::running(&json!({}));
    let all = std::mem::take(&mut seen.live);
    let fresh = seen.report(0);
    assert_eq!(
        verdicts(&fresh),
        [("False", "Progressing"), ("True", "Progressing"), ("False", "Progressing")]
    );
    assert_eq!(fresh.summary.as_deref(), Some("0/2"));
    assert_eq!(component(&fresh, "mail").message.as_deref(), Some("Deployment is being made"));

    seen.live = all;
    seen.pods(Kind::Deployment, "mail", |pods| pods.ready = 0);
    let halfway = seen.report(10);
    assert_eq!(verdicts(&halfway)[0], ("False", "Progressing"));
    assert_eq!(halfway.summary.as_deref(), Some("1/2"));
    assert_eq!(component(&halfway, "mail").message.as_deref(), Some("0 of 1 pods ready"));
    assert_eq!(condition(&halfway, "Available").message, "no ready pod: mail");

    seen.pods(Kind::Deployment, "mail", |pods| pods.ready = 1);
    let ready = seen.report(20);
    assert_eq!(verdicts(&ready), [("True", "Ready"), ("False", "Settled"), ("False", "Progressing")]);
    assert_eq!(condition(&ready, "Ready").message, "all 2 components are ready at version 1.0.0");
    assert_eq!(condition(&ready, "Degraded").status, "False");
    assert_eq!(ready.summary.as_deref(), Some("2/2"));
    assert_eq!(component(&ready, "backend").version.as_deref(), Some("1.0.0"));
    assert_eq!(ready.observed_generation, Some(1));
}

#[test]
fn ready_stays_true_while_an_ordinary_rollout_serves() {
    let mut seen = Seen::running(&json!({"backend": {"replicas": 2}}));
    seen.report(0);
    seen.pods(Kind::Deployment, "backend", rolling);
    let during = seen.report(60);
    assert_eq!(verdicts(&during), [("True", "Serving"), ("True", "Progressing"), ("False", "Progressing")]);
    assert_eq!(condition(&during, "Available").status, "True");
    assert_eq!(component(&during, "backend").message.as_deref(), Some("pods are being replaced"));
    assert_eq!(component(&during, "backend").version, None, "two versions run side by side");

    seen.pods(Kind::Deployment, "backend", |pods| pods.observed = false);
    assert_eq!(verdicts(&seen.report(61))[0], ("True", "Serving"), "its controller has not looked yet");
    seen.pods(Kind::Deployment, "backend", |pods| (pods.observed, pods.ready) = (true, 1));
    assert_eq!(verdicts(&seen.report(62))[0], ("True", "Serving"), "one of two pods serves");
    seen.pods(Kind::Deployment, "backend", |pods| pods.ready = 0);
    assert_eq!(verdicts(&seen.report(63))[0], ("False", "Progressing"), "nothing serves any more");
    seen.pods(Kind::Deployment, "backend", |pods| pods.ready = 1);
    assert_eq!(
        verdicts(&seen.report(64))[0],
        ("False", "Progressing"),
        "once lost, Ready means settled again"
    );
}

#[test]
fn a_platform_that_never_was_ready_is_not_ready_while_it_rolls() {
    let mut seen = Seen::running(&json!({}));
    seen.pods(Kind::Deployment, "backend", rolling);
    assert_eq!(verdicts(&seen.report(0))[0], ("False", "Progressing"));
}

#[test]
fn a_failed_rollout_is_stalled() {
    let mut seen = Seen::running(&json!({}));
    seen.report(0);
    seen.pods(Kind::Deployment, "backend", failed);
    let now = seen.report(600);
    assert_eq!(
        verdicts(&now),
        [("False", "ComponentFailed"), ("False", "Settled"), ("True", "ComponentFailed")]
    );
    assert_eq!(condition(&now, "Available").status, "True", "the old pods serve on");
    assert_eq!(component(&now, "backend").state, "Failed");
    for type_ in ["Ready", "Stalled"] {
        let text = &condition(&now, type_).message;
        assert!(text.contains("backend") && text.contains("timed out progressing"), "{text}");
    }
}

#[test]
fn times_change_only_with_the_status_of_a_condition() {
    let mut seen = Seen::running(&json!({}));
    let since =
        |status: &TradingPlatformStatus, type_: &str| condition(status, type_).last_transition_time.clone();
    seen.report(0);
    seen.pods(Kind::Deployment, "backend", rolling);
    let rolling = seen.report(100);
    assert_eq!(condition(&rolling, "Ready").reason, "Serving");
    assert_eq!(since(&rolling, "Ready"), Time(at(0)), "the reason changed, the status did not");
    assert_eq!(since(&rolling, "Reconciling"), Time(at(100)));
    seen.pods(Kind::Deployment, "backend", failed);
    let stuck = seen.report(200);
    assert_eq!(since(&stuck, "Ready"), Time(at(200)));
    assert_eq!(since(&stuck, "Reconciling"), Time(at(200)));
    assert_eq!(since(&stuck, "Available"), Time(at(0)));
}

#[test]
fn unchanged_inputs_give_an_equal_status_at_any_time() {
    type Change = fn(&mut Seen);
    let changes: [(&str, Change); 4] = [
        ("at rest", |_| ()),
        ("rolling", |seen| seen.pods(Kind::Deployment, "backend", rolling)),
        ("failed", |seen| seen.pods(Kind::Deployment, "backend", failed)),
        ("nothing is made yet", |seen| seen.live.clear()),
    ];
    for (name, change) in changes {
        let mut seen = Seen::running(&json!({"redis": {"mode": "Cluster", "maxmemoryPolicy": "AllkeysLru"}}));
        change(&mut seen);
        let first = seen.report(0);
        assert_eq!(seen.report(86_400), first, "{name}");
    }
}

#[test]
fn a_missing_secret_keeps_its_consumer_waiting_and_says_what_to_do() {
    let spec = json!({"backend": {"envFrom": [{"secretRef": {"name": "login"}}]}});
    let mut seen = Seen::running(&spec);
    let missing =
        Reference { kind: ReferenceKind::Secret, namespace: "trading".to_owned(), name: "login".to_owned() };
    let inputs = Inputs {
        references: Some(BTreeMap::from([(missing, ReferenceState::Absent)])),
        ..Inputs::offline(then())
    };
    seen.plan = resolve(
        &shop(&merged(&json!({"services": [{"name": "mail", "image": {"repository": "shop/mail"}}]}), &spec)),
        &inputs,
    );
    seen.objects = render(&seen.plan);
    seen.live.remove(&here(Kind::Deployment, "shop-backend"));
    let now = seen.report(0);
    assert_eq!(verdicts(&now)[0], ("False", "ReferenceMissing"));
    assert_eq!(verdicts(&now)[2], ("True", "ReferenceMissing"));
    assert_eq!(component(&now, "backend").state, "Waiting");
    assert_eq!(component(&now, "mail").state, "Ready", "the rest goes on");
    assert_eq!(now.summary.as_deref(), Some("1/2"));
    let text = &condition(&now, "Ready").message;
    assert!(text.contains("Secret \"login\"") && text.contains("create it in this namespace"), "{text}");
    assert_eq!(condition(&now, "Degraded").message, *text);
}

#[test]
fn a_warning_degrades_and_nothing_else() {
    let mut seen = Seen::running(&json!({"redis": {"mode": "Standalone", "maxmemoryPolicy": "AllkeysLru"}}));
    let now = seen.report(0);
    assert_eq!(verdicts(&now), [("True", "Ready"), ("False", "Settled"), ("False", "Progressing")]);
    assert_eq!(condition(&now, "Degraded").reason, "EvictionRisk");
    assert_eq!(component(&now, "redis").state, "Ready");
}

#[test]
fn a_budget_that_blocks_every_drain_is_told() {
    for (stay, replicas, keeps) in [
        (json!(2), 3, None),
        (json!(3), 3, Some("keeps 3 pods, and while there are only 3")),
        (json!(5), 3, Some("keeps 5 pods, and while there are only 3")),
        (json!("66%"), 3, None),
        (json!("67%"), 3, Some("keeps 3 pods, and while there are only 3")),
        (json!(1), 1, None),
    ] {
        let spec = json!({"backend": {"replicas": replicas, "disruption": {"minAvailable": stay}}});
        let now = Seen::running(&spec).report(0);
        assert_eq!(verdicts(&now)[0], ("True", "Ready"), "{spec}");
        let degraded = condition(&now, "Degraded");
        assert_eq!(keeps.is_some(), degraded.reason == "DrainsBlocked", "{spec}: {}", degraded.message);
        assert!(keeps.is_none_or(|keeps| degraded.message.contains(keeps)), "{spec}: {}", degraded.message);
    }
}

#[test]
fn a_store_that_was_removed_without_acknowledgement_is_still_shown() {
    let with_redis = Seen::running(&json!({"redis": {"mode": "Standalone"}}));
    let mut seen = Seen::running(&json!({}));
    seen.live = with_redis.live;
    let now = seen.report(0);
    assert_eq!(verdicts(&now)[0], ("False", "StoreRemovalNotAcknowledged"));
    let redis = component(&now, "redis");
    assert_eq!((redis.kind.as_str(), redis.ready), ("StatefulSet", 1));
    assert!(redis.message.as_ref().unwrap().contains("acknowledgeStoreRemoval"));
}

#[test]
fn a_component_without_pods_on_purpose_is_ready() {
    let mut seen = Seen::running(&json!({"backend": {"replicas": 0}}));
    let now = seen.report(0);
    assert_eq!(verdicts(&now)[0], ("True", "Ready"));
    assert_eq!(condition(&now, "Available").status, "True");
}

#[test]
fn autoscaling_is_reported_where_there_is_an_autoscaler() {
    let mut fixed = Seen::running(&json!({}));
    assert!(fixed.report(0).conditions.iter().all(|condition| condition.type_ != "AutoscalingActive"));

    let mut seen =
        Seen::running(&json!({"backend": {"autoscaling": {"minReplicas": 2, "maxReplicas": 3, "cpu": 50}}}));
    assert_eq!(condition(&seen.report(0), "AutoscalingActive").status, "True");
    let autoscaler = seen.live.get_mut(&here(Kind::HorizontalPodAutoscaler, "shop-backend")).unwrap();
    autoscaler.autoscaler = Some(Autoscaler { failure: Some("FailedGetPodsMetric".to_owned()) });
    let blind = seen.report(10);
    let verdict = condition(&blind, "AutoscalingActive");
    assert_eq!((verdict.status.as_str(), verdict.reason.as_str()), ("False", "MetricsUnavailable"));
    assert!(
        verdict
            .message
            .contains("backend: FailedGetPodsMetric (kubectl -n trading describe hpa shop-backend)"),
        "{}",
        verdict.message
    );
    assert_eq!(verdicts(&blind)[0], ("True", "Ready"), "its pods serve all the same");
}

#[test]
fn a_certificate_that_is_missing_is_told_with_where_it_comes_from() {
    let told = |tls: Value, is_there: bool| {
        let ingress = json!({"ingress": {"hosts": [{"host": "shop.example.com"}], "tls": tls}});
        let secret = Reference {
            kind: ReferenceKind::Secret,
            namespace: "trading".to_owned(),
            name: "shop-tls".to_owned(),
        };
        let state = if is_there { ReferenceState::Present(BTreeMap::new()) } else { ReferenceState::Absent };
        let inputs =
            Inputs { references: Some(BTreeMap::from([(secret, state)])), ..Inputs::offline(then()) };
        let plan = resolve(&shop(&ingress), &inputs);
        let objects = render(&plan);
        let live = observed(&objects);
        let now = status(&plan, &steps(&plan, &objects, &live), &live, None, at(0));
        assert_eq!(verdicts(&now)[0], ("True", "Ready"), "its pods serve all the same");
        let verdict = condition(&now, "CertificatesAvailable");
        (verdict.status.clone(), verdict.message.clone())
    };
    let (issued, given) = (json!({"clusterIssuer": "letsencrypt"}), json!({"secretName": "shop-tls"}));
    assert_eq!(told(issued.clone(), true).0, "True");
    let (status, message) = told(issued, false);
    assert_eq!(status, "False");
    assert!(message.contains("kubectl -n trading describe certificate shop-tls"), "{message}");
    let (status, message) = told(given, false);
    assert_eq!(status, "False");
    assert!(message.contains("kubectl -n trading create secret tls shop-tls"), "{message}");

    let mut without = Seen::running(&json!({"ingress": {"hosts": [{"host": "shop.example.com"}]}}));
    let conditions = without.report(0).conditions;
    assert!(conditions.iter().all(|condition| condition.type_ != "CertificatesAvailable"));
}

#[test]
fn endpoints_and_what_was_filled_in_are_told() {
    let mut seen = Seen::running(&json!({
        "environment": "Development",
        "redis": {"mode": "Standalone"},
        "postgres": {"mode": "External", "external":
            {"host": "db.example.com", "database": "shop", "credentialsSecretRef": {"name": "db"}}},
        "ingress": {"hosts": [{"host": "shop.example.com"}], "tls": {"clusterIssuer": "letsencrypt"}}}));
    let now = seen.report(0);
    let endpoints: Vec<(&str, &str)> =
        now.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint.address.as_str())).collect();
    assert_eq!(
        endpoints,
        [
            ("backend", "shop-backend.trading.svc:8080"),
            ("redis", "shop-redis.trading.svc:6379"),
            ("postgres", "db.example.com:5432"),
            ("shop.example.com", "https://shop.example.com"),
        ]
    );
    let filled = |field: &str| {
        let value = now.effective.iter().find(|value| value.field == field);
        value.map(|value| (value.value.as_str(), value.from.as_str()))
    };
    assert_eq!(filled("features.debug"), Some(("true", "preset Development")));
    assert_eq!(filled("services[mail].replicas"), Some(("1", "preset Development")));
    assert_eq!(filled("postgres.external.port"), Some(("5432", "operator")));
    assert_eq!(filled("backend.replicas"), None, "the resource says it");
    assert_eq!(filled("environment"), None, "the resource says it");
}

/// A live object, read from its JSON.
fn read<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn deployment(status: &Value) -> Workload {
    let object: Deployment = read(json!({
        "metadata": {"generation": 2},
        "spec": {"replicas": 2, "selector": {}, "template": {
            "metadata": {"labels": {"app.kubernetes.io/version": "1.0.0"}}}},
        "status": status}));
    Workload::from(&object)
}

#[test]
fn a_deployment_is_settled_when_all_pods_are_new_and_ready() {
    let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    let settled = deployment(&done);
    assert!(settled.is_settled(), "{settled:?}");
    assert_eq!((settled.desired, settled.ready, settled.version.as_deref()), (2, 2, Some("1.0.0")));
    for (why, change) in [
        ("its controller has not seen the edit", json!({"observedGeneration": 1})),
        ("an old pod is left over", json!({"replicas": 3})),
        ("a new pod is missing", json!({"updatedReplicas": 1})),
        ("a pod is not ready", json!({"availableReplicas": 1})),
        (
            "it gave up",
            json!({"conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}),
        ),
        (
            "it may not make pods",
            json!({"conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}),
        ),
    ] {
        let workload = deployment(&merged(&done, &change));
        assert!(!workload.is_settled(), "{why}: {workload:?}");
    }
    let stuck = deployment(&merged(
        &done,
        &json!({"conditions": [
        {"type": "Progressing", "status": "True", "message": "fine"},
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}),
    ));
    assert_eq!(stuck.failure.as_deref(), Some("exceeded quota"));
    assert!(!deployment(&json!({})).is_settled(), "it was just made");
}

#[test]
fn a_stateful_set_is_settled_when_all_pods_are_of_its_newest_revision() {
    let set = |status: Value| -> Workload {
        let object: StatefulSet = read(json!({
            "metadata": {"generation": 1},
            "spec": {"replicas": 6, "selector": {}, "serviceName": "x", "template": {}},
            "status": status}));
        Workload::from(&object)
    };
    let done = json!({"observedGeneration": 1, "replicas": 6, "readyReplicas": 6, "updatedReplicas": 6, "currentRevision": "a", "updateRevision": "a"});
    assert!(set(done.clone()).is_settled());
    for change in [
        // Which revision is the current one says nothing, see `replacing`.
        json!({"updatedReplicas": 5}),
        json!({"updatedReplicas": 0}),
        json!({"readyReplicas": 5}),
        json!({"replicas": 5, "readyReplicas": 5}),
        json!({"observedGeneration": 0}),
    ] {
        assert!(!set(merged(&done, &change)).is_settled(), "{change}");
    }
}

#[test]
fn an_autoscaler_fails_for_a_stable_reason() {
    let failure = |conditions: Value| {
        let object: HorizontalPodAutoscaler = read(json!({
            "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "x"}},
            "status": {"desiredReplicas": 1, "conditions": conditions}}));
        Autoscaler::from(&object).failure
    };
    let active = |status: &str, reason: &str| json!([{"type": "ScalingActive", "status": status, "reason": reason, "message": "another metric every time"}]);
    assert_eq!(failure(active("True", "ValidMetricFound")), None);
    assert_eq!(failure(active("False", "FailedGetPodsMetric")).as_deref(), Some("FailedGetPodsMetric"));
    assert_eq!(failure(active("False", "ScalingDisabled")), None, "scaled to nothing on purpose");
    assert_eq!(
        failure(json!([{"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}])),
        None
    );
    assert_eq!(
        failure(json!([{"type": "AbleToScale", "status": "False", "reason": "FailedGetScale"}])).as_deref(),
        Some("FailedGetScale")
    );
}

#[test]
fn keda_fails_when_it_cannot_ask_what_it_scales_by() {
    let failure = |conditions: Value| {
        Autoscaler::of_scaled_object(&json!({"status": {"conditions": conditions}})).failure
    };
    let ready = |status: &str, reason: &str| {
        json!([
        {"type": "Active", "status": "False", "reason": "ScalerNotActive"},
        {"type": "Ready", "status": status, "reason": reason, "message": "another every time"}])
    };
    assert_eq!(failure(json!(null)), None, "KEDA has not seen it yet");
    assert_eq!(failure(ready("Unknown", "")), None);
    assert_eq!(failure(ready("True", "ScaledObjectReady")), None, "no queue, no pods more");
    assert_eq!(
        failure(ready("False", "ScaledObjectCheckFailed")).as_deref(),
        Some("ScaledObjectCheckFailed")
    );
}
