//! Servers, clients, clocks and a network that fail in every order, around the same decisions that
//! the agent takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::lease::{Holder, Lease, Name, RENEWED, TRUSTED};
use super::super::position::{History, Lsn, Position};
use super::super::synchronous::{self, Commits, Step};
use super::{Action, Own, Role, Rules, Status, Stop, View, decide};

const SERVERS: usize = 3;
/// Lives of the cluster, each with up to 900 events.
const CASES: u32 = 3000;
const TICK: Duration = Duration::from_secs(1);

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    system: Option<u64>,
    log: Vec<u64>,
    timeline: u32,
    history: Vec<Position>,
    unconfirmed: Option<u32>,
    broken: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Gate {
    Closed,
    Standby,
    Until(Duration),
}

/// What does not.
struct Process {
    role: Role,
    settled: bool,
    upstream: Option<usize>,
    gate: Gate,
    lease: Lease,
    version: u64,
    seen: Duration,
    sees_lease: bool,
    trusted: Option<Duration>,
    renewed: Duration,
    configured: BTreeSet<Name>,
    in_force_since: Option<Lsn>,
    /// What was sensed and not acted upon yet, and when that began: a Lease that had not expired by then is
    /// not expired for what is concluded, for its holder may have led on meanwhile.
    sensed: Option<(Duration, Own, BTreeMap<Name, Status>)>,
    phase: u8,
    without_server: Option<Duration>,
    stopping: bool,
}

struct Server {
    life: u32,
    rate: f64,
    disk: Disk,
    process: Option<Process>,
    frozen: bool,
    api: bool,
}

struct World {
    synchronous: bool,
    now: Duration,
    lease: Lease,
    version: u64,
    servers: Vec<Server>,
    /// Pairs that can't talk.
    cut: BTreeSet<(usize, usize)>,
    next: u64,
    /// Commits on their way, and whose they are.
    pending: Vec<(usize, u64)>,
    acknowledged: Vec<u64>,
    last_term: u32,
    copied: usize,
    rewound: usize,
    /// What was done, for the message of a test that fails.
    done: Vec<String>,
}

fn name(index: usize) -> Name {
    format!("p-{index}")
}

fn index(name: &str) -> usize {
    name[2..].parse().expect("a number")
}

impl World {
    fn new(synchronous: bool, rates: [f64; SERVERS]) -> Self {
        let server =
            |rate| Server { life: 1, rate, disk: Disk::default(), process: None, frozen: false, api: true };
        let mut world = Self {
            synchronous,
            now: Duration::from_secs(100),
            lease: Lease::default(),
            version: 1,
            servers: rates.map(server).into(),
            cut: BTreeSet::new(),
            next: 1,
            pending: Vec::new(),
            acknowledged: Vec::new(),
            last_term: 0,
            copied: 0,
            rewound: 0,
            done: Vec::new(),
        };
        for at in 0..SERVERS {
            world.start(at);
        }
        world
    }

    fn clock(&self, at: usize) -> Duration {
        self.now.mul_f64(self.servers[at].rate)
    }

    fn start(&mut self, at: usize) {
        let now = self.clock(at);
        let server = &mut self.servers[at];
        if server.process.is_some() {
            return;
        }
        let role = if server.disk.system.is_some() { Role::Stopped } else { Role::Empty };
        server.frozen = false;
        server.process = Some(Process {
            role,
            settled: false,
            upstream: None,
            gate: Gate::Closed,
            lease: Lease::default(),
            version: 0,
            seen: now,
            sees_lease: false,
            trusted: None,
            renewed: now,
            configured: BTreeSet::new(),
            in_force_since: None,
            sensed: None,
            phase: 0,
            without_server: None,
            stopping: false,
        });
    }

    fn crash(&mut self, at: usize, new_life: bool) {
        let server = &mut self.servers[at];
        server.process = None;
        server.life += u32::from(new_life);
        self.pending.retain(|(of, _)| *of != at);
    }

    fn runs(&self, at: usize) -> bool {
        self.servers[at].process.is_some() && !self.servers[at].frozen
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        self.runs(a) && self.runs(b) && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn position(&self, at: usize) -> Position {
        let disk = &self.servers[at].disk;
        Position { timeline: disk.timeline, lsn: Lsn(disk.log.len() as u64) }
    }

    fn status(&self, at: usize) -> Status {
        let (server, process) = (&self.servers[at], self.servers[at].process.as_ref().expect("it runs"));
        let up = matches!(process.role, Role::Standby | Role::Primary);
        let mut position = self.position(at);
        if !process.settled {
            position.lsn = Lsn(position.lsn.0 / 2);
        }
        Status {
            name: name(at),
            role: process.role,
            system: server.disk.system,
            position: up.then_some(position),
            settled: up && process.settled,
            suspect: server.disk.unconfirmed.is_some() || server.disk.broken,
            receiving: process.upstream.is_some_and(|from| self.can_stream(at, from)),
            rewinds: process.role == Role::Primary,
            sees_lease: process.sees_lease,
            history: History(server.disk.history.clone()),
            oldest: Some(Lsn(0)),
        }
    }

    /// Whether the gate of a server lets out what it answers.
    fn is_open(&self, at: usize) -> bool {
        self.servers[at].process.as_ref().is_some_and(|process| match process.gate {
            Gate::Closed => false,
            Gate::Standby => true,
            Gate::Until(end) => self.clock(at) < end,
        })
    }

    fn takes_writes(&self, at: usize) -> bool {
        let process = self.servers[at].process.as_ref();
        process.is_some_and(|process| process.role == Role::Primary) && self.is_open(at)
    }

    fn can_stream(&self, to: usize, from: usize) -> bool {
        let is = |at: usize, roles: &[Role]| {
            self.servers[at].process.as_ref().is_some_and(|process| roles.contains(&process.role))
        };
        let mine = &self.servers[to].disk.log;
        to != from
            && self.reaches(to, from)
            && is(to, &[Role::Standby])
            && is(from, &[Role::Standby, Role::Primary])
            && self.is_open(from)
            && self.servers[from].disk.log.starts_with(mine)
    }

    fn stream(&mut self, to: usize, most: usize) {
        let Some(from) = self.servers[to].process.as_ref().and_then(|process| process.upstream) else {
            return;
        };
        if !self.can_stream(to, from) || !self.servers[to].process.as_ref().is_some_and(|it| it.settled) {
            return;
        }
        let source = self.servers[from].disk.clone();
        let disk = &mut self.servers[to].disk;
        let end = source.log.len().min(disk.log.len().saturating_add(most));
        disk.log.extend_from_slice(&source.log[disk.log.len()..end]);
        let lsn = Lsn(end as u64);
        // The timeline is the one that the position lies on.
        let passed = source.history.iter().filter(|past| past.lsn < lsn || end == source.log.len());
        disk.history = passed.copied().collect();
        let current = source.history.iter().find(|past| lsn <= past.lsn && end < source.log.len());
        disk.timeline = current.map_or(source.timeline, |past| past.timeline);
    }

    fn write(&mut self, at: usize) {
        let is_primary = self.servers[at].process.as_ref().is_some_and(|it| it.role == Role::Primary);
        if self.runs(at) && is_primary {
            let id = self.next;
            self.next += 1;
            self.servers[at].disk.log.push(id);
            self.pending.push((at, id));
        }
    }

    fn acknowledge(&mut self) {
        let mut left = Vec::new();
        for (at, id) in std::mem::take(&mut self.pending) {
            let process = self.servers[at].process.as_ref().expect("crashes drop their own");
            let has = |other: &Name| {
                let other = index(other);
                self.reaches(at, other) && self.servers[other].disk.log.contains(&id)
            };
            let confirmed = !self.synchronous || process.configured.iter().any(has);
            if !(self.runs(at) && self.takes_writes(at) && confirmed) {
                left.push((at, id));
                continue;
            }
            let term = process.lease.transitions;
            assert!(term >= self.last_term, "{} acknowledges after term {}", name(at), self.last_term);
            self.last_term = term;
            self.acknowledged.push(id);
        }
        self.pending = left;
    }

    /// Writes the Lease unless somebody was faster or it can't be reached.
    fn put(&mut self, at: usize, lease: Lease, answered: bool) -> bool {
        let sent = self.clock(at);
        let server = &mut self.servers[at];
        let process = server.process.as_mut().expect("it runs");
        if !server.api || process.version != self.version {
            return false;
        }
        self.version += 1;
        self.lease.clone_from(&lease);
        if answered {
            process.lease = lease;
            process.version = self.version;
            process.seen = sent;
            process.trusted = Some(sent + TRUSTED);
            process.renewed = sent;
        }
        answered
    }

    /// One of the things that an agent does in turn, so that others come between.
    fn step(&mut self, at: usize, luck: u8) {
        if !self.runs(at) {
            return;
        }
        let phase = self.servers[at].process.as_ref().expect("it runs").phase;
        match phase {
            0 => self.read(at),
            1 => self.sense(at),
            _ => self.act(at, luck),
        }
        if let Some(process) = self.servers[at].process.as_mut() {
            process.phase = (phase + 1) % 3;
        }
    }

    fn read(&mut self, at: usize) {
        let now = self.clock(at);
        let (lease, version) = (self.lease.clone(), self.version);
        let server = &mut self.servers[at];
        let process = server.process.as_mut().expect("it runs");
        process.sees_lease = server.api;
        if server.api && process.version != version {
            (process.lease, process.version, process.seen) = (lease, version, now);
        }
        let me = Holder { name: name(at), life: server.life.to_string() };
        let holds =
            process.lease.holder.as_ref() == Some(&me) && process.trusted.is_some_and(|end| now < end);
        if holds && now.saturating_sub(process.renewed) >= RENEWED {
            let mut lease = process.lease.clone();
            let leads = lease.leader() == Some(&me.name) && matches!(process.gate, Gate::Until(_));
            if leads {
                lease.record.position.lsn = Lsn(server.disk.log.len() as u64);
            }
            if self.put(at, lease, true) && leads {
                self.open(at);
            }
        }
    }

    fn open(&mut self, at: usize) {
        let process = self.servers[at].process.as_mut().expect("it runs");
        process.gate = process.trusted.map_or(Gate::Closed, Gate::Until);
    }

    fn sense(&mut self, at: usize) {
        let now = self.clock(at);
        let end = Lsn(self.servers[at].disk.log.len() as u64);
        let process = self.servers[at].process.as_mut().expect("it runs");
        match process.role {
            Role::Starting => process.role = Role::Standby,
            Role::Standby => process.settled = true,
            _ => {}
        }
        if process.role == Role::Primary && process.in_force_since.is_none() {
            process.in_force_since = Some(end);
        }
        let status = self.status(at);
        let process = self.servers[at].process.as_ref().expect("it runs");
        let own = Own {
            status,
            unconfirmed: self.servers[at].disk.unconfirmed,
            broken: self.servers[at].disk.broken,
            upstream: process.upstream.map(name),
            without_server: process.without_server,
            failed_starts: 0,
        };
        let peers = (0..SERVERS)
            .filter(|other| *other != at && self.reaches(at, *other))
            .map(|other| (name(other), self.status(other)))
            .collect();
        self.servers[at].process.as_mut().expect("it runs").sensed = Some((now, own, peers));
    }

    fn act(&mut self, at: usize, luck: u8) {
        let Some((now, own, peers)) = self.servers[at].process.as_mut().expect("it runs").sensed.take()
        else {
            return;
        };
        let me = Holder { name: name(at), life: self.servers[at].life.to_string() };
        let rules = Rules { me, members: (0..SERVERS).map(name).collect(), max_lag: u64::MAX };
        let process = self.servers[at].process.as_ref().expect("it runs");
        let view = View {
            rules: &rules,
            now,
            lease: &process.lease,
            seen: process.seen,
            trusted: process.trusted,
            own: &own,
            peers: &peers,
            stopping: process.stopping,
        };
        let action = decide(&view);
        let opens = view.may_serve_reads();
        if let Some(process) = self.servers[at].process.as_mut().filter(|_| opens) {
            process.gate = Gate::Standby;
        }
        let answered = !luck.is_multiple_of(8);
        self.carry_out(at, action, answered, &peers);
        if let Some(process) = self.servers[at].process.as_mut() {
            let up = matches!(process.role, Role::Primary);
            process.without_server = if up { None } else { process.without_server.or(Some(now)) };
        }
    }

    fn carry_out(&mut self, at: usize, action: Action, answered: bool, peers: &BTreeMap<Name, Status>) {
        let others: BTreeSet<Name> = (0..SERVERS).filter(|it| *it != at).map(name).collect();
        let lease = self.servers[at].process.as_ref().expect("it runs").lease.clone();
        if !matches!(action, Action::Wait(_) | Action::Lead) {
            let position = self.position(at);
            self.done.push(format!(
                "{} at {position} {action:?} {answered} in term {}",
                name(at),
                lease.transitions
            ));
        }
        let server = &mut self.servers[at];
        let process = server.process.as_mut().expect("it runs");
        match action {
            Action::Wait(_) => {}
            Action::Refuse(reason) => panic!("{reason}"),
            Action::Initialize => {
                server.disk = Disk { system: Some(self.next), log: vec![0], timeline: 1, ..Disk::default() };
                process.role = Role::Stopped;
            }
            Action::Start(from) => {
                (process.role, process.settled) = (Role::Starting, false);
                process.upstream = from.as_deref().map(index);
                process.gate = Gate::Closed;
                process.configured = if self.synchronous { others } else { BTreeSet::new() };
            }
            Action::Follow(from) => process.upstream = Some(index(&from)),
            Action::Acquire => {
                process.gate = Gate::Closed;
                let me = Holder { name: name(at), life: server.life.to_string() };
                self.put(at, lease.taken(&me), answered);
            }
            Action::Promote => {
                process.gate = Gate::Closed;
                server.disk.unconfirmed = Some(lease.transitions);
                let disk = &mut server.disk;
                disk.history.push(Position { timeline: disk.timeline, lsn: Lsn(disk.log.len() as u64) });
                disk.timeline += 1;
                disk.log.push(self.next);
                self.next += 1;
                (process.role, process.in_force_since) = (Role::Primary, None);
            }
            Action::Confirm => {
                let (system, position) = (server.disk.system.expect("it has data"), self.position(at));
                let promised = if self.synchronous { others } else { BTreeSet::new() };
                if self.put(at, lease.confirmed(system, position, promised), answered) {
                    self.servers[at].disk.unconfirmed = None;
                    self.open(at);
                    if self.synchronous {
                        let log = &self.servers[at].disk.log;
                        for id in &self.acknowledged {
                            let all = self.explain();
                            assert!(log.contains(id), "{} leads without commit {id}: {all:?}", name(at));
                        }
                    }
                }
            }
            Action::Lead => {
                server.disk.unconfirmed = None;
                self.open(at);
                self.lead(at, &lease, answered);
            }
            Action::Release => {
                self.put(at, lease.released(), answered);
                if let Some(process) = self.servers[at].process.as_mut() {
                    process.trusted = None;
                }
            }
            Action::Stop(how) => {
                if how == Stop::Fast {
                    for to in 0..SERVERS {
                        self.stream(to, usize::MAX);
                    }
                }
                let process = self.servers[at].process.as_mut().expect("it runs");
                (process.role, process.gate, process.settled) = (Role::Stopped, Gate::Closed, false);
                self.pending.retain(|(of, _)| *of != at);
            }
            Action::Copy(from) | Action::Rewind(from) => {
                let from = index(&from);
                (process.role, process.gate, process.settled) = (Role::Stopped, Gate::Closed, false);
                if self.reaches(at, from) && self.takes_writes(from) && peers.contains_key(&name(from)) {
                    if self.servers[at].disk.system.is_some() {
                        self.rewound += 1;
                    }
                    self.copied += 1;
                    let source = self.servers[from].disk.clone();
                    self.servers[at].disk = Disk { unconfirmed: None, broken: false, ..source };
                }
            }
            Action::Exit => self.crash(at, false),
        }
    }

    fn lead(&mut self, at: usize, lease: &Lease, answered: bool) {
        if !self.synchronous {
            return;
        }
        let process = self.servers[at].process.as_ref().expect("it runs");
        let streaming: BTreeSet<usize> = (0..SERVERS)
            .filter(|to| {
                let upstream = self.servers[*to].process.as_ref().and_then(|process| process.upstream);
                upstream == Some(at) && self.can_stream(*to, at)
            })
            .collect();
        let commits = Commits {
            configured: process.configured.clone(),
            promised: lease.record.synchronous.clone(),
            streaming: streaming.iter().copied().map(name).collect(),
            flushed: streaming.iter().map(|to| (name(*to), self.position(*to).lsn)).collect(),
            in_force_since: process.in_force_since,
        };
        match synchronous::step(&commits) {
            Step::Keep => {}
            Step::Configure(names) => {
                let process = self.servers[at].process.as_mut().expect("it runs");
                (process.configured, process.in_force_since) = (names, None);
            }
            Step::Promise(names) => {
                let mut lease = lease.clone();
                lease.record.synchronous = names;
                self.put(at, lease, answered);
            }
        }
    }

    fn check(&self) {
        let open: Vec<usize> = (0..SERVERS).filter(|at| self.takes_writes(*at)).collect();
        assert!(open.len() < 2, "{open:?} take writes at once");
    }

    fn happen(&mut self, (what, at, luck): (u8, u8, u8)) {
        let at = usize::from(at) % SERVERS;
        let other = (at + 1 + usize::from(luck) % (SERVERS - 1)) % SERVERS;
        match what {
            0..=79 => self.step(at, luck),
            80..=119 => {
                for at in 0..SERVERS {
                    self.step(at, luck);
                }
                self.now += TICK / 3;
            }
            120..=149 => self.now += Duration::from_millis(u64::from(luck) * 8),
            150..=174 => self.write(at),
            175..=194 => self.stream(at, usize::from(luck) % 4),
            195..=212 => self.acknowledge(),
            213..=217 => self.crash(at, luck.is_multiple_of(2)),
            218..=226 => self.start(at),
            227..=230 => self.servers[at].frozen = true,
            231..=236 => self.servers[at].frozen = false,
            237..=239 => self.servers[at].api = false,
            240..=244 => self.servers[at].api = true,
            245..=247 => drop(self.cut.insert((at.min(other), at.max(other)))),
            248..=252 => drop(self.cut.remove(&(at.min(other), at.max(other)))),
            _ => {
                if let Some(process) = self.servers[at].process.as_mut() {
                    process.stopping = true;
                }
            }
        }
        self.check();
    }

    /// Everything works again; how long until there is a primary and all follow it?
    fn calm(&mut self, seconds: u64) {
        self.cut.clear();
        for at in 0..SERVERS {
            self.servers[at].frozen = false;
            self.servers[at].api = true;
            self.start(at);
        }
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            for at in 0..SERVERS {
                self.start(at);
                for _ in 0..3 {
                    self.step(at, 1);
                }
                self.stream(at, usize::MAX);
            }
            self.now += TICK;
            self.acknowledge();
            self.check();
        }
    }

    fn primary(&self) -> usize {
        let open: Vec<usize> = (0..SERVERS).filter(|at| self.takes_writes(*at)).collect();
        assert_eq!(open.len(), 1, "{:?} with the Lease {:?}", self.explain(), self.lease);
        open[0]
    }

    fn explain(&self) -> Vec<String> {
        (0..SERVERS)
            .map(|at| {
                let disk = &self.servers[at].disk;
                let status = self.servers[at].process.as_ref().map(|_| self.status(at));
                format!("{status:?} unconfirmed {:?}", disk.unconfirmed)
            })
            .chain(self.done.iter().cloned())
            .collect()
    }
}

fn rates() -> impl Strategy<Value = [f64; SERVERS]> {
    prop::array::uniform3(prop::sample::select(vec![0.92, 1.0, 1.08]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES), ..ProptestConfig::default() })]

    /// Whatever happens, one server at most takes writes, with synchronous replication it has every
    /// acknowledged commit, and when it is over all are back and equal.
    #[test]
    fn one_at_most_leads_and_loses_nothing(
        synchronous: bool,
        rates in rates(),
        events in prop::collection::vec(any::<(u8, u8, u8)>(), 0..900),
    ) {
        let mut world = World::new(synchronous, rates);
        world.calm(45);
        let first = world.primary();
        world.write(first);
        for event in events {
            world.happen(event);
        }
        world.calm(90);
        let primary = world.primary();
        world.write(primary);
        world.calm(5);
        let log = world.servers[primary].disk.log.clone();
        for at in 0..SERVERS {
            prop_assert_eq!(&world.servers[at].disk.log, &log, "{:?}", world.explain());
        }
        prop_assert!(!world.acknowledged.is_empty());
    }
}

/// The faults above do reach what they are there for.
#[test]
fn a_frozen_primary_is_replaced_and_comes_back() {
    for synchronous in [false, true] {
        let mut world = World::new(synchronous, [1.0; SERVERS]);
        world.calm(45);
        let old = world.primary();
        world.write(old);
        world.calm(2);
        assert_eq!(world.acknowledged.len(), 1);
        // Written, and not replicated: nobody may hear of it when the server thaws.
        world.write(old);
        world.servers[old].frozen = true;
        for _ in 0..40 {
            for at in 0..SERVERS {
                (0..3).for_each(|_| world.step(at, 1));
                world.stream(at, usize::MAX);
            }
            world.now += TICK;
            world.check();
        }
        let new = world.primary();
        assert_ne!(new, old);
        world.write(new);
        world.servers[old].frozen = false;
        world.acknowledge();
        assert_eq!(world.acknowledged.len(), 1 + usize::from(!synchronous));
        world.calm(10);
        assert_eq!(world.acknowledged.len(), 2);
        assert_eq!(world.primary(), new);
        assert_eq!(world.rewound, 1);
        assert_eq!(world.servers[old].disk.log, world.servers[new].disk.log);
    }
}
