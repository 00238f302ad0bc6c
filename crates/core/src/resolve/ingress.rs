//! Decides how the platform is reached from outside.

use trading_api::ingress::{
    Controller, Cors, FrameOptions, Ingress, IngressHost, Method, PathType, ReferrerPolicy, SecurityHeaders,
    SessionAffinity,
};

use super::{Context, references};
use crate::{
    inputs::ReferenceState,
    plan::{
        AlbPlan, CertificatePlan, ComponentPlan, ControllerPlan, CorsPlan, IngressPlan, Route, Stickiness,
        WebhooksPlan,
    },
    problem::Problem,
};

/// AWS' recommendation: TLS 1.3, and 1.2 for those who lack it.
const SSL_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";
const DAY: i32 = 86_400;
const YEAR: i32 = 31_536_000;

pub(super) fn resolve(context: &mut Context, ingress: &Ingress, components: &[ComponentPlan]) -> IngressPlan {
    let controller = controller(context, ingress);
    let tls_secret = ingress
        .tls
        .as_ref()
        .map(|tls| tls.secret_name.clone().unwrap_or_else(|| context.identity.child("tls")));
    let cluster_issuer = ingress.tls.as_ref().and_then(|tls| tls.cluster_issuer.clone());
    let mut plan = IngressPlan {
        certificates: Vec::new(),
        class_name: class_name(context, ingress, &controller),
        hosts: hosts(context, &ingress.hosts, components),
        https_redirect: https_redirect(context, ingress, &controller),
        rate_limit: ingress.rate_limit.clone(),
        stickiness: ingress.session_affinity.as_ref().map(|given| stickiness(context, given, &controller)),
        idle_timeout: ingress.idle_timeout_seconds,
        headers: ingress.security_headers.as_ref().map(|given| headers(context, given)).unwrap_or_default(),
        cors: ingress.cors.as_ref().map(cors),
        annotations: ingress.annotations.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
        webhooks: ingress.webhooks.as_ref().map(|webhooks| WebhooksPlan {
            hosts: hosts(context, &webhooks.hosts, components),
            ranges: webhooks.allowed_source_ranges.clone(),
            // Two Ingresses with one issued Secret would take turns in writing it.
            tls_secret: tls_secret.clone().map(|secret| match cluster_issuer {
                Some(_) => format!("{secret}-webhooks"),
                None => secret,
            }),
        }),
        controller,
        tls_secret,
        cluster_issuer,
    };
    plan.certificates = certificates(context, &plan);
    tell_of_allowed_headers(context, &plan);
    plan
}

/// A Gateway and a load balancer bring their own.
fn certificates(context: &Context, ingress: &IngressPlan) -> Vec<CertificatePlan> {
    if !matches!(ingress.controller, ControllerPlan::Any | ControllerPlan::Nginx) {
        return Vec::new();
    }
    let webhooks = ingress.webhooks.as_ref();
    let hosts = [
        (ingress.tls_secret.as_ref(), Some(&ingress.hosts)),
        (
            webhooks.and_then(|webhooks| webhooks.tls_secret.as_ref()),
            webhooks.map(|webhooks| &webhooks.hosts),
        ),
    ];
    let mut found: Vec<CertificatePlan> = hosts
        .into_iter()
        .filter_map(|(secret, hosts)| Some((secret?, hosts?)))
        .flat_map(|(secret, hosts)| {
            hosts.iter().flat_map(|(_, routes)| routes).map(move |route| (secret, route))
        })
        .map(|(secret, route)| {
            let reference = references::secret(context.identity.namespace_of(&route.component), secret);
            let states = context.inputs.references.as_ref();
            let is_absent = states.and_then(|states| states.get(&reference)) == Some(&ReferenceState::Absent);
            CertificatePlan { reference, is_there: !is_absent }
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn controller(context: &mut Context, ingress: &Ingress) -> ControllerPlan {
    match ingress.controller {
        None => ControllerPlan::Any,
        Some(Controller::None) => ControllerPlan::None,
        Some(Controller::Nginx) => ControllerPlan::Nginx,
        Some(Controller::Gateway) => ControllerPlan::Gateway(ingress.parent_refs.clone()),
        Some(Controller::Alb) => {
            let alb = ingress.alb.clone().unwrap_or_default();
            let policy = alb.ssl_policy.as_ref();
            if alb.scheme.is_none() {
                context.fill("ingress.alb.scheme", None, "Internal".to_owned(), "operator");
            }
            ControllerPlan::Alb(AlbPlan {
                ssl_policy: (!alb.certificate_arns.is_empty()).then(|| {
                    context.fill("ingress.alb.sslPolicy", policy, SSL_POLICY.to_owned(), "operator")
                }),
                web_acl_arn: alb.web_acl_arn.clone(),
                scheme: alb.scheme.unwrap_or_default(),
                certificate_arns: alb.certificate_arns,
            })
        }
    }
}

fn class_name(context: &mut Context, ingress: &Ingress, controller: &ControllerPlan) -> Option<String> {
    let default = match controller {
        ControllerPlan::Nginx => "nginx",
        ControllerPlan::Alb(_) => "alb",
        ControllerPlan::Any | ControllerPlan::Gateway(_) | ControllerPlan::None => {
            return ingress.class_name.clone();
        }
    };
    Some(context.fill("ingress.className", ingress.class_name.as_ref(), default.to_owned(), "operator"))
}

fn https_redirect(context: &mut Context, ingress: &Ingress, controller: &ControllerPlan) -> Option<bool> {
    let has_certificate = match controller {
        ControllerPlan::Nginx => ingress.tls.is_some(),
        ControllerPlan::Alb(alb) => !alb.certificate_arns.is_empty(),
        ControllerPlan::Any | ControllerPlan::Gateway(_) | ControllerPlan::None => false,
    };
    if ingress.https_redirect.is_none() && !has_certificate {
        return None;
    }
    Some(context.fill("ingress.httpsRedirect", ingress.https_redirect.as_ref(), true, "operator"))
}

fn stickiness(context: &mut Context, given: &SessionAffinity, controller: &ControllerPlan) -> Stickiness {
    let field = "ingress.sessionAffinity";
    let cookie = match controller {
        ControllerPlan::Alb(_) => "AWSALB".to_owned(),
        _ => context.fill(
            &format!("{field}.cookieName"),
            given.cookie_name.as_ref(),
            "route".to_owned(),
            "operator",
        ),
    };
    let max_age =
        context.fill(&format!("{field}.maxAgeSeconds"), given.max_age_seconds.as_ref(), DAY, "operator");
    Stickiness { cookie, max_age }
}

fn headers(context: &mut Context, given: &SecurityHeaders) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(hsts) = &given.hsts {
        let field = "ingress.securityHeaders.hsts.maxAgeSeconds";
        let mut value =
            format!("max-age={}", context.fill(field, hsts.max_age_seconds.as_ref(), YEAR, "operator"));
        if hsts.include_sub_domains == Some(true) {
            value.push_str("; includeSubDomains");
        }
        if hsts.preload == Some(true) {
            value.push_str("; preload");
        }
        headers.push(("Strict-Transport-Security", value));
    }
    if let Some(policy) = &given.content_security_policy {
        headers.push(("Content-Security-Policy", policy.clone()));
    }
    headers.extend(given.frame_options.map(|options| {
        let value = match options {
            FrameOptions::Deny => "DENY",
            FrameOptions::SameOrigin => "SAMEORIGIN",
        };
        ("X-Frame-Options", value.to_owned())
    }));
    if given.no_sniff == Some(true) {
        headers.push(("X-Content-Type-Options", "nosniff".to_owned()));
    }
    headers.extend(given.referrer_policy.map(|policy| {
        let value = match policy {
            ReferrerPolicy::NoReferrer => "no-referrer",
            ReferrerPolicy::SameOrigin => "same-origin",
            ReferrerPolicy::StrictOrigin => "strict-origin",
            ReferrerPolicy::StrictOriginWhenCrossOrigin => "strict-origin-when-cross-origin",
        };
        ("Referrer-Policy", value.to_owned())
    }));
    headers
}

/// ingress-nginx denies a whole host whose headers its administrator has not listed.
fn tell_of_allowed_headers(context: &mut Context, plan: &IngressPlan) {
    if plan.controller != ControllerPlan::Nginx || plan.headers.is_empty() {
        return;
    }
    let names: Vec<&str> = plan.headers.iter().map(|(name, _)| *name).collect();
    context.fill(
        "ingress.securityHeaders",
        None,
        format!(
            "needs global-allowed-response-headers: {} in the ConfigMap of ingress-nginx, or the hosts are denied",
            names.join(",")
        ),
        "ingress-nginx",
    );
}

fn cors(given: &Cors) -> CorsPlan {
    use Method::{DELETE, GET, OPTIONS, PATCH, POST, PUT};
    let methods = if given.allowed_methods.is_empty() {
        &[GET, POST, PUT, PATCH, DELETE, OPTIONS][..]
    } else {
        &given.allowed_methods
    };
    let headers = if given.allowed_headers.is_empty() {
        ["Authorization", "Content-Type", "X-Requested-With"].map(str::to_owned).to_vec()
    } else {
        given.allowed_headers.clone()
    };
    CorsPlan {
        origins: given.allowed_origins.clone(),
        methods: methods.iter().map(|method| format!("{method:?}")).collect(),
        headers,
        credentials: given.allow_credentials.unwrap_or(false),
        max_age: given.max_age_seconds.unwrap_or(3600),
    }
}

fn hosts(
    context: &mut Context,
    hosts: &[IngressHost],
    components: &[ComponentPlan],
) -> Vec<(String, Vec<Route>)> {
    hosts.iter().map(|host| (host.host.clone(), routes(context, host, components))).collect()
}

fn routes(context: &mut Context, host: &IngressHost, components: &[ComponentPlan]) -> Vec<Route> {
    let default = if context.spec.frontend.is_some() { "frontend" } else { "backend" };
    let wished: Vec<(&str, _, &str)> = if host.paths.is_empty() {
        vec![("/", PathType::Prefix, default)]
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
