//! Services and service accounts of components.

use k8s_openapi::{
    api::core::v1::{
        ClientIPConfig, Service, ServiceAccount, ServicePort, ServiceSpec, SessionAffinityConfig,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, Plan},
};

/// Kubernetes' own default.
const AFFINITY_SECONDS: i32 = 10_800;

pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    if component.ports.is_empty() {
        return None;
    }
    let service = Service {
        metadata: meta::object(plan, &component.name, &component.name, meta::APPLICATION, Lifetime::Platform),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(meta::active_selector(plan, &component.name)),
            ports: Some(
                component
                    .ports
                    .iter()
                    .map(|port| ServicePort {
                        name: Some(port.name.clone()),
                        port: port.container_port,
                        target_port: Some(IntOrString::String(port.name.clone())),
                        protocol: Some(port.protocol.unwrap_or_default().as_str().to_owned()),
                        ..ServicePort::default()
                    })
                    .collect(),
            ),
            session_affinity: component.spec.session_affinity.as_ref().map(|_| "ClientIP".to_owned()),
            session_affinity_config: component.spec.session_affinity.as_ref().map(|given| {
                SessionAffinityConfig {
                    client_ip: Some(ClientIPConfig {
                        timeout_seconds: Some(given.timeout_seconds.unwrap_or(AFFINITY_SECONDS)),
                    }),
                }
            }),
            traffic_distribution: plan.pods.traffic_distribution.map(|preferred| format!("{preferred:?}")),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Some(Object::new(Kind::Service, &component.name, Lifetime::Platform, &service))
}

pub(super) fn account(plan: &Plan, component: &ComponentPlan) -> Object {
    let mut metadata =
        meta::object(plan, &component.name, &component.name, meta::APPLICATION, Lifetime::Platform);
    let given = component.spec.service_account.clone().unwrap_or_default();
    if !given.annotations.is_empty() {
        metadata
            .annotations
            .get_or_insert_default()
            .extend(given.annotations.into_iter().map(|(key, value)| (key, value.0)));
    }
    let account = ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Object::new(Kind::ServiceAccount, &component.name, Lifetime::Platform, &account)
}
