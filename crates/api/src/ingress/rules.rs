//! Which settings go with which controller. What a flavour can't do is refused with the remedy.

use kube::core::Rule;

/// Annotations that any controller may get.
const OF_ANY: [&str; 2] =
    ["external-dns.alpha.kubernetes.io/ttl", "external-dns.alpha.kubernetes.io/cloudflare-proxied"];

/// Annotations of the certificate that cert-manager makes.
const OF_CERTIFICATES: [&str; 6] = [
    "cert-manager.io/duration",
    "cert-manager.io/renew-before",
    "cert-manager.io/private-key-algorithm",
    "cert-manager.io/private-key-size",
    "cert-manager.io/private-key-rotation-policy",
    "acme.cert-manager.io/http01-edit-in-place",
];

/// Annotations of ingress-nginx, by their names without the prefix.
const OF_NGINX: [&str; 13] = [
    "proxy-body-size",
    "client-body-buffer-size",
    "proxy-buffering",
    "proxy-buffer-size",
    "proxy-buffers-number",
    "proxy-request-buffering",
    "proxy-connect-timeout",
    "proxy-next-upstream-tries",
    "proxy-http-version",
    "backend-protocol",
    "load-balance",
    "limit-whitelist",
    "enable-access-log",
];

/// Annotations of the AWS Load Balancer Controller. Those of groups would share a load balancer
/// with other namespaces.
const OF_ALB: [&str; 10] = [
    "ip-address-type",
    "subnets",
    "tags",
    "healthcheck-path",
    "healthcheck-protocol",
    "healthcheck-interval-seconds",
    "healthcheck-timeout-seconds",
    "healthy-threshold-count",
    "unhealthy-threshold-count",
    "success-codes",
];

const IS_GATEWAY: &str = "(has(self.controller) ? self.controller == 'Gateway' : false)";
const NOT_GATEWAY: &str = "!has(self.controller) || self.controller != 'Gateway'";
const IS_ALB: &str = "(has(self.controller) ? self.controller == 'ALB' : false)";
const NOT_ALB: &str = "!has(self.controller) || self.controller != 'ALB'";

/// Admits `field` only where `other` holds.
fn without(other: &str, field: &str, message: &str) -> Rule {
    Rule::new(format!("{other} || !has(self.{field})")).message(message).field_path(format!(".{field}"))
}

pub(super) fn parents() -> Rule {
    Rule::new(format!("{IS_GATEWAY} == (has(self.parentRefs) ? self.parentRefs != [] : false)"))
        .message("controller Gateway needs parentRefs, the Gateways that the hosts are attached to; no other has them")
        .field_path(".parentRefs")
}

pub(super) fn redirect_of_gateway() -> Rule {
    Rule::new(format!("{NOT_GATEWAY} || !has(self.httpsRedirect) || !self.httpsRedirect || !has(self.parentRefs) || self.parentRefs.all(p, has(p.sectionName) ? has(p.httpSectionName) : false)"))
        .message("a redirect by a Gateway needs sectionName (the listener for HTTPS) and httpSectionName (that for HTTP) in every parentRefs")
        .field_path(".httpsRedirect")
}

pub(super) fn tls_of_gateway() -> Rule {
    without(
        NOT_GATEWAY,
        "tls",
        "TLS belongs to the Gateway: give its listener the certificate and remove tls here",
    )
}

pub(super) fn rates_of_gateway() -> Rule {
    without(
        NOT_GATEWAY,
        "rateLimit",
        "an HTTPRoute has no rate limit: attach the Gateway implementation's own policy and remove rateLimit",
    )
}

pub(super) fn stickiness_of_gateway() -> Rule {
    without(
        NOT_GATEWAY,
        "sessionAffinity",
        "stickiness is no standard part of an HTTPRoute yet: attach the Gateway implementation's own policy and remove sessionAffinity",
    )
}

pub(super) fn timeout_of_gateway() -> Rule {
    without(
        NOT_GATEWAY,
        "idleTimeoutSeconds",
        "an HTTPRoute has no idle timeout: attach the Gateway implementation's own policy and remove idleTimeoutSeconds",
    )
}

pub(super) fn webhooks_of_gateway() -> Rule {
    without(
        NOT_GATEWAY,
        "webhooks",
        "an HTTPRoute has no source ranges: attach the Gateway implementation's own policy to a path of hosts, or restrict a load balancer before the Gateway, and remove webhooks",
    )
}

pub(super) fn class_of_a_class() -> Rule {
    without(NOT_GATEWAY, "className", "a Gateway has a class of its own: remove className")
}

pub(super) fn alb_of_alb() -> Rule {
    Rule::new(format!("{IS_ALB} || !has(self.alb)"))
        .message("alb is for controller ALB: set it, or remove alb")
        .field_path(".alb")
}

pub(super) fn tls_of_alb() -> Rule {
    without(
        NOT_ALB,
        "tls",
        "an ALB takes its certificates from ACM or IAM: set alb.certificateArns instead of tls",
    )
}

pub(super) fn redirect_of_alb() -> Rule {
    Rule::new(format!("{NOT_ALB} || !has(self.httpsRedirect) || !self.httpsRedirect || (has(self.alb) ? (has(self.alb.certificateArns) ? self.alb.certificateArns != [] : false) : false)"))
        .message("a redirect to HTTPS needs a certificate: set alb.certificateArns")
        .field_path(".httpsRedirect")
}

pub(super) fn rates_of_alb() -> Rule {
    without(
        NOT_ALB,
        "rateLimit",
        "an ALB limits rates only through WAF: put a rate-based rule into the web ACL of alb.webAclArn and remove rateLimit",
    )
}

pub(super) fn cookie_of_alb() -> Rule {
    Rule::new(format!("{NOT_ALB} || !has(self.sessionAffinity) || !has(self.sessionAffinity.cookieName)"))
        .message("an ALB calls its cookie AWSALB: remove cookieName")
        .field_path(".sessionAffinity")
}

pub(super) fn headers_of_alb() -> Rule {
    Rule::new(format!("{NOT_ALB} || !has(self.securityHeaders) || !has(self.securityHeaders.referrerPolicy)"))
        .message("an ALB can't add Referrer-Policy: let the application send it and remove referrerPolicy")
        .field_path(".securityHeaders")
}

pub(super) fn origins_of_alb() -> Rule {
    Rule::new(format!("{NOT_ALB} || !has(self.cors) || !(has(self.cors.allowedMethods) || has(self.cors.allowedHeaders) || has(self.cors.allowCredentials) || has(self.cors.maxAgeSeconds))"))
        .message("an ALB answers no preflight requests, the application does: keep allowedOrigins alone, which it gets as CORS_ALLOWED_ORIGINS")
        .field_path(".cors")
}

pub(super) fn webhooks_of_alb() -> Rule {
    Rule::new(format!("{NOT_ALB} || !has(self.webhooks) || self.webhooks.hosts.all(w, !self.hosts.exists(h, h.host == w.host))"))
        .message("with an ALB webhooks have a load balancer of their own: give them a host of their own")
        .field_path(".webhooks")
}

const OF_SOME_CONTROLLER: [&str; 7] = [
    "httpsRedirect",
    "rateLimit",
    "sessionAffinity",
    "idleTimeoutSeconds",
    "securityHeaders",
    "cors",
    "webhooks",
];

pub(super) fn known_controller() -> Rule {
    let any = OF_SOME_CONTROLLER.map(|field| format!("has(self.{field})")).join(" || ");
    Rule::new(format!("has(self.controller) || !({any})"))
        .message("httpsRedirect, rateLimit, sessionAffinity, idleTimeoutSeconds, securityHeaders, cors and webhooks differ between controllers: set controller")
        .field_path(".controller")
}

pub(super) fn nothing_without_object() -> Rule {
    let any = OF_SOME_CONTROLLER.map(|field| format!("has(self.{field})")).join(" || ");
    Rule::new(format!("!has(self.controller) || self.controller != 'None' || !(has(self.className) || has(self.tls) || (has(self.annotations) ? self.annotations != {{}} : false) || {any})"))
        .message("with controller None nothing is made that could have these settings: keep hosts alone, or choose a controller")
        .field_path(".controller")
}

pub(super) fn annotations() -> Rule {
    let quoted = |names: &[&str], prefix: &str| {
        names.iter().map(|name| format!("'{prefix}{name}'")).collect::<Vec<_>>().join(", ")
    };
    let [any, certificates] = [quoted(&OF_ANY, ""), quoted(&OF_CERTIFICATES, "")];
    let [nginx, alb] =
        [("nginx", OF_NGINX.join("|")), ("alb", OF_ALB.join("|"))].map(|(controller, names)| {
            format!("k.matches('^{controller}[.]ingress[.]kubernetes[.]io/({names})$')")
        });
    Rule::new(format!("!has(self.annotations) || self.annotations.all(k, k in [{any}] || (has(self.tls) && has(self.tls.clusterIssuer) && k in [{certificates}]) || (has(self.controller) && ((self.controller == 'Nginx' && {nginx}) || (self.controller == 'ALB' && {alb}))))"))
        .message("only the annotations that docs/network.md lists for the controller are passed on; those of other settings come from their fields, and snippets never")
        .field_path(".annotations")
}

/// Of two Ingresses with one path, the older one gets the calls: ranges would not hold.
pub(super) fn webhook_paths() -> Rule {
    Rule::new("!has(self.webhooks) || self.webhooks.hosts.all(w, has(w.paths) && w.paths.size() > 0 && w.paths.all(q, !q.path.endsWith('/') && self.hosts.all(h, h.host != w.host || !has(h.paths) || h.paths.all(p, p.path != q.path && p.path != q.path + '/'))))")
        .message("webhooks need paths, without '/' at the end and not those of hosts: they would be reached past allowedSourceRanges")
        .field_path(".webhooks")
}
