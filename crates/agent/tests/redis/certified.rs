//! Servers and Sentinels that speak TLS alone: they form, fail over and heal, and take up renewed certificates.

use std::net::TcpStream;
use std::time::Duration;

use crate::authority::Authority;
use crate::client::{Load, ask, encrypt, lost};
use crate::fleet::{Fleet, has_redis, measured};
use crate::sentinel::Watched;
use crate::support::{free_port, mount};

const PATIENCE: Duration = Duration::from_mins(1);

/// Whether a server answers somebody who does without TLS.
fn answers_plainly(fleet: &Fleet, ordinal: usize) -> bool {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(fleet.at(ordinal)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    stream.write_all(b"PING\r\n").expect("sent");
    let mut answer = [0; 5];
    stream.read(&mut answer).is_ok_and(|length| length > 0 && matches!(answer[0], b'-' | b'+'))
}

#[test]
fn a_cluster_forms_heals_and_takes_up_certificates_with_tls_alone() {
    if !has_redis() {
        return;
    }
    let [first, second] = ["first", "second"].map(Authority::new);
    let mut fleet = Fleet::cluster("shop-redis", free_port(), 3, 1);
    fleet.encrypt(&first);
    let mut fleet = fleet.form_servers(0..6);
    assert!((0..6).all(|it| !answers_plainly(&fleet, it)), "plain connections are taken");
    let load = Load::start(&fleet.seeds, 0);
    fleet.until("writes go on", PATIENCE, |_| load.count() > 100);
    let master = (0..6).find(|it| fleet.is_master(*it)).expect("there are some");
    fleet.kill(master);
    fleet.until("another is master", PATIENCE, |it| {
        (0..6).any(|other| other != master && it.is_master(other) && it.slots(other) > 0 && other >= 3)
    });
    fleet.start(master);
    fleet.until("the cluster is whole", PATIENCE, Fleet::is_settled);

    // Another authority, which all trust first.
    let both = first.pem() + &second.pem();
    fleet.certify(&first, &both);
    let has = |it: &Fleet, times: usize| {
        it.ordinals()
            .into_iter()
            .all(|ordinal| it.log(ordinal).matches("certificate: it is another one").count() >= times)
    };
    fleet.until("all trust both", PATIENCE, |it| has(it, 1));
    fleet.certify(&second, &both);
    // The one that was started again has taken up one less.
    fleet.until("all have the other", PATIENCE, |it| has(it, 2));
    let at = fleet.at(0);
    assert_eq!(ask(at, &["PING"]), "", "a client that trusts the first alone is let in");
    encrypt(fleet.port, &second);
    assert_eq!(ask(at, &["PING"]), "PONG");
    fleet.until("the cluster is whole", PATIENCE, Fleet::is_settled);
    let ledger = load.stop();
    measured("writes to a cluster with TLS", ledger.acknowledged.len());
    assert_eq!(lost(&fleet.seeds, &ledger.copied), Vec::<u64>::new());

    // A third shard more moves slots with TLS.
    fleet.wish(4, 1);
    for ordinal in [6, 7] {
        fleet.start(ordinal);
    }
    fleet.until("the cluster has grown", PATIENCE * 2, |it| it.is_settled() && it.slots(6) > 0);
    assert_eq!(lost(&fleet.seeds, &ledger.copied), Vec::<u64>::new());
    for ordinal in 0..8 {
        assert!(!fleet.log(ordinal).contains("PRIVATE KEY"));
    }
}

#[test]
fn watched_servers_fail_over_with_tls_alone() {
    if !has_redis() {
        return;
    }
    let authority = Authority::new("ours");
    let mut watched = Watched::start_with(Some(&authority));
    assert!(
        (0..3).all(|it| !answers_plainly(&watched.servers, it) && !answers_plainly(&watched.sentinels, it))
    );
    let load = Load::start(&watched.servers.seeds, 0);
    watched.servers.until("writes go on", PATIENCE, |_| load.count() > 100);
    let old = watched.master();
    watched.servers.kill(old);
    watched.servers.until("another is master", PATIENCE, |_| watched.master() != old);
    watched.servers.start(old);
    watched.until_whole();
    let ledger = load.stop();
    assert_eq!(lost(&watched.servers.seeds, &ledger.copied), Vec::<u64>::new());

    // Servers take another certificate while they run; a Sentinel ends for it, and is started again.
    watched.servers.certify(&authority, &authority.pem());
    watched.servers.until("all servers have it", PATIENCE, |it| {
        (0..3).all(|ordinal| it.log(ordinal).contains("certificate: it is another one"))
    });
    watched.sentinels.certify(&authority, &authority.pem());
    // In turn by the number of the pod; those that have an address for a name all begin.
    for ordinal in 0..3 {
        assert!(watched.sentinels.wait(ordinal).success(), "{}", watched.sentinels.log(ordinal));
        watched.sentinels.start(ordinal);
    }
    watched.until_whole();
}

#[test]
fn a_server_without_a_certificate_says_what_is_wrong() {
    if !has_redis() {
        return;
    }
    let authority = Authority::new("ours");
    let mut fleet =
        Fleet::new("shop-redis", free_port(), "appendonly yes\n", &["--tell-failure-seconds", "0"]);
    fleet.encrypt(&authority);
    let [_, other] = authority.certify(&["shop".to_owned()]);
    let [certificate, _] = authority.certify(&["shop-redis".to_owned()]);
    let files = [("tls.crt", certificate), ("tls.key", other), ("ca.crt", authority.pem())];
    mount(&fleet.file("tls"), &files.each_ref().map(|(file, text)| (*file, text.as_ref())));
    fleet.start(0);
    assert!(!fleet.wait(0).success());
    assert!(fleet.log(0).contains("is not the key of tls.crt"), "{}", fleet.log(0));
}

#[test]
fn a_server_whose_authority_is_lost_lives_and_takes_up_the_next() {
    if !has_redis() {
        return;
    }
    let [first, second] = ["first", "second"].map(Authority::new);
    let mut fleet = Fleet::new("shop-redis", free_port(), "appendonly yes\n", &[]);
    fleet.encrypt(&first);
    fleet.start(0);
    let at = fleet.at(0);
    fleet.until("it answers", PATIENCE, |_| ask(at, &["PING"]) == "PONG");
    fleet.certify(&second, &second.pem());
    fleet.until("it has the next", PATIENCE, |it| it.log(0).contains("certificate: it is another one"));
    assert_eq!(ask(at, &["PING"]), "");
    encrypt(fleet.port, &second);
    assert_eq!(ask(at, &["PING"]), "PONG");
}
