//! What each ingress controller gets for the same wishes: the annotations that its papers name.

#![allow(clippy::unwrap_used)] // a test ends where its files can't be read

mod support;

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use support::{rendered, repository};
use trading_api::TradingPlatform;
use trading_core::{kinds::Kind, object::Object, plan::Plan};

/// One of `tests/good`, rendered.
fn good(file: &str) -> (Plan, Vec<Object>) {
    let text = fs::read_to_string(repository(&format!("tests/good/{file}.yaml"))).unwrap();
    let platform: TradingPlatform = serde_yaml::from_str(&text).unwrap();
    rendered(&platform)
}

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object.kind == kind && object.name == name).map(|object| &*object.body)
}

/// Annotations under a prefix, without it.
fn annotations(object: &Value, prefix: &str) -> BTreeMap<String, String> {
    let all = object["metadata"]["annotations"].as_object().unwrap();
    all.iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.as_str()?.to_owned())))
        .collect()
}

fn table<const N: usize>(rows: [(&str, &str); N]) -> BTreeMap<String, String> {
    rows.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn endpoint(plan: &Plan, objects: &[Object], name: &str) -> String {
    let observed = support::observed(objects);
    let steps = trading_core::step::steps(plan, objects, &observed);
    let status = trading_core::status::status(plan, &steps, &observed, None, support::then());
    status.endpoints.into_iter().find(|endpoint| endpoint.name == name).unwrap().address
}

/// Peers that a policy of a component admits to a port.
fn sources(objects: &[Object], policy: &str, port: i32) -> Vec<Value> {
    let policy = find(objects, Kind::NetworkPolicy, policy).unwrap();
    let rules = policy["spec"]["ingress"].as_array().cloned().unwrap_or_default();
    rules
        .into_iter()
        .filter(|rule| rule["ports"].as_array().unwrap().iter().any(|open| open["port"] == port))
        .flat_map(|rule| rule["from"].as_array().unwrap().clone())
        .collect()
}

const NGINX: &str = "nginx.ingress.kubernetes.io/";
const ALB: &str = "alb.ingress.kubernetes.io/";

#[test]
fn nginx_gets_its_annotations() {
    let (plan, objects) = good("ingress-nginx");
    let ingress = find(&objects, Kind::Ingress, "shop-ingress").unwrap();
    let wanted = table([
        ("affinity", "cookie"),
        ("affinity-mode", "persistent"),
        ("cors-allow-credentials", "true"),
        ("cors-allow-headers", "Authorization"),
        ("cors-allow-methods", "GET, POST"),
        ("cors-allow-origin", "https://app.example.com, http://localhost:3000, https://*.example.org"),
        ("cors-max-age", "600"),
        ("custom-headers", "default/shop-ingress"),
        ("enable-cors", "true"),
        ("limit-burst-multiplier", "3"),
        ("limit-connections", "20"),
        ("limit-rps", "50"),
        ("proxy-body-size", "8m"),
        ("proxy-read-timeout", "3600"),
        ("proxy-send-timeout", "3600"),
        ("session-cookie-expires", "3600"),
        ("session-cookie-max-age", "3600"),
        ("session-cookie-name", "route"),
        ("session-cookie-samesite", "Lax"),
        ("session-cookie-secure", "true"),
        ("ssl-redirect", "true"),
    ]);
    assert_eq!(annotations(ingress, NGINX), wanted);
    let certificates = table([("cluster-issuer", "letsencrypt"), ("duration", "2160h")]);
    assert_eq!(annotations(ingress, "cert-manager.io/"), certificates);
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
    assert_eq!(ingress["spec"]["tls"], json!([{ "hosts": ["shop.example.com"], "secretName": "shop-tls" }]));

    let headers = find(&objects, Kind::ConfigMap, "shop-ingress").unwrap();
    assert_eq!(
        headers["data"],
        json!({
            "Strict-Transport-Security": "max-age=63072000; includeSubDomains; preload",
            "Content-Security-Policy": "default-src 'self'; img-src https://cdn.example.com data:; frame-ancestors 'none'",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "strict-origin-when-cross-origin",
        })
    );
    let told = plan.effective.iter().find(|value| value.field == "ingress.securityHeaders").unwrap();
    assert!(told.value.contains("global-allowed-response-headers: Strict-Transport-Security,"), "{told:?}");
    assert_eq!(endpoint(&plan, &objects, "shop.example.com"), "https://shop.example.com");
}

#[test]
fn webhooks_of_nginx_have_an_ingress_with_their_ranges() {
    let (_, objects) = good("ingress-nginx");
    let webhooks = find(&objects, Kind::Ingress, "shop-webhooks").unwrap();
    let wanted = table([
        ("custom-headers", "default/shop-ingress"),
        ("proxy-body-size", "8m"),
        ("proxy-read-timeout", "3600"),
        ("proxy-send-timeout", "3600"),
        ("ssl-redirect", "true"),
        ("whitelist-source-range", "192.0.2.0/28,198.51.100.7/32,2001:db8::/48"),
    ]);
    assert_eq!(annotations(webhooks, NGINX), wanted, "no limit of rates: the callers are few and busy");
    assert_eq!(webhooks["spec"]["tls"][0]["secretName"], "shop-tls-webhooks", "cert-manager writes both");
    let path = &webhooks["spec"]["rules"][0]["http"]["paths"];
    assert_eq!(path[0]["path"], "/webhooks/stripe");
    assert_eq!(path.as_array().unwrap().len(), 1);
}

#[test]
fn tls_that_ends_before_nginx_is_still_redirected_to() {
    let mut platform: TradingPlatform =
        serde_yaml::from_str(&fs::read_to_string(repository("tests/good/ingress-nginx.yaml")).unwrap())
            .unwrap();
    let ingress = platform.spec.ingress.as_mut().unwrap();
    ingress.tls = None;
    ingress.annotations.clear();
    let (plan, objects) = rendered(&platform);
    let all = annotations(find(&objects, Kind::Ingress, "shop-ingress").unwrap(), NGINX);
    assert_eq!(all["force-ssl-redirect"], "true");
    assert_eq!(endpoint(&plan, &objects, "shop.example.com"), "https://shop.example.com");
}

#[test]
fn an_alb_gets_its_annotations() {
    let (plan, objects) = good("ingress-alb");
    let ingress = find(&objects, Kind::Ingress, "shop-ingress").unwrap();
    let certificates = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef,arn:aws:iam::123456789012:server-certificate/shop/2026.example";
    let acl =
        "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/01234567-89ab-cdef-0123-456789abcdef";
    let shared = [
        ("certificate-arn", certificates),
        ("healthcheck-path", "/health"),
        ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
        ("load-balancer-attributes", "idle_timeout.timeout_seconds=4000"),
        ("scheme", "internet-facing"),
        ("ssl-policy", "ELBSecurityPolicy-TLS13-1-3-2021-06"),
        ("ssl-redirect", "443"),
        ("target-type", "ip"),
        ("wafv2-acl-arn", acl),
    ];
    let mut wanted = table(shared);
    wanted.extend(table([
        (
            "target-group-attributes",
            "stickiness.enabled=true,stickiness.type=lb_cookie,stickiness.lb_cookie.duration_seconds=3600",
        ),
        (
            "listener-attributes.HTTPS-443",
            "routing.http.response.strict_transport_security.header_value=max-age=31536000,routing.http.response.content_security_policy.header_value=default-src 'self',routing.http.response.x_frame_options.header_value=SAMEORIGIN,routing.http.response.x_content_type_options.header_value=nosniff",
        ),
    ]));
    assert_eq!(annotations(ingress, ALB), wanted);
    assert_eq!(ingress["spec"]["ingressClassName"], "alb");
    assert_eq!(ingress["spec"].get("tls"), None);
    assert_eq!(find(&objects, Kind::ConfigMap, "shop-ingress"), None);

    let webhooks = find(&objects, Kind::Ingress, "shop-webhooks").unwrap();
    let mut wanted = table(shared);
    wanted.extend(table([("inbound-cidrs", "192.0.2.0/28")]));
    assert_eq!(annotations(webhooks, ALB), wanted);
    assert_eq!(endpoint(&plan, &objects, "shop.example.com"), "https://shop.example.com");

    let backend = &find(&objects, Kind::Deployment, "shop-backend").unwrap()["spec"]["template"]["spec"];
    let env = backend["containers"][0]["env"].as_array().unwrap();
    let origins =
        json!({ "name": "CORS_ALLOWED_ORIGINS", "value": "https://app.example.com,https://www.example.com" });
    assert!(env.contains(&origins), "{env:?}");
}

#[test]
fn a_gateway_gets_routes() {
    let (plan, objects) = good("ingress-gateway");
    assert!(objects.iter().all(|object| object.kind != Kind::Ingress));
    let routes: Vec<&Value> =
        objects.iter().filter(|object| object.kind == Kind::HTTPRoute).map(|object| &*object.body).collect();
    let of = |host: &str| *routes.iter().find(|route| route["spec"]["hostnames"] == json!([host])).unwrap();
    let filters = json!([
        {
            "type": "ResponseHeaderModifier",
            "responseHeaderModifier": { "set": [
                { "name": "Strict-Transport-Security", "value": "max-age=31536000; includeSubDomains" },
                { "name": "Referrer-Policy", "value": "no-referrer" },
            ] },
        },
        {
            "type": "CORS",
            "cors": {
                "allowOrigins": ["*"],
                "allowMethods": ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
                "allowHeaders": ["Authorization", "Content-Type", "X-Requested-With"],
                "maxAge": 3600,
            },
        },
    ]);
    let rule = |path: &str, component: &str, port: i32| {
        json!({
            "matches": [{ "path": { "type": "PathPrefix", "value": path } }],
            "backendRefs": [{ "name": component, "port": port }],
            "filters": filters,
        })
    };
    let shop = of("shop.example.com");
    assert_eq!(shop["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(
        shop["spec"]["parentRefs"],
        json!([{ "name": "edge", "namespace": "edge", "sectionName": "https" }])
    );
    assert_eq!(
        shop["spec"]["rules"],
        json!([rule("/", "shop-frontend", 3000), rule("/api", "shop-backend", 8080)])
    );
    assert_eq!(annotations(shop, "external-dns.alpha.kubernetes.io/"), table([("ttl", "60")]));
    assert_eq!(of("*.example.org")["spec"]["rules"], json!([rule("/", "shop-frontend", 3000)]));

    let redirect = find(&objects, Kind::HTTPRoute, "shop-redirect").unwrap();
    assert_eq!(
        redirect["spec"],
        json!({
            "parentRefs": [{ "name": "edge", "namespace": "edge", "sectionName": "http" }],
            "hostnames": ["shop.example.com", "*.example.org"],
            "rules": [{ "filters": [{
                "type": "RequestRedirect",
                "requestRedirect": { "scheme": "https", "statusCode": 301 },
            }] }],
        })
    );
    assert_eq!(routes.len(), 3);
    assert_eq!(endpoint(&plan, &objects, "shop.example.com"), "https://shop.example.com");
}

#[test]
fn a_plain_ingress_has_nothing_of_any_controller() {
    let (_, objects) = good("ingress");
    let ingress = find(&objects, Kind::Ingress, "shop-ingress").unwrap();
    for prefix in [NGINX, ALB] {
        assert_eq!(annotations(ingress, prefix), BTreeMap::new());
    }
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
}

#[test]
fn controller_none_makes_no_object_but_admits_what_leads_there() {
    let (_, objects) = good("ingress-none");
    assert!(objects.iter().all(|object| object.kind != Kind::Ingress));
    assert_eq!(sources(&objects, "shop-backend", 8080), [json!({ "ipBlock": { "cidr": "192.0.2.0/24" } })]);
}

#[test]
fn policies_admit_what_the_controller_connects_from() {
    let namespace = |name: &str| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } });
    let (_, objects) = good("ingress-nginx");
    assert_eq!(sources(&objects, "shop-backend", 8080), [namespace("ingress-nginx")]);
    let (_, objects) = good("ingress-alb");
    let blocks = ["10.0.0.0/18", "10.0.64.0/18"].map(|cidr| json!({ "ipBlock": { "cidr": cidr } }));
    assert_eq!(sources(&objects, "shop-backend", 8080), blocks);
    let (_, objects) = good("ingress-gateway");
    assert!(sources(&objects, "shop-backend", 8080).contains(&namespace("edge")));
    assert_eq!(sources(&objects, "shop-frontend", 3000), [namespace("edge")]);
}

#[test]
fn a_database_known_by_name_alone_is_warned_of_and_not_waited_for() {
    let text = fs::read_to_string(repository("tests/good/postgres-short-name.yaml")).unwrap();
    let mut platform: TradingPlatform = serde_yaml::from_str(&text).unwrap();
    let (plan, _) = rendered(&platform);
    let [warning] = plan.problems.as_slice() else { panic!("{:?}", plan.problems) };
    assert_eq!(warning.reason, "DatabaseAddressesUnknown");
    assert!(warning.message.contains("set postgres.external.cidrs"), "{}", warning.message);
    assert!(trading_core::status::is_warning(warning));

    platform.spec.network_policy =
        Some(trading_api::network::NetworkPolicySettings { enabled: Some(false), ..Default::default() });
    assert_eq!(rendered(&platform).0.problems, [], "without policies nothing is open that was closed");
}
