//! The service mesh that components are part of.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Istio (add-on) with sidecars beside the components' pods. See docs/mesh.md.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mesh {
    /// Revision of Istio (`istio.io/rev`); the default one where it is left out.
    #[schemars(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `Permissive` (default): mutual TLS between sidecars, plain text with who has none, such as an ingress
    /// controller. `Strict`: mutual TLS alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<MutualTls>,
    /// Requests to a component that reached none of its pods are repeated; Istio's default where it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// When callers of a component or of the platform's own Postgres fail at once instead of waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
}

/// Who may talk to the pods.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(description = "")] // the field says it
pub enum MutualTls {
    /// With mutual TLS or without.
    #[default]
    Permissive,
    /// With mutual TLS alone.
    Strict,
}

/// Requests that are repeated.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How often; 0 for never.
    #[schemars(range(min = 0, max = 10))]
    pub attempts: i32,
    /// Seconds for each attempt, 1 to 300; no bound where it is left out.
    #[schemars(range(min = 1, max = 300))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout_seconds: Option<i32>,
}

/// Bounds for each pod that calls.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxConnections) || has(self.maxPendingRequests) || has(self.consecutiveErrors) || has(self.maxDatabaseConnections)")
    .message("set maxConnections, maxPendingRequests, consecutiveErrors or maxDatabaseConnections: the circuit would never break"))]
#[x_kube(validation = Rule::new("!has(self.ejectionSeconds) || has(self.consecutiveErrors)")
    .message("a pod is left out after consecutiveErrors: set them, or remove ejectionSeconds")
    .field_path(".ejectionSeconds"))]
pub struct CircuitBreaker {
    /// Most connections to a component.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i32>,
    /// Most requests to a component that wait for a connection.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending_requests: Option<i32>,
    /// Errors (5xx) in a row after which a pod is left out for a while; at most half of a component's pods
    /// are.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_errors: Option<i32>,
    /// Seconds for which it is left out, longer each time; default 30.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejection_seconds: Option<i32>,
    /// Most connections to the platform's own Postgres.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_database_connections: Option<i32>,
}
