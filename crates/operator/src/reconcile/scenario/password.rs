//! Redis' password changes: while servers and pods follow at their own pace, and the operator dies at every request
//! in turn, nobody is ever refused.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use k8s_openapi::ByteString;
use tokio::sync::Semaphore;
use trading_api::labels::{CONFIG_CHECKSUM, INSTANCE};
use trading_core::{
    digest,
    kinds::{KINDS, Kind},
    members::Report,
};

use super::*;
use crate::{cache::answered, members::Book};

const SECRET: &str = "secrets/shop-redis-auth";
const DEPLOYMENT: &str = "deployments/shop-backend";
/// Looks of the operator within which all must be done.
const LOOKS: usize = 80;

fn shop(generation: u32) -> Value {
    let backend = json!({"image": {"repository": "shop/backend"}, "replicas": 1, "connectsTo": ["redis"]});
    let auth = json!({"generation": generation});
    json!({"backend": backend, "redis": {"mode": "Replicated", "instances": 2, "auth": auth}})
}

/// What is mounted into a server, or was when a pod began.
type Data = BTreeMap<String, Vec<u8>>;

struct World {
    scenario: Scenario,
    /// Servers and Sentinels, by store, each with what its kubelet has brought.
    servers: Vec<(&'static str, String, Data)>,
    /// Pods of the backend: password, checksum of their template, and whether they are ending.
    pods: VecDeque<(Vec<u8>, String, bool)>,
    looks: usize,
    said: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let scenario = Scenario::settled(shop(1));
        let mut world =
            Self { scenario, servers: Vec::new(), pods: VecDeque::new(), looks: 0, said: Vec::new() };
        world.starts();
        world.scenario.run().await.expect("reconciled");
        for (store, count) in [("redis", 2), ("sentinel", 3)] {
            let servers = (0..count).map(|number| (store, format!("shop-{store}-{number}"), world.data()));
            let servers: Vec<_> = servers.collect();
            world.servers.extend(servers);
        }
        world.begins_pod();
        world.rolled_out();
        world
    }

    /// An operator that knows nothing but what the apiserver has.
    fn starts(&mut self) {
        let old = &self.scenario.context;
        let (caches, _woken) = Caches::new(&old.metrics);
        let context = Context {
            recorder: Recorder::new(old.client.clone(), reporter("test")),
            client: old.client.clone(),
            caches: Arc::new(caches),
            metrics: Arc::new(Metrics::new().expect("metrics")),
            operator: OperatorSettings::default(),
            members: Some(Arc::new(Book::default())),
            turns: Semaphore::new(8),
            memories: Memories::default(),
        };
        let objects = self.scenario.server.lock().expect("no panic").objects.clone();
        for (path, object) in objects {
            let plural = path.split('/').next().unwrap_or_default();
            let Some(info) = KINDS.iter().find(|info| info.plural == plural) else { continue };
            let object = serde_json::from_value(object).expect("an object");
            if let Some(entry) = answered(info.kind, &object) {
                context.caches.children.seen(entry);
            }
        }
        let status = self.scenario.status();
        if status.is_object() {
            self.scenario.platform["status"] = status;
        }
        self.scenario.context = Arc::new(context);
        let is_there = {
            let mut server = self.scenario.server.lock().expect("no panic");
            server.requests_left = None;
            server.objects.contains_key(SECRET)
        };
        if is_there {
            self.sees_secret();
        }
    }

    fn live(&self, path: &str) -> Value {
        self.scenario.server.lock().expect("no panic").objects[path].clone()
    }

    fn data(&self) -> Data {
        let data: BTreeMap<String, ByteString> =
            serde_json::from_value(self.live(SECRET)["data"].clone()).expect("values");
        data.into_iter().map(|(key, value)| (key, value.0)).collect()
    }

    fn checksum(&self) -> String {
        let live = self.live(DEPLOYMENT);
        let annotations = live.pointer("/spec/template/metadata/annotations").expect("it has some");
        annotations[CONFIG_CHECKSUM].as_str().expect("a text").to_owned()
    }

    fn begins_pod(&mut self) {
        self.pods.push_back((self.data()["password"].clone(), self.checksum(), false));
    }

    /// The watch tells that all pods of the Deployment are new, but for those that are ending.
    fn rolled_out(&self) {
        let object = {
            let mut server = self.scenario.server.lock().expect("no panic");
            server.versions += 1;
            let version = json!(server.versions.to_string());
            let live = server.objects.get_mut(DEPLOYMENT).expect("it is there");
            live["metadata"]["resourceVersion"] = version;
            live["status"] = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
            serde_json::from_value(live.clone()).expect("an object")
        };
        let entry = answered(Kind::Deployment, &object).expect("the operator's");
        self.scenario.context.caches.children.seen(entry);
    }

    /// One kubelet looks, pods come and go, and the agents are asked.
    fn goes_on(&mut self) {
        let (turn, data) = (self.looks % self.servers.len(), self.data());
        self.servers[turn].2 = data;
        if self.pods.len() > 1 && self.looks.is_multiple_of(3) {
            self.pods.pop_front();
        } else if self.pods.back().is_some_and(|pod| pod.1 != self.checksum()) {
            if let Some(old) = self.pods.back_mut() {
                old.2 = true;
            }
            self.begins_pod();
        }
        if self.pods.back().is_some_and(|pod| pod.1 == self.checksum()) {
            self.rolled_out();
        }
        self.lists_pods();
        self.sees_secret();
        self.are_asked();
        self.nobody_is_refused();
    }

    /// The watch tells of the Secret.
    fn sees_secret(&self) {
        let reference = Reference {
            kind: ReferenceKind::Secret,
            namespace: "shop".to_owned(),
            name: "shop-redis-auth".to_owned(),
        };
        let version = self.live(SECRET)["metadata"]["resourceVersion"].clone();
        self.scenario.context.caches.references.seen(&reference, version.as_str().expect("a text"));
    }

    fn lists_pods(&self) {
        let mut server = self.scenario.server.lock().expect("no panic");
        server.objects.retain(|path, _| !path.starts_with("pods/"));
        for (number, (_, checksum, _)) in self.pods.iter().enumerate() {
            let name = format!("shop-backend-{number}");
            let labels = json!({INSTANCE: "shop", NAME: "backend"});
            let pod = json!({"metadata": {"name": name, "labels": labels, "annotations": {CONFIG_CHECKSUM: checksum}}});
            server.objects.insert(format!("pods/{name}"), pod);
        }
    }

    fn are_asked(&self) {
        let book = self.scenario.context.members.as_ref().expect("it asks");
        for round in book.due(Instant::now() + Duration::from_hours(1), 9).0 {
            let mut told = BTreeMap::<_, BTreeMap<_, _>>::new();
            for (store, name, data) in &self.servers {
                let takes = ["password", "next", "previous"].iter().filter_map(|key| data.get(*key));
                let digests: Vec<String> = takes.map(|it| digest::of_bytes(it)).collect();
                let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
                let role = match (*store, name.ends_with('0')) {
                    ("sentinel", _) => "sentinel",
                    (_, true) => "primary",
                    (_, false) => "replica",
                };
                // As agents have it: of a Secret without generations nothing is told.
                let is_counted = data.contains_key("generation") || data.contains_key("next-generation");
                let in_force = if is_counted {
                    json!({"passwords": trading_report::passwords(&digests)})
                } else {
                    json!({})
                };
                let report: Report =
                    serde_json::from_value(json!({"name": name, "role": role, "inForce": in_force}))
                        .expect("a report");
                told.entry(*store).or_default().insert(name.clone(), Some(report));
            }
            book.enter(&round, told);
        }
    }

    /// Every pod can log in at every server, and every server at every other.
    fn nobody_is_refused(&self) {
        for (_, server, data) in &self.servers {
            let taken: BTreeSet<&Vec<u8>> =
                ["password", "next", "previous"].iter().filter_map(|key| data.get(*key)).collect();
            for (password, ..) in &self.pods {
                assert!(taken.contains(password), "{server} refuses a client after {:?}", self.said);
            }
            for (_, other, shows) in &self.servers {
                assert!(taken.contains(&shows["password"]), "{server} refuses {other} after {:?}", self.said);
            }
        }
    }

    fn says(&mut self) {
        let status = self.scenario.status();
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|condition| condition["type"] == "CredentialsRotated");
        let reason = found.and_then(|condition| condition["reason"].as_str()).unwrap_or_default();
        if self.said.last().is_none_or(|last| last != reason) {
            self.said.push(reason.to_owned());
        }
    }

    /// Until it is done. The operator dies before the request of this number, if there are so many; whether it did.
    async fn ends(&mut self, dies_at: Option<u64>) -> bool {
        let mut died = false;
        self.scenario.server.lock().expect("no panic").requests_left = dies_at;
        for _ in 0..LOOKS {
            self.looks += 1;
            let done = self.scenario.run().await;
            if self.scenario.server.lock().expect("no panic").requests_left == Some(0) {
                died = true;
                self.starts();
                self.rolled_out_if_new();
            } else {
                done.expect("reconciled");
            }
            self.says();
            self.goes_on();
            if self.said.last().is_some_and(|last| last == "Rotated") {
                break;
            }
        }
        assert_eq!(self.said.last().map(String::as_str), Some("Rotated"), "{:?}", self.said);
        died
    }

    fn rolled_out_if_new(&self) {
        if self.pods.back().is_some_and(|pod| pod.1 == self.checksum()) {
            self.rolled_out();
        }
    }

    fn raises(&mut self, generation: u32) {
        self.said.clear();
        self.scenario.platform["spec"]["redis"]["auth"]["generation"] = json!(generation);
        let edit = self.scenario.platform["metadata"]["generation"].as_u64().unwrap_or_default() + 1;
        self.scenario.platform["metadata"]["generation"] = json!(edit);
    }
}

#[tokio::test]
async fn the_password_changes_and_nobody_is_refused_wherever_the_operator_dies() {
    let mut deaths = 0;
    loop {
        let mut world = World::new().await;
        let before = world.data();
        world.raises(2);
        let died = world.ends(Some(deaths)).await;
        let after = world.data();
        assert!(after.keys().eq(["generation", "password"]), "{:?}", after.keys());
        assert_eq!(after["generation"], b"2");
        assert_ne!(after["password"], before["password"]);
        for (_, server, data) in &world.servers {
            assert_eq!(*data, after, "{server} refuses the old one");
        }
        let status = world.scenario.status().to_string();
        let secret = String::from_utf8(after["password"].clone()).expect("a text");
        assert!(!status.contains(&secret));
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 10, "it dies at every request: {deaths}");
}

#[tokio::test]
async fn only_what_must_change_changes_and_what_is_done_stays_said() {
    let mut world = World::new().await;
    world.are_asked();
    world.scenario.run().await.expect("reconciled");
    world.scenario.calls();
    world.raises(2);
    world.ends(None).await;
    let reasons = ["PasswordPending", "ClientsRolling", "OldPasswordEnds", "Rotated"];
    let mut said = world.said.clone();
    said.retain(|reason| reason != "ServersFollow");
    assert_eq!(said, reasons);
    let mut calls = world.scenario.calls();
    calls.retain(|call| call.starts_with('P') && !call.ends_with("/status"));
    let expected = [
        "PATCH secrets/shop-redis-auth",
        // From now on Sentinels are asked, too.
        "PATCH networkpolicies/shop-sentinel",
        "PATCH secrets/shop-redis-auth",
        "PATCH deployments/shop-backend",
        "PATCH secrets/shop-redis-auth",
    ];
    assert_eq!(calls, expected);

    // A restart, of which nobody was asked yet, takes nothing back.
    world.starts();
    world.rolled_out();
    world.scenario.run().await.expect("reconciled");
    world.said.clear();
    world.says();
    assert_eq!(world.said, ["Rotated"], "{}", world.scenario.status());

    // Raised while the one before is on its way: that ends first.
    world.raises(3);
    world.scenario.run().await.expect("reconciled");
    for _ in 0..7 {
        world.looks += 1;
        world.goes_on();
        world.scenario.run().await.expect("reconciled");
    }
    world.raises(5);
    world.ends(None).await;
    assert_eq!(world.data()["generation"], b"5");
    world.nobody_is_refused();
}
