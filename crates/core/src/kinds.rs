//! The one table of kinds that the operator owns. Applying order, pruning, watching and the RBAC
//! of the chart are all made from it.

use std::fmt;

/// A kind that the operator owns. The order is the order of applying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // they are Kubernetes' own names
pub enum Kind {
    ResourceQuota,
    NetworkPolicy,
    ServiceAccount,
    Secret,
    ConfigMap,
    Service,
    EndpointSlice,
    PodDisruptionBudget,
    StatefulSet,
    Deployment,
    HorizontalPodAutoscaler,
    Ingress,
}

/// What the operator keeps of the live objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Who owns which fields is enough.
    Metadata,
    /// The status is reported on too.
    Status,
}

/// What the operator knows of a kind.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// The kind.
    pub kind: Kind,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Plural, as in URLs and RBAC.
    pub plural: &'static str,
    /// How it is watched.
    pub watch: Watch,
}

const fn row(
    kind: Kind,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    watch: Watch,
) -> KindInfo {
    KindInfo { kind, group, version, plural, watch }
}

/// The table.
pub const KINDS: [KindInfo; 12] = [
    row(Kind::ResourceQuota, "", "v1", "resourcequotas", Watch::Metadata),
    row(Kind::NetworkPolicy, "networking.k8s.io", "v1", "networkpolicies", Watch::Metadata),
    row(Kind::ServiceAccount, "", "v1", "serviceaccounts", Watch::Metadata),
    row(Kind::Secret, "", "v1", "secrets", Watch::Metadata),
    row(Kind::ConfigMap, "", "v1", "configmaps", Watch::Metadata),
    row(Kind::Service, "", "v1", "services", Watch::Metadata),
    row(Kind::EndpointSlice, "discovery.k8s.io", "v1", "endpointslices", Watch::Metadata),
    row(Kind::PodDisruptionBudget, "policy", "v1", "poddisruptionbudgets", Watch::Metadata),
    row(Kind::StatefulSet, "apps", "v1", "statefulsets", Watch::Status),
    row(Kind::Deployment, "apps", "v1", "deployments", Watch::Status),
    row(Kind::HorizontalPodAutoscaler, "autoscaling", "v2", "horizontalpodautoscalers", Watch::Status),
    row(Kind::Ingress, "networking.k8s.io", "v1", "ingresses", Watch::Metadata),
];

impl Kind {
    /// Its row in the table.
    #[must_use]
    pub fn info(self) -> &'static KindInfo {
        // The table is in the order of the enum; `every_kind_has_its_row` checks it.
        &KINDS[self as usize]
    }

    /// `group/version`, or the version alone in the core group.
    #[must_use]
    pub fn api_version(self) -> String {
        let info = self.info();
        if info.group.is_empty() {
            info.version.to_owned()
        } else {
            format!("{}/{}", info.group, info.version)
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::KINDS;

    #[test]
    fn every_kind_has_its_row() {
        for (index, info) in KINDS.iter().enumerate() {
            assert_eq!(info.kind as usize, index, "{}", info.kind);
            assert_eq!(info.kind.info().plural, info.plural);
        }
    }
}
