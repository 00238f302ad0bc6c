//! What goes on although the resource can't be acted upon.

use kube::core::PartialObjectMeta;
use trading_api::labels::CERTIFICATE;
use trading_core::kinds::Kind;

use super::*;
use crate::cache::child;

const SECRET: &str = "secrets/shop-redis-tls";

impl Scenario {
    /// The watch tells that the certificate is to be renewed.
    fn is_due(&self) {
        let mut due = self.server.lock().expect("no panic").objects[SECRET].clone();
        let told = due["metadata"]["annotations"][CERTIFICATE].as_str().expect("it is told of");
        let mut told: Value = serde_json::from_str(told).expect("it can be read");
        told["renew"] = json!("2026-01-01T00:00:00Z");
        due["metadata"]["annotations"][CERTIFICATE] = json!(told.to_string());
        due["metadata"]["resourceVersion"] = json!("900");
        self.server.lock().expect("no panic").objects.insert(SECRET.to_owned(), due.clone());
        let seen: PartialObjectMeta<k8s_openapi::api::core::v1::Secret> =
            serde_json::from_value(due).expect("it has metadata");
        let entry = child(Kind::Secret, &seen.metadata).expect("the operator's");
        self.context.caches.children.seen(entry);
    }
}

#[tokio::test]
async fn certificates_are_renewed_as_they_are() {
    let mut scenario = Scenario::settled(json!({
        "backend": {"image": {"repository": "shop/backend"}, "replicas": 1},
        "redis": {"mode": "Standalone", "tls": {"mode": "Required"}},
    }));
    scenario.run().await.expect("reconciled");
    let live = || scenario.server.lock().expect("no panic").objects[SECRET].clone();
    let before = live();
    // An older schema let it in.
    scenario.platform["spec"]["version"] = json!("with/slash");
    scenario.platform["metadata"]["generation"] = json!(2);
    scenario.calls();
    let action = scenario.run().await.expect("it is told");
    assert_eq!(scenario.calls(), [STATUS]);
    assert_ne!(action, Action::await_change(), "it looks again when the certificate is due");

    scenario.is_due();
    scenario.run().await.expect("it is renewed");
    assert_eq!(scenario.calls(), [format!("GET {SECRET}"), format!("PATCH {SECRET}")]);
    let after = live();
    assert_ne!(after["data"]["tls.crt"], before["data"]["tls.crt"]);
    assert_eq!(after["data"]["ca.crt"], before["data"]["ca.crt"]);
    let told = |secret: &Value| -> Value {
        let text = secret["metadata"]["annotations"][CERTIFICATE].as_str().expect("it is told of");
        serde_json::from_str(text).expect("it can be read")
    };
    assert_eq!(told(&after)["names"], told(&before)["names"]);
    assert!(told(&after)["renew"].as_str() > Some("2026-02"), "{}", told(&after));
}

#[tokio::test]
async fn certificates_are_renewed_although_nothing_can_be_told() {
    let mut scenario = Scenario::settled(json!({
        "backend": {"image": {"repository": "shop/backend"}, "replicas": 1},
        "redis": {"mode": "Standalone", "tls": {"mode": "Required"}},
    }));
    scenario.run().await.expect("reconciled");
    scenario.is_due();
    scenario.platform["spec"]["version"] = json!(["of", "another", "type"]);
    scenario.platform["metadata"]["generation"] = json!(2);
    scenario.calls();
    let scenario =
        scenario.with_fault("tradingplatforms/shop/status", StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
    scenario.run().await.expect_err("the apiserver takes no status of it");
    assert_eq!(scenario.calls(), [STATUS.to_owned(), format!("GET {SECRET}"), format!("PATCH {SECRET}")]);
}
