//! The Ingress.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{IngressPlan, Plan, Route},
};

pub(super) fn render(plan: &Plan) -> Option<Object> {
    let ingress = plan.ingress.as_ref()?;
    let mut metadata = meta::object(plan, "ingress", "ingress", meta::APPLICATION, Lifetime::Platform);
    if let Some(issuer) = &ingress.cluster_issuer {
        metadata
            .annotations
            .get_or_insert_default()
            .insert("cert-manager.io/cluster-issuer".to_owned(), issuer.clone());
    }
    let object = Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: ingress.class_name.clone(),
            rules: Some(ingress.hosts.iter().map(|(host, routes)| rule(plan, host, routes)).collect()),
            tls: tls(ingress),
            default_backend: None,
        }),
        status: None,
    };
    Some(Object::new(Kind::Ingress, "", Lifetime::Platform, &object))
}

fn tls(ingress: &IngressPlan) -> Option<Vec<IngressTLS>> {
    let secret = ingress.tls_secret.as_ref()?;
    Some(vec![IngressTLS {
        hosts: Some(ingress.hosts.iter().map(|(host, _)| host.clone()).collect()),
        secret_name: Some(secret.clone()),
    }])
}

fn rule(plan: &Plan, host: &str, routes: &[Route]) -> IngressRule {
    IngressRule {
        host: Some(host.to_owned()),
        http: Some(HTTPIngressRuleValue {
            paths: routes
                .iter()
                .map(|route| HTTPIngressPath {
                    path: Some(route.path.clone()),
                    path_type: format!("{:?}", route.path_type),
                    backend: IngressBackend {
                        service: Some(IngressServiceBackend {
                            name: plan.identity.child(&route.component),
                            port: Some(ServiceBackendPort { number: Some(route.port), name: None }),
                        }),
                        resource: None,
                    },
                })
                .collect(),
        }),
    }
}
