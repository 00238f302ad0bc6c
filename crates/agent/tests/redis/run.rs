//! `run` as a container's main process.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{PASSWORD, address};
use crate::fleet::{Fleet, METRICS_PORT, eventually, get, has_redis, signal};
use crate::support::free_port;

const PATIENCE: Duration = Duration::from_secs(20);

fn alone() -> Fleet {
    let mut fleet = Fleet::new("shop-redis", free_port(), "appendonly yes\nappendfsync always\n", &[]);
    fleet.start(0);
    eventually("the server answers", PATIENCE, || fleet.ask(0, &["PING"]) == "PONG");
    fleet
}

fn server(fleet: &Fleet) -> String {
    let info = fleet.ask(0, &["INFO", "server"]);
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("Redis says it");
    line.trim().to_owned()
}

#[test]
fn a_request_to_stop_reaches_the_server() {
    if !has_redis() {
        return;
    }
    let mut fleet = alone();
    assert_eq!(fleet.ask(0, &["SET", "a", "1"]), "OK");
    let status = fleet.stop(0);
    assert!(status.success(), "{status}: {}", fleet.log(0));
    assert!(fleet.log(0).contains("Redis is now ready to exit"), "{}", fleet.log(0));
    fleet.start(0);
    eventually("the data is back", PATIENCE, || fleet.ask(0, &["GET", "a"]) == "1");
}

#[test]
fn it_ends_as_the_server_does() {
    if !has_redis() {
        return;
    }
    let mut fleet = alone();
    signal("-KILL", &server(&fleet));
    assert_eq!(fleet.wait(0).code(), Some(128 + 9));

    let tells = ["--tell-failure-seconds", "5"];
    let mut fleet = Fleet::new("shop-redis", free_port(), "cluster-enabled maybe\n", &tells);
    fleet.start(0);
    eventually("it tells why", PATIENCE, || fleet.report(0)["failure"]["reason"] == "ServerEnded");
    assert_eq!(fleet.wait(0).code(), Some(1));
    assert!(fleet.log(0).contains("cluster-enabled maybe"), "{}", fleet.log(0));
}

#[test]
fn metrics_tell_of_the_server() {
    if !has_redis() {
        return;
    }
    let fleet = alone();
    fleet.ask(0, &["SET", "a", "1"]);
    fleet.ask(0, &["GET", "a"]);
    fleet.ask(0, &["GET", "b"]);
    let metrics = fleet.metrics(0);
    for line in [
        "redis_up 1",
        "redis_keyspace_hits_total 1",
        "redis_keyspace_misses_total 1",
        "redis_aof_last_write_status 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("redis_instance_info{role=\"master\""), "{metrics}");
    assert!(!metrics.contains("cluster") && !metrics.contains(PASSWORD), "{metrics}");

    let report = fleet.report(0);
    assert_eq!((&report["name"], &report["role"]), (&json!("shop-redis-0"), &json!("primary")), "{report}");
    assert_eq!(report["inForce"]["redis.conf"], fleet.template_digest(0), "{report}");
    assert_eq!(report["volumes"][0]["name"], "data", "{report}");
    assert_eq!((&report["waitsFor"], &report["failure"]), (&Value::Null, &Value::Null), "{report}");

    // A server that hangs is told of, and its agent goes on.
    let process = server(&fleet);
    signal("-STOP", &process);
    assert!(fleet.metrics(0).lines().any(|it| it == "redis_up 0"));
    assert_eq!(fleet.report(0)["role"], "unknown");
    assert_eq!(get(address(fleet.at(0).ip(), METRICS_PORT), "/healthz").as_deref(), Some("ok\n"));
    signal("-CONT", &process);
    eventually("the server answers", PATIENCE, || fleet.metrics(0).contains("redis_up 1"));
}

#[test]
fn the_password_is_in_no_log() {
    if !has_redis() {
        return;
    }
    let fleet = alone();
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", server(&fleet))).expect("it runs");
    for text in [fleet.log(0), arguments] {
        assert!(!text.contains("cret"), "{text}");
    }
}
