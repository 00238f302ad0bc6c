//! Further users that come and go while servers run.

use std::ffi::OsStr;
use std::fs;
use std::time::Duration;

use crate::client::{Connection, PASSWORD};
use crate::fleet::{Fleet, has_redis, replace};
use crate::support::{free_port, mount};

const PATIENCE: Duration = Duration::from_mins(1);

fn says(fleet: &Fleet, ordinal: usize, user: &str, password: &str, words: &[&str]) -> String {
    let login = ["AUTH", user, password];
    Connection::open_as(fleet.at(ordinal), &login).and_then(|mut it| it.ask(words)).unwrap_or_default()
}

fn is_in(fleet: &Fleet, ordinal: usize, user: &str, password: &str) -> bool {
    says(fleet, ordinal, user, password, &["ACL", "WHOAMI"]).contains("NOPERM")
        || says(fleet, ordinal, user, password, &["PING"]) == "PONG"
}

#[test]
fn users_come_and_go_while_servers_run() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::new("shop-redis", free_port(), "appendonly yes\n", &[]);
    let (rules, passwords) = (fleet.file("users"), fleet.file("user-passwords"));
    let further =
        ["--users", rules.to_str().expect("text"), "--user-passwords", passwords.to_str().expect("text")];
    fleet.configure("appendonly yes\n", &further);
    mount(&passwords, &[("app", OsStr::new("a 1"))]);
    replace(&rules, "app ~a:* &news +@all -@admin\n");
    fleet.start(0);
    fleet.until("who is there at the start is let in at once", PATIENCE, |it| it.ask(0, &["PING"]) == "PONG");
    let as_app = |fleet: &Fleet, words: &[&str]| says(fleet, 0, "app", "a 1", words);
    assert_eq!(as_app(&fleet, &["SET", "a:1", "x"]), "OK");
    for forbidden in [
        &["SET", "b:1", "x"][..],
        &["ACL", "SETUSER", "default", "nopass"],
        &["CONFIG", "SET", "requirepass", ""],
        &["REPLICAOF", "NO", "ONE"],
        &["PUBLISH", "other", "x"],
    ] {
        assert!(as_app(&fleet, forbidden).starts_with("-NOPERM"), "{forbidden:?}");
    }

    // Another comes, and one whose rules Redis does not take.
    let mut connected = Connection::open_as(fleet.at(0), &["AUTH", "app", "a 1"]).expect("it is let in");
    let both = [("app", OsStr::new("a 1")), ("reader", OsStr::new("r")), ("odd", OsStr::new("o"))];
    mount(&passwords, &both);
    replace(&rules, "app ~a:* ~b:* +@all -@admin\nodd +no-such-command\nreader ~* +@read -@admin\n");
    fleet.until("the reader is let in", PATIENCE, |it| is_in(it, 0, "reader", "r"));
    assert_eq!(says(&fleet, 0, "reader", "r", &["GET", "a:1"]), "x");
    assert!(says(&fleet, 0, "reader", "r", &["SET", "a:1", "y"]).starts_with("-NOPERM"));
    assert_eq!(connected.ask(&["SET", "b:1", "x"]).expect("it is still connected"), "OK");
    fleet.until("it is told", PATIENCE, |it| {
        it.metrics(0).contains("trading_redis_user_pending{user=\"odd\"} 1")
    });
    assert!(!is_in(&fleet, 0, "odd", "o"));

    // All of them are there after a start, but for the one, and it does not keep the server down.
    fleet.stop(0);
    fleet.start(0);
    fleet.until("it answers", PATIENCE, |it| it.ask(0, &["PING"]) == "PONG");
    assert!(is_in(&fleet, 0, "app", "a 1") && is_in(&fleet, 0, "reader", "r"));
    assert!(fleet.metrics(0).contains("trading_redis_user_pending{user=\"odd\"} 1"));

    // A password that is replaced, a user that goes, and passwords that are gone.
    mount(&passwords, &[("app", OsStr::new("a 2")), ("reader", OsStr::new("r"))]);
    fleet.until("the new password is good", PATIENCE, |it| is_in(it, 0, "app", "a 2"));
    assert!(!is_in(&fleet, 0, "app", "a 1"));
    replace(&rules, "app ~a:* +@all -@admin\n");
    fleet.until("the reader is gone", PATIENCE, |it| !is_in(it, 0, "reader", "r"));
    mount(&passwords, &[]);
    std::thread::sleep(Duration::from_secs(3));
    assert!(is_in(&fleet, 0, "app", "a 2"));
    fs::remove_file(&rules).expect("removed");
    fleet.until("nobody but the operator is left", PATIENCE, |it| !is_in(it, 0, "app", "a 2"));
    assert_eq!(fleet.ask(0, &["ACL", "USERS"]), "default");
    let log = fleet.log(0);
    assert!(!log.contains("a 1") && !log.contains(PASSWORD), "{log}");
}
