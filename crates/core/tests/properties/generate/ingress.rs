//! Traffic from outside, through every controller.

use std::collections::BTreeMap;

use trading_api::{
    TradingPlatformSpec,
    ingress::{
        Alb, Controller, Cors, FrameOptions, Hsts, Ingress, IngressAnnotation, IngressHost, IngressPath,
        IngressTls, Method, ParentRef, PathType, RateLimit, ReferrerPolicy, Scheme, SecurityHeaders,
        SessionAffinity, Webhooks,
    },
    network::Cidr,
};

use super::names::{NAMES, unique};
use crate::tape::Tape;

/// `None` where nothing has a port.
pub(super) fn tape_ingress(tape: &mut Tape, spec: &TradingPlatformSpec) -> Option<Ingress> {
    let has_default = spec.frontend.is_some() || spec.backend.is_some();
    let roles = [("frontend", &spec.frontend), ("backend", &spec.backend), ("scraper", &spec.scraper)];
    let mut reachable: Vec<&str> =
        roles.into_iter().filter(|(_, component)| component.is_some()).map(|(name, _)| name).collect();
    reachable.extend(spec.worker.iter().filter(|worker| !worker.ports.is_empty()).map(|_| "worker"));
    let with_ports = spec.services.iter().filter(|service| !service.component.ports.is_empty());
    reachable.extend(with_ports.map(|service| service.name.as_str()));
    if reachable.is_empty() {
        return None;
    }
    let mut hosts = unique(tape, 3, &["shop.example.com", "*.example.com"]);
    if hosts.is_empty() {
        hosts.push("x1.y-z".to_owned());
    }
    let hosts = hosts
        .into_iter()
        .map(|host| {
            let mut paths = unique(tape, 3, &["/", "/api", "/~a/b.c_d-e/"]);
            if paths.is_empty() && !has_default {
                paths.push("/".to_owned());
            }
            IngressHost { host, paths: routes(tape, paths, &reachable) }
        })
        .collect();
    let plain = Ingress { hosts, ..Ingress::default() };
    Some(match tape.below(5) {
        0 => Ingress { tls: tape.maybe(50, tls), class_name: class_name(tape), ..plain },
        1 => Ingress { controller: Some(Controller::None), ..plain },
        2 => nginx(tape, plain, &reachable),
        3 => alb(tape, plain, &reachable),
        _ => gateway(tape, plain),
    })
}

fn routes(tape: &mut Tape, paths: Vec<String>, reachable: &[&str]) -> Vec<IngressPath> {
    let route = |path| IngressPath {
        path,
        path_type: tape.maybe(50, |tape| tape.copy(&[PathType::Prefix, PathType::Exact])),
        component: tape.pick(reachable).to_owned(),
    };
    paths.into_iter().map(route).collect()
}

fn class_name(tape: &mut Tape) -> Option<String> {
    tape.maybe(50, |tape| tape.pick(&NAMES).to_owned())
}

fn tls(tape: &mut Tape) -> IngressTls {
    let secret_name = tape.maybe(60, |tape| tape.pick(&NAMES).to_owned());
    let issuer = tape.maybe(40, |tape| tape.pick(&NAMES).to_owned());
    let cluster_issuer = if secret_name.is_none() { issuer.or(Some("a".to_owned())) } else { issuer };
    IngressTls { secret_name, cluster_issuer }
}

fn annotations_of(tape: &mut Tape, keys: &[&str]) -> BTreeMap<String, IngressAnnotation> {
    unique(tape, 2, keys)
        .into_iter()
        .map(|key| (key, IngressAnnotation(tape.pick(&["8m", "a=b,c=d", "200-299"]).to_owned())))
        .collect()
}

fn nginx(tape: &mut Tape, ingress: Ingress, reachable: &[&str]) -> Ingress {
    let keys = ["nginx.ingress.kubernetes.io/proxy-body-size", "external-dns.alpha.kubernetes.io/ttl"];
    Ingress {
        controller: Some(Controller::Nginx),
        class_name: class_name(tape),
        tls: tape.maybe(50, tls),
        https_redirect: tape.maybe(50, |tape| tape.chance(50)),
        rate_limit: tape.maybe(50, |tape| RateLimit {
            requests_per_second: Some(tape.between(1, 9)),
            burst_multiplier: tape.maybe(50, |tape| tape.between(1, 9)),
            connections: tape.maybe(50, |tape| tape.between(1, 9)),
        }),
        session_affinity: tape.maybe(50, |tape| SessionAffinity {
            cookie_name: tape.maybe(50, |tape| tape.pick(&["a", "route_-1"]).to_owned()),
            ..affinity(tape)
        }),
        idle_timeout_seconds: tape.maybe(50, |tape| tape.between(1, 4000)),
        security_headers: tape.maybe(50, security_headers),
        cors: tape.maybe(50, cors),
        annotations: annotations_of(tape, &keys),
        webhooks: tape.maybe(50, |tape| webhooks(tape, reachable)),
        ..ingress
    }
}

fn alb(tape: &mut Tape, ingress: Ingress, reachable: &[&str]) -> Ingress {
    let certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/1-a".to_owned();
    let acl = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1-a".to_owned();
    let certificate_arns = tape.list(1, |_, _| certificate.clone());
    let headers = tape.maybe(50, |tape| SecurityHeaders { referrer_policy: None, ..security_headers(tape) });
    Ingress {
        controller: Some(Controller::Alb),
        class_name: class_name(tape),
        https_redirect: tape.maybe(50, |tape| tape.chance(50) && !certificate_arns.is_empty()),
        alb: Some(Alb {
            ssl_policy: tape
                .maybe(50, |_| "ELBSecurityPolicy-TLS13-1-3-2021-06".to_owned())
                .filter(|_| !certificate_arns.is_empty()),
            certificate_arns,
            web_acl_arn: tape.maybe(50, |_| acl),
            scheme: tape.maybe(50, |tape| tape.copy(&[Scheme::Internal, Scheme::InternetFacing])),
        }),
        session_affinity: tape.maybe(50, affinity),
        idle_timeout_seconds: tape.maybe(50, |tape| tape.between(1, 4000)),
        security_headers: headers.filter(|headers| *headers != SecurityHeaders::default()),
        cors: tape.maybe(50, |tape| Cors { allowed_origins: cors(tape).allowed_origins, ..Cors::default() }),
        annotations: annotations_of(tape, &["alb.ingress.kubernetes.io/success-codes"]),
        webhooks: tape.maybe(50, |tape| webhooks(tape, reachable)),
        ..ingress
    }
}

fn gateway(tape: &mut Tape, ingress: Ingress) -> Ingress {
    let redirects = tape.chance(30);
    let parent = |tape: &mut Tape, name: &str| ParentRef {
        name: name.to_owned(),
        namespace: tape.maybe(50, |tape| tape.pick(&["edge", "a"]).to_owned()),
        section_name: (redirects || tape.chance(50)).then(|| "https".to_owned()),
        http_section_name: redirects.then(|| "http".to_owned()),
    };
    let mut parent_refs = vec![parent(tape, "gateway")];
    parent_refs.extend(tape.maybe(30, |tape| parent(tape, "b.c")));
    Ingress {
        controller: Some(Controller::Gateway),
        parent_refs,
        https_redirect: if redirects { Some(true) } else { tape.maybe(80, |_| false) },
        security_headers: tape.maybe(50, security_headers),
        cors: tape.maybe(50, cors),
        annotations: annotations_of(tape, &["external-dns.alpha.kubernetes.io/ttl"]),
        ..ingress
    }
}

fn affinity(tape: &mut Tape) -> SessionAffinity {
    SessionAffinity { cookie_name: None, max_age_seconds: tape.maybe(50, |tape| tape.between(1, 604_800)) }
}

/// At least `X-Content-Type-Options`, or an ALB's would be empty.
fn security_headers(tape: &mut Tape) -> SecurityHeaders {
    SecurityHeaders {
        hsts: tape.maybe(50, |tape| Hsts {
            max_age_seconds: tape.maybe(50, |tape| tape.between(0, 9)),
            include_sub_domains: tape.maybe(50, |tape| tape.chance(50)),
            preload: tape.maybe(50, |tape| tape.chance(50)),
        }),
        content_security_policy: tape.maybe(50, |_| "default-src 'self'; frame-ancestors 'none'".to_owned()),
        frame_options: tape.maybe(50, |tape| tape.copy(&[FrameOptions::Deny, FrameOptions::SameOrigin])),
        no_sniff: Some(tape.chance(50)),
        referrer_policy: tape.maybe(50, |tape| {
            tape.copy(&[
                ReferrerPolicy::NoReferrer,
                ReferrerPolicy::SameOrigin,
                ReferrerPolicy::StrictOrigin,
                ReferrerPolicy::StrictOriginWhenCrossOrigin,
            ])
        }),
    }
}

fn cors(tape: &mut Tape) -> Cors {
    let origins = ["https://a.example.com", "http://localhost:3000", "https://*.example.com"];
    let mut allowed_origins = unique(tape, 3, &origins);
    if allowed_origins.is_empty() {
        allowed_origins.push("https://a.example.com".to_owned());
    }
    Cors {
        allowed_origins,
        allowed_methods: if tape.chance(50) { vec![Method::GET, Method::POST] } else { Vec::new() },
        allowed_headers: unique(tape, 2, &["X-A", "Content-Type"]),
        allow_credentials: tape.maybe(50, |tape| tape.chance(50)),
        max_age_seconds: tape.maybe(50, |tape| tape.between(1, 86400)),
    }
}

fn webhooks(tape: &mut Tape, reachable: &[&str]) -> Webhooks {
    let paths = vec!["/webhooks/a".to_owned(), "/webhooks/b".to_owned()];
    Webhooks {
        hosts: vec![IngressHost {
            host: "hooks.example.com".to_owned(),
            paths: routes(tape, paths, reachable),
        }],
        allowed_source_ranges: vec![Cidr("192.0.2.0/24".to_owned()), Cidr("2001:db8::1/128".to_owned())],
    }
}
