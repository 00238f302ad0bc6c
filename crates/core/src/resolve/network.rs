//! Decides how the platform is reached and which flows are admitted.

use std::collections::BTreeMap;

use trading_api::{
    ingress::{Ingress, IngressHost},
    scheduling::LabelValue,
};

use super::Context;
use crate::{
    plan::{ComponentPlan, IngressPlan, NetworkPlan, Route},
    problem::Problem,
};

pub(super) fn ingress(context: &mut Context, ingress: &Ingress, components: &[ComponentPlan]) -> IngressPlan {
    let tls = ingress.tls.as_ref();
    IngressPlan {
        class_name: ingress.class_name.clone(),
        hosts: ingress
            .hosts
            .iter()
            .map(|host| (host.host.clone(), routes(context, host, components)))
            .collect(),
        tls_secret: tls.map(|tls| tls.secret_name.clone().unwrap_or_else(|| context.identity.child("tls"))),
        cluster_issuer: tls.and_then(|tls| tls.cluster_issuer.clone()),
    }
}

fn routes(context: &mut Context, host: &IngressHost, components: &[ComponentPlan]) -> Vec<Route> {
    let default = if context.spec.frontend.is_some() { "frontend" } else { "backend" };
    let wished: Vec<(&str, _, &str)> = if host.paths.is_empty() {
        vec![("/", trading_api::ingress::PathType::Prefix, default)]
    } else {
        host.paths
            .iter()
            .map(|path| (path.path.as_str(), path.path_type.unwrap_or_default(), path.component.as_str()))
            .collect()
    };
    wished
        .into_iter()
        .filter_map(|(path, path_type, name)| {
            let port = components.iter().find(|c| c.name == name).and_then(ComponentPlan::main_port);
            let Some(port) = port else {
                context.problems.push(Problem::whole(
                    "NoPort",
                    format!("ingress path {path:?} leads to {name}, which has no port: give it one in ports"),
                ));
                return None;
            };
            Some(Route {
                path: path.to_owned(),
                path_type,
                component: name.to_owned(),
                port: port.container_port,
            })
        })
        .collect()
}

pub(super) fn policies(context: &mut Context) -> Option<NetworkPlan> {
    let settings = context.spec.network_policy.clone().unwrap_or_default();
    if !context.fill("networkPolicy.enabled", settings.enabled.as_ref(), true, "operator") {
        return None;
    }
    let mut ingress_namespace = plain(&settings.ingress_namespace_labels);
    if ingress_namespace.is_empty() && context.spec.ingress.is_some() {
        let default = "ingress-nginx".to_owned();
        let name = context.fill(
            "networkPolicy.ingressNamespaceLabels[kubernetes.io/metadata.name]",
            None,
            default,
            "operator",
        );
        ingress_namespace.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
    Some(NetworkPlan {
        ingress_namespace,
        monitoring_namespace: plain(&settings.monitoring_namespace_labels),
    })
}

fn plain(labels: &BTreeMap<String, LabelValue>) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
