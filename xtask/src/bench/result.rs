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
    pub peak_memory: u64,
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
    pub bare: Duration,
    pub operator: Measured,
}
