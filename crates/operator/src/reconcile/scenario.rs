//! Reconciles against a mock API server in which both a missing and an extra call fail.

mod invalid;
mod login;
mod password;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Client,
    client::Body,
    runtime::{controller::Action, events::Recorder},
};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use trading_api::labels::{FIELD_MANAGER, NAME, ROLE_REPLICA, STORE_ROLE};
use trading_core::inputs::{OperatorSettings, Reference, ReferenceKind};

use super::{Context, Memories, ReconcileError, reconcile, reporter};
use crate::{
    cache::{Caches, Live, PlatformKey},
    metrics::Metrics,
    packed::Packed,
};

/// What the mock answers instead of the ordinary, by the end of the path.
type Faults = BTreeMap<&'static str, (StatusCode, &'static str)>;

#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    calls: Vec<String>,
    versions: u64,
    faults: Faults,
    /// Requests until the operator dies, where it does.
    requests_left: Option<u64>,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let short = path.rsplit("/namespaces/shop/").next().unwrap_or(path).to_owned();
        if self.requests_left == Some(0) {
            return (StatusCode::INTERNAL_SERVER_ERROR, failure(StatusCode::INTERNAL_SERVER_ERROR, "Dead"));
        }
        self.requests_left = self.requests_left.map(|left| left - 1);
        self.calls.push(format!("{method} {short}"));
        if let Some((code, reason)) = self.faults.get(short.as_str()) {
            return (*code, failure(*code, reason));
        }
        match *method {
            Method::GET if short == "pods" => (StatusCode::OK, self.components_pods()),
            Method::GET => match self.objects.get(&short) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => (StatusCode::NOT_FOUND, failure(StatusCode::NOT_FOUND, "NotFound")),
            },
            Method::POST if short == "events" => (StatusCode::CREATED, body.clone()),
            Method::PATCH if short.starts_with("secrets/") && body["apiVersion"].is_null() => {
                self.merge(&short, body)
            }
            Method::POST | Method::PATCH => (StatusCode::OK, self.store(&short, method, body)),
            _ => (StatusCode::OK, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        }
    }

    /// A merge patch, which says which version it changes.
    fn merge(&mut self, short: &str, body: &Value) -> (StatusCode, Value) {
        let mut object = self.objects.get(short).cloned().unwrap_or_default();
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return (StatusCode::CONFLICT, failure(StatusCode::CONFLICT, "Conflict"));
        }
        self.versions += 1;
        for (key, value) in body["data"].as_object().into_iter().flatten() {
            match value {
                Value::Null => drop(object["data"].as_object_mut().map(|data| data.remove(key))),
                value => object["data"][key] = value.clone(),
            }
        }
        for (key, value) in body["metadata"]["annotations"].as_object().into_iter().flatten() {
            object["metadata"]["annotations"][key] = value.clone();
        }
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        self.objects.insert(short.to_owned(), object.clone());
        (StatusCode::OK, object)
    }

    /// A list of the pods that are of a component.
    fn components_pods(&self) -> Value {
        let of_component = |(path, pod): &(&String, &Value)| {
            path.starts_with("pods/")
                && pod.pointer("/metadata/labels").is_some_and(|all| all[NAME].is_string())
        };
        let items: Vec<&Value> = self.objects.iter().filter(of_component).map(|(_, pod)| pod).collect();
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items})
    }

    fn store(&mut self, short: &str, method: &Method, body: &Value) -> Value {
        self.versions += 1;
        let mut object = body.clone();
        let manager = if *method == Method::POST {
            json!([{"manager": format!("{FIELD_MANAGER}-generated"), "operation": "Update"}])
        } else {
            json!([{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields(body)}])
        };
        object["metadata"]["uid"] = json!(format!("uid-{short}"));
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        object["metadata"]["managedFields"] = manager;
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let key = if *method == Method::POST { format!("{short}/{name}") } else { short.to_owned() };
        self.objects.insert(key, object.clone());
        object
    }
}

fn failure(code: StatusCode, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": format!("the mock says {reason}")})
}

fn fields(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let inner: Map<String, Value> =
                map.iter().map(|(key, value)| (format!("f:{key}"), fields(value))).collect();
            Value::Object(inner)
        }
        _ => json!({}),
    }
}

struct Scenario {
    server: Arc<Mutex<Server>>,
    context: Arc<Context>,
    platform: Value,
}

impl Scenario {
    fn new(platform: Value) -> Self {
        let server = Arc::new(Mutex::new(Server::default()));
        let shared = Arc::clone(&server);
        let service = tower::service_fn(move |request: Request<Body>| {
            let shared = Arc::clone(&shared);
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect_bytes().await?;
                let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let (code, answer) =
                    shared.lock().expect("no panic").answer(&head.method, head.uri.path(), &body);
                let answer = Body::from(serde_json::to_vec(&answer)?);
                Ok::<_, tower::BoxError>(Response::builder().status(code).body(answer)?)
            }
        });
        let client = Client::new(service, "shop");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let (caches, _woken) = Caches::new(&metrics);
        let context = Arc::new(Context {
            recorder: Recorder::new(client.clone(), reporter("test")),
            client,
            caches: Arc::new(caches),
            metrics,
            operator: OperatorSettings::default(),
            members: None,
            turns: Semaphore::new(8),
            memories: Memories::default(),
        });
        Self { server, context, platform }
    }

    /// A platform that already has its finalizer.
    fn settled(mut spec: Value) -> Self {
        spec["version"] = json!("1.0.0");
        Self::new(json!({
            "apiVersion": "platform.trading/v1alpha1",
            "kind": "TradingPlatform",
            "metadata": {"name": "shop", "namespace": "shop", "uid": "u1", "generation": 1,
                "resourceVersion": "7", "finalizers": ["platform.trading/finalizer"]},
            "spec": spec,
        }))
    }

    fn with_fault(self, path: &'static str, code: StatusCode, reason: &'static str) -> Self {
        self.server.lock().expect("no panic").faults.insert(path, (code, reason));
        self
    }

    async fn run(&self) -> Result<Action, ReconcileError> {
        let platform: Packed = serde_json::from_value(self.platform.clone()).expect("a platform");
        reconcile(Arc::new(platform), Arc::clone(&self.context)).await
    }

    /// The calls since the last look, Events left out: they inform and are best effort.
    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.server.lock().expect("no panic").calls);
        calls.into_iter().filter(|call| !call.ends_with(" events")).collect()
    }

    /// A pod as its `StatefulSet` made it.
    fn pod(&self, name: &str) {
        let path = format!("pods/{name}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "uid": format!("uid-{path}"), "labels": {STORE_ROLE: ROLE_REPLICA}}});
        self.server.lock().expect("no panic").objects.insert(path, pod);
    }

    /// The watch tells that a server of the database has written its Lease. Whether that wakes the platform.
    fn wrote_lease(&self, pod: &str, version: u64) -> bool {
        let mut lease = self.server.lock().expect("no panic").objects["leases/shop-postgres"].clone();
        lease["metadata"]["resourceVersion"] = json!((1000 + version).to_string());
        lease["spec"] = json!({"holderIdentity": format!("{pod}/uid-pods/{pod}"), "leaseTransitions": 1,
            "renewTime": format!("2026-01-01T00:00:{version:02}.000000Z")});
        let lease: Lease = serde_json::from_value(lease).expect("a Lease");
        let entry = lease.entry().expect("the operator's");
        self.context.caches.children.seen(entry).is_some()
    }

    fn roles(&self) -> Vec<String> {
        let server = self.server.lock().expect("no panic");
        let pods = server.objects.iter().filter(|(path, _)| path.starts_with("pods/"));
        pods.filter_map(|(_, pod)| Some(pod["metadata"]["labels"][STORE_ROLE].as_str()?.to_owned())).collect()
    }

    fn status(&self) -> Value {
        let server = self.server.lock().expect("no panic");
        server
            .objects
            .get("tradingplatforms/shop/status")
            .map(|object| object["status"].clone())
            .unwrap_or_default()
    }
}

fn one_component() -> Value {
    json!({"backend": {"image": {"repository": "shop/backend"}, "replicas": 2}})
}

const BACKEND_OBJECTS: [&str; 6] = [
    "PATCH networkpolicies/shop-backend",
    "PATCH networkpolicies/shop-default-deny",
    "PATCH serviceaccounts/shop-backend",
    "PATCH services/shop-backend",
    "PATCH poddisruptionbudgets/shop-backend",
    "PATCH deployments/shop-backend",
];
const STATUS: &str = "PATCH tradingplatforms/shop/status";

#[tokio::test]
async fn a_fresh_platform_is_one_write_for_each_object_and_one_status() {
    let scenario = Scenario::settled(one_component());
    scenario.run().await.expect("reconciled");
    let mut expected = BACKEND_OBJECTS.to_vec();
    expected.push(STATUS);
    assert_eq!(scenario.calls(), expected);
}

#[tokio::test]
async fn the_first_word_on_one_platform_waits_for_the_objects_of_others() {
    let scenario = Scenario::settled(one_component());
    let other = PlatformKey { namespace: "bazaar".to_owned(), name: "shop".to_owned() };
    scenario.context.caches.triggers.wake(other.clone(), "a test");
    let action = scenario.run().await.expect("reconciled");
    assert_eq!(scenario.calls(), BACKEND_OBJECTS);
    assert_ne!(action, Action::await_change(), "it is tried again");

    scenario.context.caches.triggers.started(&other);
    scenario.run().await.expect("reconciled");
    assert_eq!(scenario.calls(), Vec::<String>::new(), "the other is being made");

    scenario.context.caches.triggers.ended(&other);
    scenario.run().await.expect("reconciled");
    assert_eq!(scenario.calls(), [STATUS]);
}

#[tokio::test]
async fn what_is_wrong_is_told_at_once_however_many_wait() {
    let scenario = Scenario::settled(one_component()).with_fault(
        "services/shop-backend",
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
    );
    let other = PlatformKey { namespace: "bazaar".to_owned(), name: "shop".to_owned() };
    scenario.context.caches.triggers.wake(other, "a test");
    scenario.run().await.expect_err("it is repeated");
    assert_eq!(scenario.calls().last().map(String::as_str), Some(STATUS));
}

#[tokio::test]
async fn what_did_not_change_causes_no_call() {
    let scenario = Scenario::settled(one_component());
    scenario.run().await.expect("reconciled");
    scenario.calls();
    for _ in 0..3 {
        scenario.run().await.expect("reconciled");
    }
    assert_eq!(scenario.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_edit_writes_only_what_it_changes() {
    let mut scenario = Scenario::settled(one_component());
    scenario.run().await.expect("reconciled");
    scenario.calls();
    scenario.platform["spec"]["backend"]["env"] = json!([{"name": "A", "value": "b"}]);
    scenario.platform["metadata"]["generation"] = json!(2);
    scenario.run().await.expect("reconciled");
    assert_eq!(scenario.calls(), ["PATCH deployments/shop-backend", STATUS]);
}

#[tokio::test]
async fn the_finalizer_comes_before_everything_else() {
    const FINALIZER: &str = "PATCH tradingplatforms/shop";
    let mut scenario = Scenario::settled(one_component());
    scenario.platform["metadata"]["finalizers"] = json!([]);
    scenario.run().await.expect("reconciled");
    let calls = scenario.calls();
    assert_eq!(calls.first().map(String::as_str), Some(FINALIZER));
    assert!(calls.len() > 1, "{calls:?}");

    let mut scenario = Scenario::settled(one_component()).with_fault(
        "tradingplatforms/shop",
        StatusCode::FORBIDDEN,
        "Forbidden",
    );
    scenario.platform["metadata"]["finalizers"] = json!([]);
    scenario.run().await.expect_err("there is no finalizer");
    assert_eq!(scenario.calls(), [FINALIZER], "nothing is made that might never be removed");
}

#[tokio::test]
async fn an_autoscaled_deployment_costs_one_write_and_starts_at_the_minimum() {
    let scenario = Scenario::settled(json!({"backend": {"image": {"repository": "shop/backend"},
        "autoscaling": {"minReplicas": 3, "maxReplicas": 5, "cpu": 70}}}));
    scenario.run().await.expect("reconciled");
    let calls = scenario.calls();
    let deployments: Vec<_> = calls.iter().filter(|call| call.contains("deployments")).collect();
    assert_eq!(deployments.len(), 1, "{calls:?}");
    let live = scenario.server.lock().expect("no panic").objects["deployments/shop-backend"].clone();
    assert_eq!(live.pointer("/spec/replicas"), Some(&json!(3)));
}

#[tokio::test]
async fn a_refused_object_does_not_hold_up_the_rest_and_is_told() {
    let scenario = Scenario::settled(one_component()).with_fault(
        "services/shop-backend",
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
    );
    let error = scenario.run().await.expect_err("it is repeated");
    assert_eq!(error.category(), "refused");
    let mut expected = BACKEND_OBJECTS.to_vec();
    expected.push(STATUS);
    assert_eq!(scenario.calls(), expected);
    let ready = scenario.status()["conditions"][0].clone();
    assert_eq!(ready["reason"], "ApplyRefused");
    assert!(ready["message"].as_str().is_some_and(|text| text.contains("shop-backend")), "{ready}");
}

#[tokio::test]
async fn somebody_elses_object_is_looked_at_and_left_alone() {
    let scenario = Scenario::settled(one_component()).with_fault(
        "services/shop-backend",
        StatusCode::CONFLICT,
        "Conflict",
    );
    scenario.run().await.expect_err("it is repeated");
    let calls = scenario.calls();
    let on_service: Vec<_> = calls.iter().filter(|call| call.ends_with("services/shop-backend")).collect();
    // The look fails here as well; what matters is that no second write follows.
    assert_eq!(on_service, ["PATCH services/shop-backend", "GET services/shop-backend"]);
}

#[tokio::test]
async fn a_missing_secret_holds_its_consumer_and_nothing_else() {
    let mut spec = one_component();
    spec["worker"] = json!({"image": {"repository": "shop/worker"},
        "envFrom": [{"secretRef": {"name": "broker"}}]});
    let scenario = Scenario::settled(spec);
    scenario.run().await.expect("reconciled");
    let calls = scenario.calls();
    assert!(calls.contains(&"PATCH deployments/shop-backend".to_owned()), "{calls:?}");
    assert!(!calls.contains(&"PATCH deployments/shop-worker".to_owned()), "{calls:?}");
    let message = scenario.status()["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("worker waits for Secret \"broker\""), "{message}");
}

#[tokio::test]
async fn a_password_is_made_before_pods_and_read_no_more_than_once() {
    let scenario = Scenario::settled(json!({
        "backend": {"image": {"repository": "shop/backend"}, "replicas": 1},
        "redis": {"mode": "Standalone"},
    }));
    scenario.run().await.expect("reconciled");
    let calls = scenario.calls();
    assert_eq!(calls.first().map(String::as_str), Some("POST secrets"), "{calls:?}");
    assert!(calls.iter().all(|call| !call.starts_with("GET")), "{calls:?}");
    let secret = scenario.server.lock().expect("no panic").objects["secrets/shop-redis-auth"].clone();
    assert!(secret.pointer("/data/password").is_some());
    assert!(!scenario.status().to_string().contains("password\":"), "no secret in the status");
}

#[tokio::test]
async fn a_kept_secret_that_already_exists_is_taken_up() {
    let scenario = Scenario::settled(json!({
        "backend": {"image": {"repository": "shop/backend"}, "replicas": 1},
        "redis": {"mode": "Standalone"},
    }))
    .with_fault("secrets", StatusCode::CONFLICT, "AlreadyExists");
    let reference = Reference {
        kind: ReferenceKind::Secret,
        namespace: "shop".to_owned(),
        name: "shop-redis-auth".to_owned(),
    };
    let digests = BTreeMap::from([("password".to_owned(), "digest".to_owned())]);
    scenario.context.has_read(&reference, "1", &digests);
    scenario.run().await.expect("reconciled");
    let calls = scenario.calls();
    assert!(calls.contains(&"PATCH statefulsets/shop-redis".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn the_old_primary_loses_its_label_before_the_new_one_gets_it() {
    let scenario = Scenario::settled(json!({
        "backend": {"image": {"repository": "shop/backend"}, "replicas": 1},
        "postgres": {"mode": "Managed", "version": 16, "instances": 2},
    }));
    let on_pods = || scenario.calls().into_iter().filter(|call| call.contains("pods/")).collect::<Vec<_>>();
    scenario.run().await.expect("reconciled");
    assert_eq!(on_pods(), [""; 0], "nobody holds the Lease yet");
    for name in ["shop-postgres-0", "shop-postgres-1"] {
        scenario.pod(name);
    }

    assert!(scenario.wrote_lease("shop-postgres-0", 1));
    scenario.run().await.expect("reconciled");
    let marks = ["GET pods/shop-postgres-1", "GET pods/shop-postgres-0", "PATCH pods/shop-postgres-0"];
    assert_eq!(on_pods(), marks);
    assert_eq!(scenario.roles(), ["primary", "replica"]);
    assert!(!scenario.wrote_lease("shop-postgres-0", 4), "a renewal changes nothing");

    assert!(scenario.wrote_lease("shop-postgres-1", 7));
    scenario.run().await.expect("reconciled");
    let marks = [
        "GET pods/shop-postgres-0",
        "PATCH pods/shop-postgres-0",
        "GET pods/shop-postgres-1",
        "PATCH pods/shop-postgres-1",
    ];
    assert_eq!(on_pods(), marks);
    assert_eq!(scenario.roles(), ["replica", "primary"]);

    // Whoever took a server over can write anything into the Lease.
    assert!(scenario.wrote_lease("shop-backend-0", 9));
    scenario.run().await.expect("reconciled");
    assert_eq!(on_pods(), [""; 0]);
}
