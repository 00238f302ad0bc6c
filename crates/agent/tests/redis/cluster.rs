//! `run` as the nodes of a real Redis Cluster: forms once, heals, keeps every acknowledged write.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Connection, Ledger, Load, PASSWORD, address, ask, lost};
use crate::fleet::{Fleet, METRICS_PORT, eventually, get, has_redis, measured, resident};
use crate::support::free_port;

/// What the issue asks for; a busy machine has to make it too.
const FORMED: Duration = Duration::from_secs(30);
const HEALED: Duration = Duration::from_mins(2);
/// Time without a write, where none is to be felt: less than a second, or longer on a machine that does other things.
const SERVES: Duration = Duration::from_secs(15);

/// A cluster that clients write to.
fn serving() -> (Fleet, Load) {
    let fleet = formed("shop-redis", free_port());
    let load = Load::start(&fleet.seeds, 0);
    written(&fleet, &load);
    (fleet, load)
}

fn formed(name: &str, port: u16) -> Fleet {
    let mut fleet = Fleet::cluster(name, port, 3, 1);
    for ordinal in 0..6 {
        fleet.start(ordinal);
    }
    let took = fleet.until("the cluster forms", FORMED, Fleet::is_settled);
    measured("six nodes form a cluster, seconds", took.as_secs_f32());
    fleet
}

/// Enough that every master has some.
fn written(fleet: &Fleet, load: &Load) {
    let before = load.count();
    fleet.until("writes go on", Duration::from_secs(30), |_| load.count() > before + 100);
}

#[track_caller]
fn keeps_all(fleet: &Fleet, ledger: &Ledger) {
    let lost = lost(&fleet.seeds, &ledger.acknowledged);
    assert!(lost.is_empty(), "{} of {} writes are lost: {lost:?}", lost.len(), ledger.acknowledged.len());
}

/// A master that died may have acknowledged what its replica had not received yet: Redis copies
/// without waiting. What a replica confirmed must be there.
#[track_caller]
fn keeps_what_was_copied(fleet: &Fleet, ledger: &Ledger) {
    let missing = lost(&fleet.seeds, &ledger.copied);
    assert!(missing.is_empty(), "{} of {} copied writes are lost", missing.len(), ledger.copied.len());
    let missing = lost(&fleet.seeds, &ledger.acknowledged);
    measured(
        "lost with a master that died, of writes without WAIT",
        format!("{} of {}", missing.len(), ledger.acknowledged.len()),
    );
}

fn master_of(fleet: &Fleet, replica: usize) -> usize {
    (0..3).find(|it| fleet.shard(*it).contains(&replica)).expect("it has one")
}

#[test]
fn a_cluster_forms_and_outlives_every_restart() {
    if !has_redis() {
        return;
    }
    let mut fleet = formed("shop-redis", free_port());
    let slots: Vec<String> =
        (0..3).map(|it| fleet.line(it).rsplit(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(slots, ["0-5460", "5461-10921", "10922-16383"]);
    for master in 0..3 {
        assert_eq!(fleet.shard(master).len(), 1);
    }
    assert_eq!(get(address(fleet.at(0).ip(), METRICS_PORT), "/healthz").as_deref(), Some("ok\n"));
    for ordinal in 0..6 {
        let report = fleet.report(ordinal);
        let (role, follows) = match ordinal {
            0..3 => ("primary", Value::Null),
            _ => ("replica", json!(format!("shop-redis-{}", master_of(&fleet, ordinal)))),
        };
        assert_eq!((&report["role"], &report["follows"]), (&json!(role), &follows), "{report}");
        let cluster = &report["cluster"];
        let slots = if ordinal < 3 { fleet.slots(ordinal) } else { 0 };
        assert_eq!((&cluster["slots"], &cluster["unserved"]), (&json!(slots), &json!(0)), "{report}");
        assert_eq!((&cluster["settled"], &report["waitsFor"]), (&json!(true), &Value::Null), "{report}");
        assert_eq!(cluster["owners"], json!(["shop-redis-0", "shop-redis-1", "shop-redis-2"]), "{report}");
        assert_eq!(cluster["members"].as_array().map(Vec::len), Some(6), "{report}");
        assert!(report["inForce"]["cluster"].is_string(), "{report}");
    }
    measured("resident memory of an agent, KiB", resident(fleet.agent(0)));
    assert!(resident(fleet.agent(0)) < 20 * 1024);
    let ids: Vec<String> = (0..6).map(|it| fleet.id(it)).collect();

    // Each in turn, back at another address before anybody takes over.
    let load = Load::start(&fleet.seeds, 0);
    written(&fleet, &load);
    for ordinal in 0..6 {
        fleet.kill(ordinal);
        fleet.start(ordinal);
        let took = fleet.until("the cluster heals", HEALED, Fleet::is_settled);
        measured("a pod is back at another address, seconds", took.as_secs_f32());
        written(&fleet, &load);
    }
    let ledger = load.stop();
    if (0..6).all(|it| fleet.is_master(it) == (it < 3)) {
        keeps_all(&fleet, &ledger);
    } else {
        keeps_what_was_copied(&fleet, &ledger);
    }

    // All at once.
    let load = Load::start(&fleet.seeds, 1_000_000);
    written(&fleet, &load);
    let masters: Vec<usize> = (0..6).filter(|it| fleet.is_master(*it)).collect();
    for ordinal in 0..6 {
        fleet.kill(ordinal);
    }
    for ordinal in (0..6).rev() {
        fleet.start(ordinal);
    }
    let took = fleet.until("all six heal", HEALED, Fleet::is_settled);
    measured("all six are back at other addresses, seconds", took.as_secs_f32());
    written(&fleet, &load);
    let ledger = load.stop();
    assert_eq!((0..6).filter(|it| fleet.is_master(*it)).collect::<Vec<_>>(), masters, "nobody took over");
    keeps_all(&fleet, &ledger);
    assert_eq!((0..6).map(|it| fleet.id(it)).collect::<Vec<_>>(), ids, "no node was made anew");
}

#[test]
fn a_lost_master_is_replaced_and_comes_back_as_a_replica() {
    if !has_redis() {
        return;
    }
    let (mut fleet, load) = serving();
    let heir = fleet.shard(1)[0];
    fleet.kill(1);
    fleet.until("a replica takes over", HEALED, |fleet| fleet.is_master(heir));
    written(&fleet, &load);
    fleet.start(1);
    fleet.until("the old master follows", HEALED, Fleet::is_settled);
    assert!(!fleet.is_master(1) && fleet.shard(heir).len() == 1, "{}", fleet.news());
    let ledger = load.stop();
    measured(
        "a master dies under load: longest time without a write to a slot, seconds",
        ledger.longest_pause.as_secs_f32(),
    );
    keeps_what_was_copied(&fleet, &ledger);

    // A master whose volume is lost comes back as an empty replica, and its old self is struck off.
    let load = Load::start(&fleet.seeds, 1_000_000);
    written(&fleet, &load);
    let heir = fleet.shard(0)[0];
    fleet.kill(0);
    fleet.lose_volume(0);
    fleet.start(0);
    fleet.until("the shard has a replica again", HEALED, |fleet| {
        fleet.is_settled() && fleet.is_master(heir) && !fleet.is_master(0) && fleet.shard(heir).len() == 1
    });
    let ledger = load.stop();
    keeps_what_was_copied(&fleet, &ledger);

    // Its new replica has it all: the volume of the master and then the other one's may go.
    let replica = fleet.shard(2)[0];
    fleet.kill(replica);
    fleet.lose_volume(replica);
    fleet.start(replica);
    fleet.until("the replica is copied anew", HEALED, |fleet| {
        fleet.is_settled()
            && fleet.shard(2).len() == 1
            && fleet.metrics(replica).contains("redis_master_link_up 1")
    });
    keeps_what_was_copied(&fleet, &ledger);
}

#[test]
fn a_restarted_replica_takes_over_where_its_masters_volume_is_lost() {
    if !has_redis() {
        return;
    }
    let (mut fleet, load) = serving();
    let ledger = load.stop();
    let heir = fleet.shard(0)[0];
    for ordinal in 0..6 {
        fleet.kill(ordinal);
    }
    fleet.lose_volume(0);
    for ordinal in 0..6 {
        fleet.start(ordinal);
    }
    fleet.until("the replica takes over", HEALED, |fleet| fleet.is_settled() && fleet.is_master(heir));
    assert_eq!(fleet.shard(heir).len(), 1);
    keeps_what_was_copied(&fleet, &ledger);
}

#[test]
fn a_master_hands_over_before_it_stops() {
    if !has_redis() {
        return;
    }
    let (mut fleet, load) = serving();
    let heir = fleet.shard(2)[0];
    let start = Instant::now();
    let status = fleet.stop(2);
    measured("a master hands over and stops, seconds", start.elapsed().as_secs_f32());
    assert!(status.success(), "{status} {}", fleet.log(2));
    assert!(fleet.is_master(heir), "the replica has taken over before the master stops");
    written(&fleet, &load);
    fleet.start(2);
    fleet.until("the old master follows", HEALED, Fleet::is_settled);
    let ledger = load.stop();
    measured(
        "a master hands over: longest time without a write to a slot, seconds",
        ledger.longest_pause.as_secs_f32(),
    );
    measured("writes that had to be tried again", ledger.refused);
    assert!(ledger.longest_pause < SERVES);
    keeps_all(&fleet, &ledger);
}

#[test]
fn a_cluster_grows_while_it_serves() {
    if !has_redis() {
        return;
    }
    let mut fleet = formed("shop-redis", free_port());
    let function = "#!lua name=shop\nredis.register_function('one', function() return 1 end)";
    for master in 0..3 {
        fleet.ask(master, &["FUNCTION", "LOAD", function]);
    }
    let load = Load::start(&fleet.seeds, 0);
    fleet.until("there is something to move", HEALED, |_| load.count() > 1500);
    // New servers know what is wished before the old ones do.
    fleet.wish(4, 1);
    for ordinal in 6..8 {
        fleet.start(ordinal);
    }
    let took = fleet.until("the new shard has its share", HEALED, |fleet| {
        fleet.is_settled() && fleet.ordinals().into_iter().filter(|it| fleet.slots(*it) >= 4096).count() == 4
    });
    measured("a fourth shard has its share under load, seconds", took.as_secs_f32());
    assert_eq!(fleet.shard(6), [7], "{}", fleet.news());
    assert!(fleet.ask(6, &["FUNCTION", "LIST"]).contains("shop"), "{}", fleet.news());
    written(&fleet, &load);
    let ledger = load.stop();
    measured(
        "a cluster grows: longest time without a write to a slot, seconds",
        ledger.longest_pause.as_secs_f32(),
    );
    measured("writes that had to be tried again", ledger.refused);
    assert!(ledger.longest_pause < SERVES);
    keeps_all(&fleet, &ledger);
}

#[test]
fn a_cluster_shrinks_while_it_serves() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::formed(4);
    let load = Load::start(&fleet.seeds, 0);
    fleet.until("there is something to move", HEALED, |_| load.count() > 1500);
    // One that is to go is a master by now, and one that stays follows it.
    fleet.ask(6, &["CLUSTER", "FAILOVER"]);
    fleet.until("a server that goes is master", HEALED, |fleet| fleet.is_master(6) && fleet.is_settled());
    fleet.wish(3, 1);
    let has_left = |fleet: &Fleet, ordinal: usize| {
        let cluster = &fleet.report(ordinal)["cluster"];
        cluster["slots"] == 0 && cluster["members"].as_array().map(Vec::len) == Some(1)
    };
    let took = fleet.until("two servers have left", 3 * HEALED, |fleet| {
        let stays = |ordinal: usize| {
            let cluster = &fleet.report(ordinal)["cluster"];
            cluster["settled"] == true && cluster["members"].as_array().map(Vec::len) == Some(6)
        };
        (6..8).all(|it| has_left(fleet, it)) && (0..6).all(stays)
    });
    measured("a fourth shard is gone under load, seconds", took.as_secs_f32());
    for ordinal in 6..8 {
        assert_eq!(fleet.ask(ordinal, &["DBSIZE"]), "0");
        fleet.end(ordinal);
    }
    fleet.until("all is as it should be", HEALED, Fleet::is_settled);
    assert_eq!((0..6).filter(|it| fleet.slots(*it) >= 5461).count(), 3, "{}", fleet.news());
    written(&fleet, &load);
    // Back with the volumes that they left.
    fleet.wish(4, 1);
    (6..8).for_each(|ordinal| fleet.start(ordinal));
    fleet.until("the shard is back", 2 * HEALED, |fleet| {
        fleet.is_settled() && fleet.ordinals().into_iter().filter(|it| fleet.slots(*it) >= 4096).count() == 4
    });
    let ledger = load.stop();
    measured("longest time without a write to a slot, seconds", ledger.longest_pause.as_secs_f32());
    keeps_all(&fleet, &ledger);
}

#[test]
fn slots_on_their_way_arrive_whoever_dies() {
    if !has_redis() {
        return;
    }
    let mut fleet = formed("shop-redis", free_port());
    let load = Load::start(&fleet.seeds, 0);
    fleet.until("there is something to move", HEALED, |_| load.count() > 500);
    fleet.wish(5, 1);
    for ordinal in 6..10 {
        fleet.start(ordinal);
    }
    // Givers and takers, in the middle of it; each is back at another address.
    for (victim, enough) in [(0, 300), (6, 800), (1, 1300)] {
        fleet.until("slots move", HEALED, |fleet| fleet.slots(6) + fleet.slots(7) > enough);
        fleet.kill(victim);
        fleet.start(victim);
    }
    fleet.until("the new shards have their share", 2 * HEALED, |fleet| {
        let shards = fleet.ordinals().into_iter().filter(|it| fleet.slots(*it) >= 3276);
        fleet.is_settled() && shards.count() == 5
    });
    written(&fleet, &load);
    keeps_what_was_copied(&fleet, &load.stop());
}

/// What a word about an owner that comes late leaves behind: each of two masters sends clients to the other, and
/// for Redis all is well.
#[test]
fn slots_that_nobody_stands_for_are_taken_up() {
    if !has_redis() {
        return;
    }
    let (fleet, load) = serving();
    let masters: Vec<usize> = (0..6).filter(|it| fleet.is_master(*it)).collect();
    let (first, last) = (masters[0], masters[2]);
    let takes = |ordinal: usize, key: &String| fleet.ask(ordinal, &["SET", key, "1"]) == "OK";
    let keys: Vec<String> =
        (0..100).map(|number| format!("other-{number}")).filter(|key| takes(last, key)).take(10).collect();
    assert_eq!(keys.len(), 10);
    let slot = |key: &String| fleet.ask(last, &["CLUSTER", "KEYSLOT", key]);
    let disown = |key: &String| {
        let slot = slot(key);
        // With keys in it, it is not given away in one step.
        assert_eq!(fleet.ask(last, &["CLUSTER", "DELSLOTS", &slot]), "OK");
        assert_eq!(fleet.ask(last, &["CLUSTER", "SETSLOT", &slot, "NODE", &fleet.id(first)]), "OK");
        assert!(masters.iter().all(|it| fleet.ask(*it, &["GET", key]).starts_with("-MOVED")), "{key}");
    };
    // One of which two have keys, some of which the owner has some, and some without any.
    let (torn, others) = keys.split_first().expect("ten");
    let (kept, empty) = others.split_at(4);
    let mut client = Connection::open(address(fleet.at(first).ip(), fleet.port)).expect("it answers");
    let mut say = |words: &[&str]| assert_eq!(client.ask(words).expect("it answers"), "OK", "{words:?}");
    say(&["CLUSTER", "SETSLOT", &slot(torn), "IMPORTING", &fleet.id(last)]);
    say(&["ASKING"]);
    say(&["SET", torn, "older"]);
    say(&["CLUSTER", "SETSLOT", &slot(torn), "STABLE"]);
    for key in empty {
        fleet.ask(last, &["DEL", key]);
    }
    keys.iter().for_each(disown);

    let took = fleet.until("somebody takes them up", 2 * HEALED, |fleet| {
        let owners = |key: &String| masters.iter().filter(|it| takes(**it, key)).count();
        kept.iter().all(|key| fleet.ask(last, &["GET", key]) == "1")
            && empty.iter().all(|key| owners(key) == 1)
    });
    measured("slots that nobody stood for are taken up, seconds", took.as_secs_f32());
    fleet.until("somebody says of which slot a person has to choose", HEALED, |fleet| {
        let said = |it: &usize| fleet.report(*it)["waitsFor"].as_str().map(str::to_owned).unwrap_or_default();
        masters.iter().any(|it| said(it).contains(&format!("both have keys of slot {},", slot(torn))))
    });
    // As it says.
    let right = |words: &[&str]| assert_eq!(fleet.ask(last, words), "OK", "{words:?}");
    right(&["CLUSTER", "SETSLOT", &slot(torn), "IMPORTING", &fleet.id(first)]);
    right(&["CLUSTER", "SETSLOT", &slot(torn), "NODE", &fleet.id(last)]);
    fleet.until("all is as it should be", HEALED, |fleet| {
        fleet.is_settled() && fleet.ask(first, &["GET", torn]).starts_with("-MOVED")
    });
    assert_eq!(fleet.ask(last, &["GET", torn]), "1");
    written(&fleet, &load);
    keeps_all(&fleet, &load.stop());
}

#[test]
fn two_clusters_that_swap_addresses_stay_two() {
    if !has_redis() {
        return;
    }
    let port = free_port();
    let (mut shop, mut bank) = (formed("shop-redis", port), formed("bank-redis", port));
    let mut ledgers = Vec::new();
    for fleet in [&shop, &bank] {
        let load = Load::start(&fleet.seeds, 0);
        written(fleet, &load);
        ledgers.push(load.stop());
    }
    let ids = |fleet: &Fleet| -> Vec<String> { (0..6).map(|it| fleet.id(it)).collect() };
    let (shops, banks) = (ids(&shop), ids(&bank));
    let (at_shop, at_bank): (Vec<_>, Vec<_>) = (0..6).map(|it| (shop.at(it).ip(), bank.at(it).ip())).unzip();
    for ordinal in 0..6 {
        shop.kill(ordinal);
        bank.kill(ordinal);
    }
    for ordinal in 0..6 {
        shop.start_at(ordinal, at_bank[ordinal]);
        bank.start_at(ordinal, at_shop[ordinal]);
    }
    for (fleet, own, other, ledger) in
        [(&shop, &shops, &banks, &ledgers[0]), (&bank, &banks, &shops, &ledgers[1])]
    {
        fleet.until("the cluster heals", HEALED, Fleet::is_settled);
        for ordinal in 0..6 {
            let nodes = fleet.ask(ordinal, &["CLUSTER", "NODES"]);
            assert_eq!(nodes.lines().count(), 6, "{nodes}");
            assert!(
                own.iter().all(|id| nodes.contains(id)) && other.iter().all(|id| !nodes.contains(id)),
                "{nodes}"
            );
        }
        keeps_all(fleet, ledger);
    }
    // One pod alone at the address that a living pod of the other cluster had.
    let freed = bank.at(5).ip();
    let fresh = bank.new_ip();
    bank.kill(5);
    bank.start_at(5, fresh);
    shop.kill(4);
    shop.start_at(4, freed);
    for fleet in [&shop, &bank] {
        fleet.until("the cluster heals", HEALED, Fleet::is_settled);
        assert_eq!(fleet.ask(0, &["CLUSTER", "NODES"]).lines().count(), 6);
    }
}

/// Redis corrects where a node is by what others tell, and goes on copying from where it was (redis#14633).
#[test]
fn a_replica_follows_its_master_to_an_address_that_others_tell() {
    if !has_redis() {
        return;
    }
    let (mut fleet, load) = serving();
    let replica = fleet.shard(0)[0];
    // A node is asked about once nobody hears of it; until then its agent does not find the other.
    fleet.name_all_but(&[0, replica]);
    fleet.kill(0);
    fleet.kill(replica);
    fleet.start(replica);
    thread::sleep(Duration::from_secs(2));
    fleet.start(0);
    let at = fleet.at(0).ip().to_string();
    let master = fleet.id(0);
    fleet.until("others have told where it is", HEALED, |_| {
        let nodes = fleet.ask(replica, &["CLUSTER", "NODES"]);
        nodes.lines().any(|line| line.starts_with(&master) && line.contains(&at))
    });
    fleet.name_all_but(&[]);
    fleet.until("the cluster heals", HEALED, Fleet::is_settled);
    assert_eq!(fleet.shard(0), [replica]);
    let follows = fleet.ask(replica, &["INFO", "replication"]);
    assert!(follows.contains(&format!("master_host:{at}")), "{follows}");
    keeps_all(&fleet, &load.stop());
}

/// A replica that was started again asks where its master was, and copies from whoever answers there: a node's name
/// is no matter to it.
#[test]
fn a_replica_never_stands_for_its_shard_with_another_ones_data() {
    if !has_redis() {
        return;
    }
    let (mut fleet, load) = serving();
    let ledger = load.stop();
    let (replica, freed, master) = (fleet.shard(0)[0], fleet.at(0).ip(), fleet.id(0));
    let copied = fleet.ask(1, &["DBSIZE"]);
    fleet.kill(0);
    fleet.kill(replica);
    fleet.name_all_but(&[0]);
    let is_given_up = |fleet: &Fleet, by: usize| {
        let nodes = fleet.ask(by, &["CLUSTER", "NODES"]);
        let flags =
            nodes.lines().find(|line| line.starts_with(&master)).and_then(|line| line.split(' ').nth(2));
        flags.is_some_and(|flags| flags.split(',').any(|flag| flag == "fail"))
    };
    fleet.until("the others miss the master", HEALED, |fleet| is_given_up(fleet, 1));
    fleet.start(replica);
    fleet.until("its replica misses it", HEALED, |fleet| is_given_up(fleet, replica));
    fleet.kill(1);
    fleet.start_at(1, freed);
    fleet.until("it copies another shard", HEALED, |fleet| fleet.ask(replica, &["DBSIZE"]) == copied);
    // More than it takes to be elected.
    thread::sleep(Duration::from_secs(10));
    assert!(!fleet.is_master(replica), "{}", fleet.news());
    fleet.start(0);
    fleet.name_all_but(&[]);
    fleet.until("the cluster heals", HEALED, Fleet::is_settled);
    keeps_all(&fleet, &ledger);
}

#[test]
fn a_cluster_is_formed_although_its_leader_dies_time_and_again() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::cluster("shop-redis", free_port(), 3, 1);
    for ordinal in 0..6 {
        fleet.start(ordinal);
    }
    for pause in [900, 1400, 1900, 2500, 3200] {
        std::thread::sleep(Duration::from_millis(pause));
        fleet.kill(0);
        fleet.start(0);
    }
    fleet.until("the cluster forms", HEALED, Fleet::is_settled);
}

#[test]
fn a_cluster_is_not_formed_over_data() {
    if !has_redis() {
        return;
    }
    let mut fleet = Fleet::cluster("shop-redis", free_port(), 3, 1);
    // The volume of a server that was no cluster's: Redis takes over the slots of what it finds.
    let ip = fleet.new_ip();
    let data = fleet.folder(5).join("data");
    std::fs::create_dir_all(&data).expect("made");
    let mut alone = Command::new("redis-server")
        .args(["--port", &fleet.port.to_string(), "--bind", &ip.to_string()])
        .args(["--requirepass", PASSWORD, "--appendonly", "yes", "--dir"])
        .arg(&data)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    let at = address(ip, fleet.port);
    eventually("it takes a key", FORMED, || ask(at, &["SET", "a", "1"]) == "OK");
    ask(at, &["SHUTDOWN"]);
    alone.wait().expect("it ends");

    for ordinal in 0..6 {
        fleet.start(ordinal);
    }
    fleet.until("the leader refuses", FORMED, |fleet| fleet.news().contains("never formed over data"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(fleet.ask(5, &["DBSIZE"]), "1");
    assert!(
        (0..6).all(|it| !fleet.ask(it, &["CLUSTER", "NODES"]).trim_end().contains('\n')),
        "{}",
        fleet.news()
    );
}
