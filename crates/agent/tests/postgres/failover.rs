//! `postgres run`: three servers lose their primary again and again under load. What was
//! acknowledged is kept in a ledger and looked for afterwards.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Cluster, MEMBERS, name};
use super::ledger::{Ledger, connect, turns};
use super::server::Bench;
use super::{OWNER, REPLICATION};

const FORMS: Duration = Duration::from_secs(90);
const TAKES_OVER: Duration = Duration::from_secs(30);
const RETURNS: Duration = Duration::from_secs(90);
/// Longer than the Lease.
const FROZEN: Duration = Duration::from_secs(25);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Freeze,
    Stop,
    /// The primary can't reach the Kubernetes API any more.
    Cut,
}

/// What rounds came to.
#[derive(Default)]
struct Rounds {
    recovered: Vec<(Fault, Duration)>,
    noted: usize,
    lost: Vec<i64>,
}

/// `count` faults in turn, under load.
async fn rounds(cluster: &mut Cluster<'_>, faults: &[Fault], count: usize) -> Rounds {
    let mut result = Rounds::default();
    let mut primary = cluster.settles(FORMS).await;
    let servers = (0..MEMBERS).map(|index| cluster.client_address(index)).collect();
    let ledger = Ledger::begin(servers, 4).await;
    let mut turns_expected = 1;
    for fault in faults.iter().cycle().take(count) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let old = cluster.client_address(primary);
        let began = Instant::now();
        match fault {
            Fault::Kill => cluster.kill(primary),
            Fault::Freeze => cluster.freeze(primary),
            Fault::Cut => cluster.api.cut(&name(primary), true),
            Fault::Stop => drop(cluster.stop(primary).await.expect("it ends")),
        }
        let Some(after) = ledger.first_elsewhere(old, began, 2 * TAKES_OVER).await else {
            panic!("nobody takes writes after {fault:?}: {}", cluster.everything().await);
        };
        println!("{fault:?}: writes again after {:.1} s", after.as_secs_f64());
        result.recovered.push((*fault, after));
        match fault {
            Fault::Kill | Fault::Stop => cluster.start(primary),
            Fault::Freeze => {
                tokio::time::sleep(FROZEN.saturating_sub(began.elapsed())).await;
                cluster.thaw(primary);
            }
            Fault::Cut => cluster.api.cut(&name(primary), false),
        }
        turns_expected += 1;
        primary = cluster.settles(RETURNS).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (entries, lost) = ledger.end().await;
    assert!(turns(&entries) <= turns_expected, "an old primary acknowledged after the new one had begun");
    for (fault, after) in &result.recovered {
        assert!(*after < TAKES_OVER, "{fault:?}: writes again only after {after:?}");
    }
    (result.noted, result.lost) = (entries.len(), lost);
    result
}

fn count(default: usize) -> usize {
    std::env::var("FAILOVER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synchronous_replication_loses_nothing() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::new(&bench, true).await;
    let faults = [Fault::Kill, Fault::Freeze, Fault::Stop, Fault::Cut];
    let result = rounds(&mut cluster, &faults, count(4)).await;
    println!("{} rows acknowledged, {} lost", result.noted, result.lost.len());
    assert!(result.lost.is_empty(), "{:?} {}", result.lost, cluster.everything().await);
    assert!(result.noted > 100, "{}", result.noted);
    for index in 0..MEMBERS {
        let log = cluster.log(index);
        for secret in [OWNER, REPLICATION, "super\""] {
            assert!(!log.contains(secret), "{} says {secret}", name(index));
        }
        println!("{}: at most {} KiB", name(index), cluster.peak_memory(index));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_it_the_order_still_holds() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::new(&bench, false).await;
    let faults = [Fault::Freeze, Fault::Kill, Fault::Stop];
    let result = rounds(&mut cluster, &faults, count(2)).await;
    println!("{} rows acknowledged, {} lost", result.noted, result.lost.len());
    assert!(result.noted > 100, "{}", result.noted);
}

/// How many trades a server has, once it lets anybody read them.
async fn received(server: SocketAddr) -> Option<i64> {
    let counted = connect(server).await?.query_one("SELECT count(*) FROM trades", &[]).await;
    counted.ok().map(|row| row.get(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_added_to_one_that_goes_on() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::alone(&bench).await;
    assert_eq!(cluster.leads(FORMS).await, 0);
    let client = connect(cluster.client_address(0)).await.expect("connected");
    let made = "CREATE TABLE trades AS SELECT 1 AS id";
    client.batch_execute(made).await.expect("written");
    for (question, answer) in [
        ("SHOW data_checksums", "on"),
        ("SELECT count(*)::text FROM pg_roles WHERE rolname = 'app' AND rolsuper", "0"),
    ] {
        let row = client.query_one(question, &[]).await.expect("read");
        assert_eq!(row.get::<_, String>(0), answer, "{question}");
    }

    // Nobody could take the Lease, so it serves without the Kubernetes API.
    cluster.api.cut(&name(0), true);
    tokio::time::sleep(Duration::from_secs(20)).await;
    client.batch_execute("INSERT INTO trades VALUES (2)").await.expect("written");
    assert!(cluster.api.lease().contains("alone"), "{}", cluster.api.lease());
    cluster.api.cut(&name(0), false);

    cluster.grow(1, MEMBERS);
    assert_eq!(cluster.settles(FORMS).await, 0);
    client.batch_execute("INSERT INTO trades VALUES (3)").await.expect("on the connection from before");
    assert!(!cluster.api.lease().contains("alone"), "{}", cluster.api.lease());
    // Replication is asynchronous here: what no replica has yet would go with the primary.
    for index in 1..MEMBERS {
        let address = cluster.client_address(index);
        let mut tries = 0;
        while received(address).await != Some(3) {
            tries += 1;
            assert!(tries < 300, "{index} does not get what is written");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    cluster.kill(0);
    let primary = cluster.leads(TAKES_OVER).await;
    assert_ne!(primary, 0);
    let client = connect(cluster.client_address(primary)).await.expect("connected");
    let row = client.query_one("SELECT count(*) FROM trades", &[]).await.expect("read");
    assert_eq!(row.get::<_, i64>(0), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_is_taken_up_whatever_else_is_lost() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::new(&bench, false).await;
    let primary = cluster.settles(FORMS).await;
    assert_eq!(primary, 0, "the first makes the database");
    let client = connect(cluster.client_address(primary)).await.expect("connected");
    client.batch_execute("CREATE TABLE trades AS SELECT 1 AS id").await.expect("written");
    let before = cluster.status(primary).await.expect("answers")["system"].clone();
    let (code, metrics) = cluster.get(primary, "/metrics").await.expect("answers");
    assert_eq!(code, 200);
    for line in
        ["trading_postgres_is_primary 1", "replica_lag_bytes{replica=\"shop-postgres-1\"}", "slot_active"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }

    let digest = |index: usize, file: &str| {
        trading_report::digest(&fs::read(cluster.file(index, file)).expect("it is there"))
    };
    for index in 0..MEMBERS {
        let report = cluster.report(index).await.expect("answers");
        let (role, follows) =
            if index == primary { ("primary", Value::Null) } else { ("replica", json!(name(primary))) };
        assert_eq!((&report["name"], &report["role"]), (&json!(name(index)), &json!(role)), "{report}");
        assert_eq!((&report["follows"], &report["waitsFor"]), (&follows, &Value::Null), "{report}");
        assert_eq!(report["inStep"], if index == primary { Value::Null } else { json!(true) }, "{report}");
        assert_eq!(report["inForce"]["postgresql.conf"], digest(index, "template.conf"), "{report}");
        assert!(
            report["version"].as_str().is_some_and(|version| version.starts_with(bench.major())),
            "{report}"
        );
        assert!(report["volumes"][0]["totalBytes"].as_u64() > report["volumes"][0]["freeBytes"].as_u64());
    }

    for index in 0..MEMBERS {
        let seen = cluster.seen_by_others(index);
        for secret in [OWNER, REPLICATION, "SUPERUSER_PASSWORD"] {
            assert!(!seen.contains(secret), "{secret} in arguments or environments");
        }
    }

    // All at once, other pods of the same names, and the Lease says nothing any more.
    for index in 0..MEMBERS {
        cluster.kill(index);
        cluster.renew(index);
    }
    cluster.api.lose();
    (0..MEMBERS).for_each(|index| cluster.start(index));
    let primary = cluster.settles(FORMS).await;
    assert_eq!(cluster.status(primary).await.expect("answers")["system"], before);
    let client = connect(cluster.client_address(primary)).await.expect("connected");
    assert_eq!(client.query_one("SELECT id FROM trades", &[]).await.expect("read").get::<_, i32>(0), 1);

    // An empty volume gets a copy, and never a new database.
    let replica = (primary + 1) % MEMBERS;
    cluster.kill(replica);
    fs::remove_dir_all(cluster.file(replica, "data")).expect("removed");
    cluster.start(replica);
    cluster.settles(RETURNS).await;
    assert_eq!(cluster.status(replica).await.expect("answers")["system"], before);
    assert!(!cluster.file(replica, "data.new").exists());

    // Data of another database is left alone, and the reason is told.
    cluster.kill(replica);
    let data = cluster.file(replica, "data");
    fs::remove_dir_all(&data).expect("removed");
    bench.initdb(&data);
    cluster.start(replica);
    let failure = cluster.failure(replica).await;
    assert_eq!(failure["reason"], "WrongDatabase");
    let (ok, said) = cluster.end(replica).await;
    assert!(
        !ok && said.contains("\"reason\":\"WrongDatabase\"") && said.contains("move the volume's data away"),
        "{said}"
    );
    assert!(data.join("PG_VERSION").exists());

    fs::write(data.join("PG_VERSION"), "9\n").expect("written");
    cluster.start(replica);
    let failure = cluster.failure(replica).await;
    let (ok, said) = cluster.end(replica).await;
    assert_eq!(serde_json::from_str::<Value>(&said).ok(), Some(failure));
    assert!(!ok && said.contains("WrongMajorVersion") && said.contains("version 9"), "{said}");

    // An image of another version than was asked for makes nothing that it could not start again with.
    fs::remove_dir_all(&data).expect("removed");
    "99".clone_into(&mut cluster.major);
    cluster.start(replica);
    let failure = cluster.failure(replica).await;
    assert_eq!(failure["reason"], "WrongMajorVersion");
    let (ok, said) = cluster.end(replica).await;
    assert!(!ok && said.contains("use an image of version 99") && !data.exists(), "{said}");
}
