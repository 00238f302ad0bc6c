//! The real definitions of the add-ons whose objects the operator makes, from the projects' own modules.

// Each of them fails when the cluster does not answer, or a module can't be had.
#![allow(clippy::missing_errors_doc)]

use anyhow::{Context, Result};
use serde_json::json;
use trading_core::kinds::{AddOn, Kind};
use trading_testbed::module::{
    BARMAN_CLOUD, CERT_MANAGER, CLOUDNATIVE_PG, EXTERNAL_SECRETS, GATEWAY_API, ISTIO, KEDA, Module,
    PROMETHEUS_OPERATOR, VERTICAL_POD_AUTOSCALER,
};
use trading_testbed::{Kubectl, documents};

/// What defines a kind.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The kind.
    pub kind: Kind,
    module: Module,
    file: &'static str,
}

const OF_ISTIO: &str = "kubernetes/customresourcedefinitions.gen.yaml";

/// Every kind of an add-on but Cilium's, whose module is a hundred times as large as what is needed of it.
pub const DEFINITIONS: [Definition; 15] = [
    Definition {
        kind: Kind::ExternalSecret,
        module: EXTERNAL_SECRETS,
        file: "config/crds/bases/external-secrets.io_externalsecrets.yaml",
    },
    Definition {
        kind: Kind::HTTPRoute,
        module: GATEWAY_API,
        file: "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    },
    Definition {
        kind: Kind::ServiceMonitor,
        module: PROMETHEUS_OPERATOR,
        file: "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    },
    Definition {
        kind: Kind::PodMonitor,
        module: PROMETHEUS_OPERATOR,
        file: "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    },
    Definition {
        kind: Kind::PrometheusRule,
        module: PROMETHEUS_OPERATOR,
        file: "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    },
    Definition {
        kind: Kind::TriggerAuthentication,
        module: KEDA,
        file: "config/crd/bases/keda.sh_triggerauthentications.yaml",
    },
    Definition {
        kind: Kind::ScaledObject,
        module: KEDA,
        file: "config/crd/bases/keda.sh_scaledobjects.yaml",
    },
    Definition {
        kind: Kind::VerticalPodAutoscaler,
        module: VERTICAL_POD_AUTOSCALER,
        file: "deploy/vpa-v1-crd-gen.yaml",
    },
    Definition {
        kind: Kind::Cluster,
        module: CLOUDNATIVE_PG,
        file: "config/crd/bases/postgresql.cnpg.io_clusters.yaml",
    },
    Definition {
        kind: Kind::Pooler,
        module: CLOUDNATIVE_PG,
        file: "config/crd/bases/postgresql.cnpg.io_poolers.yaml",
    },
    Definition {
        kind: Kind::ScheduledBackup,
        module: CLOUDNATIVE_PG,
        file: "config/crd/bases/postgresql.cnpg.io_scheduledbackups.yaml",
    },
    Definition {
        kind: Kind::ObjectStore,
        module: BARMAN_CLOUD,
        file: "config/crd/bases/barmancloud.cnpg.io_objectstores.yaml",
    },
    Definition { kind: Kind::PeerAuthentication, module: ISTIO, file: OF_ISTIO },
    Definition { kind: Kind::DestinationRule, module: ISTIO, file: OF_ISTIO },
    Definition { kind: Kind::VirtualService, module: ISTIO, file: OF_ISTIO },
];

/// The definitions of an add-on.
pub fn of(add_on: AddOn) -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter().filter(move |definition| definition.kind.info().add_on == Some(add_on))
}

/// Installs an add-on's definitions, as its users do.
pub fn install(kubectl: &Kubectl, add_on: AddOn) -> Result<()> {
    for definition in of(add_on) {
        kubectl.run_with_input(&["apply", "--server-side", "-f", "-"], &definition.text()?)?;
    }
    of(add_on).try_for_each(|definition| kubectl.wait_until_served(&definition.name()))
}

/// Installs all of them.
pub fn install_all(kubectl: &Kubectl) -> Result<()> {
    [
        AddOn::ExternalSecrets,
        AddOn::GatewayApi,
        AddOn::PrometheusOperator,
        AddOn::Keda,
        AddOn::VerticalPodAutoscaler,
        AddOn::Istio,
        AddOn::CloudNativePG,
        AddOn::BarmanCloud,
    ]
    .into_iter()
    .try_for_each(|add_on| install(kubectl, add_on))
}

/// Installs a kind with the name of Cilium's policies that takes whatever it is given, since Cilium's own
/// definition can't be had.
pub fn install_policies_of_cilium(kubectl: &Kubectl) -> Result<()> {
    let info = Kind::CiliumNetworkPolicy.info();
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": info.definition() },
        "spec": {
            "group": info.group,
            "names": { "kind": info.kind.to_string(), "plural": info.plural },
            "scope": "Namespaced",
            "versions": [{
                "name": info.version, "served": true, "storage": true,
                "schema": { "openAPIV3Schema": anything },
            }],
        },
    });
    kubectl.run_with_input(&["apply", "--server-side", "-f", "-"], &definition.to_string())?;
    kubectl.wait_until_served(&info.definition())
}

/// Removes an add-on's definitions, and with them all objects.
pub fn remove(kubectl: &Kubectl, add_on: AddOn) -> Result<()> {
    for definition in of(add_on) {
        kubectl.run(&["delete", "crd", &definition.name(), "--ignore-not-found", "--timeout=30s"])?;
    }
    Ok(())
}

/// cert-manager's definition of certificates. It makes them of what Ingresses say: no object of the operator's
/// is of its kinds.
pub fn certificates() -> Result<String> {
    CERT_MANAGER.read("deploy/crds/cert-manager.io_certificates.yaml")
}

impl Definition {
    /// Name of the `CustomResourceDefinition`.
    #[must_use]
    pub fn name(&self) -> String {
        self.kind.info().definition()
    }

    /// The definition alone: some files hold those of kinds that are nobody's here.
    fn text(&self) -> Result<String> {
        let all = documents(&self.module.read(self.file)?)?;
        let own = all.into_iter().find(|document| document["metadata"]["name"] == self.name());
        Ok(own.with_context(|| format!("{} does not define {}", self.file, self.name()))?.to_string())
    }
}
