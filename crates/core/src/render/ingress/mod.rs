//! Ingresses, that of the platform and that of webhooks, or `HTTPRoutes`.

mod alb;
mod gateway;
mod nginx;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::ConfigMap,
        networking::v1::{
            HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
            IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ControllerPlan, IngressPlan, Plan, Route, WebhooksPlan},
};

/// Name of the platform's own Ingress, after the platform's.
const INGRESS: &str = "ingress";
/// Name of the Ingress for webhooks.
const WEBHOOKS: &str = "webhooks";

type Annotations = BTreeMap<String, String>;
type Hosts = Vec<(String, Vec<Route>)>;

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let Some(ingress) = &plan.ingress else { return Vec::new() };
    match ingress.controller {
        ControllerPlan::Any | ControllerPlan::Nginx | ControllerPlan::Alb(_) => {
            let mut objects = of_hosts(plan, ingress);
            objects.extend(ingress.webhooks.iter().flat_map(|webhooks| of_webhooks(plan, ingress, webhooks)));
            objects.extend(headers(plan, ingress));
            objects
        }
        ControllerPlan::Gateway(ref parents) => gateway::render(plan, ingress, parents),
        ControllerPlan::None => Vec::new(),
    }
}

/// Hosts with those of their routes that lead to a namespace: nothing leads to Services of another.
fn by_namespace<'a>(plan: &'a Plan, hosts: &[(String, Vec<Route>)]) -> BTreeMap<&'a str, Hosts> {
    let mut found: BTreeMap<&str, Hosts> = BTreeMap::new();
    for (host, routes) in hosts {
        for route in routes {
            let there = found.entry(plan.identity.namespace_of(&route.component)).or_default();
            match there.last_mut().filter(|(last, _)| last == host) {
                Some((_, known)) => known.push(route.clone()),
                None => there.push((host.clone(), vec![route.clone()])),
            }
        }
    }
    found
}

fn of_hosts(plan: &Plan, ingress: &IngressPlan) -> Vec<Object> {
    let mut annotations = shared_annotations(ingress);
    match &ingress.controller {
        ControllerPlan::Nginx => annotations.extend(nginx::of_hosts(plan, ingress)),
        ControllerPlan::Alb(alb) => annotations.extend(alb::of_hosts(plan, ingress, alb)),
        ControllerPlan::Any | ControllerPlan::Gateway(_) | ControllerPlan::None => {}
    }
    objects(plan, ingress, INGRESS, &annotations, &ingress.hosts, ingress.tls_secret.as_deref())
}

fn of_webhooks(plan: &Plan, ingress: &IngressPlan, webhooks: &WebhooksPlan) -> Vec<Object> {
    let mut annotations = shared_annotations(ingress);
    match &ingress.controller {
        ControllerPlan::Nginx => annotations.extend(nginx::of_webhooks(plan, ingress, webhooks)),
        ControllerPlan::Alb(alb) => annotations.extend(alb::of_webhooks(plan, ingress, alb, webhooks)),
        ControllerPlan::Any | ControllerPlan::Gateway(_) | ControllerPlan::None => {}
    }
    objects(plan, ingress, WEBHOOKS, &annotations, &webhooks.hosts, webhooks.tls_secret.as_deref())
}

fn shared_annotations(ingress: &IngressPlan) -> Annotations {
    let mut annotations = ingress.annotations.clone();
    annotations.extend(
        ingress
            .cluster_issuer
            .iter()
            .map(|issuer| ("cert-manager.io/cluster-issuer".to_owned(), issuer.clone())),
    );
    annotations
}

/// One for each namespace that the hosts lead to.
fn objects(
    plan: &Plan,
    ingress: &IngressPlan,
    name: &str,
    annotations: &Annotations,
    hosts: &[(String, Vec<Route>)],
    tls_secret: Option<&str>,
) -> Vec<Object> {
    let metadata = |namespace: &str| {
        let mut metadata =
            meta::object_in(plan, namespace, name, name, meta::APPLICATION, Lifetime::Platform);
        if !annotations.is_empty() {
            metadata.annotations.get_or_insert_default().extend(annotations.clone());
        }
        metadata
    };
    by_namespace(plan, hosts)
        .into_iter()
        .map(|(namespace, hosts)| object(plan, ingress, metadata(namespace), &hosts, tls_secret))
        .collect()
}

fn object(
    plan: &Plan,
    ingress: &IngressPlan,
    metadata: ObjectMeta,
    hosts: &[(String, Vec<Route>)],
    tls_secret: Option<&str>,
) -> Object {
    let object = Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: ingress.class_name.clone(),
            rules: Some(hosts.iter().map(|(host, routes)| rule(plan, host, routes)).collect()),
            tls: tls_secret.map(|secret| tls(secret, hosts)),
            default_backend: None,
        }),
        status: None,
    };
    Object::new(Kind::Ingress, "", Lifetime::Platform, &object)
}

fn tls(secret: &str, hosts: &[(String, Vec<Route>)]) -> Vec<IngressTLS> {
    vec![IngressTLS {
        hosts: Some(hosts.iter().map(|(host, _)| host.clone()).collect()),
        secret_name: Some(secret.to_owned()),
    }]
}

fn rule(plan: &Plan, host: &str, routes: &[Route]) -> IngressRule {
    IngressRule {
        host: Some(host.to_owned()),
        http: Some(HTTPIngressRuleValue { paths: routes.iter().map(|route| path(plan, route)).collect() }),
    }
}

fn path(plan: &Plan, route: &Route) -> HTTPIngressPath {
    HTTPIngressPath {
        path: Some(route.path.clone()),
        path_type: format!("{:?}", route.path_type),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: plan.identity.child(&route.component),
                port: Some(ServiceBackendPort { number: Some(route.port), name: None }),
            }),
            resource: None,
        },
    }
}

/// The headers as ingress-nginx reads them.
fn headers(plan: &Plan, ingress: &IngressPlan) -> Option<Object> {
    if ingress.controller != ControllerPlan::Nginx || ingress.headers.is_empty() {
        return None;
    }
    let map = ConfigMap {
        metadata: meta::object(plan, INGRESS, INGRESS, meta::APPLICATION, Lifetime::Platform),
        data: Some(ingress.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()),
        ..ConfigMap::default()
    };
    Some(Object::new(Kind::ConfigMap, "", Lifetime::Platform, &map))
}
