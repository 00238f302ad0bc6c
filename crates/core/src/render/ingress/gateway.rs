//! `HTTPRoutes` of the Gateway API.

use serde_json::{Value, json};
use trading_api::ingress::{ParentRef, PathType};

use super::{INGRESS, by_namespace, meta, shared_annotations};
use crate::{
    digest,
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{CorsPlan, IngressPlan, Plan, Route},
};

/// Name of the route that answers HTTP, after the platform's.
const REDIRECT: &str = "redirect";

/// One route for each host and namespace, for paths differ; and one that redirects.
pub(super) fn render(plan: &Plan, ingress: &IngressPlan, parents: &[ParentRef]) -> Vec<Object> {
    let mut objects = Vec::new();
    for (namespace, hosts) in by_namespace(plan, &ingress.hosts) {
        objects.extend(
            hosts.iter().map(|(host, routes)| of_host(plan, ingress, parents, namespace, host, routes)),
        );
    }
    if ingress.https_redirect == Some(true) {
        objects.push(redirect(plan, ingress, parents));
    }
    objects
}

fn of_host(
    plan: &Plan,
    ingress: &IngressPlan,
    parents: &[ParentRef],
    namespace: &str,
    host: &str,
    routes: &[Route],
) -> Object {
    let spec = json!({
        "parentRefs": parents.iter().map(|gateway| parent(plan, namespace, gateway, gateway.section_name.as_ref())).collect::<Vec<_>>(),
        "hostnames": [host],
        "rules": routes.iter().map(|route| rule(plan, ingress, route)).collect::<Vec<_>>(),
    });
    // A host is no part of an object's name: it may be too long.
    let name = format!("{INGRESS}-{}", &digest::of(&json!(host))[..8]);
    object(plan, ingress, namespace, &name, &spec)
}

fn redirect(plan: &Plan, ingress: &IngressPlan, parents: &[ParentRef]) -> Object {
    let own = &plan.identity.namespace;
    let spec = json!({
        "parentRefs": parents.iter().map(|gateway| parent(plan, own, gateway, gateway.http_section_name.as_ref())).collect::<Vec<_>>(),
        "hostnames": ingress.hosts.iter().map(|(host, _)| host).collect::<Vec<_>>(),
        "rules": [{ "filters": [{
            "type": "RequestRedirect",
            "requestRedirect": { "scheme": "https", "statusCode": 301 },
        }] }],
    });
    object(plan, ingress, own, REDIRECT, &spec)
}

fn object(plan: &Plan, ingress: &IngressPlan, namespace: &str, name: &str, spec: &Value) -> Object {
    let mut metadata = meta::object_in(plan, namespace, name, INGRESS, meta::APPLICATION, Lifetime::Platform);
    let annotations = shared_annotations(ingress);
    if !annotations.is_empty() {
        metadata.annotations.get_or_insert_default().extend(annotations);
    }
    Object::new(Kind::HTTPRoute, "", Lifetime::Platform, &json!({ "metadata": metadata, "spec": spec }))
}

fn parent(plan: &Plan, namespace: &str, gateway: &ParentRef, section: Option<&String>) -> Value {
    let mut parent = json!({ "name": gateway.name });
    // Without one, a Gateway is looked for where the route is.
    let own = Some(&plan.identity.namespace).filter(|own| *own != namespace);
    if let Some(namespace) = gateway.namespace.as_ref().or(own) {
        parent["namespace"] = json!(namespace);
    }
    if let Some(section) = section {
        parent["sectionName"] = json!(section);
    }
    parent
}

fn rule(plan: &Plan, ingress: &IngressPlan, route: &Route) -> Value {
    let kind = match route.path_type {
        PathType::Prefix => "PathPrefix",
        PathType::Exact => "Exact",
    };
    let mut rule = json!({
        "matches": [{ "path": { "type": kind, "value": route.path } }],
        "backendRefs": [{ "name": plan.identity.child(&route.component), "port": route.port }],
    });
    let filters: Vec<Value> = headers(ingress).into_iter().chain(ingress.cors.as_ref().map(cors)).collect();
    if !filters.is_empty() {
        rule["filters"] = json!(filters);
    }
    rule
}

fn headers(ingress: &IngressPlan) -> Option<Value> {
    let header = |(name, value): &(&str, String)| json!({ "name": name, "value": value });
    let headers: Vec<Value> = ingress.headers.iter().map(header).collect();
    (!headers.is_empty())
        .then(|| json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": { "set": headers } }))
}

fn cors(cors: &CorsPlan) -> Value {
    let mut filter = json!({
        "allowOrigins": cors.origins,
        "allowMethods": cors.methods,
        "allowHeaders": cors.headers,
        "maxAge": cors.max_age,
    });
    if cors.credentials {
        filter["allowCredentials"] = json!(true);
    }
    json!({ "type": "CORS", "cors": filter })
}
