//! What is declared against what is there.

use super::*;
use crate::postgres::scram;

fn declared() -> Declared {
    Declared::parse(
        r#"{"databases": {"app": {"owner": null, "extensions": ["pg_trgm", "uuid-ossp"]},
            "analytics": {"owner": "etl", "extensions": []}, "audit": {"owner": "app", "extensions": []}},
        "roles": {"etl": {"memberOf": [], "connectionLimit": 5},
            "reporting": {"memberOf": ["pg_read_all_data"], "connectionLimit": null}}}"#,
    )
    .expect("it is what the operator writes")
}

fn passwords(names: &[&str]) -> BTreeMap<String, Password> {
    let password = |name: &str| Password::new(format!("{name}'s own")).expect("valid");
    names.iter().map(|name| ((*name).to_owned(), password(name))).collect()
}

fn made(verifier: Option<String>) -> FoundRole {
    let logs_in = verifier.is_some();
    FoundRole { ours: true, logs_in, verifier, plain: true, limit: NO_LIMIT, member_of: BTreeSet::new() }
}

fn steps_of(
    declared: &Declared,
    found: &BTreeMap<String, FoundRole>,
    passwords: &BTreeMap<String, Password>,
) -> Plan {
    roles(declared, found, passwords, &mut |_, verifier, password| scram::is_of(verifier, password))
}

/// As the server has it after them.
fn after(declared: &Declared, passwords: &BTreeMap<String, Password>) -> BTreeMap<String, FoundRole> {
    let one = |(name, role): (&String, &Role)| {
        let verifier = passwords.get(name).map(Password::verifier);
        let limit = role.connection_limit.unwrap_or(NO_LIMIT);
        (name.clone(), FoundRole { limit, member_of: role.member_of.clone(), ..made(verifier) })
    };
    declared.roles.iter().map(one).collect()
}

fn statements(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.statements.as_str()).collect()
}

#[test]
fn names_that_are_none_make_a_declaration_worthless() {
    assert_eq!(Declared::parse("{}"), Ok(Declared::default()));
    for bad in [
        "",
        r#"{"roles": {"a\"b": {}}}"#,
        r#"{"databases": {"a": {"owner": "x;"}}}"#,
        r#"{"databases": {"a": {"extensions": ["A"]}}}"#,
        r#"{"roles": {"a": {"memberOf": [""]}}}"#,
    ] {
        assert!(Declared::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn roles_are_made_once_and_follow_what_is_declared() {
    let (declared, both) = (declared(), passwords(&["etl", "reporting"]));
    let plan = steps_of(&declared, &BTreeMap::new(), &both);
    let first = statements(&plan);
    let begin = "CREATE ROLE \"etl\" NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT 5 LOGIN PASSWORD 'SCRAM-SHA-256$";
    assert!(first[0].starts_with(begin), "{first:?}");
    assert!(first[0].ends_with("'; COMMENT ON ROLE \"etl\" IS 'made by platform.trading'"), "{first:?}");
    assert!(first[1].ends_with("; GRANT \"pg_read_all_data\" TO \"reporting\""), "{first:?}");
    assert!(first.iter().all(|statements| !statements.contains("own")), "no password is in them");

    let mut found = after(&declared, &both);
    assert_eq!(steps_of(&declared, &found, &both), Plan::default(), "nothing is done twice");
    assert_eq!(steps_of(&declared, &found, &passwords(&[])), Plan::default(), "they keep their passwords");

    // Somebody has changed them by hand.
    found.get_mut("etl").expect("there").plain = false;
    let reporting = found.get_mut("reporting").expect("there");
    reporting.member_of = BTreeSet::from(["pg_monitor".to_owned()]);
    let plan = steps_of(&declared, &found, &both);
    let alter = "ALTER ROLE \"etl\" NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT 5";
    let grants = "GRANT \"pg_read_all_data\" TO \"reporting\"; REVOKE \"pg_monitor\" FROM \"reporting\"";
    assert_eq!(statements(&plan), [alter, grants]);
}

#[test]
fn a_role_without_its_password_waits_and_a_new_one_is_taken() {
    let (declared, one) = (declared(), passwords(&["etl"]));
    let plan = steps_of(&declared, &BTreeMap::new(), &one);
    assert!(plan.steps[1].statements.contains("LIMIT -1 NOLOGIN;"), "{plan:?}");
    let found = after(&declared, &one);
    let plan = steps_of(&declared, &found, &passwords(&["etl", "reporting"]));
    assert_eq!(plan.steps.len(), 1);
    assert!(plan.steps[0].statements.contains("LIMIT -1 LOGIN PASSWORD 'SCRAM"), "{plan:?}");
    let other = BTreeMap::from([("etl".to_owned(), Password::new("new".to_owned()).expect("valid"))]);
    let plan = steps_of(&declared, &found, &other);
    assert!(plan.steps.len() == 1 && plan.steps[0].statements.contains("LOGIN PASSWORD"), "{plan:?}");
}

#[test]
fn a_removed_role_is_refused_and_one_of_somebody_else_is_left_alone() {
    let both = passwords(&["etl", "reporting"]);
    let mut found = after(&declared(), &both);
    found.insert("theirs".to_owned(), FoundRole { ours: false, ..made(Some("md5".to_owned())) });
    let none = Declared::default();
    let plan = steps_of(&none, &found, &both);
    let all = ["ALTER ROLE \"etl\" NOLOGIN PASSWORD NULL", "ALTER ROLE \"reporting\" NOLOGIN PASSWORD NULL"];
    assert_eq!(statements(&plan), all);
    let found: BTreeMap<_, _> = found.into_keys().map(|name| (name, made(None))).collect();
    assert_eq!(steps_of(&none, &found, &both), Plan::default(), "once");

    let theirs = FoundRole { ours: false, ..made(Some("md5".to_owned())) };
    let found = BTreeMap::from([("etl".to_owned(), theirs)]);
    let plan = steps_of(&declared(), &found, &both);
    assert_eq!(plan.steps.len(), 1, "the other one is made");
    let words = "role etl is there already and was not made for this platform: rename one of the two";
    assert!(plan.refused.iter().eq([words]), "{plan:?}");
}

#[test]
fn databases_are_made_for_their_owners_and_taken_from_nobody() {
    let declared = declared();
    let mut roles = after(&declared, &passwords(&[]));
    roles.insert("app".to_owned(), FoundRole { ours: false, ..made(Some("x".to_owned())) });
    let plan = databases(&declared, "app", &roles, &BTreeMap::new());
    let mark = |name: &str| format!("COMMENT ON DATABASE \"{name}\" IS 'made by platform.trading'");
    let expected = [
        "CREATE DATABASE \"analytics\" OWNER \"etl\" TEMPLATE template0".to_owned(),
        mark("analytics"),
        "CREATE DATABASE \"audit\" OWNER \"app\" TEMPLATE template0".to_owned(),
        mark("audit"),
    ];
    assert_eq!(statements(&plan), expected);

    let of = |owner: &str, comment: Option<&str>| FoundDatabase {
        owner: owner.to_owned(),
        comment: comment.map(str::to_owned),
    };
    let with = |analytics, audit| {
        let found = BTreeMap::from([("analytics".to_owned(), analytics), ("audit".to_owned(), audit)]);
        databases(&declared, "app", &roles, &found)
    };
    assert_eq!(with(of("etl", Some(MARK)), of("app", Some("a person's"))), Plan::default());
    let crashed = with(of("etl", None), of("app", Some(MARK)));
    assert_eq!(statements(&crashed), [mark("analytics")], "it was made a moment before a crash");
    let moved = with(of("app", Some(MARK)), of("app", Some(MARK)));
    assert_eq!(statements(&moved), ["ALTER DATABASE \"analytics\" OWNER TO \"etl\""]);
    let theirs = with(of("dba", None), of("app", Some(MARK)));
    assert!(theirs.steps.is_empty() && theirs.refused.len() == 1, "{theirs:?}");

    // An owner that is somebody else's role gets nothing.
    roles.get_mut("etl").expect("there").ours = false;
    let plan = databases(&declared, "app", &roles, &BTreeMap::new());
    assert!(plan.refused.iter().eq(["database analytics waits for its owner, role etl"]), "{plan:?}");
    assert_eq!(plan.steps.len(), 2);
}

#[test]
fn an_extension_that_the_image_lacks_keeps_from_no_other() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let plan = extensions(
        "app",
        &names(&["pg_trgm", "postgis", "uuid-ossp"]),
        &names(&["plpgsql", "pg_trgm"]),
        &names(&["plpgsql", "pg_trgm", "uuid-ossp"]),
    );
    assert_eq!(statements(&plan), ["CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" CASCADE"]);
    let words = "the image does not have extension postgis of database app: choose an image that has it, or remove it from the resource";
    assert!(plan.refused.iter().eq([words]), "{plan:?}");
}

#[test]
fn what_the_operator_writes_is_understood() {
    let text = r#"{"apiVersion": "platform.trading/v1alpha1", "kind": "TradingPlatform",
        "metadata": {"name": "shop", "namespace": "ns"}, "spec": {"version": "1",
        "postgres": {"mode": "Managed", "version": 16, "extensions": ["pg_trgm", "uuid-ossp"],
            "databases": {"analytics": {"owner": "etl"}, "audit": {}},
            "roles": {"etl": {"connectionLimit": 5}, "reporting": {"memberOf": ["pg_read_all_data"]}}}}}"#;
    let platform: trading_api::TradingPlatform = serde_json::from_str(text).expect("a platform");
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let plan = trading_core::resolve::resolve(&platform, &trading_core::inputs::Inputs::offline(now));
    let objects = trading_core::render::render(&plan);
    let map = objects.iter().find_map(|object| object.body["data"]["objects"].as_str());
    assert_eq!(Declared::parse(map.expect("it is there")), Ok(declared()));
}
