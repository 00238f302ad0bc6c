//! TLS to the servers comes, is insisted on, and certificates are renewed, while clients work.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use super::OWNER;
use super::authority::Authority;
use super::cluster::{Cluster, MEMBERS};
use super::ledger::{connect, connect_as, connect_checked};
use super::pooler::{POOLER, Pooler, ask, has_pgbouncer, log_of};
use super::server::Bench;

const FORMS: Duration = Duration::from_secs(90);
/// Time in which files are looked at.
const TAKEN: Duration = Duration::from_secs(20);
const APP: (&str, &str) = ("app", OWNER);
const STRICT: &str = "local all all trust\nhostssl replication streaming_replica all scram-sha-256\nhostssl all all all scram-sha-256\n";

/// Asks again and again until the answer is this.
async fn becomes(what: &str, cluster: &Cluster<'_>, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + TAKEN;
    while !is_so().await {
        assert!(Instant::now() < end, "not {what}: {}", cluster.everything().await);
        sleep(Duration::from_millis(100)).await;
    }
}

async fn checked(address: SocketAddr, authority: &Authority) -> Client {
    connect_checked(address, APP, authority).await.expect("connected")
}

/// Every server says that it goes by this.
async fn all_go_by(access: &str, cluster: &Cluster<'_>) {
    let digest = trading_report::digest(access.as_bytes());
    becomes("in force", cluster, async || {
        for index in 0..MEMBERS {
            let report = cluster.report(index).await.unwrap_or_default();
            if report["inForce"]["pg_hba.conf"] != digest.as_str() {
                return false;
            }
        }
        true
    })
    .await;
}

/// How the servers that follow are connected.
async fn followers(cluster: &Cluster<'_>, primary: usize) -> String {
    let client = cluster.superuser(primary).await.expect("connected");
    let question = "SELECT coalesce(string_agg(ssl::text, ' '), '') FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)";
    ask(&client, question).await.expect("read")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_connections_are_refused_once_all_may_do_without() {
    let Some(bench) = Bench::new() else { return };
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let mut cluster = Cluster::encrypted(&bench, &authority).await;
    let primary = cluster.settles(FORMS).await;
    let at = |index: usize| cluster.client_address(index);

    // Offered: who wants to has it, and knows whom it talks to.
    let plain = connect(at(primary)).await.expect("connected");
    plain.batch_execute("CREATE TABLE kept (id int8)").await.expect("made");
    let encrypted = checked(at(primary), &authority).await;
    let own = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(ask(&encrypted, own).await.expect("read"), "true");
    assert_eq!(ask(&plain, own).await.expect("read"), "false");
    assert!(connect_checked(at(primary), APP, &stranger).await.is_err(), "the certificate is checked");
    assert_eq!(followers(&cluster, primary).await, "true true", "replicas use what is offered");

    // Required: nobody else gets in or stays, and what is acknowledged is there.
    encrypted.batch_execute("INSERT INTO kept VALUES (1)").await.expect("written");
    cluster.write("pg_hba.conf", STRICT);
    all_go_by(STRICT, &cluster).await;
    becomes("over", &cluster, async || plain.batch_execute("SELECT 1").await.is_err()).await;
    for index in 0..MEMBERS {
        let refused = connect_as(at(index), "app", OWNER).await.expect_err("it is plain");
        assert!(
            refused.to_string().contains("db error") && format!("{refused:?}").contains("no encryption"),
            "{refused:?}"
        );
        checked(at(index), &authority).await;
    }
    assert_eq!(ask(&encrypted, "SELECT 1").await.expect("it goes on"), "1");
    cluster.settles(FORMS).await;
    assert_eq!(followers(&cluster, primary).await, "true true");
    becomes("written", &cluster, async || {
        encrypted.batch_execute("INSERT INTO kept VALUES (2)").await.is_ok()
    })
    .await;

    // Servers that take over and come back check each other.
    cluster.kill(primary);
    let second = cluster.leads(FORMS).await;
    assert_ne!(second, primary);
    let client = checked(cluster.client_address(second), &authority).await;
    client.batch_execute("INSERT INTO kept VALUES (3)").await.expect("written");
    cluster.start(primary);
    let leader = cluster.settles(FORMS).await;
    let client = checked(cluster.client_address(leader), &authority).await;
    assert_eq!(
        ask(&client, "SELECT string_agg(DISTINCT id::text, ' ') FROM kept").await.expect("read"),
        "1 2 3"
    );
    let composed = fs::read_to_string(cluster.file(primary, "run/postgresql.conf")).expect("read");
    assert!(composed.contains("sslmode=verify-full"), "{composed}");

    // And let everybody in again.
    let open = STRICT.replace("hostssl", "host");
    cluster.write("pg_hba.conf", &open);
    all_go_by(&open, &cluster).await;
    assert!(connect(cluster.client_address(leader)).await.is_some());
    for index in 0..MEMBERS {
        let all = cluster.log(index) + &cluster.seen_by_others(index) + &cluster.api.lease();
        assert!(!all.contains("PRIVATE KEY"), "a key is seen");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_without_a_restart() {
    let Some(bench) = Bench::new() else { return };
    let [first, second] = ["first", "second"].map(Authority::new);
    let cluster = Cluster::encrypted(&bench, &first).await;
    let primary = cluster.settles(FORMS).await;
    cluster.write("pg_hba.conf", STRICT);
    all_go_by(STRICT, &cluster).await;
    let address = cluster.client_address(primary);
    let stays = checked(address, &first).await;

    // What is no pair is not taken.
    let good = fs::read(cluster.file(0, "tls/tls.key")).expect("read");
    let [_, other] = first.certify(&["shop".to_owned()]);
    for bad in [other.as_str(), "no key", ""] {
        cluster.write("tls/tls.key", bad);
        sleep(Duration::from_secs(6)).await;
        checked(address, &first).await;
        assert!(cluster.log(primary).contains("the certificate stays as it was: "));
    }
    fs::write(cluster.file(0, "tls/tls.key"), good).expect("written");

    // Of another authority, by which time all trust both.
    let both = [first, second];
    cluster.certify(&both[0], &both);
    sleep(Duration::from_secs(6)).await;
    cluster.certify(&both[1], &both);
    for index in 0..MEMBERS {
        let there = cluster.client_address(index);
        becomes("taken", &cluster, async || connect_checked(there, APP, &both[1]).await.is_ok()).await;
        assert!(connect_checked(there, APP, &both[0]).await.is_err());
    }
    assert_eq!(ask(&stays, "SELECT 1").await.expect("it goes on"), "1");
    assert_eq!(cluster.settles(FORMS).await, primary, "nobody restarted");

    if !has_pgbouncer() {
        return;
    }
    cluster.write("passwords/pooler", POOLER);
    cluster.write("pooler", "trading_pooler\n");
    cluster.is_told(r#"\"pooler\":true"#).await;
    let folder = bench.root().join("pooler-tls");
    fs::create_dir(&folder).expect("made");
    let put = |authority: &Authority| {
        let [certificate, key] = authority.certify(&["127.0.0.1".to_owned()]);
        let trusted = both.iter().map(Authority::pem).collect::<String>();
        for (file, text) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", trusted)] {
            fs::write(folder.join(file), text).expect("written");
        }
    };
    put(&both[0]);
    let pooler = Pooler::start(&bench, address, Some(&folder)).await;
    assert!(connect_as(pooler.address, "app", OWNER).await.is_err(), "it is plain");
    let through = connect_checked(pooler.address, APP, &both[0]).await;
    let through = through.unwrap_or_else(|error| panic!("{error:?}: {}", log_of(&bench)));
    let own = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(ask(&through, own).await.expect("read"), "true", "behind it too");
    put(&both[1]);
    becomes("renewed", &cluster, async || connect_checked(pooler.address, APP, &both[1]).await.is_ok()).await;
    assert_eq!(ask(&through, "SELECT 1").await.expect("it goes on"), "1");
}
