//! The database of the platform's own while it runs: what changes with its servers up.

#![allow(clippy::unwrap_used)] // a test ends where its resource can't be read

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::{here, observed, rendered, then};
use trading_api::TradingPlatform;
use trading_core::{
    credentials::Stage,
    digest,
    inputs::{Inputs, Reference, ReferenceState},
    kinds::Kind,
    object::{Content, Object},
    plan::{LoginsPlan, Plan},
    render::render,
    resolve::{references, resolve},
    step::{Steps, steps},
    told::Told,
};

/// A shop with a database of its own, of which this is said.
fn with(postgres: &Value) -> TradingPlatform {
    let mut all = json!({"mode": "Managed", "version": 16, "instances": 2});
    for (key, value) in postgres.as_object().unwrap() {
        all[key] = value.clone();
    }
    let spec = json!({"version": "1.0.0", "postgres": all, "backend": {"image": {"repository": "shop/backend"},
        "connectsTo": ["postgres"]}});
    let metadata = json!({"name": "shop", "namespace": "trading", "uid": "1"});
    let platform = json!({"apiVersion": "platform.trading/v1alpha1", "kind": "TradingPlatform",
        "metadata": metadata, "spec": spec});
    serde_json::from_value(platform).unwrap()
}

/// Kinds and names of what differs.
fn changed(before: &TradingPlatform, after: &TradingPlatform) -> BTreeSet<String> {
    let (_, live) = rendered(before);
    let (plan, objects) = rendered(after);
    let next = steps(&plan, &objects, &observed(&live));
    next.apply.iter().map(|apply| apply.object.key().to_string()).collect()
}

fn file(objects: &[Object], name: &str) -> String {
    let map = objects.iter().find(|object| object.key() == here(Kind::ConfigMap, "shop-postgres")).unwrap();
    map.body["data"][name].as_str().unwrap().to_owned()
}

#[test]
fn parameters_restart_servers_only_where_postgres_needs_it() {
    let of = |parameters: Value, version: i32| with(&json!({"parameters": parameters, "version": version}));
    let map = "ConfigMap shop-postgres".to_owned();
    let both = [map.clone(), "StatefulSet shop-postgres".to_owned()];
    let live = json!({"work_mem": "16MB"});
    let cases = [
        (json!({"work_mem": "32MB"}), 16, false),
        (json!({}), 16, false),
        (json!({"work_mem": "16MB", "max_connections": "200"}), 16, true),
        (json!({"work_mem": "16MB", "shared_buffers": "1GB"}), 16, true),
        (json!({"work_mem": "16MB", "autovacuum_max_workers": "5"}), 17, true),
        (json!({"work_mem": "16MB", "autovacuum_max_workers": "5"}), 18, false),
    ];
    for (parameters, version, restarts) in cases {
        let expected = if restarts { both.as_slice() } else { std::slice::from_ref(&map) };
        let found = changed(&of(live.clone(), version), &of(parameters.clone(), version));
        assert_eq!(found, expected.iter().cloned().collect(), "{parameters} {version}");
    }
    let (_, objects) = rendered(&of(live, 16));
    assert!(file(&objects, "postgresql.conf").contains("work_mem = '16MB'\n"));
}

#[test]
fn parameters_that_postgres_refuses_are_told_and_stop_nothing() {
    let (plan, objects) = rendered(&with(&json!({})));
    let mut live = observed(&objects);
    let lease = live.get_mut(&here(Kind::Lease, "shop-postgres")).unwrap();
    lease.told = Told::parse(r#"{"refused": "invalid value for parameter \"work_mem\": \"lots\""}"#);
    let next = steps(&plan, &objects, &live);
    let problem = next.problems.iter().find(|problem| problem.reason == "ParametersRefused").unwrap();
    assert!(problem.warning && problem.message.contains("\"lots\": mend them"), "{}", problem.message);
    assert!(next.apply.is_empty() && next.held.is_empty());
}

/// What is known of a change of the login.
#[derive(Default)]
struct Known<'a> {
    /// Generation in the resource.
    wished: u32,
    /// Generation that clients find in their Secret.
    found: u32,
    /// Generations whose passwords are made.
    made: &'a [u32],
    /// Generations that the primary says it accepts.
    told: Option<&'a [u32]>,
    /// No pod has an older one.
    settled: bool,
}

impl Known<'_> {
    fn platform(&self) -> TradingPlatform {
        with(&if self.wished > 1 { json!({"credentials": {"generation": self.wished}}) } else { json!({}) })
    }

    fn plan(&self) -> Plan {
        let digests = |pairs: Vec<(String, String)>| ReferenceState::Present(pairs.into_iter().collect());
        let app = ["username", "password"].map(str::to_owned);
        let role = digest::of_bytes(LoginsPlan::role("app", self.found).as_bytes());
        let own = digests(app.into_iter().zip([role, format!("of {}", self.found)]).collect());
        let later = digests(self.made.iter().map(|it| (it.to_string(), format!("of {it}"))).collect());
        let state = |reference: &Reference| match reference.name.as_str() {
            "shop-postgres-app" => own.clone(),
            "shop-postgres-logins" => later.clone(),
            _ => digests(vec![("password".to_owned(), "digest".to_owned())]),
        };
        let platform = self.platform();
        let consumed = references::all(&resolve(&platform, &Inputs::offline(then())));
        let told = self.told.map(|all| Told { logins: all.iter().copied().collect(), ..Told::default() });
        let inputs = Inputs {
            references: Some(consumed.iter().map(|it| (it.clone(), state(it))).collect()),
            told,
            settled: self.settled,
            ..Inputs::offline(then())
        };
        resolve(&platform, &inputs)
    }

    /// The objects, and the steps where everything is live as it was before.
    fn after(&self, before: &Known<'_>) -> (Vec<Object>, Steps) {
        let plan = self.plan();
        let objects = render(&plan);
        let mut live = observed(&render(&before.plan()));
        if let Some(lease) = live.get_mut(&here(Kind::Lease, "shop-postgres")) {
            let logins = self.told.unwrap_or_default().iter().copied().collect();
            lease.told = self.told.map(|_| Told { logins, ..Told::default() });
        }
        let next = steps(&plan, &objects, &live);
        (objects, next)
    }
}

fn secret<'a>(objects: &'a [Object], name: &str) -> &'a Object {
    objects.iter().find(|object| object.key() == here(Kind::Secret, name)).unwrap()
}

#[test]
fn a_login_changes_in_an_order_in_which_no_client_fails() {
    let first = Known { wished: 1, found: 1, ..Known::default() };
    let wished = Known { wished: 2, found: 1, ..Known::default() };
    let made = Known { made: &[2], told: Some(&[1]), ..wished };
    let accepted = Known { told: Some(&[1, 2]), ..made };
    let given = Known { found: 2, ..accepted };
    let settled = Known { settled: true, ..given };
    let done = Known { settled: false, told: Some(&[2]), ..given };
    let rolling = |names: &[&str]| Stage::Rolling(names.iter().map(|&name| name.to_owned()).collect());

    let steps_of = [
        // The password is made, once, and servers are told.
        (&first, &wished, Stage::Pending, "2\n", false),
        (&wished, &made, Stage::Pending, "2\n", false),
        // Only when it is accepted clients get it.
        (&made, &accepted, rolling(&[]), "2\n", true),
        (&accepted, &given, rolling(&["backend"]), "2\n", true),
        (&given, &given, Stage::Ending, "2\n", true),
        // Only when no pod has the old one that is refused.
        (&given, &settled, Stage::Ending, "2 only\n", true),
        (&settled, &done, Stage::Done, "2 only\n", true),
    ];
    let template = |objects: &[Object]| {
        let set = objects.iter().find(|object| object.kind == Kind::StatefulSet).unwrap();
        set.body["spec"]["template"].clone()
    };
    let servers = template(&render(&first.plan()));
    for (before, now, stage, told, is_later) in steps_of {
        let (objects, next) = now.after(before);
        assert_eq!(next.login, Some(stage.clone()), "{told}");
        assert!(next.problems.is_empty(), "{:?}", next.problems);
        assert_eq!(file(&objects, "login"), told, "{stage:?}");
        assert_eq!(template(&objects), servers, "no server starts anew: {stage:?}");
        let (content, made) = (&secret(&objects, "shop-postgres-app").content, !now.made.is_empty());
        match content {
            Content::FilledFrom { key, texts, is_there, .. } => {
                assert!(is_later && *is_there && key == "2", "{stage:?}");
                assert_eq!(texts["username"], "app_login_2");
                assert!(texts["uri"].starts_with("postgresql://app_login_2:{password}@"));
            }
            other => assert!(!is_later && matches!(other, Content::GeneratedOnce(_)), "{stage:?}"),
        }
        let adds = Content::AddedOnce([("2".to_owned(), made)].into());
        assert_eq!(secret(&objects, "shop-postgres-logins").content, adds);
    }
    assert!(first.after(&first).1.login.is_none(), "there is nothing to say of the first");
}

#[test]
fn a_login_that_clients_have_is_kept_whatever_is_lost() {
    let done = Known { wished: 2, found: 2, made: &[2], told: Some(&[2]), settled: false };
    let same = |now: &Known<'_>, what: &str| {
        let (_, next) = now.after(&done);
        let secrets: Vec<_> = next.apply.iter().filter(|apply| apply.object.kind == Kind::Secret).collect();
        assert!(secrets.is_empty(), "{what}: {secrets:?}");
        next
    };
    same(&Known { told: None, ..done }, "the Lease");
    same(&Known { told: Some(&[1, 2]), ..done }, "a refusal");
    // A platform of this name is made anew, over the same data, from an older resource.
    let (objects, _) = Known { wished: 1, ..done }.after(&done);
    assert!(matches!(secret(&objects, "shop-postgres-app").content, Content::FilledFrom { .. }));
    assert_eq!(file(&objects, "login"), "2 only\n");

    let lost = same(&Known { made: &[], ..done }, "the password");
    let problem = lost.problems.iter().find(|problem| problem.reason == "PasswordLost").unwrap();
    assert!(problem.message.contains("raise postgres.credentials.generation"), "{}", problem.message);
    // Which is done: the next is made, and clients have what they have until it is accepted.
    let (objects, next) = Known { wished: 3, made: &[], ..done }.after(&done);
    assert!(next.problems.is_empty(), "{:?}", next.problems);
    let adds = Content::AddedOnce([("3".to_owned(), false)].into());
    assert_eq!(secret(&objects, "shop-postgres-logins").content, adds);
    assert!(next.held.contains(&here(Kind::Secret, "shop-postgres-app")));
    assert_eq!(file(&objects, "login"), "3\n");
}

/// What is there of a password that the resource has for a generation, and what follows.
fn chosen(generation: u32, states: &[(&str, &[(&str, &str)])]) -> (Vec<Object>, Steps) {
    let from = json!({"name": "vault", "key": "app"});
    let platform = with(&json!({"credentials": {"generation": generation, "passwordSecretRef": from}}));
    let offline = Inputs::offline(then());
    let consumed = references::all(&resolve(&platform, &offline));
    assert!(consumed.iter().any(|it| it.name == "vault"), "its changes are seen: {consumed:?}");
    let state = |reference: &Reference| match states.iter().find(|(name, _)| *name == reference.name) {
        Some((_, keys)) => {
            let keys =
                keys.iter().map(|(key, value)| ((*key).to_owned(), digest::of_bytes(value.as_bytes())));
            ReferenceState::Present(keys.collect())
        }
        None => ReferenceState::Absent,
    };
    let references = consumed.iter().map(|it| (it.clone(), state(it))).collect();
    let plan = resolve(&platform, &Inputs { references: Some(references), ..offline });
    let objects = render(&plan);
    let mut next = steps(&plan, &objects, &BTreeMap::new());
    next.problems.extend(plan.problems);
    (objects, next)
}

#[test]
fn a_chosen_password_is_taken_over_when_its_generation_begins() {
    let vault = ("vault", [("app", "pa:ss/word")]);
    let app = |password| [("username", "app"), ("password", password)];
    let of = |generation, states: &[(&str, &[(&str, &str)])]| {
        let (objects, next) = chosen(generation, states);
        let said: Vec<_> =
            next.problems.iter().map(|it| (it.reason, it.component.clone(), it.warning)).collect();
        let held = |kind, name| next.held.contains(&here(kind, name));
        let holds = [held(Kind::Secret, "shop-postgres-app"), held(Kind::StatefulSet, "shop-postgres")];
        let from = ["shop-postgres-app", "shop-postgres-logins"].map(|name| {
            let object = objects.iter().find(|object| object.name == name);
            object.and_then(|object| object.chosen.clone()).map(|chosen| (chosen.key, chosen.from))
        });
        (said, holds, from)
    };
    let pair = |key: &str| Some((key.to_owned(), "app".to_owned()));

    // The first: nothing starts without it, and it is made with it.
    let (said, holds, _) = of(1, &[]);
    let of_database = said.iter().find(|it| it.1.as_deref() == Some("postgres")).unwrap();
    assert_eq!((of_database.0, of_database.2), ("ReferenceMissing", false));
    assert_eq!(holds, [true, true]);
    let (_, next) = chosen(1, &[]);
    let waits = next.problems.iter().find(|it| it.component.as_deref() == Some("backend")).unwrap();
    assert!(waits.message.contains("key \"app\" of Secret \"vault\" has the password"), "{}", waits.message);
    let (_, holds, from) = of(1, &[(vault.0, &vault.1)]);
    assert_eq!((holds, from), ([false, false], [pair("password"), None]));
    // What was made once stays, also when the original is gone or another.
    let same = [("shop-postgres-app", &app("pa:ss/word")[..]), (vault.0, &vault.1)];
    assert_eq!(of(1, &same), (vec![], [false, false], [None, None]));
    assert_eq!(of(1, &same[..1]), (vec![], [false, false], [None, None]));
    let differs = [("shop-postgres-app", &app("old")[..]), (vault.0, &vault.1)];
    let postgres = || Some("postgres".to_owned());
    assert_eq!(of(1, &differs), (vec![("PasswordDiffers", postgres(), true)], [false, false], [None, None]));

    // A later one: clients go on with what they have.
    let (said, holds, from) = of(2, &differs[..1]);
    assert_eq!(
        (said, holds, from),
        (vec![("PasswordMissing", postgres(), true)], [false, false], [None, None])
    );
    let (said, _, from) = of(2, &differs);
    assert_eq!((said, from), (vec![], [None, pair("2")]));
    let made = [differs[0], differs[1], ("shop-postgres-logins", &[("2", "pa:ss/word")])];
    let (said, _, from) = of(2, &made);
    assert_eq!((said, from), (vec![], [None, None]));
}

/// What is declared changes no pod; a role whose Secret is lost keeps what the servers have.
#[test]
fn databases_and_roles_come_without_a_restart_and_keep_their_passwords() {
    let declared = json!({"database": "shop", "extensions": ["pg_trgm"],
        "databases": {"analytics": {"owner": "e_tl", "extensions": ["hstore"]}, "audit": {}},
        "roles": {"e_tl": {"connectionLimit": 5}, "guest": {"memberOf": ["pg_read_all_data"],
            "passwordSecretRef": {"name": "guests", "key": "one"}}}});
    let (plan, objects) = rendered(&with(&declared));
    let find = |objects: &[Object], name: &str| {
        objects.iter().find(|object| object.key() == here(Kind::Secret, name)).cloned()
    };
    let bare = with(&json!({"database": "shop"}));
    let set = |objects: &[Object]| {
        let key = here(Kind::StatefulSet, "shop-postgres");
        objects.iter().find(|object| object.key() == key).unwrap().body.clone()
    };
    assert_eq!(set(&objects), set(&rendered(&bare).1));
    let written: Value = serde_json::from_str(&file(&objects, "objects")).unwrap();
    let expected = json!({
        "databases": {"analytics": {"owner": "e_tl", "extensions": ["hstore"]},
            "audit": {"owner": "app", "extensions": []}, "shop": {"owner": null, "extensions": ["pg_trgm"]}},
        "roles": {"e_tl": {"memberOf": [], "connectionLimit": 5},
            "guest": {"memberOf": ["pg_read_all_data"], "connectionLimit": null}}});
    assert_eq!(written, expected);
    let Content::GeneratedOnce(texts) = find(&objects, "shop-postgres-role-e-tl").unwrap().content else {
        panic!("it is generated")
    };
    let uri = "postgresql://e_tl:{password}@shop-postgres.trading.svc:5432/analytics";
    assert_eq!((texts["uri"].as_str(), texts["username"].as_str()), (uri, "e_tl"));
    assert!(find(&objects, "guests").is_none());
    let Content::CollectedFrom { originals, .. } = find(&objects, "shop-postgres-roles").unwrap().content
    else {
        panic!("it has the passwords of others")
    };
    let of = |role: &str| (originals[role].0.name.as_str(), originals[role].1.as_str());
    assert_eq!((of("e_tl"), of("guest")), (("shop-postgres-role-e-tl", "password"), ("guests", "one")));

    let seen = |absent: &str, servers_know: bool| {
        let states = references::all(&plan).into_iter().map(|it| {
            let is_absent = it.name == absent || it.name == "shop-postgres-roles" && !servers_know;
            let keys = ["username", "password", "one", "e_tl", "guest"];
            let keys = keys.map(|key| (key.to_owned(), "digest".to_owned())).into();
            (it, if is_absent { ReferenceState::Absent } else { ReferenceState::Present(keys) })
        });
        let inputs = Inputs { references: Some(states.collect()), ..Inputs::offline(then()) };
        let plan = resolve(&with(&declared), &inputs);
        let reasons: BTreeSet<&str> = plan.problems.iter().map(|problem| problem.reason).collect();
        let objects = render(&plan);
        (
            find(&objects, "shop-postgres-role-e-tl").is_some(),
            reasons,
            steps(&plan, &objects, &observed(&objects)),
        )
    };
    // It is new: one is made.
    let (is_made, reasons, _) = seen("shop-postgres-role-e-tl", false);
    assert!(is_made && reasons.is_empty(), "{reasons:?}");
    // It is lost: none is made, and what the servers have is not touched.
    let (is_made, reasons, next) = seen("shop-postgres-role-e-tl", true);
    assert!(!is_made && reasons.contains("PasswordLost"), "{reasons:?}");
    assert!(next.held.contains(&here(Kind::Secret, "shop-postgres-roles")), "{:?}", next.held);
    // A person's is not there: the others are served.
    let (is_made, reasons, next) = seen("guests", true);
    assert!(is_made && reasons.contains("RoleWithoutPassword"), "{reasons:?}");
    assert!(!next.held.contains(&here(Kind::StatefulSet, "shop-postgres")), "{:?}", next.held);
}

#[test]
fn a_fetched_password_goes_where_the_database_is_and_none_into_a_generated_secret() {
    let mut platform = with(
        &json!({"roles": {"etl": {}, "guest": {"passwordSecretRef": {"name": "guests", "key": "one"}}}}),
    );
    let external = |name: &str| {
        json!({"name": name, "storeRef": {"name": "vault", "kind": "SecretStore"},
            "data": [{"secretKey": "one", "remoteRef": {"key": "shop"}}]})
    };
    let all = json!({"external": [external("guests"), external("shop-postgres-role-etl")]});
    platform.spec.secrets = Some(serde_json::from_value(all).unwrap());
    let namespaces = json!({"namespaces": {"postgres": "data"}});
    platform.spec.placement = Some(serde_json::from_value(namespaces).unwrap());
    let (plan, _) = rendered(&platform);
    let fetched: Vec<_> = plan
        .external_secrets
        .iter()
        .map(|secret| (secret.spec.name.as_str(), secret.namespaces.clone()))
        .collect();
    assert_eq!(fetched, [("guests", vec!["data".to_owned()])]);
    let taken = plan.problems.iter().find(|problem| problem.reason == "SecretNameTaken").unwrap();
    assert!(
        taken.message.contains("for a Postgres role: give it another name and refer"),
        "{}",
        taken.message
    );
}
