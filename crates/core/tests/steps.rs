//! From what is wished and what is live to what is done next, case by case.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{child, here, merged, observed, shop, then};
use trading_api::{deletion::DataPolicy, labels};
use trading_core::{
    fields::{cover, tracked},
    inputs::{Inputs, Reference, ReferenceKind, ReferenceState},
    kinds::Kind,
    object::{Content, Key, Object, PASSWORD},
    plan::Plan,
    render::render,
    resolve::resolve,
    step::{Apply, Child, Observed, Ownership, Prune, Replicas, ReplicasOwnership, Steps, steps},
    teardown::{Teardown, teardown},
};

/// What is wished.
struct Wish {
    plan: Plan,
    objects: Vec<Object>,
}

/// With everything there that it consumes.
fn wish(spec: &Value) -> Wish {
    wish_with(spec, &Inputs::offline(then()))
}

fn wish_with(spec: &Value, inputs: &Inputs) -> Wish {
    let plan = resolve(&shop(spec), inputs);
    Wish { objects: render(&plan), plan }
}

impl Wish {
    fn steps(&self, live: &Observed) -> Steps {
        steps(&self.plan, &self.objects, live)
    }

    /// Everything as it was applied.
    fn live(&self) -> Observed {
        observed(&self.objects)
    }
}

fn autoscaled() -> Value {
    json!({"backend": {"autoscaling": {"minReplicas": 2, "maxReplicas": 5, "cpu": 70}}})
}

fn redis() -> Value {
    json!({"redis": {"mode": "Standalone"}})
}

/// Steps in words, each list sorted.
#[derive(Debug, Default, PartialEq)]
struct Done {
    prune_first: Vec<String>,
    apply: Vec<String>,
    prune: Vec<String>,
    held: Vec<String>,
    claims: Vec<String>,
    problems: Vec<&'static str>,
}

fn words(steps: &Steps) -> Done {
    let pruned = |prunes: &[Prune]| -> Vec<String> {
        let mut all: Vec<_> = prunes.iter().map(|prune| prune.key.to_string()).collect();
        all.sort();
        all
    };
    let mut apply: Vec<String> = steps.apply.iter().map(applied).collect();
    apply.sort();
    let mut held: Vec<String> = steps.held.iter().map(Key::to_string).collect();
    held.sort();
    Done {
        prune_first: pruned(&steps.prune_first),
        apply,
        prune: pruned(&steps.prune),
        held,
        claims: steps.delete_claims_of.iter().map(|(_, store)| store.clone()).collect(),
        problems: steps.problems.iter().map(|problem| problem.reason).collect(),
    }
}

fn applied(apply: &Apply) -> String {
    let how = match apply.replicas {
        Replicas::AsRendered => String::new(),
        other => format!(", {other:?}"),
    };
    let new = if apply.known { "" } else { ", new" };
    format!("{} {}{how}{new}", apply.object.kind, apply.object.name)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// What happens to the live objects before the operator looks.
type Event = fn(&mut Observed);

fn nothing(_: &mut Observed) {}

fn change(live: &mut Observed, kind: Kind, name: &str, change: impl FnOnce(&mut Child)) {
    change_key(live, &here(kind, name), change);
}

fn change_key(live: &mut Observed, key: &Key, change: impl FnOnce(&mut Child)) {
    change(live.get_mut(key).unwrap_or_else(|| panic!("{key:?} is not live")));
}

/// Name, what was applied, what happened, what is wished now, what is done.
type Case = (&'static str, Value, Event, Value, Done);

const BACKEND: [&str; 4] = [
    "Deployment shop-backend",
    "NetworkPolicy shop-backend",
    "Service shop-backend",
    "ServiceAccount shop-backend",
];
const REDIS: [&str; 7] = [
    "ConfigMap shop-redis",
    "NetworkPolicy shop-redis",
    "Secret shop-redis-auth",
    "Service shop-redis",
    "Service shop-redis-headless",
    "ServiceAccount shop-redis",
    "StatefulSet shop-redis",
];

fn replicas_and_drift() -> Vec<Case> {
    let fixed = json!({"backend": {"replicas": 3}});
    vec![
        ("nothing changed", autoscaled(), nothing, autoscaled(), Done::default()),
        (
            "an autoscaler takes over: the live number stays until it writes another",
            fixed.clone(),
            nothing,
            autoscaled(),
            Done {
                apply: texts(&[
                    "Deployment shop-backend, Keep(3)",
                    "HorizontalPodAutoscaler shop-backend, new",
                ]),
                ..Done::default()
            },
        ),
        (
            "an autoscaler took the number: it is left out from now on",
            fixed.clone(),
            |live| {
                change(live, Kind::Deployment, "shop-backend", |child| {
                    child.replicas = ReplicasOwnership { ours: true, others: true };
                });
            },
            autoscaled(),
            Done {
                apply: texts(&["Deployment shop-backend", "HorizontalPodAutoscaler shop-backend, new"]),
                ..Done::default()
            },
        ),
        (
            "the release changes before the autoscaler wrote a number: it must not fall to 1",
            autoscaled(),
            |live| {
                change(live, Kind::Deployment, "shop-backend", |child| {
                    child.replicas = ReplicasOwnership { ours: true, others: false };
                });
            },
            merged(&autoscaled(), &json!({"version": "2.0.0"})),
            Done { apply: texts(&["Deployment shop-backend, Keep(2)"]), ..Done::default() },
        ),
        (
            "an autoscaler goes: it is deleted before its target gets a fixed number",
            autoscaled(),
            nothing,
            fixed,
            Done {
                prune_first: texts(&["HorizontalPodAutoscaler shop-backend"]),
                apply: texts(&["Deployment shop-backend"]),
                ..Done::default()
            },
        ),
        (
            "an autoscaled Deployment was deleted: it starts with the fewest again",
            autoscaled(),
            |live| drop(live.remove(&here(Kind::Deployment, "shop-backend"))),
            autoscaled(),
            Done { apply: texts(&["Deployment shop-backend, Seed(2), new"]), ..Done::default() },
        ),
        (
            "somebody took a field over",
            json!({}),
            |live| {
                change(live, Kind::Service, "shop-backend", |child| {
                    child.ownership = Ownership::Fields(r#"{"f:spec": {"f:type": {}}}"#.into());
                });
            },
            json!({}),
            Done { apply: texts(&["Service shop-backend"]), ..Done::default() },
        ),
        (
            "an older operator applied something else",
            json!({}),
            |live| {
                change(live, Kind::Service, "shop-backend", |child| child.digest = Some("old".to_owned()));
            },
            json!({}),
            Done { apply: texts(&["Service shop-backend"]), ..Done::default() },
        ),
        (
            "somebody removed the digest",
            json!({}),
            |live| change(live, Kind::Service, "shop-backend", |child| child.digest = None),
            json!({}),
            Done { apply: texts(&["Service shop-backend"]), ..Done::default() },
        ),
        (
            "an object is being deleted: it is made again when it is gone, not written while it goes",
            json!({}),
            |live| change(live, Kind::Service, "shop-backend", |child| child.deleting = true),
            json!({}),
            Done { held: texts(&["Service shop-backend"]), ..Done::default() },
        ),
    ]
}

fn components() -> Vec<Case> {
    let mail = json!({"services": [
        {"name": "mail", "image": {"repository": "shop/mail"}, "ports": [{"name": "http", "containerPort": 80}],
         "autoscaling": {"minReplicas": 2, "maxReplicas": 3, "cpu": 50}}]});
    let mail_objects = [
        "Deployment shop-mail",
        "NetworkPolicy shop-mail",
        "PodDisruptionBudget shop-mail",
        "Service shop-mail",
        "ServiceAccount shop-mail",
    ];
    vec![
        (
            "a component goes with all that it has, its autoscaler first",
            mail.clone(),
            nothing,
            json!({}),
            Done {
                prune_first: texts(&["HorizontalPodAutoscaler shop-mail"]),
                prune: texts(&mail_objects),
                ..Done::default()
            },
        ),
        (
            "what is on its way out is not deleted again",
            mail.clone(),
            |live| {
                for child in live.values_mut().filter(|child| child.component == "mail") {
                    child.deleting = true;
                }
            },
            json!({}),
            Done::default(),
        ),
        (
            "objects of another platform with the same labels stay",
            mail,
            |live| {
                for child in live.values_mut().filter(|child| child.component == "mail") {
                    "another".clone_into(&mut child.platform_uid);
                }
            },
            json!({}),
            Done::default(),
        ),
        (
            "optional fields take their objects with them",
            json!({"backend": {"replicas": 2, "config": {"mountPath": "/etc/shop", "files": [{"name": "a", "content": "b"}]}},
                   "quota": {"hard": {"pods": 5}}, "ingress": {"hosts": [{"host": "shop.example.com"}]}}),
            nothing,
            json!({"backend": {"replicas": 1}, "networkPolicy": {"enabled": false}}),
            Done {
                apply: texts(&["Deployment shop-backend"]),
                prune: texts(&[
                    "ConfigMap shop-backend",
                    "Ingress shop-ingress",
                    "NetworkPolicy shop-backend",
                    "NetworkPolicy shop-default-deny",
                    "PodDisruptionBudget shop-backend",
                    "ResourceQuota shop-quota",
                ]),
                ..Done::default()
            },
        ),
        (
            "a name that another platform of the namespace has is left alone, and said",
            json!({}),
            |live| {
                change(live, Kind::Service, "shop-backend", |child| {
                    "shop-two".clone_into(&mut child.platform);
                });
            },
            json!({}),
            Done { held: texts(&["Service shop-backend"]), problems: vec!["NameTaken"], ..Done::default() },
        ),
    ]
}

/// What ends first when a store goes.
const SERVERS: &str = "StatefulSet shop-redis";

fn stores() -> Vec<Case> {
    let acknowledged = |data: &str| json!({"deletion": {"data": data, "acknowledgeStoreRemoval": ["Redis"]}});
    // Without Redis the backend gets no address of it any more, and may no longer reach it.
    let backend = texts(&["Deployment shop-backend", "NetworkPolicy shop-backend"]);
    let without = |objects: &[&str]| {
        REDIS.iter().filter(|one| !objects.contains(one)).map(|&one| one.to_owned()).collect()
    };
    let gone: Event = |live| drop(live.remove(&here(Kind::StatefulSet, "shop-redis")));
    vec![
        (
            "a store that left the resource keeps running",
            redis(),
            nothing,
            json!({}),
            Done { apply: backend.clone(), problems: vec!["StoreRemovalNotAcknowledged"], ..Done::default() },
        ),
        (
            "its acknowledged removal keeps the password, as it keeps the volumes",
            redis(),
            gone,
            acknowledged("Retain"),
            Done {
                apply: backend.clone(),
                prune: without(&[SERVERS, "Secret shop-redis-auth"]),
                ..Done::default()
            },
        ),
        (
            "its acknowledged removal takes everything where data is to be deleted",
            redis(),
            gone,
            acknowledged("Delete"),
            Done { apply: backend.clone(), prune: without(&[SERVERS]), ..Done::default() },
        ),
        (
            "what servers need to end is there until they have",
            redis(),
            nothing,
            acknowledged("Delete"),
            Done { apply: backend, prune: texts(&[SERVERS]), claims: texts(&["redis"]), ..Done::default() },
        ),
        (
            "a live store in another mode is not touched, whatever else changed",
            merged(&redis(), &json!({"version": "1"})),
            |live| {
                change(live, Kind::StatefulSet, "shop-redis", |child| {
                    child.store_mode = Some("Cluster".to_owned());
                });
            },
            merged(&redis(), &json!({"version": "2"})),
            Done {
                apply: texts(&["Deployment shop-backend"]),
                held: texts(&REDIS),
                problems: vec!["StoreModeDiffers"],
                ..Done::default()
            },
        ),
        (
            "a store that an earlier platform of this name left behind is taken up",
            redis(),
            |live| {
                live.retain(|_, child| child.is_store);
                for child in live.values_mut() {
                    "the earlier one".clone_into(&mut child.platform_uid);
                    child.digest = Some("with the earlier label".to_owned());
                }
            },
            redis(),
            Done {
                apply: REDIS
                    .iter()
                    .map(|&object| object.to_owned())
                    .chain(BACKEND.iter().map(|object| format!("{object}, new")))
                    .chain(texts(&["NetworkPolicy shop-default-deny, new"]))
                    .collect(),
                ..Done::default()
            },
        ),
        (
            "objects of a store that is back are no surplus",
            redis(),
            |live| change(live, Kind::Secret, "shop-redis-auth", |child| child.digest = None),
            redis(),
            Done { apply: texts(&["Secret shop-redis-auth"]), ..Done::default() },
        ),
    ]
}

#[test]
fn each_change_takes_exactly_its_steps() {
    let mut wrong = Vec::new();
    for (name, before, event, now, mut expected) in
        replicas_and_drift().into_iter().chain(components()).chain(stores())
    {
        let mut live = wish(&before).live();
        event(&mut live);
        expected.apply.sort();
        let done = words(&wish(&now).steps(&live));
        if done != expected {
            wrong.push(format!("{name}:\n  expected {expected:?}\n  but      {done:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_fresh_platform_is_applied_as_a_whole_and_seeded() {
    let wish = wish(&merged(&autoscaled(), &redis()));
    let done = wish.steps(&Observed::new());
    assert_eq!(done.apply.len(), wish.objects.len());
    assert!(done.prune.is_empty() && done.prune_first.is_empty() && done.held.is_empty());
    let seeded: Vec<&Apply> =
        done.apply.iter().filter(|apply| apply.replicas != Replicas::AsRendered).collect();
    let [backend] = seeded.as_slice() else { panic!("{seeded:?}") };
    assert_eq!((backend.object.kind, backend.replicas), (Kind::Deployment, Replicas::Seed(2)));
    // The kinds table decides the order: what pods need is there before them.
    let kinds: Vec<Kind> = done.apply.iter().map(|apply| apply.object.kind).collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
}

#[test]
fn what_others_add_is_left_alone() {
    let wish = wish(&json!({}));
    let mut live = wish.live();
    let deployment = wish.objects.iter().find(|object| object.kind == Kind::Deployment).unwrap();
    let whole = json!({"f:metadata": {}, "f:spec": {}, "f:status": {}});
    assert!(cover(&whole, &tracked(&deployment.body)));
    change_key(&mut live, &deployment.key(), |child| {
        child.ownership = Ownership::Fields(whole.to_string().into());
    });
    assert_eq!(words(&wish.steps(&live)), Done::default());
}

#[test]
fn a_generated_password_is_never_touched_for_its_fields() {
    let wish = wish(&redis());
    let secret = wish.objects.iter().find(|object| object.kind == Kind::Secret).unwrap();
    assert_eq!(secret.content, Content::GeneratedOnce([("password".to_owned(), PASSWORD.to_owned())].into()));
    let mut live = wish.live();
    change_key(&mut live, &secret.key(), |child| child.ownership = Ownership::Fields("{}".into()));
    assert_eq!(words(&wish.steps(&live)), Done::default());
}

fn secret(name: &str) -> Reference {
    Reference { kind: ReferenceKind::Secret, namespace: "trading".to_owned(), name: name.to_owned() }
}

fn with_references(states: &[(&str, Option<&[&str]>)]) -> Inputs {
    let state = |keys: Option<&[&str]>| match keys {
        None => ReferenceState::Absent,
        Some(keys) => {
            ReferenceState::Present(keys.iter().map(|key| ((*key).to_owned(), "digest".to_owned())).collect())
        }
    };
    let known: BTreeMap<_, _> = states.iter().map(|(name, keys)| (secret(name), state(*keys))).collect();
    Inputs { references: Some(known), ..Inputs::offline(then()) }
}

/// Backend and mail read a Secret each; the backend talks to Redis.
fn two_readers() -> Value {
    let reads = |name: &str| json!([{"secretRef": {"name": name}}]);
    let key = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mail", "key": "token"}}}]);
    json!({
        "backend": {"envFrom": reads("backend"), "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "cpu": 50}},
        "services": [{"name": "mail", "image": {"repository": "shop/mail"}, "env": key}],
        "redis": {"mode": "Standalone", "auth": {"passwordSecretRef": {"name": "redis", "key": "password"}}}})
}

#[test]
fn what_is_missing_holds_its_consumers_and_nothing_else() {
    type State<'a> = Option<&'a [&'a str]>;
    let backend = ["Deployment shop-backend", "HorizontalPodAutoscaler shop-backend"];
    let store = "StatefulSet shop-redis";
    let there: State = Some(&["password", "token"]);
    let cases: [(&str, [State; 3], Vec<&str>, usize); 6] = [
        ("all are there", [there, there, there], vec![], 0),
        ("a whole Secret", [None, there, there], backend.to_vec(), 1),
        ("a Secret of which one key is read", [there, None, there], vec!["Deployment shop-mail"], 1),
        ("a key", [there, Some(&["other"]), there], vec!["Deployment shop-mail"], 1),
        ("an empty Secret, read as a whole", [Some(&[]), there, there], vec![], 0),
        (
            "the password of a store and of what talks to it",
            [there, there, None],
            vec![backend[0], backend[1], store],
            2,
        ),
    ];
    for (name, [of_backend, of_mail, of_redis], held, problems) in cases {
        let inputs = with_references(&[("backend", of_backend), ("mail", of_mail), ("redis", of_redis)]);
        let wish = wish_with(&two_readers(), &inputs);
        let done = wish.steps(&Observed::new());
        assert_eq!(words(&done).held, texts(&held), "{name}");
        assert_eq!(done.apply.len() + held.len(), wish.objects.len(), "{name}");
        let reasons: Vec<&str> = wish.plan.problems.iter().map(|problem| problem.reason).collect();
        assert_eq!(reasons, vec!["ReferenceMissing"; problems], "{name}");
    }
}

#[test]
fn an_optional_reference_holds_nothing() {
    let spec = json!({"backend": {"envFrom": [{"secretRef": {"name": "a", "optional": true}}]}});
    let wish = wish_with(&spec, &with_references(&[("a", None)]));
    assert_eq!(words(&wish.steps(&Observed::new())).held, texts(&[]));
    assert!(wish.plan.problems.is_empty());
}

#[test]
fn a_changed_secret_rolls_exactly_the_pods_that_use_the_key() {
    let spec = two_readers();
    let all: [(&str, Option<&[&str]>); 3] =
        [("backend", Some(&["a"])), ("mail", Some(&["token", "other"])), ("redis", Some(&["password"]))];
    let before = with_references(&all);
    let live = wish_with(&spec, &before).live();
    for (name, key, rolled) in [
        ("backend", "a", texts(&["Deployment shop-backend"])),
        ("mail", "token", texts(&["Deployment shop-mail"])),
        ("mail", "other", texts(&[])),
        // Its servers have it as a file.
        ("redis", "password", texts(&["Deployment shop-backend"])),
    ] {
        let mut now = before.clone();
        let states = now.references.as_mut().unwrap();
        let ReferenceState::Present(keys) = states.get_mut(&secret(name)).unwrap() else { unreachable!() };
        keys.insert(key.to_owned(), "another digest".to_owned());
        assert_eq!(words(&wish_with(&spec, &now).steps(&live)).apply, rolled, "{key} of {name}");
    }
}

#[test]
fn a_lost_password_is_never_replaced_while_the_store_runs() {
    let lost = with_references(&[("shop-redis-auth", None)]);
    let wish = wish_with(&redis(), &lost);
    let done = words(&wish.steps(&Observed::new()));
    assert!(done.apply.contains(&"Secret shop-redis-auth, new".to_owned()), "a fresh platform makes one");
    assert_eq!(done.problems, Vec::<&str>::new());

    let mut live = self::wish(&redis()).live();
    live.remove(&here(Kind::Secret, "shop-redis-auth"));
    let done = wish.steps(&live);
    assert_eq!(words(&done).problems, ["PasswordLost"]);
    assert!(
        REDIS.iter().all(|object| words(&done).held.contains(&(*object).to_owned())),
        "{:?}",
        words(&done)
    );
    let text = &done.problems[0].message;
    assert!(text.contains("shop-redis-auth") && text.contains("\"password\""), "{text}");
}

#[test]
fn problems_name_the_remedy() {
    for (before, event, now, words) in [
        (redis(), nothing as Event, json!({}), ["put it back", "deletion.acknowledgeStoreRemoval"]),
        (
            redis(),
            |live: &mut Observed| {
                change(live, Kind::StatefulSet, "shop-redis", |child| {
                    child.store_mode = Some("Cluster".to_owned());
                });
            },
            redis(),
            ["set redis.mode back to Cluster", "second platform"],
        ),
        (
            json!({}),
            |live: &mut Observed| {
                change(live, Kind::Service, "shop-backend", |child| child.platform = "other".to_owned());
            },
            json!({}),
            ["rename", "\"other\""],
        ),
    ] {
        let mut live = wish(&before).live();
        event(&mut live);
        let problems = wish(&now).steps(&live).problems;
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(words.iter().all(|word| problem.message.contains(word)), "{problem:?}");
    }
}

/// Everything that a platform with a store has.
fn children() -> Vec<Child> {
    wish(&merged(&autoscaled(), &redis())).objects.iter().map(child).collect()
}

/// Deletes what each phase says until nothing is left to do: phases, and what is left.
fn torn_down(data: DataPolicy) -> (Vec<&'static str>, Vec<String>, Teardown) {
    let mut children = children();
    let mut phases = Vec::new();
    for _ in 0..100 {
        match teardown(&children, data, false) {
            Teardown::Delete { objects, waiting_for } => {
                phases.push(waiting_for);
                for child in &mut children {
                    child.deleting |= objects.contains(&Prune::from(&*child));
                }
            }
            Teardown::Wait(waiting_for) => {
                assert_eq!(phases.last(), Some(&waiting_for), "it waits for what it deleted");
                let going = children.iter().position(|child| child.deleting).unwrap();
                children.remove(going);
            }
            last => {
                let left = children
                    .iter()
                    .filter(|child| child.is_store)
                    .map(|child| format!("{} {}", child.kind, child.name))
                    .collect();
                return (phases, left, last);
            }
        }
    }
    panic!("it never ends");
}

#[test]
fn teardown_stops_applications_then_stores_then_removes_the_rest() {
    let phases = [
        "the applications to stop",
        "the data stores to stop",
        "what belongs to the data stores and other namespaces to go",
    ];
    let (retaining, left, last) = torn_down(DataPolicy::Retain);
    assert_eq!(retaining, phases);
    assert_eq!(left, ["Secret shop-redis-auth"], "the password stays with the volumes");
    assert_eq!(last, Teardown::Done { delete_claims: false });

    let (deleting, left, last) = torn_down(DataPolicy::Delete);
    assert_eq!(deleting, phases);
    assert_eq!(left, texts(&[]));
    assert_eq!(last, Teardown::Done { delete_claims: true });
}

#[test]
fn a_store_is_not_stopped_while_an_application_runs() {
    let mut children = children();
    let is_application = |child: &Child| child.kind == Kind::Deployment;
    children.iter_mut().filter(|child| is_application(child)).for_each(|child| child.deleting = true);
    children.retain(|child| child.kind != Kind::HorizontalPodAutoscaler);
    assert_eq!(teardown(&children, DataPolicy::Delete, false), Teardown::Wait("the applications to stop"));
}

#[test]
fn an_orphaned_platform_is_released_whoever_looks_first() {
    assert_eq!(teardown(&children(), DataPolicy::Delete, true), Teardown::Release);
    // Kubernetes took the owner references off before the operator looked.
    let mut orphans = children();
    for child in &mut orphans {
        child.is_store = true;
    }
    assert_eq!(teardown(&orphans, DataPolicy::Delete, false), Teardown::Release);
}

#[test]
fn a_platform_without_stores_needs_no_teardown_but_its_applications() {
    let children: Vec<Child> = wish(&json!({})).objects.iter().map(child).collect();
    let Teardown::Delete { objects, .. } = teardown(&children, DataPolicy::Retain, false) else {
        panic!("the applications stop first");
    };
    assert_eq!(objects.iter().map(|object| object.key.kind).collect::<Vec<_>>(), [Kind::Deployment]);
    assert_eq!(teardown(&[], DataPolicy::Retain, false), Teardown::Done { delete_claims: false });
}

#[test]
fn children_of_tests_are_like_those_of_the_operator() {
    let wish = wish(&redis());
    let redis = wish.objects.iter().find(|object| object.kind == Kind::StatefulSet).unwrap();
    let child = child(redis);
    assert_eq!((child.component.as_str(), child.is_store), ("redis", true));
    assert_eq!(child.store_mode.as_deref(), Some("Standalone"));
    assert_eq!(
        Some(child.platform_uid.as_str()),
        redis.body["metadata"]["labels"][labels::PLATFORM_UID].as_str()
    );
}
