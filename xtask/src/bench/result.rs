//! What was measured.

use std::collections::BTreeMap;
use std::time::Duration;

use super::requests::Requests;

/// Of the operator, with so many platforms.
pub struct Measured {
    pub platforms: usize,
    pub creation: Creation,
    pub rest: Rest,
    pub edit: Edit,
    pub restart: Restart,
}

/// From the first platform until nothing is left to do.
pub struct Creation {
    /// Until the last child was there.
    pub time: Duration,
    pub requests: Requests,
    /// Writes of anybody that changed nothing.
    pub no_ops: u64,
    pub cpu_seconds: f64,
    /// With the control plane's, and that of whoever makes the platforms.
    pub everybodys_cpu_seconds: f64,
    pub peak_memory: u64,
}

impl Creation {
    /// What is compared with the bare client.
    pub fn cost(&self) -> Cost {
        Cost { time: self.time, cpu_seconds: self.everybodys_cpu_seconds }
    }
}

/// What it takes to make all objects.
#[derive(Clone, Copy)]
pub struct Cost {
    pub time: Duration,
    /// Of everybody.
    pub cpu_seconds: f64,
}

impl Cost {
    /// The least of several.
    pub fn least(costs: &[Self]) -> Self {
        let time = costs.iter().map(|cost| cost.time).min().unwrap_or_default();
        let cpu_seconds = costs.iter().map(|cost| cost.cpu_seconds).fold(f64::INFINITY, f64::min);
        Self { time, cpu_seconds }
    }
}

/// A while in which nobody wants anything.
pub struct Rest {
    pub window: Duration,
    pub requests: Requests,
    pub cpu_seconds: f64,
}

/// One field of one component of one platform.
pub struct Edit {
    pub requests: Requests,
    pub writes: BTreeMap<String, usize>,
}

/// The operator ends and starts again while everything is at rest.
pub struct Restart {
    /// From the start of the process to its last request.
    pub quiet_after: Duration,
    pub requests: Requests,
    pub cpu_seconds: f64,
    pub peak_memory: u64,
}

/// Both clients with so many platforms.
pub struct Comparison {
    pub bare: Cost,
    /// Until all children exist.
    pub making: Cost,
    pub operator: Measured,
}
