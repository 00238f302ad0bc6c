//! Passwords that are replaced while servers and clients run.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::{Client, Connection, Load, PASSWORD, Secret, ask_with, lost_to};
use crate::fleet::{Fleet, has_redis, measured};
use crate::sentinel::Watched;
use crate::support::free_port;

const PATIENCE: Duration = Duration::from_mins(1);
const NEW: &str = "n\"ew pass";

/// Whether a server tells the operator that it takes these, and shows the first.
fn tells(fleet: &Fleet, ordinal: usize, passwords: &[&str]) -> bool {
    let digests: Vec<String> = passwords.iter().map(|it| trading_report::digest(it.as_bytes())).collect();
    let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
    fleet.report(ordinal)["inForce"]["passwords"] == trading_report::passwords(&digests)
}

fn takes(fleet: &Fleet, ordinal: usize, password: &str) -> bool {
    ask_with(fleet.at(ordinal), password, &["ACL", "WHOAMI"]) == "default"
}

/// The steps of the operator, each of them when it may; consumers are replaced between the second and third.
fn rotate(fleets: &mut [&mut Fleet], consumer: &Secret) {
    let all = |fleets: &[&mut Fleet], what: &str, holds: &dyn Fn(&Fleet, usize) -> bool| {
        for fleet in fleets {
            fleet.until(what, PATIENCE, |it| it.ordinals().into_iter().all(|ordinal| holds(it, ordinal)));
        }
    };
    let connect = |fleet: &Fleet, ordinal, password| {
        let connection = Connection::open_as(fleet.at(ordinal), &["AUTH", password]);
        let mut connection = connection.expect("it answers");
        assert_eq!(connection.ask(&["PING"]).expect("it answers"), "PONG");
        connection
    };
    let connections = |fleets: &[&mut Fleet], password| -> Vec<Connection> {
        let of = |fleet: &&mut Fleet| {
            fleet.ordinals().into_iter().map(|it| connect(fleet, it, password)).collect()
        };
        fleets.iter().flat_map(|fleet| -> Vec<Connection> { of(fleet) }).collect()
    };
    let old = connections(fleets, PASSWORD);
    for fleet in &*fleets {
        fleet.secret(&[("password", PASSWORD), ("next", NEW), ("next-generation", "2")]);
    }
    // What they tell is what the operator goes by, and true.
    all(fleets, "all tell that they take both", &|it, ordinal| tells(it, ordinal, &[PASSWORD, NEW]));
    for fleet in &*fleets {
        assert!(fleet.ordinals().into_iter().all(|it| takes(fleet, it, NEW) && takes(fleet, it, PASSWORD)));
    }
    let new = connections(fleets, NEW);
    for fleet in &mut *fleets {
        // The kubelets are not of one mind: some see it later.
        thread::sleep(Duration::from_secs(2));
        fleet.secret(&[("password", NEW), ("generation", "2"), ("previous", PASSWORD)]);
    }
    let is_sentinel =
        |it: &Fleet, ordinal| it.ask(ordinal, &["CONFIG", "GET", "masterauth"]).starts_with('-');
    all(fleets, "all tell that they show the new one", &|it, ordinal| tells(it, ordinal, &[NEW, PASSWORD]));
    for fleet in &*fleets {
        assert!(
            fleet.ordinals().into_iter().all(|ordinal| {
                is_sentinel(fleet, ordinal) || fleet.setting(ordinal, "masterauth") == NEW
            })
        );
    }
    all(fleets, "clients with the old one are still served", &|it, ordinal| takes(it, ordinal, PASSWORD));
    NEW.clone_into(&mut consumer.lock().expect("no panic"));
    thread::sleep(Duration::from_secs(2));
    for fleet in &mut *fleets {
        fleet.secret(&[("password", NEW), ("generation", "2")]);
        NEW.clone_into(&mut fleet.password);
    }
    all(fleets, "all tell that they take the new one alone", &|it, ordinal| tells(it, ordinal, &[NEW]));
    all(fleets, "all refuse the old one", &|it, ordinal| !takes(it, ordinal, PASSWORD));
    all(fleets, "all take the new one", &|it, ordinal| takes(it, ordinal, NEW));
    let serves = |mut it: Connection| it.ask(&["PING"]).is_ok_and(|reply| reply == "PONG");
    assert!(!old.into_iter().any(serves), "connections of the old one have ended");
    assert!(new.into_iter().all(serves), "connections of the new one go on");
}

#[test]
fn no_request_fails_while_the_password_of_a_cluster_is_replaced() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::formed(3);
    let secret: Secret = Arc::new(Mutex::new(PASSWORD.to_owned()));
    let load = Load::start_as(&fleet.seeds, &secret);
    rotate(&mut [&mut fleet], &secret);
    let ledger = load.stop();
    assert_eq!(ledger.refused, 0, "no write failed");
    measured("writes while the password of a cluster was replaced", ledger.acknowledged.len());
    measured("longest time without a write, seconds", ledger.longest_pause.as_secs_f32());

    // Servers that come back find each other, and one that lost everything copies its master.
    let replica = (0..6).find(|it| !fleet.is_master(*it)).expect("there are some");
    fleet.kill(replica);
    fleet.lose_volume(replica);
    fleet.start(replica);
    fleet.until("the cluster is whole", PATIENCE, Fleet::is_settled);
    let client = Client::with(Arc::clone(&fleet.seeds), secret);
    assert_eq!(lost_to(client, &ledger.acknowledged), Vec::<u64>::new());
    for ordinal in 0..6 {
        assert!(!fleet.log(ordinal).contains("ew pass") && !fleet.log(ordinal).contains("cret"));
    }
}

#[test]
fn no_request_fails_while_the_password_of_watched_servers_is_replaced() {
    if !has_redis() {
        return;
    }
    let mut watched = Watched::start();
    let links = |it: &Watched| -> Vec<String> {
        let full = |ordinal| it.servers.ask(ordinal, &["INFO", "stats"]);
        let line = |info: String| info.lines().find(|it| it.starts_with("sync_full:")).map(str::to_owned);
        it.servers.ordinals().into_iter().filter_map(|ordinal| line(full(ordinal))).collect()
    };
    watched.until_whole();
    let copied = links(&watched);
    let secret = Arc::clone(&watched.password);
    let load = Load::start_as(&watched.servers.seeds, &secret);
    rotate(&mut [&mut watched.servers, &mut watched.sentinels], &secret);
    let ledger = load.stop();
    assert_eq!(ledger.refused, 0, "no write failed");
    measured("writes while the password of watched servers was replaced", ledger.acknowledged.len());
    watched.until_whole();
    assert_eq!(links(&watched), copied, "no replica had to copy anew");

    // A Sentinel that is started again goes by what it has learned, but not by the old password.
    watched.sentinels.kill(1);
    watched.sentinels.start(1);
    watched.until_whole();
    let load = Load::start_as(&watched.servers.seeds, &secret);
    let old = watched.master();
    watched.servers.kill(old);
    watched.servers.until("another is master", PATIENCE, |_| watched.master() != old);
    watched.servers.start(old);
    watched.until_whole();
    assert!(load.stop().acknowledged.len() > 100);
}

#[test]
fn a_password_that_a_person_replaces_stays_good_for_a_while() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::new("shop-redis", free_port(), "appendonly yes\n", &[]);
    fleet.start(0);
    fleet.until("it answers", PATIENCE, |it| takes(it, 0, PASSWORD));
    fleet.secret(&[("password", NEW)]);
    fleet.until("it takes the new password", PATIENCE, |it| takes(it, 0, NEW));
    assert!(takes(&fleet, 0, PASSWORD), "{}", fleet.log(0));
    assert!(fleet.report(0)["inForce"]["passwords"].is_null(), "a person's is not told of");
    // A Secret that is deleted changes nothing.
    std::fs::remove_file(fleet.mounted().join("..data")).expect("removed");
    thread::sleep(Duration::from_secs(3));
    assert!(takes(&fleet, 0, NEW) && takes(&fleet, 0, PASSWORD));
}
