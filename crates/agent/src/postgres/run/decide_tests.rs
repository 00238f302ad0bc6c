//! Single decisions that the simulation is too free to name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::lease::{EXPIRES, Holder, Lease, Name};
use super::super::position::{History, Lsn, Position};
use super::{Action, Own, REPAIR, Role, Rules, Status, Stop, View, decide};

const NOW: Duration = Duration::from_secs(1000);
const SYSTEM: u64 = 7;

/// `b`, a replica of `a`, whose Lease has just expired, beside the replica `c`.
struct Scene {
    rules: Rules,
    lease: Lease,
    seen: Duration,
    trusted: Option<Duration>,
    own: Own,
    peers: BTreeMap<Name, Status>,
    stopping: bool,
}

fn status(name: &str, role: Role, lsn: u64) -> Status {
    Status {
        name: name.to_owned(),
        role,
        system: Some(SYSTEM),
        position: Some(Position { timeline: 2, lsn: Lsn(lsn) }),
        settled: true,
        sees_lease: true,
        rewinds: true,
        ..Status::default()
    }
}

fn scene(lsn_of_b: u64, lsn_of_c: u64) -> Scene {
    let holder = |name: &str| Holder { name: name.to_owned(), life: "1".to_owned() };
    let position = Position { timeline: 2, lsn: Lsn(1000) };
    Scene {
        rules: Rules { me: holder("b"), members: ["a", "b", "c"].map(String::from).into(), max_lag: 100 },
        lease: Lease::default().taken(&holder("a")).confirmed(SYSTEM, position, [].into()),
        seen: NOW.saturating_sub(EXPIRES),
        trusted: None,
        own: Own {
            status: status("b", Role::Standby, lsn_of_b),
            upstream: Some("a".into()),
            ..Own::default()
        },
        peers: [("c".to_owned(), status("c", Role::Standby, lsn_of_c))].into(),
        stopping: false,
    }
}

impl Scene {
    fn decide(&self) -> Action {
        let Self { rules, lease, seen, trusted, own, peers, stopping } = self;
        let view =
            View { rules, now: NOW, lease, seen: *seen, trusted: *trusted, own, peers, stopping: *stopping };
        decide(&view)
    }

    #[track_caller]
    fn waits(&self, why: &str) {
        let action = self.decide();
        assert!(matches!(&action, Action::Wait(reason) if reason.contains(why)), "{action:?}");
    }

    fn leads(mut self) -> Self {
        self.lease = self.lease.taken(&self.rules.me).confirmed(
            SYSTEM,
            Position { timeline: 2, lsn: Lsn(1000) },
            [].into(),
        );
        self.trusted = Some(NOW + Duration::from_secs(1));
        self.own.status.role = Role::Primary;
        self
    }
}

#[test]
fn the_furthest_takes_over_and_not_before_the_end() {
    assert_eq!(scene(950, 940).decide(), Action::Acquire);
    assert_eq!(scene(950, 950).decide(), Action::Acquire, "of two the first by name");
    scene(950, 951).waits("c is at 0/3B7");
    let mut early = scene(950, 940);
    early.seen += Duration::from_millis(1);
    early.waits("a leads");
}

#[test]
fn one_that_lags_is_not_promoted() {
    scene(899, 0).waits("101 bytes of log are missing, and at most 100 may be");
    assert_eq!(scene(900, 0).decide(), Action::Acquire);
    let mut other = scene(5000, 0);
    other.own.status.position = Some(Position { timeline: 1, lsn: Lsn(5000) });
    other.waits("of timeline 1 and the last primary's of 2");
    let mut unsettled = scene(950, 0);
    unsettled.own.status.settled = false;
    unsettled.waits("not there yet");
}

#[test]
fn with_synchronous_replication_everyone_named_is_asked() {
    let with = |names: &[&str]| {
        let mut scene = scene(500, 400);
        scene.lease.record.synchronous = names.iter().map(|&name| name.to_owned()).collect();
        scene
    };
    assert_eq!(with(&["b", "c"]).decide(), Action::Acquire, "however far it lags, it has every commit");
    with(&["c"]).waits("does not name this server");
    let mut silent = with(&["b", "c"]);
    silent.peers.clear();
    silent.waits("c may have commits that this server lacks");
    silent.lease.record.synchronous.remove("c");
    assert_eq!(silent.decide(), Action::Acquire);
    let mut suspect = with(&["b", "c"]);
    suspect.peers.get_mut("c").expect("there").suspect = true;
    suspect.waits("c may have commits");
}

#[test]
fn a_primary_without_its_lease_stops_at_once() {
    let mut lost = scene(950, 940).leads();
    assert_eq!(lost.decide(), Action::Lead);
    lost.trusted = Some(NOW);
    assert_eq!(lost.decide(), Action::Stop(Stop::Immediate));
    lost.stopping = true;
    assert_eq!(lost.decide(), Action::Stop(Stop::Immediate));
    lost.trusted = Some(NOW + Duration::from_secs(1));
    assert_eq!(lost.decide(), Action::Stop(Stop::Fast));
    lost.own.status.role = Role::Stopped;
    assert_eq!(lost.decide(), Action::Release);
    lost.trusted = None;
    assert_eq!(lost.decide(), Action::Exit);
}

#[test]
fn a_holder_that_can_t_start_its_server_lets_another() {
    let mut stuck = scene(950, 940).leads();
    stuck.own.status.role = Role::Starting;
    stuck.own.without_server = Some(NOW.saturating_sub(REPAIR));
    assert_eq!(stuck.decide(), Action::Stop(Stop::Immediate));
    stuck.own.status.role = Role::Stopped;
    assert_eq!(stuck.decide(), Action::Release);
    stuck.peers.clear();
    assert_eq!(stuck.decide(), Action::Start(None), "nobody else could");
}

#[test]
fn what_went_another_way_is_undone_once_the_primary_can_tell() {
    let mut old = scene(950, 940);
    old.seen = NOW;
    let mut leader = status("a", Role::Primary, 1000);
    leader.history = History(vec![Position { timeline: 1, lsn: Lsn(500) }]);
    leader.rewinds = false;
    old.peers.insert("a".into(), leader);
    old.own.status.position = Some(Position { timeline: 1, lsn: Lsn(501) });
    old.waits("first checkpoint");
    old.peers.get_mut("a").expect("there").rewinds = true;
    assert_eq!(old.decide(), Action::Rewind("a".into()));
    old.own.status.position = Some(Position { timeline: 1, lsn: Lsn(500) });
    old.waits("a leads");
    old.own.broken = true;
    assert_eq!(old.decide(), Action::Copy("a".into()));
    old.own.broken = false;
    old.peers.get_mut("a").expect("there").oldest = Some(Lsn(600));
    assert_eq!(old.decide(), Action::Copy("a".into()), "the log in between is gone");
}

#[test]
fn another_database_is_refused() {
    let mut other = scene(950, 940);
    other.own.status.system = Some(SYSTEM + 1);
    assert!(
        matches!(other.decide(), Action::Refuse(reason) if reason.contains("move the volume's data away"))
    );
}

#[test]
fn a_database_is_made_only_when_every_server_has_said_that_it_has_none() {
    let mut scene = scene(0, 0);
    (scene.lease, scene.own) = (Lease::default(), Own::default());
    scene.rules.me.name = "a".to_owned();
    scene.peers = ["b", "c"].map(|name| (name.to_owned(), Status::default())).into();
    assert_eq!(scene.decide(), Action::Acquire);
    let c = scene.peers.remove("c").expect("it is there");
    scene.waits("c has not said yet that it has no data");
    scene.peers.insert("c".to_owned(), Status { name: "c".to_owned(), role: Role::Standby, ..c });
    scene.waits("c has data, though the Lease knows of none");
}

#[test]
fn nobody_takes_the_lease_of_one_that_was_alone() {
    let mut scene = scene(950, 940);
    scene.lease.record.alone = true;
    scene.waits("a holds the Lease as the only server");
    scene.lease = scene.lease.released();
    scene.waits("a holds the Lease as the only server");
    scene.rules.me = Holder { name: "a".to_owned(), life: "2".to_owned() };
    scene.own.status.name = "a".to_owned();
    assert_eq!(scene.decide(), Action::Acquire);
}
