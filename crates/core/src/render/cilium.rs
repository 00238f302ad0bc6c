//! Cilium's policies, which know names outside the cluster and the Kubernetes API. They open beside
//! the `NetworkPolicies`.

use serde_json::{Value, json};
use trading_api::network::{EgressPort, EgressRule};

use super::{meta, postgres_cluster};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, POSTGRES, Plan},
};

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    if plan.network.is_none() {
        return Vec::new();
    }
    let components = plan.components.iter().filter_map(|component| of_component(plan, component));
    components.chain(of_postgres(plan)).collect()
}

/// Address blocks don't count for Cilium where the Kubernetes API runs on a node of the cluster.
fn of_postgres(plan: &Plan) -> Option<Object> {
    let database = plan.postgres.as_ref()?;
    database.service()?;
    if !plan.capabilities.are_known_to_have(Kind::CiliumNetworkPolicy) {
        return None;
    }
    let selector = match database.cluster {
        Some(_) => postgres_cluster::selector(plan),
        None => meta::selector(&plan.identity.name, POSTGRES),
    };
    let object = json!({
        "metadata": meta::object(plan, POSTGRES, POSTGRES, meta::DATABASE, Lifetime::Store),
        "spec": {
            "endpointSelector": { "matchLabels": selector },
            "egress": [{ "toEntities": ["kube-apiserver"] }],
        },
    });
    Some(Object::new(Kind::CiliumNetworkPolicy, POSTGRES, Lifetime::Store, &object))
}

fn of_component(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    let names: Vec<Value> = component.spec.egress.iter().filter_map(to_name).collect();
    if names.is_empty() {
        return None;
    }
    let egress: Vec<Value> = std::iter::once(resolved_names()).chain(names).collect();
    let name = &component.name;
    let object = json!({
        "metadata": meta::object(plan, name, name, meta::APPLICATION, Lifetime::Platform),
        "spec": {
            "endpointSelector": { "matchLabels": meta::selector(&plan.identity.name, name) },
            "egress": egress,
        },
    });
    Some(Object::new(Kind::CiliumNetworkPolicy, name, Lifetime::Platform, &object))
}

/// Cilium learns the addresses of names from the answers that pods get.
fn resolved_names() -> Value {
    json!({
        "toEndpoints": [{ "matchLabels": {
            "k8s:io.kubernetes.pod.namespace": "kube-system",
            "k8s:k8s-app": "kube-dns",
        } }],
        "toPorts": [{
            "ports": [{ "port": "53", "protocol": "ANY" }],
            "rules": { "dns": [{ "matchPattern": "*" }] },
        }],
    })
}

fn to_name(rule: &EgressRule) -> Option<Value> {
    let fqdn = rule.fqdn.as_ref()?;
    let how = if fqdn.starts_with('*') { "matchPattern" } else { "matchName" };
    let mut to = json!({ "toFQDNs": [{ how: fqdn }] });
    if !rule.ports.is_empty() {
        let ports: Vec<Value> = rule.ports.iter().map(port).collect();
        to["toPorts"] = json!([{ "ports": ports }]);
    }
    Some(to)
}

fn port(port: &EgressPort) -> Value {
    json!({ "port": port.port.to_string(), "protocol": port.protocol.unwrap_or_default().as_str() })
}
