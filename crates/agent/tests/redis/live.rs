//! Configuration that changes while servers run.

use std::fs;
use std::time::Duration;

use crate::client::{Load, lost};
use crate::fleet::{Fleet, eventually, has_redis, measured};
use crate::support::free_port;

const PATIENCE: Duration = Duration::from_secs(30);

fn process(fleet: &Fleet, ordinal: usize) -> String {
    let info = fleet.ask(ordinal, &["INFO", "server"]);
    info.lines().find_map(|it| it.strip_prefix("run_id:")).expect("Redis says it").trim().to_owned()
}

fn alone(template: &str) -> Fleet {
    let mut fleet = Fleet::new("shop-redis", free_port(), template, &[]);
    fleet.start(0);
    answers(&fleet);
    fleet
}

fn answers(fleet: &Fleet) {
    eventually("the server answers", PATIENCE, || fleet.ask(0, &["PING"]) == "PONG");
}

fn becomes(fleet: &Fleet, directive: &str, value: &str) {
    fleet.until(&format!("{directive} is {value:?}"), PATIENCE, |it| it.setting(0, directive) == value);
}

fn is_pending(fleet: &Fleet, directive: &str) -> bool {
    fleet.metrics(0).contains(&format!("trading_redis_config_pending{{directive=\"{directive}\"}} 1"))
}

#[test]
fn what_redis_takes_changes_while_it_runs() {
    if !has_redis() {
        return;
    }
    let mut fleet = alone("timeout 100\nhz 20\nmaxmemory 100000000\nmaxmemory-policy volatile-lru\n");
    let before = process(&fleet, 0);
    fleet.edit(
        "timeout 300\nmaxmemory 90000000\nmaxmemory-policy allkeys-lfu\n\
         client-output-buffer-limit pubsub 1048576 0 0\nnotify-keyspace-events Kx\n",
    );
    becomes(&fleet, "timeout", "300");
    becomes(&fleet, "maxmemory", "90000000");
    becomes(&fleet, "maxmemory-policy", "allkeys-lfu");
    becomes(&fleet, "notify-keyspace-events", "xK");
    assert!(fleet.setting(0, "client-output-buffer-limit").ends_with("pubsub 1048576 0 0"));
    // What is no longer set has Redis' own value.
    becomes(&fleet, "hz", "10");
    assert_eq!(process(&fleet, 0), before, "it was not started again");
    assert!(!fleet.metrics(0).contains("config_pending"), "{}", fleet.metrics(0));
}

#[test]
fn what_redis_refuses_is_told_and_changes_nothing() {
    if !has_redis() {
        return;
    }
    let mut fleet = alone("timeout 100\nmaxmemory 100000000\nmaxmemory-policy noeviction\n");
    let value = "x".repeat(1000);
    for number in 0..3000 {
        assert_eq!(fleet.ask(0, &["SET", &format!("k{number}"), &value]), "OK");
    }
    let before = process(&fleet, 0);
    let bad = "timeout never\nmaxmemory 3000000\nmaxmemory-policy noeviction\nno-such-directive 1\ndatabases 4\nhz 30\n";
    fleet.edit(bad);
    becomes(&fleet, "hz", "30");
    for directive in ["timeout", "maxmemory", "no-such-directive", "databases"] {
        fleet.until("it is told", PATIENCE, |it| is_pending(it, directive));
    }
    // As the operator has it: the directive, the value, and what was said.
    let refused = |it: &Fleet, start: &str| {
        let report = it.report(0);
        let all = report["refused"].as_array().cloned().unwrap_or_default();
        all.iter().any(|words| words.as_str().is_some_and(|words| words.starts_with(start)))
    };
    fleet.until("the operator is told", PATIENCE, |it| {
        refused(it, "timeout \"never\": CONFIG SET was refused: ERR CONFIG SET failed")
            && refused(it, "maxmemory \"3000000\": ")
            && refused(it, "no-such-directive \"1\": CONFIG SET was refused: ERR Unknown option")
    });
    assert_eq!(fleet.setting(0, "timeout"), "100");
    assert_eq!(fleet.setting(0, "maxmemory"), "100000000");
    let log = fleet.log(0);
    for line in ["config: maxmemory stays as it was: ", "config: no-such-directive stays as it was: "] {
        assert_eq!(log.matches(line).count(), 1, "{line} is not once in {log}");
    }
    assert_eq!(process(&fleet, 0), before);

    // It is taken as soon as it can be.
    assert_eq!(fleet.ask(0, &["FLUSHALL"]), "OK");
    becomes(&fleet, "maxmemory", "3000000");

    // The bad lines do not keep it from starting either.
    fleet.stop(0);
    fleet.start(0);
    answers(&fleet);
    assert_eq!((fleet.setting(0, "timeout"), fleet.setting(0, "databases")), ("0".into(), "4".into()));
    assert!(is_pending(&fleet, "timeout") && is_pending(&fleet, "no-such-directive"));
    assert!(refused(&fleet, "timeout \"never\": ") && !refused(&fleet, "maxmemory"), "{}", fleet.report(0));
    fleet.edit("timeout 200\ndatabases 4\nmaxmemory 3000000\nmaxmemory-policy noeviction\n");
    becomes(&fleet, "timeout", "200");
    fleet.until("nothing is pending", PATIENCE, |it| !it.metrics(0).contains("config_pending"));
    assert!(fleet.report(0)["refused"].as_array().is_none_or(Vec::is_empty), "{}", fleet.report(0));
}

/// Each way of starting reads other files than the other way writes.
#[test]
fn no_write_is_lost_when_the_log_is_switched() {
    if !has_redis() {
        return;
    }
    let (on, off) = ("appendonly yes\nappendfsync always\n", "appendonly no\nappendfsync always\n");
    let mut fleet = alone(on);
    let is_there = |fleet: &Fleet, key: &str| fleet.ask(0, &["GET", key]) == "1";
    let write = |fleet: &Fleet, key: &str| assert_eq!(fleet.ask(0, &["SET", key, "1"]), "OK");
    write(&fleet, "logged");
    fleet.edit(off);
    becomes(&fleet, "appendonly", "no");
    write(&fleet, "unlogged");
    assert_eq!(fleet.ask(0, &["SAVE"]), "OK");
    // Its template has the log on again while it is away: the log is older than the snapshot.
    fleet.kill(0);
    fleet.edit(on);
    fleet.start(0);
    answers(&fleet);
    becomes(&fleet, "appendonly", "yes");
    eventually("the log is begun anew", PATIENCE, || {
        fleet.ask(0, &["INFO", "persistence"]).contains("aof_rewrite_in_progress:0")
    });
    write(&fleet, "logged again");
    // And off while it is away: the snapshot is older than the log.
    fleet.kill(0);
    fleet.edit(off);
    fleet.start(0);
    answers(&fleet);
    for key in ["logged", "unlogged", "logged again"] {
        eventually("the key is there", PATIENCE, || is_there(&fleet, key));
    }
    becomes(&fleet, "appendonly", "no");
    fleet.kill(0);
    fleet.start(0);
    answers(&fleet);
    assert!(is_there(&fleet, "logged again"), "the snapshot was written before the log was left");
}

#[test]
fn a_cluster_serves_while_its_configuration_changes() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::formed(3);
    let before: Vec<String> = (0..6).map(|it| process(&fleet, it)).collect();
    let load = Load::start(&fleet.seeds, 0);
    let cluster = "cluster-enabled yes\ncluster-node-timeout 5000\n";
    for (fsync, log) in [("always", "no"), ("everysec", "no"), ("always", "yes")] {
        fleet.edit(&format!("{cluster}appendonly {log}\nappendfsync {fsync}\ntimeout 900\n"));
        fleet.until("all have it", Duration::from_mins(1), |it| {
            (0..6).all(|n| it.setting(n, "appendfsync") == fsync && it.setting(n, "appendonly") == log)
        });
    }
    let ledger = load.stop();
    assert_eq!(ledger.refused, 0, "no write failed");
    assert_eq!(lost(&fleet.seeds, &ledger.acknowledged), Vec::<u64>::new());
    measured("writes while the configuration changed", ledger.acknowledged.len());
    measured("longest time without a write, seconds", ledger.longest_pause.as_secs_f32());
    assert_eq!((0..6).map(|it| process(&fleet, it)).collect::<Vec<_>>(), before);
}

/// A template that is gone for a moment is no reason to change anything.
#[test]
fn a_template_that_is_gone_changes_nothing() {
    if !has_redis() {
        return;
    }
    let fleet = alone("timeout 100\n");
    fs::remove_file(fleet.folder(0).join("template.conf")).expect("removed");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(fleet.setting(0, "timeout"), "100");
}
