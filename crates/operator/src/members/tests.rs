//! The poller against servers on loopback.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::get};
use tokio::{net::TcpListener, time::timeout};
use trading_core::members::{PATH, Protocol, Report, Role, Target};

use super::{Book, ask::Asker, book::Told, poll};
use crate::{
    cache::{PlatformKey, Triggers},
    metrics::Metrics,
};

type Bodies = Arc<Mutex<BTreeMap<&'static str, String>>>;

fn key() -> PlatformKey {
    PlatformKey { namespace: "prod".to_owned(), name: "shop".to_owned() }
}

fn report(name: &str, role: Role) -> Report {
    Report {
        name: name.to_owned(),
        role,
        in_step: (role == Role::Replica).then_some(true),
        ..Report::default()
    }
}

fn target(port: u16, settled: bool) -> Target {
    let servers = [("shop-postgres-0", "127.0.0.1"), ("shop-postgres-1", "127.0.0.2")];
    let servers = servers.map(|(pod, host)| (pod.to_owned(), host.to_owned())).into();
    Target {
        store: "postgres",
        protocol: Protocol::Agent,
        port,
        servers,
        settled,
        pods: (0, 0),
        awaited: None,
    }
}

/// Two agents at one port of two addresses, and what they answer.
async fn agents() -> (u16, Bodies) {
    let bodies = Bodies::default();
    let first = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = first.local_addr().expect("it has an address").port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.expect("the port is free there too");
    for (listener, name) in [(first, "shop-postgres-0"), (second, "shop-postgres-1")] {
        let answer = async move |State(bodies): State<Bodies>| {
            bodies.lock().expect("no panic").get(name).cloned().unwrap_or_else(|| "{".to_owned())
        };
        let router = Router::new().route(PATH, get(answer)).with_state(Arc::clone(&bodies));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    (port, bodies)
}

fn say(bodies: &Bodies, report: &Report) {
    let name = if report.name.ends_with('0') { "shop-postgres-0" } else { "shop-postgres-1" };
    bodies.lock().expect("no panic").insert(name, serde_json::to_string(report).expect("it has a text"));
}

#[tokio::test]
async fn answers_wake_a_platform_when_they_are_new() {
    let (port, bodies) = agents().await;
    say(&bodies, &report("shop-postgres-0", Role::Primary));
    say(&bodies, &report("shop-postgres-1", Role::Replica));
    let (triggers, mut woken) = Triggers::new(Arc::new(Metrics::new().expect("metrics")));
    let book = Arc::new(Book::default());
    let triggers = Arc::new(triggers);
    let (asks, wakes) = (Arc::clone(&book), Arc::clone(&triggers));
    let polling = tokio::spawn(async move { poll(asks, &wakes).await });

    assert!(book.known(&key(), 1).of("postgres").is_none(), "nobody was asked yet");
    book.watch(&key(), vec![target(port, false)]);
    let wakes = timeout(Duration::from_secs(10), woken.recv()).await;
    assert_eq!(wakes.ok().flatten(), Some(key()));
    let known = book.known(&key(), 1);
    let answers = known.of("postgres").expect("they were asked");
    assert!(answers.current && answers.has_primary() && answers.servers.values().all(Option::is_some));
    assert!(!book.known(&key(), 2).of("postgres").expect("known").current, "an edit comes after them");

    // Nothing else happens before the second time.
    for roles in [[Role::Replica, Role::Primary], [Role::Primary, Role::Replica]] {
        triggers.started(&key());
        say(&bodies, &report("shop-postgres-0", roles[0]));
        say(&bodies, &report("shop-postgres-1", roles[1]));
        let wakes = timeout(Duration::from_secs(20), woken.recv()).await;
        assert_eq!(wakes.ok().flatten(), Some(key()), "they are asked again and again");
    }
    polling.abort();
}

#[tokio::test]
async fn who_answers_slowly_holds_up_nobody_else() {
    let (port, bodies) = agents().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let slow = PlatformKey { namespace: "prod".to_owned(), name: "slow".to_owned() };
    let (triggers, mut woken) = Triggers::new(Arc::new(Metrics::new().expect("metrics")));
    let (book, triggers) = (Arc::new(Book::default()), Arc::new(triggers));
    let (asks, wakes) = (Arc::clone(&book), Arc::clone(&triggers));
    let polling = tokio::spawn(async move { poll(asks, &wakes).await });

    book.known(&slow, 1);
    book.watch(&slow, vec![target(silent.local_addr().expect("it has an address").port(), false)]);
    let asked = timeout(Duration::from_secs(10), silent.accept()).await.expect("it is asked");
    // As long as this is held its question is under way, for two seconds.
    let _connection = asked.expect("it is a connection");
    say(&bodies, &report("shop-postgres-0", Role::Primary));
    book.known(&key(), 1);
    book.watch(&key(), vec![target(port, false)]);
    for first in [key(), slow] {
        let wakes = timeout(Duration::from_secs(10), woken.recv()).await;
        assert_eq!(wakes.ok().flatten(), Some(first));
    }
    polling.abort();
}

#[tokio::test]
async fn only_what_can_be_read_in_bounds_and_in_time_is_an_answer() {
    let (port, bodies) = agents().await;
    let asker = Asker::new();
    let body = |text: &str| bodies.lock().expect("no panic").insert("shop-postgres-0", text.to_owned());
    for text in ["", "{", "7", "{\"name\": 7}", "{\"name\": \"shop-postgres-0\", \"lagBytes\": -1}"] {
        body(text);
        assert_eq!(asker.ask("127.0.0.1", port).await, None, "{text}");
    }
    body(&format!("{{\"name\": \"{}\"}}", "x".repeat(100 * 1024)));
    assert_eq!(asker.ask("127.0.0.1", port).await, None, "it is too long");
    body("{\"name\": \"shop-postgres-0\", \"later\": 1}");
    assert!(asker.ask("127.0.0.1", port).await.is_some());

    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let begin = Instant::now();
    let port = silent.local_addr().expect("it has an address").port();
    assert_eq!(asker.ask("127.0.0.1", port).await, None);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(asker.ask("no-such-host.invalid", port).await, None);
}

/// One round with these answers; whether it wakes the platform.
fn round(book: &Book, reports: &[Report]) -> bool {
    let (mut rounds, _) = book.due(Instant::now() + Duration::from_hours(1), 9);
    let told = reports.iter().map(|report| (report.name.clone(), Some(report.clone()))).collect();
    book.enter(&rounds.remove(0), Told::from([("postgres", told)]))
}

fn watched() -> Book {
    let book = Book::default();
    book.known(&key(), 1);
    book.watch(&key(), vec![target(1, true)]);
    book
}

#[test]
fn numbers_wake_nobody_and_trouble_must_last() {
    let book = watched();
    let (primary, replica) =
        (report("shop-postgres-0", Role::Primary), report("shop-postgres-1", Role::Replica));
    assert!(round(&book, &[primary.clone(), replica.clone()]));
    let moved = Report { lag_bytes: Some(4096), ..replica.clone() };
    assert!(!round(&book, &[primary.clone(), moved]));

    let behind = Report { in_step: Some(false), ..replica.clone() };
    let both = [primary.clone(), behind];
    assert_eq!([round(&book, &both), round(&book, &both), round(&book, &both)], [false, false, true]);
    assert!(round(&book, &[primary.clone(), replica.clone()]), "what is well again is told at once");

    assert!(!round(&book, std::slice::from_ref(&replica)), "a failover may be under way");
    let new = [report("shop-postgres-0", Role::Replica), report("shop-postgres-1", Role::Primary)];
    assert!(round(&book, &new), "it is over");
}

#[test]
fn a_failure_is_known_while_its_container_waits_to_be_started_again() {
    let book = watched();
    let failure = serde_json::json!({"name": "shop-postgres-0", "failure": {"reason": "WrongDatabase", "message": "m"}});
    assert!(round(&book, &[serde_json::from_value(failure).expect("it is one")]));
    assert!(!round(&book, &[]), "it is silent");
    let known = book.known(&key(), 1);
    let member = known.of("postgres").and_then(|answers| answers.servers["shop-postgres-0"].clone());
    assert_eq!(member.and_then(|member| member.failure), Some(("WrongDatabase", "m".to_owned())));
    assert!(round(&book, &[report("shop-postgres-0", Role::Primary)]));
}

#[test]
fn an_outage_outside_is_told_when_it_lasts() {
    let outside = |port| {
        let servers = vec![("db.example".to_owned(), "db.example".to_owned())];
        let protocol = Protocol::Postgres { tls: true };
        Target { store: "postgres", protocol, port, servers, settled: true, pods: (0, 0), awaited: None }
    };
    let said = |failure: &str| -> Report {
        let failure = (!failure.is_empty()).then(|| serde_json::json!({"reason": failure, "message": "m"}));
        let role = if failure.is_some() { "unknown" } else { "primary" };
        serde_json::from_value(serde_json::json!({"name": "db.example", "role": role, "failure": failure}))
            .expect("it is one")
    };
    let book = Book::default();
    book.known(&key(), 1);
    book.watch(&key(), vec![outside(5432)]);
    let gone = [said("Unreachable")];
    assert_eq!([round(&book, &gone), round(&book, &gone), round(&book, &gone)], [false, false, true]);
    let now = Instant::now();
    assert!(!round(&book, &gone));
    let next = book.due(now, 9).1.expect("it is tried again").saturating_duration_since(now);
    assert!(next > Duration::from_secs(20), "it may last for days: {next:?}");
    assert!(round(&book, &[said("")]), "it is back");
}

#[test]
fn answers_to_older_questions_are_dropped() {
    let book = watched();
    let (mut rounds, _) = book.due(Instant::now() + Duration::from_hours(1), 9);
    let before = rounds.remove(0);
    book.known(&key(), 2);
    assert!(!book.enter(&before, Told::new()));
    assert!(round(&book, &[report("shop-postgres-0", Role::Primary)]));
}

#[test]
fn who_is_not_reached_is_asked_ever_more_rarely() {
    let book = watched();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let now = Instant::now();
        round(&book, &[]);
        let (_, next) = book.due(now, 9);
        pauses.push(next.expect("it is asked again").saturating_duration_since(now));
    }
    assert!(pauses[0] < Duration::from_secs(8) && pauses[11] > Duration::from_mins(2), "{pauses:?}");
    let now = Instant::now();
    round(&book, &[report("shop-postgres-0", Role::Primary), report("shop-postgres-1", Role::Replica)]);
    let next = book.due(now, 9).1.expect("it is asked again").saturating_duration_since(now);
    assert!((Duration::from_secs(20)..Duration::from_secs(70)).contains(&next), "{next:?}");
    book.forget(&key());
    assert!(book.due(now, 9).1.is_none());
}
