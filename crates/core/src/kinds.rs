//! The one table of kinds that the operator owns. Applying order, pruning, watching and the RBAC
//! of the chart are all made from it.

use std::fmt;

/// Something that a cluster may lack, and that may come and go while the operator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // they are the projects' own names
pub enum AddOn {
    PrometheusOperator,
    ExternalSecrets,
    Keda,
    VerticalPodAutoscaler,
    GatewayApi,
    Cilium,
    Istio,
    CloudNativePG,
    BarmanCloud,
}

impl AddOn {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::PrometheusOperator,
        Self::ExternalSecrets,
        Self::Keda,
        Self::VerticalPodAutoscaler,
        Self::GatewayApi,
        Self::Cilium,
        Self::Istio,
        Self::CloudNativePG,
        Self::BarmanCloud,
    ];

    /// Its name on command lines.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::PrometheusOperator => "prometheus-operator",
            Self::ExternalSecrets => "external-secrets",
            Self::Keda => "keda",
            Self::VerticalPodAutoscaler => "vertical-pod-autoscaler",
            Self::GatewayApi => "gateway-api",
            Self::Cilium => "cilium",
            Self::Istio => "istio",
            Self::CloudNativePG => "cloudnative-pg",
            Self::BarmanCloud => "barman-cloud",
        }
    }

    /// The add-on with this name.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|add_on| add_on.id() == id)
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::PrometheusOperator => "the Prometheus operator",
            Self::ExternalSecrets => "External Secrets",
            Self::Keda => "KEDA",
            Self::VerticalPodAutoscaler => "the Vertical Pod Autoscaler",
            Self::GatewayApi => "the Gateway API",
            Self::Cilium => "Cilium",
            Self::Istio => "Istio",
            Self::CloudNativePG => "CloudNativePG",
            Self::BarmanCloud => "the Barman Cloud plugin of CloudNativePG",
        }
    }

    /// Field of the resource that asks for it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::PrometheusOperator => "monitoring",
            Self::ExternalSecrets => "secrets.external",
            Self::Keda => "autoscaling.provider KEDA and triggers",
            Self::VerticalPodAutoscaler => "verticalScaling",
            Self::GatewayApi => "ingress.controller",
            Self::Cilium => "egress by name",
            Self::Istio => "mesh",
            Self::CloudNativePG => "postgres.mode CloudNativePG",
            Self::BarmanCloud => "backup",
        }
    }

    /// Whether a platform without it serves as well as with it. Secrets of External Secrets are
    /// missed by those who consume them, whoever makes them.
    #[must_use]
    pub fn is_aside(self) -> bool {
        matches!(
            self,
            Self::PrometheusOperator
                | Self::ExternalSecrets
                | Self::VerticalPodAutoscaler
                | Self::BarmanCloud
        )
    }
}

/// What the operator keeps of the live objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Who owns which fields is enough.
    Metadata,
    /// What else it says matters too: mostly its status.
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
    /// What brings it into the cluster; `None` for Kubernetes itself.
    pub add_on: Option<AddOn>,
}

impl KindInfo {
    /// Name of the `CustomResourceDefinition` that brings an add-on's kind.
    #[must_use]
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// Makes the enum and the table from the same rows.
macro_rules! kinds {
    (@add_on) => { None };
    (@add_on $add_on:ident) => { Some(AddOn::$add_on) };
    ($($kind:ident: $group:literal $version:literal $plural:literal $watch:ident $(of $add_on:ident)?;)+) => {
        /// A kind that the operator owns. The order is the order of applying.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // they are Kubernetes' own names
        pub enum Kind {
            $($kind,)+
        }

        /// The table, in the order of the enum.
        pub const KINDS: [KindInfo; [$(Kind::$kind),+].len()] = [
            $(KindInfo {
                kind: Kind::$kind,
                group: $group,
                version: $version,
                plural: $plural,
                watch: Watch::$watch,
                add_on: kinds!(@add_on $($add_on)?),
            },)+
        ];
    };
}

kinds! {
    ResourceQuota: "" "v1" "resourcequotas" Metadata;
    LimitRange: "" "v1" "limitranges" Metadata;
    NetworkPolicy: "networking.k8s.io" "v1" "networkpolicies" Metadata;
    CiliumNetworkPolicy: "cilium.io" "v2" "ciliumnetworkpolicies" Metadata of Cilium;
    ServiceAccount: "" "v1" "serviceaccounts" Metadata;
    Role: "rbac.authorization.k8s.io" "v1" "roles" Metadata;
    RoleBinding: "rbac.authorization.k8s.io" "v1" "rolebindings" Metadata;
    Lease: "coordination.k8s.io" "v1" "leases" Status;
    ExternalSecret: "external-secrets.io" "v1" "externalsecrets" Metadata of ExternalSecrets;
    Secret: "" "v1" "secrets" Metadata;
    ConfigMap: "" "v1" "configmaps" Metadata;
    Service: "" "v1" "services" Metadata;
    EndpointSlice: "discovery.k8s.io" "v1" "endpointslices" Metadata;
    PodDisruptionBudget: "policy" "v1" "poddisruptionbudgets" Metadata;
    PersistentVolumeClaim: "" "v1" "persistentvolumeclaims" Metadata;
    DaemonSet: "apps" "v1" "daemonsets" Status;
    StatefulSet: "apps" "v1" "statefulsets" Status;
    ObjectStore: "barmancloud.cnpg.io" "v1" "objectstores" Metadata of BarmanCloud;
    Cluster: "postgresql.cnpg.io" "v1" "clusters" Status of CloudNativePG;
    Pooler: "postgresql.cnpg.io" "v1" "poolers" Status of CloudNativePG;
    ScheduledBackup: "postgresql.cnpg.io" "v1" "scheduledbackups" Metadata of CloudNativePG;
    Deployment: "apps" "v1" "deployments" Status;
    HorizontalPodAutoscaler: "autoscaling" "v2" "horizontalpodautoscalers" Status;
    TriggerAuthentication: "keda.sh" "v1alpha1" "triggerauthentications" Metadata of Keda;
    ScaledObject: "keda.sh" "v1alpha1" "scaledobjects" Status of Keda;
    VerticalPodAutoscaler: "autoscaling.k8s.io" "v1" "verticalpodautoscalers" Metadata of VerticalPodAutoscaler;
    Ingress: "networking.k8s.io" "v1" "ingresses" Metadata;
    HTTPRoute: "gateway.networking.k8s.io" "v1" "httproutes" Metadata of GatewayApi;
    PeerAuthentication: "security.istio.io" "v1" "peerauthentications" Metadata of Istio;
    DestinationRule: "networking.istio.io" "v1" "destinationrules" Metadata of Istio;
    VirtualService: "networking.istio.io" "v1" "virtualservices" Metadata of Istio;
    ServiceMonitor: "monitoring.coreos.com" "v1" "servicemonitors" Metadata of PrometheusOperator;
    PodMonitor: "monitoring.coreos.com" "v1" "podmonitors" Metadata of PrometheusOperator;
    PrometheusRule: "monitoring.coreos.com" "v1" "prometheusrules" Metadata of PrometheusOperator;
}

/// The kinds that every cluster serves.
pub fn built_in() -> impl Iterator<Item = &'static KindInfo> {
    KINDS.iter().filter(|info| info.add_on.is_none())
}

/// The kinds that come with add-ons.
pub fn of_add_ons() -> impl Iterator<Item = &'static KindInfo> {
    KINDS.iter().filter(|info| info.add_on.is_some())
}

impl Kind {
    /// Whether objects of the kind own the number of another's pods.
    #[must_use]
    pub fn scales(self) -> bool {
        matches!(self, Self::HorizontalPodAutoscaler | Self::ScaledObject)
    }

    /// Whether objects of the kind are the servers of a data store.
    #[must_use]
    pub fn serves_data(self) -> bool {
        matches!(self, Self::StatefulSet | Self::Cluster)
    }

    /// Its row in the table.
    #[must_use]
    pub fn info(self) -> &'static KindInfo {
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
    use super::{AddOn, KINDS};

    #[test]
    fn every_kind_has_its_row() {
        for (index, info) in KINDS.iter().enumerate() {
            assert_eq!(info.kind as usize, index, "{}", info.kind);
            assert_eq!(info.kind.info().plural, info.plural);
        }
    }

    #[test]
    fn every_add_on_is_found_by_its_name() {
        for add_on in AddOn::ALL {
            assert_eq!(AddOn::from_id(add_on.id()), Some(add_on));
        }
        assert_eq!(AddOn::from_id("Keda"), None);
    }

    #[test]
    fn kinds_of_one_group_come_with_one_add_on() {
        for a in &KINDS {
            for b in KINDS.iter().filter(|b| a.group == b.group) {
                assert_eq!(a.add_on, b.add_on, "{} and {}", a.kind, b.kind);
            }
        }
    }
}
