//! Annotations of ingress-nginx.

use super::{Annotations, INGRESS};
use crate::plan::{CorsPlan, IngressPlan, Plan, WebhooksPlan};

fn named<const N: usize>(pairs: [(&str, String); N]) -> impl Iterator<Item = (String, String)> {
    pairs.into_iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), value))
}

pub(super) fn of_hosts(plan: &Plan, ingress: &IngressPlan) -> Annotations {
    let mut all = connection(ingress);
    if let Some(limit) = &ingress.rate_limit {
        all.extend(limit.requests_per_second.into_iter().flat_map(|n| named([("limit-rps", n.to_string())])));
        all.extend(
            limit
                .burst_multiplier
                .into_iter()
                .flat_map(|n| named([("limit-burst-multiplier", n.to_string())])),
        );
        all.extend(limit.connections.into_iter().flat_map(|n| named([("limit-connections", n.to_string())])));
    }
    if let Some(stickiness) = &ingress.stickiness {
        all.extend(named([
            ("affinity", "cookie".to_owned()),
            // Clients stay at their pod even when others are added.
            ("affinity-mode", "persistent".to_owned()),
            ("session-cookie-name", stickiness.cookie.clone()),
            ("session-cookie-max-age", stickiness.max_age.to_string()),
            ("session-cookie-expires", stickiness.max_age.to_string()),
            ("session-cookie-samesite", "Lax".to_owned()),
        ]));
        if ingress.is_https() == Some(true) {
            all.extend(named([("session-cookie-secure", "true".to_owned())]));
        }
    }
    all.extend(headers(plan, ingress));
    all.extend(ingress.cors.iter().flat_map(cors));
    all
}

/// Without the rate limit: whoever calls is known, and delivers in bursts.
pub(super) fn of_webhooks(plan: &Plan, ingress: &IngressPlan, webhooks: &WebhooksPlan) -> Annotations {
    let mut all = connection(ingress);
    all.extend(headers(plan, ingress));
    let ranges: Vec<&str> = webhooks.ranges.iter().map(|range| range.0.as_str()).collect();
    all.extend(named([("whitelist-source-range", ranges.join(","))]));
    all
}

/// Where the security headers are.
fn headers(plan: &Plan, ingress: &IngressPlan) -> Option<(String, String)> {
    let map = format!("{}/{}", plan.identity.namespace, plan.identity.child(INGRESS));
    named([("custom-headers", map)]).next().filter(|_| !ingress.headers.is_empty())
}

fn connection(ingress: &IngressPlan) -> Annotations {
    let mut all = Annotations::new();
    if let Some(redirect) = ingress.https_redirect {
        all.extend(named([("ssl-redirect", redirect.to_string())]));
        if redirect && ingress.tls_secret.is_none() {
            // TLS ends before the controller, which has no certificate to redirect for.
            all.extend(named([("force-ssl-redirect", "true".to_owned())]));
        }
    }
    if let Some(seconds) = ingress.idle_timeout {
        all.extend(named([
            ("proxy-read-timeout", seconds.to_string()),
            ("proxy-send-timeout", seconds.to_string()),
        ]));
    }
    all
}

fn cors(cors: &CorsPlan) -> impl Iterator<Item = (String, String)> {
    named([
        ("enable-cors", "true".to_owned()),
        ("cors-allow-origin", cors.origins.join(", ")),
        ("cors-allow-methods", cors.methods.join(", ")),
        ("cors-allow-headers", cors.headers.join(", ")),
        ("cors-allow-credentials", cors.credentials.to_string()),
        ("cors-max-age", cors.max_age.to_string()),
    ])
}
