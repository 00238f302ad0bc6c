//! What a control plane consists of.

use std::net::Ipv4Addr;

use crate::release::Release;

/// What a control plane consists of. Start from [`Options::api`] or [`Options::simulated`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Run the controllers of Kubernetes, and our provisioner of volumes beside them.
    pub controller_manager: bool,
    /// Run the scheduler.
    pub scheduler: bool,
    /// How many simulated nodes to spread over three zones.
    pub nodes: usize,
    /// Log every request for [`crate::audit`].
    pub audit: bool,
    /// Whose apiserver to run.
    pub apiserver: Release,
    /// Where the apiserver listens: 127.0.0.1, or an address of this machine that real nodes reach.
    pub address: Ipv4Addr,
}

impl Options {
    /// Level 2: etcd and apiserver only.
    #[must_use]
    pub fn api() -> Self {
        Self {
            controller_manager: false,
            scheduler: false,
            nodes: 0,
            audit: false,
            apiserver: Release::Current,
            address: Ipv4Addr::LOCALHOST,
        }
    }

    /// Level 3: controllers, scheduler and this many simulated nodes as well, each with 64 CPUs, 256 GiB
    /// and room for 500 pods.
    #[must_use]
    pub fn simulated(nodes: usize) -> Self {
        Self { controller_manager: true, scheduler: true, nodes, ..Self::api() }
    }

    /// Level 4: controllers and scheduler, for real nodes that reach the apiserver at this address.
    pub(crate) fn for_real_nodes(address: Ipv4Addr) -> Self {
        Self { address, ..Self::simulated(0) }
    }

    /// Whether nodes from elsewhere than this testbed's simulation join.
    pub(crate) fn has_real_nodes(&self) -> bool {
        !self.address.is_loopback()
    }

    /// Logs every request for [`crate::audit`].
    #[must_use]
    pub fn with_audit(self) -> Self {
        Self { audit: true, ..self }
    }

    /// Runs the apiserver of another release.
    #[must_use]
    pub fn with_apiserver(self, apiserver: Release) -> Self {
        Self { apiserver, ..self }
    }
}
