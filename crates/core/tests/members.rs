//! What is told of data stores from what their servers say.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::sync::Arc;

use jiff::ToSpan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use support::{here, observed, rendered, shop, then};
use trading_api::status::{ComponentStatus, TradingPlatformStatus};
use trading_core::{
    digest,
    inputs::Inputs,
    kinds::Kind,
    leaving::hold_back,
    members::{Answers, Members, Protocol, take_in, targets},
    object::Object,
    plan::Plan,
    render::topology_digest,
    resolve::resolve,
    status::status,
    step::{Observed, steps},
};

/// A platform of which all is applied and every pod is ready, and what its servers said.
struct Seen {
    spec: Value,
    plan: Plan,
    objects: Vec<Object>,
    live: Observed,
    before: Option<TradingPlatformStatus>,
    members: Members,
    seconds: i64,
}

impl Seen {
    fn new(spec: &Value) -> Self {
        let (plan, objects) = rendered(&shop(spec));
        let live = observed(&objects);
        Self {
            spec: spec.clone(),
            plan,
            objects,
            live,
            before: None,
            members: Members::default(),
            seconds: 0,
        }
    }

    /// The servers of a store answer so, in their order; `null` is no answer.
    fn answer(&mut self, store: &str, answers: &[Value]) -> TradingPlatformStatus {
        let servers = answers.iter().enumerate().map(|(number, answer)| {
            let pod = format!("shop-{store}-{number}");
            let mut answer = answer.clone();
            let told = answer.as_object_mut().map(|answer| {
                answer.insert("name".to_owned(), json!(pod));
                take_in(&pod, serde_json::from_value(json!(answer)).unwrap()).unwrap()
            });
            (pod, told)
        });
        let answers = Answers { servers: servers.collect(), current: true };
        self.members.0.insert(store.to_owned(), answers);
        self.report()
    }

    fn report(&mut self) -> TradingPlatformStatus {
        self.seconds += 60;
        let inputs = Inputs { members: Arc::new(self.members.clone()), ..Inputs::offline(then()) };
        self.plan = resolve(&shop(&self.spec), &inputs);
        let steps = steps(&self.plan, &self.objects, &self.live);
        let now =
            status(&self.plan, &steps, &self.live, self.before.as_ref(), then() + self.seconds.seconds());
        self.before = Some(now.clone());
        now
    }

    fn pods(&mut self, store: &str, ready: i32) {
        let child = self.live.get_mut(&here(Kind::StatefulSet, &format!("shop-{store}"))).unwrap();
        child.workload.as_mut().unwrap().ready = ready;
    }
}

fn database(instances: i32) -> Value {
    json!({"postgres": {"mode": "Managed", "version": 16, "instances": instances, "storage": {"size": "1Gi"}}})
}

fn primary() -> Value {
    json!({"role": "primary"})
}

fn replica(in_step: bool) -> Value {
    json!({"role": "replica", "follows": "shop-postgres-0", "inStep": in_step})
}

fn component<'a>(status: &'a TradingPlatformStatus, name: &str) -> &'a ComponentStatus {
    status.components.iter().find(|component| component.name == name).unwrap()
}

fn condition<'a>(status: &'a TradingPlatformStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

fn verdict(status: &TradingPlatformStatus, type_: &str) -> (String, String) {
    condition(status, type_)
        .map(|condition| (condition.status.clone(), condition.reason.clone()))
        .unwrap_or_default()
}

fn members(status: &TradingPlatformStatus, store: &str) -> Vec<(String, String)> {
    let all = component(status, store).members.iter();
    all.map(|member| (member.role.clone().unwrap_or_default(), member.state.clone())).collect()
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn servers_are_asked_at_names_of_the_plan() {
    let stores = json!({
        "postgres": database(2)["postgres"],
        "redis": {"mode": "Replicated", "instances": 3, "storage": {"size": "1Gi"}},
    });
    let seen = Seen::new(&stores);
    let all = targets(&seen.plan, &seen.live);
    let [redis, postgres] = &all[..] else { panic!("{all:?}") };
    assert_eq!((redis.store, redis.port, redis.servers.len(), redis.settled), ("redis", 9121, 3, true));
    assert_eq!((postgres.store, postgres.port), ("postgres", 8008));
    assert_eq!(
        postgres.servers[1],
        ("shop-postgres-1".to_owned(), "shop-postgres-1.shop-postgres-headless.trading.svc".to_owned())
    );
    assert_eq!(targets(&seen.plan, &Observed::new()), [], "there is nobody yet");
}

#[test]
fn members_and_roles_are_told() {
    let mut seen = Seen::new(&database(2));
    let unasked = seen.report();
    assert!(component(&unasked, "postgres").members.is_empty());
    assert_eq!(condition(&unasked, "VolumeNearlyFull"), None);

    let well = seen.answer("postgres", &[primary(), replica(true)]);
    assert_eq!(members(&well, "postgres"), [is("primary", "Ready"), is("replica", "Ready")]);
    assert_eq!(component(&well, "postgres").message, None);
    assert_eq!(verdict(&well, "Ready"), is("True", "Ready"));
    assert_eq!(verdict(&well, "VolumeNearlyFull"), is("False", "Enough"));

    let again = seen.answer("postgres", &[primary(), replica(true)]);
    assert_eq!(again, well, "nothing changes without a cause");

    // The operator starts anew and has asked nobody yet.
    seen.members = Members::default();
    assert_eq!(seen.report(), well);
}

#[test]
fn where_nobody_answers_nothing_is_said() {
    let mut seen = Seen::new(&database(2));
    let before = seen.report();
    let silent = seen.answer("postgres", &[Value::Null, Value::Null]);
    assert_eq!(silent, before);
}

#[test]
fn a_store_on_its_way_says_what_it_waits_for() {
    let mut seen = Seen::new(&database(2));
    seen.pods("postgres", 1);
    let copies = json!({"role": "unknown", "waitsFor": "copies the data of shop-postgres-0"});
    let status = seen.answer("postgres", &[primary(), copies]);
    assert_eq!(
        component(&status, "postgres").message.as_deref(),
        Some("1 of 2 pods ready (shop-postgres-1: copies the data of shop-postgres-0)")
    );
    assert_eq!(members(&status, "postgres")[1], is("", "Waiting"));
    assert_eq!(verdict(&status, "Degraded"), is("False", "AsWished"));
}

#[test]
fn replicas_behind_are_a_warning() {
    let mut seen = Seen::new(&database(2));
    seen.answer("postgres", &[primary(), replica(true)]);
    let behind = seen.answer("postgres", &[primary(), replica(false)]);
    assert_eq!(members(&behind, "postgres")[1], is("replica", "OutOfStep"));
    assert_eq!(verdict(&behind, "Ready"), is("True", "Ready"));
    assert_eq!(verdict(&behind, "Degraded"), is("True", "ReplicasNotInStep"));
    assert!(condition(&behind, "Degraded").unwrap().message.starts_with("shop-postgres-1 do not keep up"));

    seen.pods("postgres", 1);
    let comes = seen.answer("postgres", &[primary(), replica(false)]);
    assert_eq!(verdict(&comes, "Degraded"), is("False", "AsWished"), "its pods tell of it");
}

#[test]
fn a_database_without_a_primary_is_not_ready() {
    let mut seen = Seen::new(&database(2));
    seen.pods("postgres", 0);
    let waits = json!({"role": "replica", "inStep": false, "waitsFor": "nobody leads"});
    let fresh = seen.answer("postgres", &[waits.clone(), Value::Null]);
    assert_eq!(verdict(&fresh, "Ready"), is("False", "Progressing"), "there was none yet");

    seen.pods("postgres", 2);
    seen.answer("postgres", &[primary(), replica(true)]);
    for _ in 0..2 {
        let lost = seen.answer("postgres", &[waits.clone(), Value::Null]);
        assert_eq!(verdict(&lost, "Ready"), is("False", "NoPrimary"));
        assert_eq!(members(&lost, "postgres")[1], is("", "Silent"));
        let message = &condition(&lost, "Ready").unwrap().message;
        assert!(message.contains("takes writes (shop-postgres-0: nobody leads); if this"), "{message}");
    }
    // A new leader has asked nobody yet: what was said stands, with its time and its words.
    let told = seen.before.clone().unwrap();
    seen.members.0.clear();
    let unasked = seen.report();
    for type_ in ["Ready", "Stalled"] {
        assert_eq!(condition(&unasked, type_), condition(&told, type_));
    }
    assert_eq!(verdict(&unasked, "Degraded"), verdict(&told, "Degraded"));
    // Who reaches nobody says nothing of them.
    let unheard = seen.answer("postgres", &[Value::Null, Value::Null]);
    assert_eq!(verdict(&unheard, "Ready"), is("True", "Ready"));
    let back = seen.answer("postgres", &[primary(), replica(true)]);
    assert_eq!(verdict(&back, "Ready"), is("True", "Ready"));
}

#[test]
fn volumes_are_told_of_before_they_are_full() {
    let mut seen = Seen::new(&database(1));
    let used = |percent: u64| json!({"role": "primary", "volumes": [{"name": "data", "totalBytes": 1000, "freeBytes": 1000 - 10 * percent}]});
    let mut verdicts = Vec::new();
    for percent in [50, 84, 86, 82, 79, 82] {
        let status = seen.answer("postgres", &[used(percent)]);
        assert_eq!(verdict(&status, "Ready"), is("True", "Ready"));
        verdicts.push((percent, verdict(&status, "VolumeNearlyFull").0));
    }
    let expected = [(50, "False"), (84, "False"), (86, "True"), (82, "True"), (79, "False"), (82, "False")];
    assert_eq!(verdicts, expected.map(|(percent, status)| (percent, status.to_owned())));

    let full = seen.answer("postgres", &[used(96)]);
    assert_eq!(verdict(&full, "Degraded"), is("True", "VolumeNearlyFull"));
    assert_eq!(
        condition(&full, "VolumeNearlyFull").unwrap().message,
        "volume data of shop-postgres-0 is more than 95 % full, and a full one stops the server: raise postgres.storage.size"
    );
    let silent = seen.answer("postgres", &[Value::Null]);
    assert_eq!(condition(&silent, "VolumeNearlyFull"), condition(&full, "VolumeNearlyFull"));
}

#[test]
fn who_can_not_run_says_why() {
    let mut seen = Seen::new(&database(2));
    let failure =
        json!({"failure": {"reason": "WrongMajorVersion", "message": "holds data of version 15: go back"}});
    seen.pods("postgres", 0);
    let failed = seen.answer("postgres", &[failure.clone(), Value::Null]);
    assert_eq!(verdict(&failed, "Ready"), is("False", "WrongMajorVersion"));
    let message = "shop-postgres-0 can't run: holds data of version 15: go back";
    assert_eq!(component(&failed, "postgres").message.as_deref(), Some(message));
    assert_eq!(members(&failed, "postgres")[0], is("", "Failed"));

    seen.pods("postgres", 1);
    let serves = seen.answer("postgres", &[failure, primary()]);
    assert_eq!(verdict(&serves, "Degraded"), is("True", "WrongMajorVersion"));
    assert_eq!(verdict(&serves, "Ready"), is("False", "Progressing"));
}

#[test]
fn a_store_outside_that_does_not_answer_is_told_of() {
    let mut seen = Seen::new(&json!({"postgres": {"mode": "External", "external": {
        "host": "db.example.com", "readOnlyHost": "10.0.0.7", "database": "app", "cidrs": ["10.0.0.0/28"],
        "credentialsSecretRef": {"name": "login"},
    }}}));
    let [target] = &targets(&seen.plan, &seen.live)[..] else { panic!("one store") };
    assert_eq!(
        (target.store, target.protocol, target.port),
        ("postgres", Protocol::Postgres { tls: true }, 5432)
    );
    assert_eq!(
        target.servers.iter().map(|(_, host)| host).collect::<Vec<_>>(),
        ["db.example.com", "10.0.0.7"]
    );

    let mut say = |report: Value| {
        let member = take_in("db.example.com", serde_json::from_value(report).unwrap());
        let servers = [("db.example.com".to_owned(), member)].into();
        seen.members.0.insert("postgres".to_owned(), Answers { servers, current: true });
        seen.report()
    };
    let well = say(json!({"name": "db.example.com", "role": "primary"}));
    assert_eq!(verdict(&well, "Degraded").0, "False");
    let failure = json!({"reason": "Unreachable", "message": "takes no connection: refused"});
    let lost = say(json!({"name": "db.example.com", "failure": failure}));
    assert_eq!(verdict(&lost, "Degraded"), is("True", "Unreachable"));
    assert_eq!(verdict(&lost, "Ready").0, "True", "its clients know better");
    let message = &condition(&lost, "Degraded").unwrap().message;
    let begins = "db.example.com:5432 of postgres.external takes no connection: refused; ";
    assert!(message.starts_with(begins) && message.contains("firewalls"), "{message}");
    let back = say(json!({"name": "db.example.com", "role": "primary"}));
    assert_eq!(verdict(&back, "Degraded").0, "False");

    let lost = say(json!({"name": "db.example.com", "failure": failure}));
    seen.members = Members::default();
    assert_eq!(verdict(&seen.report(), "Degraded"), verdict(&lost, "Degraded"), "it is not asked again yet");
    let mut inputs = Inputs::offline(then());
    inputs.operator.scope.outside_ports = vec![6379];
    let plan = resolve(&shop(&seen.spec), &inputs);
    assert_eq!(targets(&plan, &seen.live), [], "no such port may be tried");
    let steps = steps(&plan, &seen.objects, &seen.live);
    let untold = status(&plan, &steps, &seen.live, Some(&lost), then());
    assert_eq!(verdict(&untold, "Degraded").0, "False", "nobody is asked any more");
}

#[test]
fn slots_without_a_server_are_told_of() {
    let cluster =
        json!({"redis": {"mode": "Cluster", "shards": 3, "replicasPerShard": 0, "storage": {"size": "1Gi"}}});
    let mut seen = Seen::new(&cluster);
    let server = |unserved: u16| json!({"role": "primary", "cluster": {"node": "a", "slots": 5461, "unserved": unserved, "settled": unserved == 0}});
    let well = seen.answer("redis", &[server(0), server(0), server(0)]);
    assert_eq!(verdict(&well, "Ready"), is("True", "Ready"));
    assert_eq!(members(&well, "redis")[0], is("master", "Ready"));
    let cut_off = seen.answer("redis", &[server(0), server(0), server(10923)]);
    assert_eq!(verdict(&cut_off, "Ready"), is("True", "Ready"), "others see all of them");
    let lost = seen.answer("redis", &[server(5461), server(5461), Value::Null]);
    assert_eq!(verdict(&lost, "Ready"), is("False", "SlotsWithoutServer"));
    assert!(condition(&lost, "Ready").unwrap().message.starts_with("5461 of Redis' 16384 slots"));
    seen.members.0.clear();
    assert_eq!(condition(&seen.report(), "Ready"), condition(&lost, "Ready"), "nobody was asked yet");
}

#[test]
fn a_file_is_in_force_when_all_say_so() {
    let digest = digest::of_bytes(b"maxmemory 1\n");
    let runs_by = |digest: &str| json!({"role": "primary", "inForce": {"redis.conf": digest}});
    let mut seen = Seen::new(&database(1));
    let mut all_run = |answers: &[Value], current: bool| {
        seen.answer("postgres", answers);
        let answers = seen.members.0.get_mut("postgres").unwrap();
        answers.current = current;
        answers.all_run_by("redis.conf", &digest)
    };
    assert!(all_run(&[runs_by(&digest), runs_by(&digest)], true));
    assert!(!all_run(&[runs_by(&digest), runs_by(&digest)], false), "it may be so no more");
    assert!(!all_run(&[runs_by(&digest), runs_by("other")], true));
    assert!(!all_run(&[runs_by(&digest), Value::Null], true));
    assert!(!all_run(&[], true));
}

#[test]
fn servers_that_go_stay_until_they_have_left() {
    let shards = |shards: u8| json!({"redis": {"mode": "Cluster", "shards": shards, "replicasPerShard": 1, "storage": {"size": "1Gi"}}});
    let mut seen = Seen::new(&shards(4));
    seen.spec = shards(3);
    let smaller = resolve(&shop(&seen.spec), &Inputs::offline(then()));
    let digest = topology_digest(&smaller).unwrap();
    let servers = |seen: &Seen| {
        let mut plan = smaller.clone();
        plan.members = Arc::new(seen.members.clone());
        hold_back(&mut plan, &seen.live);
        let told = plan.problems.iter().find(|problem| problem.reason == "ServersLeaving");
        (plan.redis.unwrap().servers, told.map(|problem| problem.message.clone()))
    };
    let (count, told) = servers(&seen);
    assert_eq!(count, 8, "nobody was asked yet");
    assert!(told.unwrap().contains("shop-redis-6, shop-redis-7 stay until they tell"));

    let pods = |count: u8| (0..count).map(|number| format!("shop-redis-{number}")).collect::<Vec<_>>();
    let of = |members: Value, owners: Value, digest: &str| {
        let slots = i32::from(owners != json!([]));
        json!({"role": "primary", "inForce": {"cluster": digest}, "cluster": {
            "node": "a", "slots": slots, "settled": true, "members": members, "owners": owners,
        }})
    };
    let stays = of(json!(pods(6)), json!(pods(3)), &digest);
    let left = |number: u8| of(json!([format!("shop-redis-{number}")]), json!([]), &digest);
    let whole = |first: &Value, last: &Value| {
        let mut all = vec![stays.clone(); 8];
        (all[0], all[6], all[7]) = (first.clone(), left(6), last.clone());
        all
    };
    for (why, first, last) in [
        ("one has not left", &stays, &stays),
        ("one does not answer", &stays, &Value::Null),
        ("one knows it still", &of(json!(pods(8)), json!(pods(3)), &digest), &left(7)),
        ("one goes by what was before", &of(json!(pods(6)), json!(pods(3)), "before"), &left(7)),
    ] {
        seen.answer("redis", &whole(first, last));
        let (count, told) = servers(&seen);
        assert_eq!(count, 8, "{why}");
        assert!(told.unwrap().contains("until the others have their slots"), "{why}");
    }
    seen.answer("redis", &whole(&stays, &left(7)));
    assert_eq!(servers(&seen), (6, None));
    seen.members.0.get_mut("redis").unwrap().current = false;
    assert_eq!(servers(&seen).0, 8, "it was asked before the edit");
}

#[test]
fn what_a_database_can_not_make_is_told_and_holds_up_nothing() {
    let mut seen = Seen::new(&database(2));
    let lacks = "the image does not have extension postgis of database app";
    let told = json!({"role": "primary", "refused": [lacks, "role etl is there already"]});
    let now = seen.answer("postgres", &[told, replica(true)]);
    assert_eq!(verdict(&now, "Degraded"), is("True", "DatabaseObjectsRefused"));
    let message = &condition(&now, "Degraded").unwrap().message;
    assert!(message.ends_with(&format!("role etl is there already; {lacks}")), "{message}");
    assert_eq!(verdict(&now, "Ready"), is("True", "Ready"));
    // Who is no primary makes nothing.
    let stale = json!({"role": "replica", "follows": "shop-postgres-0", "inStep": true, "refused": [lacks]});
    let now = seen.answer("postgres", &[primary(), stale]);
    assert_eq!(verdict(&now, "Degraded"), is("False", "AsWished"));
}

#[test]
fn settings_that_redis_refuses_are_told_with_field_value_and_reason_until_they_are_mended() {
    let mut seen = Seen::new(&json!({"redis": {"mode": "Replicated", "instances": 2}}));
    let never = "timeout \"never\": CONFIG SET was refused: argument couldn't be parsed into an integer";
    let server = |role: &str, refused: &[&str]| json!({"role": role, "inStep": true, "refused": refused});
    let small = "maxmemory \"3000000\": 4000000 bytes are in use";
    let both = [server("primary", &[never, small]), server("replica", &[never])];
    let status = seen.answer("redis", &both);
    let degraded = condition(&status, "Degraded").unwrap();
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "ConfigurationRefused"));
    let expected = format!(
        "Redis refuses settings, and goes on with those that it had: redis.{small} (on shop-redis-0); \
         redis.config.{never} (on shop-redis-0, shop-redis-1); mend or remove them"
    );
    assert_eq!(degraded.message, expected);
    assert_eq!(verdict(&status, "Ready"), is("True", "Ready"), "it serves all the same");

    // What only a start changes is on its way while pods are replaced, and refused where they have started.
    let started = [server("primary", &["databases \"many\": it is no number"]), server("replica", &[])];
    let rolled_out = |seen: &mut Seen, is_so: bool| {
        let set = seen.live.get_mut(&here(Kind::StatefulSet, "shop-redis")).unwrap();
        set.workload.as_mut().unwrap().rolled_out = is_so;
    };
    rolled_out(&mut seen, false);
    assert_eq!(verdict(&seen.answer("redis", &started), "Degraded"), is("False", "AsWished"));
    rolled_out(&mut seen, true);
    let status = seen.answer("redis", &started);
    assert!(condition(&status, "Degraded").unwrap().message.contains("redis.config.databases \"many\""));

    let user = [server("primary", &["users.app (its rules): unknown command"]), server("replica", &[])];
    let status = seen.answer("redis", &user);
    assert!(condition(&status, "Degraded").unwrap().message.contains("redis.users.app (its rules): unknown"));
    let well = [server("primary", &[]), server("replica", &[])];
    assert_eq!(verdict(&seen.answer("redis", &well), "Degraded"), is("False", "AsWished"));
}
