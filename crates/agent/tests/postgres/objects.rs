//! Databases, extensions and roles are declared while servers serve.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::{Client, Error, NoTls};

use super::cluster::{Cluster, MEMBERS};
use super::ledger::{connect, connect_as};
use super::server::Bench;

const FORMS: Duration = Duration::from_secs(90);
/// The agent looks every 5 s, and every 20 s for what it could not make in a database.
const MADE: Duration = Duration::from_mins(1);
const ETL: &str = "etl's: \\ $(y) \"";
const REPORTING: &str = "reporting-1";
const LATER: &str = "reporting-2";
/// What everything begins with.
const FIRST: &str = r#"{"databases": {
    "shop": {"owner": null, "extensions": ["pg_trgm", "no_such_thing"]},
    "analytics": {"owner": "etl", "extensions": ["hstore"]}},
  "roles": {"etl": {"connectionLimit": 3}, "reporting": {"memberOf": ["pg_read_all_data"]}, "theirs": {}}}"#;
/// Without the role that reads.
const SECOND: &str = r#"{"databases": {
    "shop": {"owner": null, "extensions": ["pg_trgm", "earthdistance"]},
    "analytics": {"owner": "etl", "extensions": ["hstore"]}}, "roles": {"etl": {"connectionLimit": 3}}}"#;
/// With much that is new.
const THIRD: &str = r#"{"databases": {
    "shop": {"owner": null, "extensions": ["pg_trgm", "citext"]},
    "one": {"owner": "app", "extensions": ["hstore"]}, "two": {"owner": "fresh", "extensions": ["hstore"]},
    "three": {"owner": "app", "extensions": ["hstore"]}}, "roles": {"etl": {}, "fresh": {}}}"#;

/// The kubelet brings what the operator writes to every server.
fn write(cluster: &Cluster<'_>, file: &str, text: &str) {
    (0..MEMBERS).for_each(|index| fs::write(cluster.file(index, file), text).expect("written"));
}

async fn session(server: SocketAddr, login: (&str, &str), database: &str) -> Result<Client, Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(server.ip().to_string()).port(server.port()).dbname(database);
    config.user(login.0).password(login.1);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn lets_in(cluster: &Cluster<'_>, server: usize, login: (&str, &str), database: &str) -> Client {
    let end = Instant::now() + MADE;
    loop {
        match session(cluster.client_address(server), login, database).await {
            Ok(client) => return client,
            Err(error) if Instant::now() > end => {
                panic!("{} is not let in: {error:?}: {}", login.0, cluster.everything().await)
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Until a question is answered so by the server.
async fn until(cluster: &Cluster<'_>, server: usize, login: (&str, &str), database: &str, question: &str) {
    let end = Instant::now() + MADE;
    let answer = async || {
        let client = session(cluster.client_address(server), login, database).await.ok()?;
        client.query_one(question, &[]).await.ok()?.try_get::<_, bool>(0).ok()
    };
    while answer().await != Some(true) {
        assert!(Instant::now() < end, "not {question}: {}", cluster.everything().await);
        sleep(Duration::from_millis(100)).await;
    }
}

async fn refused(cluster: &Cluster<'_>, server: usize) -> Vec<String> {
    let report = cluster.report(server).await.unwrap_or_default();
    let all = report["refused"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(|words| Some(words.as_str()?.to_owned())).collect()
}

async fn refuses(cluster: &Cluster<'_>, server: usize, count: usize) -> Vec<String> {
    let end = Instant::now() + MADE;
    loop {
        let found = refused(cluster, server).await;
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < end, "{found:?}: {}", cluster.everything().await);
        sleep(Duration::from_millis(200)).await;
    }
}

const ROOT: (&str, &str) = ("postgres", "super");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_is_there_and_nothing_is_lost() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::new(&bench, false).await;
    let primary = cluster.settles(FORMS).await;
    let replica = (primary + 1) % MEMBERS;
    for index in 0..MEMBERS {
        let file = cluster.file(index, "template.conf");
        let text = fs::read_to_string(&file).expect("read") + "log_statement = 'all'\n";
        fs::write(file, text).expect("written");
    }
    let at = |index: usize| cluster.client_address(index);
    let root = connect_as(at(primary), ROOT.0, ROOT.1).await.expect("connected");
    root.batch_execute("CREATE ROLE theirs LOGIN PASSWORD 'theirs'").await.expect("made");
    let owner = connect(at(primary)).await.expect("connected");
    // What an owner can do to whoever connects to the database.
    let traps = "CREATE TABLE orders AS SELECT 'tables' AS name; CREATE SCHEMA evil; \
         CREATE FUNCTION evil.starts_with(name, text) RETURNS bool LANGUAGE sql AS 'SELECT 1/0 = 1'; \
         ALTER DATABASE shop SET search_path = evil, pg_catalog; ALTER DATABASE shop SET role = 'app'; \
         ALTER DATABASE shop SET default_transaction_read_only = on";
    owner.batch_execute(traps).await.expect("the owner may");

    write(&cluster, "roles/etl", ETL);
    write(&cluster, "roles/theirs", "ours");
    write(&cluster, "objects", FIRST);
    let etl = lets_in(&cluster, primary, ("etl", ETL), "analytics").await;
    until(&cluster, primary, ROOT, "shop", "SELECT count(*) = 1 FROM pg_extension WHERE extname = 'pg_trgm'")
        .await;
    until(&cluster, primary, ("etl", ETL), "analytics", "SELECT 'a=>1'::public.hstore ? 'a'").await;
    etl.batch_execute("CREATE TABLE facts AS SELECT 1 AS id").await.expect("it owns the database");
    let told = refuses(&cluster, primary, 2).await;
    assert!(told[0].starts_with("role theirs is there already"), "{told:?}");
    assert!(
        told[1].starts_with("the image does not have extension no_such_thing of database shop"),
        "{told:?}"
    );
    let metrics = cluster.get(primary, "/metrics").await.expect("answered").1;
    assert!(metrics.contains("trading_postgres_objects_refused 2"), "{metrics}");
    assert!(refused(&cluster, replica).await.is_empty(), "it makes nothing");
    connect_as(at(primary), "theirs", "theirs").await.expect("it is as it was");

    // A role logs in once its password is there, with the rights that it has and no others.
    assert!(connect_as(at(primary), "reporting", REPORTING).await.is_err());
    write(&cluster, "roles/reporting", REPORTING);
    let reporting = lets_in(&cluster, primary, ("reporting", REPORTING), "shop").await;
    reporting.query_one("SELECT name FROM public.orders", &[]).await.expect("it reads");
    for forbidden in [
        "SET transaction_read_only = off; DELETE FROM public.orders",
        "CREATE ROLE more",
        "COPY (SELECT 1) TO '/tmp/x'",
    ] {
        assert!(reporting.batch_execute(forbidden).await.is_err(), "{forbidden}");
    }
    let elsewhere = lets_in(&cluster, replica, ("reporting", REPORTING), "shop").await;

    // Another password takes the place of the first.
    write(&cluster, "roles/reporting", LATER);
    lets_in(&cluster, primary, ("reporting", LATER), "shop").await;
    assert!(connect_as(at(primary), "reporting", REPORTING).await.is_err(), "the old one is over");

    // Removed, a role is refused and cut off everywhere; nothing is dropped.
    write(&cluster, "objects", SECOND);
    for (client, place) in [(&reporting, primary), (&elsewhere, replica)] {
        let end = Instant::now() + MADE;
        while client.batch_execute("SELECT 1").await.is_ok() {
            assert!(Instant::now() < end, "it goes on at {place}: {}", cluster.everything().await);
            sleep(Duration::from_millis(200)).await;
        }
        assert!(connect_as(at(place), "reporting", LATER).await.is_err(), "it is let in at {place}");
    }
    let cascade = "SELECT count(*) = 2 FROM pg_extension WHERE extname IN ('cube', 'earthdistance')";
    until(&cluster, primary, ROOT, "shop", cascade).await;
    assert!(refuses(&cluster, primary, 0).await.is_empty());

    // A server dies in the middle of it; the next one goes on.
    write(&cluster, "roles/fresh", "fresh-1");
    write(&cluster, "objects", THIRD);
    let begun = "SELECT count(*) > 0 FROM pg_database WHERE datname IN ('one', 'two', 'three')";
    until(&cluster, primary, ROOT, "postgres", begun).await;
    cluster.kill(primary);
    let next = cluster.leads(FORMS).await;
    for database in ["one", "two", "three"] {
        until(
            &cluster,
            next,
            ROOT,
            database,
            "SELECT count(*) = 1 FROM pg_extension WHERE extname = 'hstore'",
        )
        .await;
    }
    let all = "SELECT count(*) = 3 FROM pg_database WHERE \
         shobj_description(oid, 'pg_database') = 'made by platform.trading' AND datname <> 'analytics'";
    until(&cluster, next, ROOT, "postgres", all).await;
    let fresh = lets_in(&cluster, next, ("fresh", "fresh-1"), "two").await;
    fresh.batch_execute("CREATE TABLE own AS SELECT 1 AS id").await.expect("it owns the database");
    let etl = lets_in(&cluster, next, ("etl", ETL), "analytics").await;
    etl.query_one("SELECT id FROM facts", &[]).await.expect("what was removed stays");
    let again = connect_as(cluster.client_address(next), "reporting", LATER).await;
    assert!(again.is_err(), "a removed role stays refused");
    cluster.start(primary);
    cluster.settles(FORMS).await;

    for index in 0..MEMBERS {
        let all = cluster.log(index) + &cluster.seen_by_others(index);
        for secret in [ETL, REPORTING, LATER, "SCRAM-SHA-256$"] {
            assert!(!all.contains(secret), "a secret is seen");
        }
    }
}
