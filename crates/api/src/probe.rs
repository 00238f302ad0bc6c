//! Health checks of a component.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The three probes of the kubelet. A probe that is left out is not made, but for readiness of
/// a component with ports: that one is a TCP check of `http` or the first port of TCP.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Holds the other two back until the application has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// A container that fails it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// A pod that fails it gets no traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

/// One probe: an HTTP path, a command, or (with neither) a TCP connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.exec) || !(has(self.path) || has(self.port))")
    .message("set exec, or path and port, not both")
    .field_path(".exec"))]
pub struct Probe {
    /// HTTP path that answers 200–399 when healthy.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^/[^\s]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Command that exits 0 when healthy; it is run without a shell.
    #[schemars(length(min = 1, max = 16), inner(length(max = 1024)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// Name of one of the component's ports; `http` or the first of TCP where it is left out.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Seconds from the container's start to the first check; default 0.
    #[schemars(range(min = 0, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds between checks; default 10.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// Seconds after which a check has failed; default 1.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// Failures in a row that count as unhealthy; default 3.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
}
