//! TLS to the platform's database comes and goes: what is decided from what is known.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::{here, observed, shop, then};
use trading_core::{
    inputs::{Inputs, ReferenceState},
    kinds::Kind,
    members::{Answers, Member, Members, Role, targets},
    object::Object,
    plan::{Plan, StoreCertificate},
    render::render,
    resolve::{references, resolve},
    status::status,
    step::{Observed, Steps, steps},
    tls::{Level, Stage, next},
};

/// What the resource says, how far it was, and by which `pg_hba.conf` the servers say that they go.
#[derive(Clone, Copy)]
struct Known<'a> {
    mode: Option<&'a str>,
    level: Option<Level>,
    access: Option<&'a str>,
    pooled: bool,
    now: Option<Timestamp>,
}

impl Known<'_> {
    fn plan(&self) -> Plan {
        let mut postgres = json!({"mode": "Managed", "version": 16, "instances": 2});
        if let Some(mode) = self.mode {
            postgres["tls"] = json!({"mode": mode});
        }
        if self.pooled {
            postgres["pooler"] = json!({});
        }
        let platform = shop(&json!({"postgres": postgres, "backend": {"connectsTo": ["postgres"]}}));
        let keys = StoreCertificate::KEYS.into_iter().chain(["username", "password", "pooler"]);
        let keys: BTreeMap<String, String> = keys.map(|key| (key.to_owned(), key.to_owned())).collect();
        let consumed = references::all(&resolve(&platform, &Inputs::offline(then())));
        let states = consumed.into_iter().map(|it| (it, ReferenceState::Present(keys.clone())));
        let member = |access: &str| Member {
            role: Role::Primary,
            in_force: [("pg_hba.conf".to_owned(), trading_report::digest(access.as_bytes()))].into(),
            ..Member::default()
        };
        let answers = self.access.map(|access| {
            let servers =
                (0..2).map(|number| (format!("shop-postgres-{number}"), Some(member(access)))).collect();
            ("postgres".to_owned(), Answers { servers, current: true })
        });
        let inputs = Inputs {
            references: Some(states.collect()),
            tls: self.level,
            members: Arc::new(Members(answers.into_iter().collect())),
            ..Inputs::offline(self.now.unwrap_or_else(then))
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

const NONE: Known = Known { mode: None, level: None, access: None, pooled: false, now: None };
const ASKED: Known = Known { mode: Some("Required"), ..NONE };
const OFFERED: Known = Known { level: Some(Level::Offered), ..ASKED };
const CHECKED: Known = Known { level: Some(Level::Checked), ..ASKED };
const REQUIRED: Known = Known { level: Some(Level::Required), ..ASKED };
const STRICT: &str = "local all all trust\nhostssl replication streaming_replica all scram-sha-256\nhostssl all all all scram-sha-256\n";

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Object {
    objects.iter().find(|object| object.key() == here(kind, name)).unwrap()
}

/// What clients are told, and whom servers let in.
fn told(known: &Known) -> (String, bool) {
    let objects = render(&known.plan());
    let backend = find(&objects, Kind::Deployment, "shop-backend");
    let container = backend.body.pointer("/spec/template/spec/containers/0").unwrap();
    let variables = container["env"].as_array().unwrap();
    let value = |name: &str| variables.iter().find(|it| it["name"] == name).map(|it| it["value"].clone());
    let mode = value("PGSSLMODE").unwrap().as_str().unwrap().to_owned();
    let checks = value("PGSSLROOTCERT").is_some();
    assert_eq!(checks, mode == "verify-full");
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.iter().any(|mount| mount["name"] == "postgres-ca"), checks);
    let access = &find(&objects, Kind::ConfigMap, "shop-postgres").body["data"]["pg_hba.conf"];
    (mode, access.as_str().unwrap() == STRICT)
}

fn template(known: &Known) -> Value {
    find(&render(&known.plan()), Kind::StatefulSet, "shop-postgres").body["spec"]["template"].clone()
}

#[test]
fn it_comes_in_an_order_in_which_nobody_is_refused() {
    let said = Known { access: Some(STRICT), ..REQUIRED };
    let servers = || vec!["shop-postgres".to_owned()];
    let both = || vec!["shop-postgres-0".to_owned(), "shop-postgres-1".to_owned()];
    let old = Known { access: Some("host all all all trust\n"), ..REQUIRED };
    let cases = [
        // Clients go on as before until every server offers it.
        (ASKED, NONE, Stage::ServersRoll(servers()), None),
        (OFFERED, OFFERED, Stage::Offered, Some(Some(Level::Checked))),
        (CHECKED, OFFERED, Stage::ClientsRoll(vec!["backend".to_owned()]), None),
        // Without it nobody is refused until no pod does without.
        (CHECKED, CHECKED, Stage::Ending, None),
        (REQUIRED, CHECKED, Stage::Refusing(servers()), None),
        (old, REQUIRED, Stage::Refusing(both()), None),
        (said, REQUIRED, Stage::Done, None),
    ];
    for (now, before, stage, then_level) in cases {
        let (_, _, found) = now.after(&before);
        assert_eq!(found.tls, Some(stage.clone()));
        assert_eq!(next(&stage, false), then_level, "{stage:?}");
        assert!(found.problems.is_empty(), "{:?}", found.problems);
    }
    assert_eq!(next(&Stage::Ending, true), Some(Some(Level::Required)));
    let clients = [NONE, ASKED, OFFERED, CHECKED, REQUIRED].map(|known| told(&known));
    let expected = [
        ("prefer", false),
        ("prefer", false),
        ("prefer", false),
        ("verify-full", false),
        ("verify-full", true),
    ];
    assert_eq!(clients, expected.map(|(mode, strict)| (mode.to_owned(), strict)));
    // Servers start anew once.
    assert_ne!(template(&NONE), template(&ASKED));
    for known in [OFFERED, CHECKED, REQUIRED] {
        assert_eq!(template(&known), template(&ASKED));
    }
    assert_eq!(NONE.after(&NONE).2.tls, None);
}

#[test]
fn a_new_database_begins_with_it() {
    let plan = ASKED.plan();
    let found = steps(&plan, &render(&plan), &Observed::new());
    assert_eq!(found.tls, Some(Stage::Beginning));
    assert_eq!(next(&Stage::Beginning, false), Some(Some(Level::Required)));
    // A set that is gone for a moment, as while its volumes grow, is no new database.
    let mut live = observed(&render(&NONE.plan()));
    live.remove(&here(Kind::StatefulSet, "shop-postgres"));
    live.get_mut(&here(Kind::Lease, "shop-postgres")).unwrap().holder =
        Some("shop-postgres-1/life".to_owned());
    let found = steps(&plan, &render(&plan), &live);
    assert_eq!(found.tls, Some(Stage::ServersRoll(vec!["shop-postgres".to_owned()])));
    let offline = |mode: &str| {
        let postgres = json!({"mode": "Managed", "version": 16, "tls": {"mode": mode}});
        let platform = shop(&json!({"postgres": postgres, "backend": {"connectsTo": ["postgres"]}}));
        resolve(&platform, &Inputs::offline(then())).postgres.unwrap().servers.unwrap().tls.unwrap().level
    };
    assert_eq!([offline("Required"), offline("Offered")], [Level::Required, Level::Offered]);
}

#[test]
fn it_goes_in_an_order_in_which_nobody_is_refused() {
    // Servers let everybody in again, and offer it until no client insists.
    let leaving = Known { mode: None, ..REQUIRED };
    assert_eq!(told(&leaving), ("prefer".to_owned(), false));
    assert_eq!(template(&leaving), template(&REQUIRED));
    let (_, _, found) = leaving.after(&REQUIRED);
    assert_eq!(found.tls, Some(Stage::Leaving(vec!["backend".to_owned()])));
    let left = Known { level: Some(Level::Offered), ..leaving };
    let (_, _, found) = left.after(&leaving);
    assert_eq!(found.tls, Some(Stage::Left));
    assert_eq!((next(&Stage::Left, false), next(&Stage::Left, true)), (None, Some(None)));
    // The pooler insists on it towards servers, and so do replicas until they have heard.
    let [pooled, before] = [leaving, REQUIRED].map(|known| Known { pooled: true, ..known });
    let (plan, mut live, _) = pooled.after(&pooled);
    live.remove(&here(Kind::Deployment, "shop-postgres-pooler"));
    let names = |names: &[&str]| Some(Stage::Leaving(names.iter().map(|&name| name.to_owned()).collect()));
    assert_eq!(steps(&plan, &render(&plan), &live).tls, names(&["shop-postgres-pooler"]));
    assert_eq!(pooled.after(&before).2.tls, names(&["backend", "shop-postgres-pooler"]));
    let (_, _, found) = Known { access: Some(STRICT), ..leaving }.after(&leaving);
    assert_eq!(found.tls, names(&["shop-postgres-0", "shop-postgres-1"]));
    let open = STRICT.replace("hostssl", "host");
    let (_, _, found) = Known { access: Some(&open), ..leaving }.after(&leaving);
    assert_eq!(found.tls, Some(Stage::Left));
    // Who asks for less gets it without a detour, and the Secret is not needed any more at the end.
    let less = Known { mode: Some("Offered"), ..REQUIRED };
    assert_eq!(told(&less), ("prefer".to_owned(), false));
    assert_eq!(less.after(&REQUIRED).2.tls, None);
    assert!(!render(&NONE.plan()).iter().any(|object| object.name == "shop-postgres-tls"));
    // What clients trust outlives it, as passwords do.
    let (_, _, found) = NONE.after(&left);
    assert!(found.prune.is_empty(), "{:?}", found.prune);
}

#[test]
fn clients_wait_for_the_pooler_too() {
    let [asked, offered, required] = [ASKED, OFFERED, REQUIRED].map(|known| Known { pooled: true, ..known });
    let without = Known { mode: None, level: None, ..asked };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (_, _, found) = asked.after(&without);
    assert_eq!(found.tls, Some(Stage::ServersRoll(names(&["shop-postgres", "shop-postgres-pooler"]))));
    let (plan, mut live, _) = offered.after(&offered);
    let pooler = live.get_mut(&here(Kind::Deployment, "shop-postgres-pooler")).unwrap();
    pooler.workload.as_mut().unwrap().rolled_out = false;
    let found = steps(&plan, &render(&plan), &live);
    assert_eq!(found.tls, Some(Stage::ServersRoll(names(&["shop-postgres-pooler"]))));
    let config = |known: &Known| {
        let objects = render(&known.plan());
        let map = find(&objects, Kind::ConfigMap, "shop-postgres-pooler");
        map.body["data"]["pgbouncer.ini"].as_str().unwrap().to_owned()
    };
    for (known, clients, servers) in [(&offered, "allow", "prefer"), (&required, "require", "verify-full")] {
        let text = config(known);
        let has = |line: String| text.lines().any(|found| found == line);
        assert!(has(format!("client_tls_sslmode = {clients}")), "{text}");
        assert!(has(format!("server_tls_sslmode = {servers}")), "{text}");
    }
    assert!(!config(&without).contains("tls"));
}

#[test]
fn a_certificate_is_made_again_when_it_is_due_and_restarts_nobody() {
    let certifies = |found: &Steps| {
        let due = found.apply.iter().filter(|apply| apply.certifies);
        due.map(|apply| apply.object.name.clone()).collect::<Vec<_>>()
    };
    let (plan, live, found) = REQUIRED.after(&REQUIRED);
    // In tests they are good for a day.
    let due = then() + SignedDuration::from_hours(24);
    assert!(certifies(&found).is_empty() && found.apply.is_empty(), "{:?}", found.apply);
    assert_eq!(found.renewal, Some(due));
    let later = Known { now: Some(due), ..REQUIRED };
    let (_, _, found) = later.after(&REQUIRED);
    assert_eq!(certifies(&found), ["shop-postgres-tls"]);
    assert_eq!(found.apply.len(), 1, "{:?}", found.apply);
    // One that is for other names, or that nothing is known of.
    for change in [Some("other"), None] {
        let mut live = live.clone();
        let secret = live.get_mut(&here(Kind::Secret, "shop-postgres-tls")).unwrap();
        match change {
            Some(names) => secret.certificate.as_mut().unwrap().names = names.to_owned(),
            None => secret.certificate = None,
        }
        assert_eq!(certifies(&steps(&plan, &render(&plan), &live)), ["shop-postgres-tls"]);
    }
}

#[test]
fn the_condition_says_how_far_it_is() {
    let condition = |now: &Known, before: &Known, previous| {
        let (plan, live, next) = now.after(before);
        let found = status(&plan, &next, &live, previous, then());
        let of = found.conditions.iter().find(|it| it.type_ == "TLSRequired").cloned();
        (of.map(|it| (it.status, it.reason, it.message)), found)
    };
    let (first, _) = condition(&ASKED, &NONE, None);
    let (status, reason, message) = first.unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ServersRolling"));
    assert!(
        message.contains("shop-postgres roll") && message.contains("clients go on as before"),
        "{message}"
    );
    let said = Known { access: Some(STRICT), ..REQUIRED };
    let (done, known) = condition(&said, &REQUIRED, None);
    assert_eq!(done.clone().unwrap().0, "True");
    // An operator that starts has not asked them yet.
    let (again, _) = condition(&REQUIRED, &REQUIRED, Some(&known));
    assert_eq!(again, done);
    assert_eq!(condition(&Known { mode: Some("Offered"), ..OFFERED }, &OFFERED, None).0, None);
    let (plan, live, _) = said.after(&REQUIRED);
    let asked = targets(&plan, &live);
    assert_eq!(asked[0].awaited, Some(("pg_hba.conf", trading_report::digest(STRICT.as_bytes()))));
}
