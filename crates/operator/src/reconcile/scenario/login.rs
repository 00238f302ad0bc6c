//! The login to the database changes: what is written in which order.

use k8s_openapi::api::apps::v1::Deployment;
use trading_api::labels::{CONFIG_CHECKSUM, INSTANCE};

use super::*;

fn shop(generation: u32) -> Value {
    let backend = json!({"image": {"repository": "shop/backend"}, "replicas": 1, "connectsTo": ["postgres"]});
    let mut spec = json!({"backend": backend, "postgres": {"mode": "Managed", "version": 16}});
    if generation > 1 {
        spec["postgres"]["credentials"] = json!({"generation": generation});
    }
    spec
}

impl Scenario {
    fn live(&self, path: &str) -> Value {
        self.server.lock().expect("no panic").objects[path].clone()
    }

    /// What the primary writes into its Lease wakes the platform.
    fn tells(&self, logins: &[u32]) {
        let mut lease = self.live("leases/shop-postgres");
        let version = {
            let mut server = self.server.lock().expect("no panic");
            server.versions += 1;
            1000 + server.versions
        };
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        lease["metadata"]["annotations"]["platform.trading/postgres"] =
            json!(json!({"system": 7, "term": 0, "logins": logins}).to_string());
        let lease: Lease = serde_json::from_value(lease).expect("a Lease");
        let entry = lease.entry().expect("the operator's");
        assert!(self.context.caches.children.seen(entry).is_some(), "{logins:?}");
    }

    /// The watch tells that a Secret has changed.
    fn sees_secret(&self, name: &str) {
        let version = self.live(&format!("secrets/{name}"))["metadata"]["resourceVersion"].clone();
        let reference =
            Reference { kind: ReferenceKind::Secret, namespace: "shop".to_owned(), name: name.to_owned() };
        self.context.caches.references.seen(&reference, version.as_str().expect("a text"));
    }

    /// All pods of the backend are new, as far as its Deployment counts them.
    fn rolls_out(&self) {
        let mut deployment = self.live("deployments/shop-backend");
        let version: u64 =
            deployment["metadata"]["resourceVersion"].as_str().unwrap_or("").parse().expect("it");
        deployment["metadata"]["resourceVersion"] = json!((version + 1000).to_string());
        deployment["status"] = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        let deployment: Deployment = serde_json::from_value(deployment).expect("a Deployment");
        let entry = deployment.entry().expect("the operator's");
        self.context.caches.children.seen(entry);
    }

    /// The one pod of the backend.
    fn backend_pod(&self, checksum: &str) {
        let pod = json!({"metadata": {"name": "shop-backend-x", "labels": {INSTANCE: "shop", NAME: "backend"},
            "annotations": {CONFIG_CHECKSUM: checksum}}});
        self.server.lock().expect("no panic").objects.insert("pods/shop-backend-x".to_owned(), pod);
    }

    async fn steps(&self) -> Vec<String> {
        self.run().await.expect("reconciled");
        let mut calls = self.calls();
        calls.retain(|call| !call.ends_with("/status"));
        calls
    }

    fn says(&self) -> Value {
        let status = self.status();
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|condition| condition["type"] == "CredentialsRotated");
        found.map(|condition| condition["reason"].clone()).unwrap_or_default()
    }
}

#[tokio::test]
async fn clients_get_a_login_once_it_is_accepted_and_the_old_one_goes_with_the_last_pod() {
    let mut scenario = Scenario::settled(shop(1));
    scenario.run().await.expect("reconciled");
    scenario.tells(&[1]);
    scenario.calls();
    assert_eq!(scenario.steps().await, [""; 0]);
    let old = scenario.live("secrets/shop-postgres-app")["data"].clone();
    let checksum = |scenario: &Scenario| {
        let pointer = "/spec/template/metadata/annotations";
        let deployment = scenario.live("deployments/shop-backend");
        let annotations = deployment.pointer(pointer).cloned().unwrap_or_default();
        annotations[CONFIG_CHECKSUM].as_str().expect("it is there").to_owned()
    };
    let before = checksum(&scenario);

    scenario.platform["spec"]["postgres"] = shop(2)["postgres"].clone();
    scenario.platform["metadata"]["generation"] = json!(2);
    assert_eq!(scenario.steps().await, ["POST secrets", "PATCH configmaps/shop-postgres"]);
    assert_eq!(scenario.says(), "LoginPending");
    let password = scenario.live("secrets/shop-postgres-logins")["data"]["2"].clone();
    assert!(password.is_string());
    assert_eq!(scenario.steps().await, [""; 0], "a password is made once");

    scenario.tells(&[1, 2]);
    let fills = ["GET secrets/shop-postgres-logins", "PATCH secrets/shop-postgres-app"];
    assert_eq!(scenario.steps().await, fills);
    assert_eq!(scenario.says(), "ClientsRolling");
    let new = scenario.live("secrets/shop-postgres-app")["data"].clone();
    assert_eq!(new["password"], password);
    assert_ne!(new["username"], old["username"]);
    assert_eq!(new["host"], old["host"]);

    scenario.sees_secret("shop-postgres-app");
    let rolls = ["GET secrets/shop-postgres-app", "PATCH deployments/shop-backend"];
    assert_eq!(scenario.steps().await, rolls);
    scenario.backend_pod(&before);
    scenario.rolls_out();
    assert_eq!(scenario.steps().await, ["GET pods"], "a pod of before is ending");
    assert_eq!(scenario.says(), "OldLoginEnds");
    scenario.backend_pod(&checksum(&scenario));
    assert_eq!(scenario.steps().await, ["GET pods", "PATCH configmaps/shop-postgres"]);
    assert_eq!(scenario.live("configmaps/shop-postgres")["data"]["login"], "2 only\n");

    scenario.tells(&[2]);
    assert_eq!(scenario.steps().await, [""; 0]);
    assert_eq!(scenario.says(), "Rotated");
    assert_eq!(scenario.steps().await, [""; 0]);
    assert!(!scenario.status().to_string().contains(password.as_str().expect("a text")));
}
