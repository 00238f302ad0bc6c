//! `run` for servers that Sentinels watch, and for the Sentinels.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::authority::Authority;
use crate::client::{Load, PASSWORD, Secret, Seeds, address, ask_with, lost};
use crate::fleet::{Fleet, has_redis, measured};
use crate::support::free_port;

const PATIENCE: Duration = Duration::from_mins(1);
/// What the issue asks for.
const WRITES_AGAIN: Duration = Duration::from_secs(15);

/// Three servers and three Sentinels, with the settings that the operator writes.
pub struct Watched {
    pub servers: Fleet,
    pub sentinels: Fleet,
    /// What clients log in with.
    pub password: Secret,
    follower: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Watched {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// With certificates of this authority.
    pub fn start_with(authority: Option<&Authority>) -> Self {
        let (port, sentinel_port) = (free_port(), free_port());
        let mut servers = Fleet::at_addresses("shop-redis", port, 3);
        let mut sentinels = Fleet::at_addresses("shop-sentinel", sentinel_port, 3);
        let first = servers.host(0);
        let at = sentinels.at(0).to_string();
        let agents = (0..3).map(|it| servers.host(it)).collect::<Vec<_>>().join(",");
        let known = ["--agents", &agents, "--servers", "3", "--master-name", "shop"];
        let mut place = vec!["--first-master", &first, "--sentinels", &at, "--note", "data/master"];
        place.extend(known);
        servers.configure("appendonly yes\nappendfsync always\n", &place);
        let watch = format!(
            "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
             sentinel monitor shop {first} {port} 2\nsentinel down-after-milliseconds shop 5000\n\
             sentinel failover-timeout shop 60000\nsentinel parallel-syncs shop 1\n"
        );
        sentinels.configure(&watch, &known);
        for fleet in [&mut servers, &mut sentinels] {
            if let Some(authority) = authority {
                fleet.encrypt(authority);
            }
        }
        for ordinal in 0..3 {
            servers.start(ordinal);
            sentinels.start(ordinal);
        }
        let password = Arc::new(Mutex::new(PASSWORD.to_owned()));
        let mut watched = Self { servers, sentinels, password, follower: None, stop: Arc::default() };
        watched.follow();
        watched.until_whole();
        watched
    }

    /// Clients are told who is master, as the Sentinels have it.
    fn follow(&mut self) {
        let seeds: Seeds = Arc::clone(&self.servers.seeds);
        let sentinels: Vec<SocketAddr> = (0..3).map(|it| self.sentinels.at(it)).collect();
        let stop = Arc::clone(&self.stop);
        let password = Arc::clone(&self.password);
        self.follower = Some(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(master) = sentinels.iter().find_map(|it| master(*it, &password)) {
                    *seeds.lock().expect("no panic") = vec![master];
                }
                thread::sleep(Duration::from_millis(100));
            }
        }));
    }

    /// One master with two replicas in step, and all Sentinels know of all.
    pub fn until_whole(&self) {
        self.servers.until("a master and its replicas are there", PATIENCE, |servers| {
            let masters: Vec<usize> = (0..3)
                .filter(|it| servers.ask(*it, &["INFO", "replication"]).contains("role:master"))
                .collect();
            let [only] = masters[..] else { return false };
            let info = servers.ask(only, &["INFO", "replication"]);
            let sees = |it: usize| {
                let info = self.sentinels.ask(it, &["INFO", "sentinel"]);
                info.contains("status=ok") && info.contains("slaves=2,sentinels=3")
            };
            info.matches("state=online").count() == 2
                && (0..3).all(|it| {
                    sees(it) && master(self.sentinels.at(it), &self.password) == Some(servers.at(only))
                })
        });
    }

    pub fn master(&self) -> usize {
        let told = master(self.sentinels.at(0), &self.password).expect("a Sentinel answers");
        (0..3).find(|it| self.servers.at(*it) == told).expect("it is one of the servers")
    }

    fn written(&self, load: &Load) {
        let before = load.count();
        self.servers.until("writes go on", PATIENCE, |_| load.count() > before + 100);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(follower) = self.follower.take() {
            let _ = follower.join();
        }
    }
}

fn master(sentinel: SocketAddr, password: &Secret) -> Option<SocketAddr> {
    let password = password.lock().expect("no panic").clone();
    let told = ask_with(sentinel, &password, &["SENTINEL", "get-master-addr-by-name", "shop"]);
    let (host, port) = told.split_once('\n')?;
    Some(address(host.parse().ok()?, port.parse().ok()?))
}

#[test]
fn another_server_becomes_master_when_the_master_dies_under_load() {
    if !has_redis() {
        return;
    }
    let mut watched = Watched::start();
    let load = Load::start(&watched.servers.seeds, 0);
    watched.written(&load);
    let old = watched.master();
    watched.servers.kill(old);
    let start = Instant::now();
    watched.written(&load);
    measured("a watched master dies: writes go on after, seconds", start.elapsed().as_secs_f32());
    watched.servers.start(old);
    watched.until_whole();
    assert_ne!(watched.master(), old, "the old master follows");
    let (report, master) = (watched.servers.report(old), watched.servers.host(watched.master()));
    assert_eq!((&report["role"], &report["inStep"]), (&json!("replica"), &json!(true)), "{report}");
    assert_eq!(report["follows"], master, "{report}");
    assert_eq!(watched.sentinels.report(0)["role"], "sentinel");
    let ledger = load.stop();
    measured("longest time without a write, seconds", ledger.longest_pause.as_secs_f32());
    assert!(ledger.longest_pause < WRITES_AGAIN);
    assert_eq!(lost(&watched.servers.seeds, &ledger.copied), Vec::<u64>::new());
    let missing = lost(&watched.servers.seeds, &ledger.acknowledged).len();
    measured(
        "lost with a watched master that died, of writes without WAIT",
        format!("{missing} of {}", ledger.acknowledged.len()),
    );
}

#[test]
fn a_watched_master_hands_over_before_it_stops() {
    if !has_redis() {
        return;
    }
    let mut watched = Watched::start();
    let load = Load::start(&watched.servers.seeds, 0);
    watched.written(&load);
    let old = watched.master();
    let start = Instant::now();
    let status = watched.servers.stop(old);
    measured("a watched master hands over and stops, seconds", start.elapsed().as_secs_f32());
    assert!(status.success(), "{status} {}", watched.servers.log(old));
    assert_ne!(watched.master(), old, "{}", watched.servers.news());
    watched.written(&load);
    watched.servers.start(old);
    watched.until_whole();
    let ledger = load.stop();
    measured("longest time without a write, seconds", ledger.longest_pause.as_secs_f32());
    assert!(ledger.longest_pause < WRITES_AGAIN);
    assert_eq!(lost(&watched.servers.seeds, &ledger.acknowledged), Vec::<u64>::new());
}

#[test]
fn servers_and_sentinels_that_all_die_at_once_keep_master_and_data() {
    if !has_redis() {
        return;
    }
    let mut watched = Watched::start();
    let load = Load::start(&watched.servers.seeds, 0);
    watched.written(&load);
    // So that the first server is not the master.
    watched.servers.stop(0);
    watched.written(&load);
    let ledger = load.stop();
    watched.servers.start(0);
    watched.until_whole();
    let master = watched.master();
    assert_ne!(master, 0);
    for ordinal in 0..3 {
        watched.servers.kill(ordinal);
        watched.sentinels.kill(ordinal);
        watched.sentinels.lose_memory(ordinal);
    }
    for ordinal in 0..3 {
        watched.servers.start(ordinal);
        watched.sentinels.start(ordinal);
    }
    watched.until_whole();
    assert_eq!(watched.master(), master, "the same server is master again");
    assert_eq!(lost(&watched.servers.seeds, &ledger.acknowledged), Vec::<u64>::new());
}

#[test]
fn a_server_that_waits_for_the_others_can_be_stopped() {
    if !has_redis() {
        return;
    }
    let mut servers = Fleet::at_addresses("shop-redis", free_port(), 3);
    let first = servers.host(0);
    let agents = (0..3).map(|it| servers.host(it)).collect::<Vec<_>>().join(",");
    // Nobody listens there.
    let sentinels = servers.at(2).to_string();
    let place = ["--first-master", &first, "--sentinels", &sentinels, "--master-name", "shop"];
    let known = ["--agents", &agents, "--servers", "3", "--note", "data/master"];
    servers.configure("appendonly yes\n", &[&place[..], &known[..]].concat());
    servers.start(0);
    servers.until("it waits", PATIENCE, |servers| servers.log(0).contains("waits to be told who is master"));
    assert_eq!(servers.stop(0).code(), Some(128 + 15));

    // Two of three are a majority, and none has heard of another master.
    servers.start(0);
    servers.start(1);
    servers.until("the first is master", PATIENCE, |servers| {
        servers.ask(0, &["INFO", "replication"]).contains("role:master")
            && servers.ask(1, &["INFO", "replication"]).contains("master_link_status:up")
    });
}
