//! Istio: who takes part in the mesh, and what its sidecars do with requests.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trading_api::{
    labels::INSTANCE,
    mesh::{CircuitBreaker, Mesh, MutualTls, Retries},
    network::Protocol,
};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, POOLER, POSTGRES, POSTGRES_RO, Plan, PostgresPlan},
};

/// Port at which sidecars get their configuration and certificates.
pub(super) const CONTROL_PLANE_PORT: i32 = 15012;
/// Namespace of Istio's control plane.
pub(super) const CONTROL_PLANE: &str = "istio-system";
/// Seconds for which a pod is left out.
const EJECTION_SECONDS: i32 = 30;
/// Only what no pod has seen is sent again: an order must not be placed twice.
const UNSEEN: &str = "connect-failure,refused-stream";

/// Labels with which pods of a tier get a sidecar or not, whatever their namespace says.
pub(super) fn labels(plan: &Plan, tier: &str) -> BTreeMap<String, String> {
    let Some(mesh) = &plan.mesh else { return BTreeMap::new() };
    let takes_part = tier == meta::APPLICATION;
    let revision = mesh.revision.as_ref().filter(|_| takes_part);
    [("sidecar.istio.io/inject".to_owned(), takes_part.to_string())]
        .into_iter()
        .chain(revision.map(|revision| ("istio.io/rev".to_owned(), revision.clone())))
        .collect()
}

/// The application starts when its sidecar can carry its requests, unless its own annotation says more.
pub(super) fn annotations(plan: &Plan) -> Option<(String, String)> {
    let settings = json!({ "holdApplicationUntilProxyStarts": true });
    plan.mesh.as_ref().map(|_| ("proxy.istio.io/config".to_owned(), settings.to_string()))
}

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let Some(mesh) = &plan.mesh else { return Vec::new() };
    let mut objects: Vec<Object> =
        plan.identity.namespaces().into_iter().map(|namespace| peers(plan, mesh, namespace)).collect();
    // Sidecars act on calls to Services.
    for component in plan.components.iter().filter(|component| !component.ports.is_empty()) {
        objects.extend(mesh.retries.as_ref().and_then(|retries| requests(plan, component, retries)));
        let breaker = mesh.circuit_breaker.as_ref().and_then(bounds);
        objects.extend(breaker.map(|policy| breaks(plan, component, &policy)));
    }
    objects.extend(to_database(plan, mesh));
    objects
}

const MESH: &str = "mesh";

/// Of the platform's pods alone: the namespace may have others.
fn peers(plan: &Plan, mesh: &Mesh, namespace: &str) -> Object {
    let mode = match mesh.mtls.unwrap_or_default() {
        MutualTls::Permissive => "PERMISSIVE",
        MutualTls::Strict => "STRICT",
    };
    let platform = BTreeMap::from([(INSTANCE, &plan.identity.name)]);
    let object = json!({
        "metadata": meta::object_in(plan, namespace, MESH, MESH, meta::APPLICATION, Lifetime::Platform),
        "spec": { "selector": { "matchLabels": platform }, "mtls": { "mode": mode } },
    });
    Object::new(Kind::PeerAuthentication, "", Lifetime::Platform, &object)
}

fn requests(plan: &Plan, component: &ComponentPlan, given: &Retries) -> Option<Object> {
    let mut retries = json!({ "attempts": given.attempts, "retryOn": UNSEEN });
    if let Some(seconds) = given.per_try_timeout_seconds {
        retries["perTryTimeout"] = json!(format!("{seconds}s"));
    }
    // In the Service's own namespace its short name stands for it.
    let host = plan.identity.child(&component.name);
    let routes: Vec<Value> = component
        .ports
        .iter()
        .filter(|port| port.protocol.unwrap_or_default() == Protocol::TCP)
        .map(|port| {
            let number = port.container_port;
            json!({
                "match": [{ "port": number }],
                "route": [{ "destination": { "host": host, "port": { "number": number } } }],
                "retries": retries,
            })
        })
        .collect();
    if routes.is_empty() {
        return None;
    }
    let name = &component.name;
    let object = json!({
        "metadata": meta::object(plan, name, name, meta::APPLICATION, Lifetime::Platform),
        "spec": { "hosts": [host], "http": routes },
    });
    Some(Object::new(Kind::VirtualService, name, Lifetime::Platform, &object))
}

/// What callers of components keep to.
fn bounds(given: &CircuitBreaker) -> Option<Value> {
    let mut policy = json!({});
    if let Some(connections) = given.max_connections {
        policy["connectionPool"]["tcp"]["maxConnections"] = json!(connections);
    }
    if let Some(waiting) = given.max_pending_requests {
        policy["connectionPool"]["http"]["http1MaxPendingRequests"] = json!(waiting);
    }
    if let Some(errors) = given.consecutive_errors {
        let seconds = given.ejection_seconds.unwrap_or(EJECTION_SECONDS);
        policy["outlierDetection"] = json!({
            "consecutive5xxErrors": errors,
            "baseEjectionTime": format!("{seconds}s"),
            "maxEjectionPercent": 50,
        });
    }
    (policy != json!({})).then_some(policy)
}

fn breaks(plan: &Plan, component: &ComponentPlan, policy: &Value) -> Object {
    let name = &component.name;
    let object = json!({
        "metadata": meta::object(plan, name, name, meta::APPLICATION, Lifetime::Platform),
        "spec": { "host": plan.identity.child(name), "trafficPolicy": policy },
    });
    Object::new(Kind::DestinationRule, name, Lifetime::Platform, &object)
}

/// The servers of a database have no sidecar, but those who call them do.
fn to_database(plan: &Plan, mesh: &Mesh) -> Vec<Object> {
    let most = mesh.circuit_breaker.as_ref().and_then(|breaker| breaker.max_database_connections);
    let database = plan.postgres.as_ref();
    let service = database.and_then(PostgresPlan::service);
    let (Some(most), Some(service)) = (most, service) else { return Vec::new() };
    let policy = json!({ "connectionPool": { "tcp": { "maxConnections": most } } });
    let replicas = database.and_then(|database| database.read_only_host.as_ref()).map(|_| POSTGRES_RO);
    let pooler = database.and_then(|database| database.pooler.as_ref()).map(|_| POOLER);
    let services = [service].into_iter().chain(replicas).chain(pooler);
    let namespace = plan.identity.namespace_of(POSTGRES);
    let of = |service: &str| {
        // It is the callers', not the store's: it goes when the platform goes.
        let metadata = meta::object_in(plan, namespace, service, MESH, meta::APPLICATION, Lifetime::Platform);
        let host = plan.identity.child(service);
        let object = json!({ "metadata": metadata, "spec": { "host": host, "trafficPolicy": policy } });
        Object::new(Kind::DestinationRule, "", Lifetime::Platform, &object)
    };
    services.map(of).collect()
}
