//! Annotations of the AWS Load Balancer Controller.

use trading_api::ingress::Scheme;

use super::Annotations;
use crate::plan::{AlbPlan, IngressPlan, Plan, WebhooksPlan};

fn named(name: &str, value: String) -> (String, String) {
    (format!("alb.ingress.kubernetes.io/{name}"), value)
}

pub(super) fn of_hosts(plan: &Plan, ingress: &IngressPlan, alb: &AlbPlan) -> Annotations {
    let mut all = connection(plan, ingress, alb);
    if let Some(stickiness) = &ingress.stickiness {
        let attributes = format!(
            "stickiness.enabled=true,stickiness.type=lb_cookie,stickiness.lb_cookie.duration_seconds={}",
            stickiness.max_age
        );
        all.extend([named("target-group-attributes", attributes)]);
    }
    let attributes = listener_attributes(ingress);
    if !attributes.is_empty() {
        let listener = if alb.certificate_arns.is_empty() { "HTTP-80" } else { "HTTPS-443" };
        all.extend([named(&format!("listener-attributes.{listener}"), attributes)]);
    }
    all
}

pub(super) fn of_webhooks(
    plan: &Plan,
    ingress: &IngressPlan,
    alb: &AlbPlan,
    webhooks: &WebhooksPlan,
) -> Annotations {
    let ranges: Vec<&str> = webhooks.ranges.iter().map(|range| range.0.as_str()).collect();
    let mut all = connection(plan, ingress, alb);
    all.extend([named("inbound-cidrs", ranges.join(","))]);
    all
}

fn connection(plan: &Plan, ingress: &IngressPlan, alb: &AlbPlan) -> Annotations {
    let scheme = match alb.scheme {
        Scheme::Internal => "internal",
        Scheme::InternetFacing => "internet-facing",
    };
    let mut all = Annotations::from([
        named("scheme", scheme.to_owned()),
        // The Services have no node ports.
        named("target-type", "ip".to_owned()),
    ]);
    if !plan.identity.tiers.is_empty() {
        // Ingresses of several namespaces share one load balancer.
        let group = format!("{}-{}", plan.identity.namespace, plan.identity.name);
        all.extend([named("group.name", group)]);
    }
    if alb.certificate_arns.is_empty() {
        all.extend([named("listen-ports", r#"[{"HTTP":80}]"#.to_owned())]);
    } else {
        all.extend([
            named("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#.to_owned()),
            named("certificate-arn", alb.certificate_arns.join(",")),
        ]);
        all.extend(alb.ssl_policy.iter().map(|policy| named("ssl-policy", policy.clone())));
        if ingress.https_redirect == Some(true) {
            all.extend([named("ssl-redirect", "443".to_owned())]);
        }
    }
    all.extend(alb.web_acl_arn.iter().map(|arn| named("wafv2-acl-arn", arn.clone())));
    all.extend(
        ingress.idle_timeout.map(|seconds| {
            named("load-balancer-attributes", format!("idle_timeout.timeout_seconds={seconds}"))
        }),
    );
    all
}

/// Headers that the listener adds to every answer. None has a comma, which would end its value.
fn listener_attributes(ingress: &IngressPlan) -> String {
    let attribute = |(name, value): &(&str, String)| {
        format!("routing.http.response.{}.header_value={value}", name.to_lowercase().replace('-', "_"))
    };
    ingress.headers.iter().map(attribute).collect::<Vec<_>>().join(",")
}
