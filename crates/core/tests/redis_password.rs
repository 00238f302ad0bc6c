//! Redis' generated password changes: what is decided from what is known.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use support::{here, observed, rendered, shop, then};
use trading_core::{
    digest,
    inputs::{Inputs, ReferenceState},
    kinds::Kind,
    members::{Answers, Member, Members, Role, targets},
    object::{Content, Object},
    plan::Plan,
    redis_password::{Change, Stage, change, ending},
    render::render,
    resolve::{references, resolve},
    status::status,
    step::{Observed, Steps, steps},
};

/// The Secret, as keys and values, and what the servers take, in their order.
#[derive(Clone, Copy)]
struct Known<'a> {
    wished: u32,
    held: &'a [(&'a str, &'a str)],
    taken: &'a [&'a str],
}

impl Known<'_> {
    fn plan(&self) -> Plan {
        let auth = if self.wished > 0 {
            json!({"generation": self.wished})
        } else {
            json!({"passwordSecretRef": {"name": "given", "key": "password"}})
        };
        let redis = json!({"mode": "Replicated", "instances": 2, "auth": auth});
        let platform = shop(&json!({"redis": redis, "backend": {"connectsTo": ["redis"]}}));
        let of = |text: &str| digest::of_bytes(text.as_bytes());
        let keys: BTreeMap<String, String> =
            self.held.iter().map(|(key, value)| ((*key).to_owned(), of(value))).collect();
        let consumed = references::all(&resolve(&platform, &Inputs::offline(then())));
        let taken: Vec<String> = self.taken.iter().map(|text| of(text)).collect();
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        let in_force = BTreeMap::from([("passwords".to_owned(), trading_report::passwords(&taken))]);
        let answers = |store: &str, count: usize, role: Role| {
            let member = Member { role, in_force: in_force.clone(), ..Member::default() };
            let servers =
                (0..count).map(|number| (format!("shop-{store}-{number}"), Some(member.clone()))).collect();
            (store.to_owned(), Answers { servers, current: true })
        };
        let all = [answers("redis", 2, Role::Primary), answers("sentinel", 3, Role::Sentinel)];
        let members = if self.taken.is_empty() { Members::default() } else { Members(all.into()) };
        let states = consumed.into_iter().map(|it| (it, ReferenceState::Present(keys.clone())));
        let inputs = Inputs {
            references: Some(states.collect()),
            members: Arc::new(members),
            ..Inputs::offline(then())
        };
        resolve(&platform, &inputs)
    }

    /// Where everything is live as it was made from `before`.
    fn after(&self, before: &Known<'_>) -> (Plan, Observed, Steps) {
        let (plan, live) = (self.plan(), observed(&render(&before.plan())));
        let next = steps(&plan, &render(&plan), &live);
        (plan, live, next)
    }
}

const FIRST: &[(&str, &str)] = &[("password", "a")];
const MADE: &[(&str, &str)] = &[("password", "a"), ("next", "b"), ("next-generation", "2")];
const GIVEN: &[(&str, &str)] = &[("password", "b"), ("generation", "2"), ("previous", "a")];
const LAST: &[(&str, &str)] = &[("password", "b"), ("generation", "2")];

fn template(objects: &[Object], kind: Kind, name: &str) -> Value {
    let object = objects.iter().find(|object| object.key() == here(kind, name)).unwrap();
    object.body["spec"]["template"].clone()
}

#[test]
fn the_password_changes_in_an_order_in_which_no_client_is_refused() {
    let first = Known { wished: 1, held: FIRST, taken: &["a"] };
    let asked = Known { wished: 2, ..first };
    let made = Known { held: MADE, ..asked };
    let taken = Known { taken: &["a", "b"], ..made };
    let given = Known { held: GIVEN, ..taken };
    let shown = Known { taken: &["b", "a"], ..given };
    let retired = Known { held: LAST, ..shown };
    let done = Known { taken: &["b"], ..retired };
    let all = || {
        let redis = (0..2).map(|number| format!("shop-redis-{number}"));
        redis.chain((0..3).map(|number| format!("shop-sentinel-{number}"))).collect::<Vec<_>>()
    };
    let of = |text: &str| digest::of_bytes(text.as_bytes());
    let backend = || vec!["backend".to_owned()];
    let cases = [
        (first, first, None, None),
        (asked, first, Some(Stage::Making), Some(Change::Make(2))),
        (made, asked, Some(Stage::Pending(all())), None),
        (taken, made, Some(Stage::Taken), Some(Change::Give(2, of("b")))),
        (given, taken, Some(Stage::Rolling(backend())), None),
        (given, given, Some(Stage::Showing(all())), None),
        (shown, taken, Some(Stage::Rolling(backend())), None),
        (shown, shown, Some(Stage::Ending), Some(Change::Retire(of("a")))),
        (retired, shown, Some(Stage::Refusing(all())), None),
        (done, done, Some(Stage::Done), None),
        // Whoever is not asked, or says something else, has not said so.
        (
            Known { taken: &[], ..made },
            made,
            Some(Stage::Pending(vec!["shop-redis".into(), "shop-sentinel".into()])),
            None,
        ),
        (Known { taken: &["b", "a"], ..made }, made, Some(Stage::Pending(all())), None),
        // Another raise: nobody has the one that was made for the last, or that ends first.
        (Known { wished: 3, ..taken }, taken, Some(Stage::Making), Some(Change::Make(3))),
        (Known { wished: 3, ..shown }, shown, Some(Stage::Ending), Some(Change::Retire(of("a")))),
        (Known { wished: 3, ..done }, done, Some(Stage::Making), Some(Change::Make(3))),
        // What is there is taken up by a platform that is made anew, or whose field was removed.
        (Known { wished: 1, ..done }, done, Some(Stage::Done), None),
        // A given one is its giver's.
        (Known { wished: 0, ..given }, given, None, None),
    ];
    let servers =
        ["shop-redis", "shop-sentinel"].map(|name| template(&render(&first.plan()), Kind::StatefulSet, name));
    for (now, before, stage, written) in cases {
        let (plan, _, next) = now.after(&before);
        assert_eq!(next.redis_password, stage);
        let found = stage.as_ref().and_then(|stage| change(&plan, stage).or(ending(&plan, stage)));
        assert_eq!(found, written, "{stage:?}");
        if now.wished > 0 {
            let sets = ["shop-redis", "shop-sentinel"];
            let sets = sets.map(|name| template(&render(&plan), Kind::StatefulSet, name));
            assert_eq!(sets, servers, "no server is started again: {stage:?}");
        }
    }
    // Only what clients read makes them roll.
    let pods = |known: &Known| template(&render(&known.plan()), Kind::Deployment, "shop-backend");
    assert_eq!(pods(&first), pods(&taken));
    assert_ne!(pods(&taken), pods(&given));
    assert_eq!(pods(&given), pods(&done));
}

#[test]
fn a_first_password_of_a_later_generation_says_so_and_sentinels_are_asked() {
    let platform =
        |generation: u32| shop(&json!({"redis": {"mode": "Replicated", "auth": {"generation": generation}}}));
    let secret = |generation: u32| {
        let (_, objects) = rendered(&platform(generation));
        let found = objects.into_iter().find(|object| object.key() == here(Kind::Secret, "shop-redis-auth"));
        let Content::GeneratedOnce(texts) = found.unwrap().content else { panic!("it is generated") };
        texts.get("generation").cloned()
    };
    assert_eq!((secret(1), secret(4)), (None, Some("4".to_owned())));
    let asked = |known: &Known| {
        let (plan, live, _) = known.after(known);
        let targets = targets(&plan, &live);
        targets.iter().map(|it| (it.store, it.servers.len(), it.awaited.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(asked(&Known { wished: 1, held: FIRST, taken: &["a"] }), [("redis", 2, false)]);
    let made = Known { wished: 2, held: MADE, taken: &["a"] };
    assert_eq!(asked(&made), [("redis", 2, true), ("sentinel", 3, true)]);
}

#[test]
fn what_is_waited_for_is_said_and_what_is_done_stays_said() {
    let say = |known: &Known, before: &Known, previous| {
        let (plan, live, next) = known.after(before);
        let status = status(&plan, &next, &live, previous, then());
        let found = status.conditions.iter().find(|it| it.type_ == "CredentialsRotated").cloned();
        (found, status)
    };
    let made = Known { wished: 2, held: MADE, taken: &["a"] };
    let (pending, _) = say(&made, &made, None);
    let pending = pending.unwrap();
    assert_eq!((pending.status.as_str(), pending.reason.as_str()), ("False", "PasswordPending"));
    let message = pending.message;
    assert!(message.contains("shop-redis-0, shop-redis-1, shop-sentinel-0 and 2 more"), "{message}");
    assert!(message.contains("port 9121"), "{message}");

    let retired = Known { wished: 2, held: LAST, taken: &["b", "a"] };
    assert_eq!(say(&retired, &retired, None).0.unwrap().reason, "OldPasswordEnds");
    let done = Known { taken: &["b"], ..retired };
    let (rotated, status) = say(&done, &done, None);
    assert_eq!(rotated.unwrap().status, "True");
    let silent = Known { taken: &[], ..done };
    assert_eq!(say(&silent, &silent, Some(&status)).0.unwrap().reason, "Rotated", "after a restart");
    let again = Known { wished: 3, ..done };
    assert_eq!(say(&again, &done, Some(&status)).0.unwrap().status, "False");
    let first = Known { wished: 1, held: FIRST, taken: &["a"] };
    assert!(say(&first, &first, None).0.is_none(), "there is nothing to say of the first");
}
