//! `probe` against the scripted server.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use crate::fake::{Act, FakeRedis};
use crate::support::{Outcome, agent, probe};

const INFO: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_fail:0\r\n\
    cluster_known_nodes:6\r\n";

fn saying(reply: &'static str) -> FakeRedis {
    FakeRedis::start(move |_| Act::Say(format!("{reply}\r\n")))
}

fn cluster(info: &'static str) -> FakeRedis {
    FakeRedis::start(move |command| match command {
        "PING" => Act::Say("+PONG\r\n".into()),
        "CLUSTER INFO" => Act::bulk(info),
        other => Act::Say(format!("-ERR unexpected {other}\r\n")),
    })
}

#[test]
fn a_healthy_server_passes() {
    let server = saying("+PONG");
    probe("liveness", server.port(), None).succeeds();
    probe("readiness", server.port(), None).succeeds();
    // An empty password is none.
    probe("readiness", server.port(), Some(OsStr::new(""))).succeeds();
}

#[test]
fn a_busy_server_is_alive_but_not_ready() {
    for reply in [
        "-LOADING Redis is loading the dataset in memory",
        "-BUSY Redis is busy running a script.",
        "-MASTERDOWN Link with MASTER is down",
        "-NOAUTH Authentication required.",
        "-MISCONF Redis is configured to save RDB snapshots",
    ] {
        let server = saying(reply);
        probe("liveness", server.port(), None).succeeds();
        probe("readiness", server.port(), None).fails_with(&reply[1..]);
    }
}

#[test]
fn the_password_is_sent_and_never_shown() {
    let server = FakeRedis::start(|command| match command {
        "AUTH hunter2" => Act::Say("+OK\r\n".into()),
        "PING" => Act::Say("+PONG\r\n".into()),
        // As Redis does where AUTH is renamed.
        other => Act::Say(format!("-ERR unknown command, with args beginning with: '{other}'\r\n")),
    });
    probe("readiness", server.port(), Some(OsStr::new("hunter2"))).succeeds();

    let wrong = Some(OsStr::new("swordfish"));
    probe("liveness", server.port(), wrong).succeeds();
    let outcome = probe("readiness", server.port(), wrong);
    outcome.fails_with("AUTH was refused");
    assert!(!outcome.stderr.contains("swordfish"), "{}", outcome.stderr);
}

#[test]
fn a_cluster_node_is_ready_with_its_cluster() {
    probe("readiness --cluster", cluster(INFO).port(), None).succeeds();

    let down = cluster("cluster_state:fail\r\ncluster_slots_assigned:16384\r\n");
    probe("readiness --cluster", down.port(), None).fails_with("cluster_state is fail");
    probe("readiness", down.port(), None).succeeds();
    probe("liveness --cluster", down.port(), None).succeeds();

    let alone = cluster("cluster_state:ok\r\ncluster_slots_assigned:0\r\ncluster_known_nodes:1\r\n");
    let outcome = probe("readiness --cluster", alone.port(), None);
    outcome.fails_with("cluster is not formed yet");

    let plain = saying("+PONG");
    probe("readiness --cluster", plain.port(), None).fails_with("CLUSTER INFO was not answered");
}

#[test]
fn a_server_that_is_not_there_fails() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    drop(listener);
    let reason = format!("cannot connect to 127.0.0.1:{port}: Connection refused");
    probe("liveness", port, None).fails_with(&reason);
}

#[test]
fn a_server_that_is_not_redis_fails() {
    let server = saying("HTTP/1.1 400 Bad Request");
    probe("liveness", server.port(), None).fails_with("PING was not answered in RESP");
    let server = saying("$1000000");
    probe("liveness", server.port(), None).fails_with("reply is longer than 262144 bytes");
    let server = saying("+HELLO");
    probe("liveness", server.port(), None).fails_with("not answered as Redis answers");
    let server = FakeRedis::start(|_| Act::HangUp);
    probe("liveness", server.port(), None).fails_with("connection lost during PING");
}

#[test]
fn a_server_that_is_slow_fails_in_time() {
    for script in [
        |_: &str| Act::Wait,
        |_: &str| Act::Drip("+PONG, but only after a very long time, in very many pieces"),
    ] {
        let server = FakeRedis::start(script);
        let start = Instant::now();
        probe("liveness --timeout-ms 300", server.port(), None)
            .fails_with("PING took longer than the 300 ms of the probe");
        // Loose, because the machine may be busy; the drip would take three seconds.
        assert!(start.elapsed() < Duration::from_millis(1500));
        assert!(start.elapsed() >= Duration::from_millis(300));
    }
}

#[test]
fn a_reply_in_pieces_is_put_together() {
    let server = FakeRedis::start(|_| Act::Drip("+PONG\r\n"));
    probe("readiness --timeout-ms 5000", server.port(), None).succeeds();
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    for args in [
        "probe",
        "probe health",
        "probe liveness --port 0",
        "probe liveness --port 70000",
        "probe liveness --timeout-ms 0",
        "probe liveness --password x",
        "prepare",
    ] {
        let words: Vec<_> = args.split(' ').collect();
        assert!(!Outcome::of(&mut agent(&words)).ok, "{args}");
    }
}
