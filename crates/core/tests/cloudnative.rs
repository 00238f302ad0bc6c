//! A database that CloudNativePG runs: what it is told, what is said of it, and that its data goes only when the
//! resource says so.

#![allow(clippy::unwrap_used)] // a test ends where a resource can't be read

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{child, here, observed, rendered, shop, then};
use trading_api::{deletion::DataPolicy, status::TradingPlatformStatus};
use trading_core::{
    add_ons::Capabilities,
    inputs::{Inputs, ReferenceState},
    kinds::{AddOn, Kind},
    object::Object,
    plan::Plan,
    render::render,
    resolve::{references, resolve},
    status::{
        backup::Backups,
        status,
        workload::{Hibernation, Workload},
    },
    step::{Child, Observed, Steps, steps},
    teardown::{Teardown, teardown},
};

const DATABASE: &str = "shop-postgres";

fn database(over: &Value) -> Value {
    support::merged(&json!({"postgres": {"mode": "CloudNativePG", "version": 16, "instances": 2}}), over)
}

fn cluster(spec: &Value) -> Object {
    let objects = rendered(&shop(spec)).1;
    objects.into_iter().find(|object| object.kind == Kind::Cluster).unwrap()
}

#[test]
fn one_server_has_no_replicas_and_nothing_to_be_kept_apart_from() {
    let cluster = cluster(&database(&json!({"postgres": {"instances": null}})));
    assert_eq!(cluster.body["spec"]["instances"], 1);
    assert_eq!(cluster.body["spec"]["affinity"], json!({"enablePodAntiAffinity": false}));
    let objects = rendered(&shop(&database(&json!({"postgres": {"instances": null}})))).1;
    let backend = objects.iter().find(|object| object.kind == Kind::Deployment).unwrap();
    let variables = backend.body.pointer("/spec/template/spec/containers/0/env").unwrap().to_string();
    assert!(variables.contains("shop-postgres-rw") && !variables.contains("PGHOST_RO"), "{variables}");
}

#[test]
fn the_image_always_has_a_tag_that_begins_with_the_version() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let image = |image: Value| {
        cluster(&database(&json!({"postgres": {"image": image}}))).body["spec"]["imageName"].clone()
    };
    let repository = "registry.example.com:5000/pg";
    assert_eq!(image(json!(null)), "ghcr.io/cloudnative-pg/postgresql:16-standard-trixie");
    assert_eq!(image(json!({"repository": repository})), format!("{repository}:16-standard-trixie"));
    assert_eq!(image(json!({"repository": repository, "tag": "16.4"})), format!("{repository}:16.4"));
    assert_eq!(
        image(json!({"repository": repository, "digest": digest})),
        format!("{repository}:16@{digest}")
    );
}

#[test]
fn shared_buffers_are_never_more_than_what_is_requested() {
    let resources =
        json!({"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "4Gi"}});
    let cluster = cluster(&database(&json!({"postgres": {"resources": resources}})));
    assert_eq!(cluster.body["spec"]["postgresql"]["parameters"]["shared_buffers"], "262144kB");
}

fn over(before: &Value, after: &Value, change: impl FnOnce(&mut Observed)) -> Steps {
    let (_, live) = rendered(&shop(before));
    let (plan, objects) = rendered(&shop(after));
    let mut live = observed(&live);
    change(&mut live);
    steps(&plan, &objects, &live)
}

/// As CloudNativePG tells how far it is.
fn sleeping(live: &mut Observed, hibernation: Hibernation) {
    let database = live.get_mut(&here(Kind::Cluster, DATABASE)).unwrap();
    database.workload.as_mut().unwrap().hibernation = hibernation;
}

fn names(prunes: &[trading_core::step::Prune]) -> Vec<String> {
    prunes.iter().map(|prune| prune.key.to_string()).collect()
}

#[test]
fn a_removed_database_is_stopped_around_its_volumes_and_deleted_only_with_them() {
    let whole = database(&json!({}));
    let next = over(&whole, &json!({}), |_| {});
    assert_eq!(next.problems.len(), 1);
    assert_eq!(next.problems[0].reason, "StoreRemovalNotAcknowledged");
    assert!(next.hibernate.is_empty() && next.prune.is_empty(), "{:?} {:?}", next.hibernate, next.prune);

    let gone = json!({"deletion": {"acknowledgeStoreRemoval": ["Postgres"]}});
    let next = over(&whole, &gone, |_| {});
    assert_eq!(names(&next.hibernate), ["Cluster shop-postgres"]);
    assert!(
        next.problems.is_empty() && next.prune.is_empty(),
        "what its servers need stays: {:?}",
        next.prune
    );
    for under_way in [Hibernation::Underway, Hibernation::Deferred] {
        let next = over(&whole, &gone, |live| sleeping(live, under_way));
        assert!(next.hibernate.is_empty() && next.prune.is_empty(), "{under_way:?}: {:?}", next.prune);
    }
    for said in [&gone, &json!({})] {
        let next = over(&whole, said, |live| sleeping(live, Hibernation::Done));
        assert!(next.hibernate.is_empty() && next.problems.is_empty(), "{said}: {:?}", next.problems);
    }
    let next = over(&whole, &gone, |live| sleeping(live, Hibernation::Done));
    assert_eq!(names(&next.prune), ["NetworkPolicy shop-postgres"], "login and database stay");

    let mut forgotten = gone;
    forgotten["deletion"]["data"] = json!("Delete");
    for asleep in [Hibernation::None, Hibernation::Done] {
        let next = over(&whole, &forgotten, |live| sleeping(live, asleep));
        assert!(names(&next.prune).contains(&"Cluster shop-postgres".to_owned()), "{asleep:?}");
        assert!(next.hibernate.is_empty());
    }
}

#[test]
fn a_platform_that_goes_deletes_the_database_only_with_its_data() {
    let (_, objects) = rendered(&shop(&database(&json!({}))));
    let stores = |hibernation: Option<Hibernation>| -> Vec<Child> {
        let mut live = observed(&objects);
        live.retain(|_, child| child.is_store);
        if let Some(hibernation) = hibernation {
            sleeping(&mut live, hibernation);
        }
        live.into_values().collect()
    };
    let asked = teardown(&stores(None), DataPolicy::Retain, false);
    let Teardown::Hibernate { objects: asked, waiting_for } = asked else { panic!("{asked:?}") };
    assert_eq!(names(&asked), ["Cluster shop-postgres"]);
    let waits = teardown(&stores(Some(Hibernation::Underway)), DataPolicy::Retain, false);
    assert_eq!(waits, Teardown::Wait(waiting_for));
    // One that does not serve sleeps when it does; without servers there is nothing to wait for.
    for ended in [Hibernation::Deferred, Hibernation::Done] {
        let mut left = stores(Some(ended));
        let rest = teardown(&left, DataPolicy::Retain, false);
        let Teardown::Delete { objects: rest, .. } = rest else { panic!("{rest:?}") };
        assert_eq!(names(&rest), ["NetworkPolicy shop-postgres"]);
        left.retain(|child| child.kind != Kind::NetworkPolicy);
        assert_eq!(teardown(&left, DataPolicy::Retain, false), Teardown::Done { delete_claims: false });
    }

    for asleep in [Hibernation::None, Hibernation::Done] {
        let first = teardown(&stores(Some(asleep)), DataPolicy::Delete, false);
        let Teardown::Delete { objects: first, .. } = first else { panic!("{first:?}") };
        assert_eq!(names(&first), ["Cluster shop-postgres"], "{asleep:?}");
    }
}

#[test]
fn servers_of_another_mode_are_not_made_over_its_data() {
    let managed = json!({"postgres": {"mode": "Managed", "version": 16, "instances": 2}});
    let cloudnative = database(&json!({}));
    for (before, after, mode) in
        [(&cloudnative, &managed, "CloudNativePG"), (&managed, &cloudnative, "Managed")]
    {
        let next = over(before, after, |live| {
            if mode == "CloudNativePG" {
                sleeping(live, Hibernation::Done);
            }
        });
        let problem = next.problems.iter().find(|problem| problem.reason == "StoreModeDiffers").unwrap();
        assert!(problem.message.contains(&format!("runs in mode {mode}")), "{}", problem.message);
        let servers = next.apply.iter().filter(|apply| apply.object.kind.serves_data()).count();
        assert_eq!(servers, 0);
        assert!(next.hibernate.is_empty());
        assert!(next.prune.iter().all(|prune| !prune.key.kind.serves_data()), "{:?}", next.prune);
    }
}

#[test]
fn it_is_taken_up_and_wakes() {
    let (plan, objects) = rendered(&shop(&database(&json!({}))));
    let mut live = observed(&objects);
    let database = live.get_mut(&here(Kind::Cluster, DATABASE)).unwrap();
    database.platform_uid = "uid of an earlier shop".to_owned();
    database.digest = None;
    sleeping(&mut live, Hibernation::Done);
    let next = steps(&plan, &objects, &live);
    let woken = next.apply.iter().find(|apply| apply.object.kind == Kind::Cluster).unwrap();
    assert!(woken.known, "its fields are taken back");
    assert_eq!(woken.object.body["metadata"]["annotations"]["cnpg.io/hibernation"], "off");
}

#[test]
fn its_lost_password_is_never_replaced_and_its_authority_is_awaited_without_alarm() {
    let platform = shop(&database(&json!({})));
    let (_, live) = rendered(&platform);
    let mut inputs = Inputs::offline(then());
    let all = references::all(&resolve(&platform, &inputs));
    let names: Vec<&str> = all.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(names, ["shop-postgres-app", "shop-postgres-ca"]);
    let keys: BTreeMap<_, _> =
        ["username", "password", "ca.crt"].map(|key| (key.to_owned(), "digest".to_owned())).into();
    let mut without = |lost: &str| {
        let state = |name: &str| {
            if name == lost { ReferenceState::Absent } else { ReferenceState::Present(keys.clone()) }
        };
        inputs.references = Some(all.iter().map(|r| (r.clone(), state(&r.name))).collect());
        let plan = resolve(&platform, &inputs);
        let objects = render(&plan);
        let mut there = observed(&live);
        there.remove(&here(Kind::Secret, lost));
        let next = steps(&plan, &objects, &there);
        let told = status(&plan, &next, &there, None, then());
        (next, told)
    };
    let (next, _) = without("shop-postgres-app");
    let problem = next.problems.iter().find(|problem| problem.reason == "PasswordLost").unwrap();
    assert!(problem.message.contains("in the pods of Cluster"), "{}", problem.message);
    assert!(next.apply.iter().all(|apply| apply.object.kind != Kind::Secret));

    let (next, told) = without("shop-postgres-ca");
    assert!(next.held.contains(&here(Kind::Deployment, "shop-backend")));
    let condition = |type_: &str| told.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    assert_eq!(condition("Stalled").status, "False");
    assert!(condition("Degraded").message.contains("which CloudNativePG makes"), "{told:?}");
}

fn of(status: &Value, asleep: bool) -> Workload {
    Workload::of_cluster(&json!({"spec": {"instances": 3}, "status": status}), asleep)
}

#[test]
fn its_own_words_become_the_component_s() {
    let new = Workload::of_cluster(&json!({"spec": {"instances": 3}}), false);
    assert!(!new.observed && new.desired == 3 && new.ready == 0 && new.says.is_none());

    let healthy = of(
        &json!({
            "phase": "Cluster in healthy state", "phaseReason": "old news", "readyInstances": 3,
            "currentPrimary": "shop-postgres-2", "image": "registry:5000/pg:16.4-a@sha256:00",
        }),
        false,
    );
    assert!(healthy.is_settled());
    assert_eq!(healthy.version.as_deref(), Some("16.4-a"));
    assert_eq!(healthy.says.as_deref(), Some("primary shop-postgres-2"));

    let failing = of(
        &json!({
            "phase": "Failing over", "phaseReason": "no heartbeat", "readyInstances": 2,
            "currentPrimary": "shop-postgres-2",
        }),
        false,
    );
    assert!(!failing.is_settled() && failing.failure.is_none());
    assert_eq!(failing.says.as_deref(), Some("Failing over: no heartbeat, primary shop-postgres-2"));

    let stuck = of(&json!({"phase": "Waiting for user action", "phaseReason": "switch over"}), false);
    assert_eq!(stuck.failure.as_deref(), Some("Waiting for user action: switch over"));
}

#[test]
fn how_far_it_is_with_stopping_is_read_from_its_condition() {
    let told = |status: &str, reason: &str| {
        json!({"conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "cnpg.io/hibernation", "status": status, "reason": reason},
        ]})
    };
    for (status, asleep, hibernation) in [
        (told("True", "Hibernated"), false, Hibernation::None),
        (told("True", "Hibernated"), true, Hibernation::Done),
        (told("False", "DeletingPods"), true, Hibernation::Underway),
        (told("False", "WaitingForHealthy"), true, Hibernation::Deferred),
        (json!({}), true, Hibernation::Underway),
        (json!(null), true, Hibernation::Underway),
    ] {
        assert_eq!(of(&status, asleep).hibernation, hibernation, "{status}");
    }
}

#[test]
fn the_quota_counts_its_servers_its_volumes_and_the_one_that_joins() {
    let resources =
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    let said = |hard: Value| {
        let postgres =
            json!({"storage": {"size": "50Gi"}, "walStorage": {"size": "5Gi"}, "resources": resources});
        let backend = json!({"replicas": 0});
        let spec = json!({"postgres": postgres, "backend": backend, "quota": {"hard": hard}});
        let (plan, objects) = rendered(&shop(&database(&spec)));
        let next = steps(&plan, &objects, &Observed::new());
        next.problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let fits = json!({"pods": 3, "requests.memory": "3Gi", "persistentvolumeclaims": 4, "requests.storage": "110Gi"});
    assert_eq!(said(fits.clone()), [""; 0]);
    for (key, short) in [
        ("pods", "2"),
        ("requests.memory", "2Gi"),
        ("persistentvolumeclaims", "3"),
        ("requests.storage", "109Gi"),
    ] {
        let mut hard = fits.clone();
        hard[key] = json!(short);
        let said = said(hard);
        assert!(said.len() == 1 && said[0].contains(key), "{key}: {said:?}");
    }
}

fn backed_up(over: &Value) -> Value {
    let key = |key: &str| json!({"name": "bucket", "key": key});
    let backup = json!({"backup": {"schedule": "0 3 * * *", "destination": {"s3": {
        "bucket": "shop-backups", "accessKeyIdSecretRef": key("id"), "secretAccessKeySecretRef": key("secret"),
    }}}});
    support::merged(&database(&backup), over)
}

#[test]
fn the_plugin_is_named_and_asked_only_where_it_is_there() {
    let platform = shop(&backed_up(&json!({})));
    let without = Capabilities::of(&[AddOn::CloudNativePG]);
    for (capabilities, is_there) in [(Capabilities::All, true), (without, false)] {
        let plan = resolve(&platform, &Inputs { capabilities, ..Inputs::offline(then()) });
        let objects = render(&plan);
        let of = |kind: Kind| objects.iter().find(|object| object.kind == kind);
        assert_eq!(of(Kind::Cluster).unwrap().body["spec"]["plugins"].is_array(), is_there);
        assert_eq!(of(Kind::ScheduledBackup).is_some(), is_there);
        // Otherwise nothing would tell that it is missing.
        assert!(of(Kind::ObjectStore).is_some());
        let next = steps(&plan, &objects, &observed(&objects));
        let missing: Vec<_> = next.problems.iter().map(|problem| (problem.reason, problem.warning)).collect();
        assert_eq!(missing, if is_there { vec![] } else { vec![("AddOnMissing", true)] });
    }
}

#[test]
fn a_login_to_the_bucket_that_is_missing_keeps_nothing_from_running() {
    let platform = shop(&backed_up(&json!({})));
    let mut inputs = Inputs::offline(then());
    let all = references::all(&resolve(&platform, &inputs));
    assert!(all.iter().any(|reference| reference.name == "bucket"), "its changes would not be seen: {all:?}");
    let keys = ["username", "password", "ca.crt", "id"].map(|key| (key.to_owned(), "digest".to_owned()));
    let state = ReferenceState::Present(keys.into());
    inputs.references = Some(all.into_iter().map(|reference| (reference, state.clone())).collect());
    let plan = resolve(&platform, &inputs);
    let objects = render(&plan);
    let next = steps(&plan, &objects, &Observed::new());
    assert!(next.held.is_empty(), "{:?}", next.held);
    let told = status(&plan, &next, &observed(&objects), None, then());
    let condition = |type_: &str| told.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    assert_eq!((&*condition("Ready").status, &*condition("Degraded").status), ("True", "True"));
    let healthy = condition("BackupHealthy");
    assert_eq!((&*healthy.status, &*healthy.reason), ("False", "BackupCredentialsMissing"));
    assert!(healthy.message.contains("\"bucket\", which lacks the key \"secret\""), "{}", healthy.message);
}

#[test]
fn its_words_about_backups_become_a_condition() {
    let said = |over: &Value, conditions: &Value, before: Option<&TradingPlatformStatus>| {
        let (plan, objects) = rendered(&shop(&backed_up(over)));
        let mut live = observed(&objects);
        let cluster = live.values_mut().find(|child| child.kind == Kind::Cluster).unwrap();
        let said = json!({"status": {"conditions": conditions}});
        cluster.workload.as_mut().unwrap().backups = Backups::of(&said);
        status(&plan, &steps(&plan, &objects, &live), &live, before, then())
    };
    let healthy = |told: &TradingPlatformStatus| {
        let condition = told.conditions.iter().find(|condition| condition.type_ == "BackupHealthy").unwrap();
        (condition.status.clone(), condition.reason.clone())
    };
    let is = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    let archives = |status: &str, message: &str| {
        json!({"type": "ContinuousArchiving", "status": status, "message": message,
            "lastTransitionTime": "2026-01-01T03:00:12Z"})
    };
    let archiving = |status: &str| archives(status, "no");
    let last = |status: &str, reason: &str| {
        json!({"type": "LastBackupSucceeded", "status": status, "reason": reason, "message": "no",
            "lastTransitionTime": "2026-01-01T03:00:12Z"})
    };
    let whole = json!({});
    let paused = json!({"backup": {"suspend": true}});
    let elsewhere = json!({"placement": {"namespaces": {"postgres": "data"}}});
    let good = last("True", "LastBackupSucceeded");
    let bad = last("False", "LastBackupFailed");
    let next = last("False", "BackupStarted");
    let earlier = |condition: &Value| {
        let mut condition = condition.clone();
        condition["lastTransitionTime"] = json!("2025-12-31T03:00:12Z");
        condition
    };
    let old = earlier(&good);
    let rolling = archives("False", "wal archive plugin is not available: barman-cloud.cloudnative-pg.io");
    let switching = archives("False", "switchover in progress, refusing archiving");
    for (over, conditions, expected) in [
        (&whole, json!([]), is("False", "NoBackupYet")),
        (&whole, json!([next]), is("False", "BackupUnderway")),
        // Of the bucket before this one.
        (&whole, json!([old]), is("False", "NoBackupYet")),
        (&whole, json!([earlier(&bad)]), is("False", "NoBackupYet")),
        (&whole, json!([earlier(&archiving("False")), good]), is("True", "BackedUp")),
        (&whole, json!([rolling, old]), is("False", "ServersRestarting")),
        (&whole, json!([switching, good]), is("True", "BackedUp")),
        (&whole, json!([archiving("True"), good]), is("True", "BackedUp")),
        (&elsewhere, json!([archiving("True"), good]), is("True", "BackedUp")),
        (&whole, json!([archiving("False"), good]), is("False", "ArchivingFails")),
        (&whole, json!([archiving("True"), bad]), is("False", "BackupFailed")),
        (&paused, json!([archiving("True"), good]), is("False", "Suspended")),
        (&paused, json!([bad]), is("False", "Suspended")),
        (&paused, json!([archiving("False"), good]), is("False", "ArchivingFails")),
    ] {
        assert_eq!(healthy(&said(over, &conditions, None)), expected, "{conditions}");
    }
    // What was said stands while the next one is made.
    for last in [&good, &bad] {
        let before = said(&whole, &json!([last]), None);
        let now = said(&whole, &json!([next]), Some(&before));
        assert_eq!(now.conditions, before.conditions);
    }
    let none = said(&json!({"backup": null}), &json!([good]), None);
    assert!(none.conditions.iter().all(|condition| condition.type_ != "BackupHealthy"));
}

#[test]
fn the_bucket_stays_as_long_as_the_database_archives_to_it() {
    let (_, objects) = rendered(&shop(&backed_up(&json!({}))));
    let mut live = observed(&objects);
    let (plan, wished) = rendered(&shop(&database(&json!({}))));
    let bucket =
        |keys: &[String]| keys.iter().any(|key| key.starts_with("ObjectStore shop-postgres-backup-"));
    // The edit of the Cluster may be refused, or wait.
    let next = steps(&plan, &wished, &live);
    assert_eq!(names(&next.prune), ["ScheduledBackup shop-postgres-backup"]);
    assert!(next.goes_on);
    let lets_go = |live: &mut Observed| {
        let cluster = live.get_mut(&here(Kind::Cluster, DATABASE)).unwrap();
        cluster.workload.as_mut().unwrap().backups.bucket = None;
    };
    let mut without = live.clone();
    lets_go(&mut without);
    assert!(bucket(&names(&steps(&plan, &wished, &without).prune)));
    // Nobody needs what stayed of an earlier platform either.
    for child in without.values_mut() {
        child.platform_uid = "uid of an earlier shop".to_owned();
    }
    assert!(bucket(&names(&steps(&plan, &wished, &without).prune)));

    // With a database that stays, asleep or to be put to sleep when it is healthy.
    let deleted = |live: &Observed, data: DataPolicy| match teardown(
        &live.values().filter(|child| child.is_store).cloned().collect::<Vec<_>>(),
        data,
        false,
    ) {
        Teardown::Delete { objects, .. } => names(&objects),
        other => panic!("{other:?}"),
    };
    for stopped in [Hibernation::Deferred, Hibernation::Done] {
        sleeping(&mut live, stopped);
        let goes = deleted(&live, DataPolicy::Retain);
        assert!(goes.contains(&"ScheduledBackup shop-postgres-backup".to_owned()), "{goes:?}");
        assert!(!bucket(&goes), "{goes:?}");
    }
    assert_eq!(deleted(&live, DataPolicy::Delete), ["Cluster shop-postgres"]);
    live.remove(&here(Kind::Cluster, DATABASE));
    assert!(bucket(&deleted(&live, DataPolicy::Delete)));
}

#[test]
fn a_database_names_a_bucket_when_that_is_there() {
    let (plan, objects) = rendered(&shop(&backed_up(&json!({}))));
    let applied = |plan: &Plan, objects: &[Object], live: &Observed| {
        let next = steps(plan, objects, live);
        let cluster = next.apply.into_iter().find(|apply| apply.object.kind == Kind::Cluster);
        cluster.map(|apply| {
            let name = "/spec/plugins/0/parameters/barmanObjectName";
            apply.object.body.pointer(name).and_then(Value::as_str).map(str::to_owned)
        })
    };
    let bucket = objects.iter().find(|object| object.kind == Kind::ObjectStore).unwrap();
    let named = Some(Some(bucket.name.clone()));
    // What is applied wakes nobody: the operator knows it already.
    assert!(steps(&plan, &objects, &Observed::new()).goes_on);
    let rest = steps(&plan, &objects, &observed(&objects));
    assert!(rest.apply.is_empty() && !rest.goes_on);
    let (_, bare) = rendered(&shop(&database(&json!({}))));
    for (live, expected) in [
        // It is made at once, whatever becomes of the bucket.
        (vec![], Some(None)),
        (vec![bucket], named.clone()),
        (bare.iter().collect(), None),
        (bare.iter().chain([bucket]).collect(), named),
    ] {
        let live: Vec<Object> = live.into_iter().cloned().collect();
        assert_eq!(applied(&plan, &objects, &observed(&live)), expected);
    }
    let mut foreign = observed(&objects);
    foreign.remove(&here(Kind::Cluster, DATABASE));
    foreign.get_mut(&bucket.key()).unwrap().platform = "another".to_owned();
    assert_eq!(applied(&plan, &objects, &foreign), Some(None));
    assert!(!steps(&plan, &objects, &foreign).goes_on, "it would turn in circles");

    // From one to another it goes when that is there. A name is not taken away because somebody deleted what it names.
    let moved = json!({"backup": {"destination": {"s3": {"bucket": "others"}}}});
    let (later, wished) = rendered(&shop(&backed_up(&moved)));
    let other = wished.iter().find(|object| object.kind == Kind::ObjectStore).unwrap();
    assert_ne!(other.name, bucket.name);
    let mut live = observed(&objects);
    assert_eq!(applied(&later, &wished, &live), None);
    live.insert(other.key(), child(other));
    assert_eq!(applied(&later, &wished, &live), Some(Some(other.name.clone())));
    live.remove(&other.key());
    live.remove(&bucket.key());
    assert_eq!(applied(&plan, &objects, &live), None);
}

#[test]
fn who_makes_the_backups_counts_in_the_quota() {
    let resources =
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    let backend = json!({"replicas": 0});
    let short = |hard: &str| {
        let quota = json!({"hard": {"limits.memory": hard}});
        let spec = json!({"postgres": {"resources": resources}, "backend": backend, "quota": quota});
        let (plan, objects) = rendered(&shop(&backed_up(&spec)));
        !steps(&plan, &objects, &Observed::new()).problems.is_empty()
    };
    // Two servers and one that joins, each with half a Gi beside it.
    assert!(short("4Gi") && !short("4608Mi"));
}

#[test]
fn a_database_that_was_applied_is_as_it_should_be() {
    let (plan, objects) = rendered(&shop(&database(&json!({}))));
    let next = steps(&plan, &objects, &observed(&objects));
    assert!(next.apply.is_empty() && next.problems.is_empty(), "{:?}", next.problems);
    assert!(child(&cluster(&database(&json!({})))).is_store, "it outlives a foreground deletion");
}
