//! `postgres prepare`, `probe` and `run` with the programs of a real PostgreSQL; skipped where there are
//! none, or where the tests run as root and there is no user `postgres` to run them as.

mod api;
mod cluster;
mod failover;
mod ledger;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use server::{Bench, Pod};

/// Characters that would end a literal of SQL, a field of a password file or a line of a shell.
const OWNER: &str = "it's:a\\b $(x) \"";
const REPLICATION: &str = "r:e'p\\l";

#[test]
fn a_primary_and_its_replica_serve() {
    let Some(bench) = Bench::new() else { return };
    let primary = bench.pod("localhost", true);
    primary.probe("liveness").fails_with("cannot connect");
    primary.prepare().succeeds();
    assert_eq!(mode(&primary), 0o700);
    let running = primary.start();
    primary.query("app", "CREATE TABLE trades (id int); INSERT INTO trades VALUES (1)").succeeds();
    assert_eq!(primary.answer("SHOW data_checksums"), "on");
    assert_eq!(primary.answer("SELECT count(*) FROM pg_roles WHERE rolname = 'app' AND rolsuper"), "0");
    primary.query_with("app", "wrong", "SELECT 1").fails_with("password authentication failed");

    let replica = bench.pod("p-1", true);
    replica.prepare().succeeds();
    let following = replica.start();
    replica.wait_for("SELECT count(*) FROM trades", "1");
    replica.query("app", "INSERT INTO trades VALUES (2)").fails_with("read-only transaction");
    primary.query("app", "INSERT INTO trades VALUES (2)").succeeds();
    replica.wait_for("SELECT count(*) FROM trades", "2");

    // A pod that starts again finds its data as it was.
    drop((running, following));
    for pod in [&primary, &replica] {
        let again = pod.prepare();
        again.succeeds();
        assert!(again.stdout.contains("holds a database"), "{}", again.stdout);
    }
    let _running = primary.start();
    assert_eq!(primary.answer("SELECT count(*) FROM trades"), "2");
}

fn mode(pod: &Pod) -> u32 {
    fs::metadata(pod.data()).expect("the data is there").permissions().mode() & 0o7777
}

#[test]
fn what_is_there_is_never_replaced() {
    let Some(bench) = Bench::new() else { return };
    let pod = bench.pod("localhost", true);
    fs::create_dir_all(pod.data()).expect("made");
    fs::write(pod.data().join("ledger"), "everything").expect("written");
    pod.prepare().fails_with("holds files that are no database");
    fs::write(pod.data().join("PG_VERSION"), "9\n").expect("written");
    pod.prepare().fails_with("holds data of version 9");
    assert_eq!(fs::read_to_string(pod.data().join("ledger")).expect("still there"), "everything");
    fs::remove_dir_all(pod.data()).expect("removed");

    fs::create_dir_all(pod.wal()).expect("made");
    fs::write(pod.wal().join("000000010000000000000001"), "log").expect("written");
    pod.prepare().fails_with("holds a write-ahead log whose data is gone");
    assert!(pod.wal().join("000000010000000000000001").exists());
}

#[test]
fn what_a_killed_run_left_is_cleared() {
    let Some(bench) = Bench::new() else { return };
    let pod = bench.pod("localhost", true);
    let half = pod.data().with_file_name("data.new");
    fs::create_dir_all(&half).expect("made");
    fs::write(half.join("PG_VERSION"), "half").expect("written");
    fs::create_dir_all(pod.wal()).expect("made");
    fs::write(pod.wal().join("half"), "log").expect("written");
    fs::write(pod.wal().with_file_name("wal.making"), "").expect("written");
    bench.own();
    pod.prepare().succeeds();
    assert!(!half.exists() && !pod.wal().join("half").exists());
    assert!(!pod.wal().with_file_name("wal.making").exists());
    let _running = pod.start();
    assert_eq!(pod.answer("SELECT 1"), "1");
}

#[test]
fn a_replica_does_not_take_up_the_data_of_a_primary() {
    let Some(bench) = Bench::new() else { return };
    let primary = bench.pod("localhost", false);
    primary.prepare().succeeds();
    primary.named("p-1").prepare().fails_with("is not a replica's data");
}

#[test]
fn passwords_appear_nowhere() {
    let Some(bench) = Bench::new() else { return };
    let pod = bench.pod("localhost", false);
    let outcome = pod.prepare();
    outcome.succeeds();
    for said in [&outcome.stdout, &outcome.stderr] {
        assert!(!said.contains(OWNER) && !said.contains(REPLICATION), "{said}");
    }
    let configuration = fs::read_to_string(pod.file("postgresql.conf")).expect("written");
    assert!(!configuration.contains(REPLICATION), "{configuration}");
    assert!(!pod.file("superuser").exists(), "the file with the password is left behind");
}
