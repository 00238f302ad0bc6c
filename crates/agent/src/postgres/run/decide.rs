//! What a server does next, pure: from its own state, what its peers say, the Lease and its own
//! clock. Asked again and again; each answer is one step, and every step may fail or be lost.
//!
//! Two rules keep the data safe. Only the holder of the Lease takes writes, and it begins after it
//! has written so into the Lease. And the Lease is taken only by a server that has what was
//! acknowledged: the last primary itself, or a replica of the same timeline.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lease::{EXPIRES, Holder, Lease, Name};
use super::position::{History, Lsn, Position, Relation};

/// How long the holder may be without a server that takes writes, where another could.
pub const REPAIR: Duration = Duration::from_secs(30);

/// After so many starts that failed, data that may have gone another way is rewound.
pub const STARTS: u32 = 3;

/// What a server is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// There is no data.
    #[default]
    Empty,
    /// There is data and no process.
    Stopped,
    /// The process takes no connections yet.
    Starting,
    /// It replays what it gets.
    Standby,
    /// It takes writes.
    Primary,
}

/// What a server tells its peers.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and any may hold with any other
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its pod.
    pub name: Name,
    /// What it is doing.
    pub role: Role,
    /// Identifier of its database.
    pub system: Option<u64>,
    /// How far its data goes, where the server answers.
    pub position: Option<Position>,
    /// Whether it has looked through all of its own log, so that `position` is the whole truth.
    pub settled: bool,
    /// Whether its data may hold what no other server has or ever will.
    pub suspect: bool,
    /// Whether it gets the log of another server now.
    pub receiving: bool,
    /// Whether others can rewind themselves by it: its data says which timeline it is of.
    pub rewinds: bool,
    /// Whether it can read the Lease.
    pub sees_lease: bool,
    /// Of its timelines.
    pub history: History,
    /// Where the log that it still has begins.
    pub oldest: Option<Lsn>,
}

/// What a server knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// What it tells others.
    pub status: Status,
    /// The term of a promotion that was begun and not confirmed in the Lease.
    pub unconfirmed: Option<u32>,
    /// The data was left half changed.
    pub broken: bool,
    /// Whom the server is configured to follow.
    pub upstream: Option<Name>,
    /// Since when there is no server that takes writes, by its own clock.
    pub without_server: Option<Duration>,
    /// How often in a row the server ended by itself before it took connections.
    pub failed_starts: u32,
}

/// By what all servers go.
#[derive(Clone, Debug)]
pub struct Rules {
    /// This server.
    pub me: Holder,
    /// All servers, this one too.
    pub members: BTreeSet<Name>,
    /// Most bytes of log that a replica may lack, as far as is known, to become primary where
    /// commits wait for nobody.
    pub max_lag: u64,
}

/// Everything that a decision is made from.
pub struct View<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// This server's own clock, which only goes forward.
    pub now: Duration,
    /// The Lease as last read.
    pub lease: &'a Lease,
    /// When it was first seen like this.
    pub seen: Duration,
    /// Until when this process trusts that the Lease is its own.
    pub trusted: Option<Duration>,
    /// This server.
    pub own: &'a Own,
    /// What the others said just now; who is missing did not answer.
    pub peers: &'a BTreeMap<Name, Status>,
    /// Whether the process was told to end.
    pub stopping: bool,
}

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections end, everything is written and sent to the replicas.
    Fast,
    /// At once; the next start replays the log.
    Immediate,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, for this reason.
    Wait(String),
    /// Make an empty volume a database.
    Initialize,
    /// Start the server, as one that follows.
    Start(Option<Name>),
    /// Follow this primary.
    Follow(Name),
    /// Take the Lease.
    Acquire,
    /// Make the server one that takes writes.
    Promote,
    /// Write into the Lease that it does; clients are let in afterwards.
    Confirm,
    /// Go on leading.
    Lead,
    /// Give the Lease up.
    Release,
    /// Stop the server.
    Stop(Stop),
    /// Put a fresh copy of this primary in the place of the data.
    Copy(Name),
    /// Undo what this primary does not have.
    Rewind(Name),
    /// End, because the data must not be touched.
    Refuse(String),
    /// End.
    Exit,
}

impl Action {
    /// What a person would say of it; nothing of what ends at once, and of a primary that goes on.
    pub fn in_words(&self) -> Option<String> {
        match self {
            Self::Wait(reason) | Self::Refuse(reason) => Some(reason.clone()),
            Self::Initialize => Some("makes a new database".to_owned()),
            Self::Copy(from) => Some(format!("copies the data of {from}")),
            Self::Rewind(from) => Some(format!("goes back to where {from} went on")),
            Self::Start(_) => Some("the server starts".to_owned()),
            Self::Promote | Self::Confirm | Self::Acquire => Some("becomes the primary".to_owned()),
            Self::Stop(_) | Self::Release | Self::Exit => Some("the server stops".to_owned()),
            Self::Follow(_) | Self::Lead => None,
        }
    }
}

/// What to do next.
pub fn decide(view: &View) -> Action {
    let own = &view.own.status;
    if let Some((found, wanted)) = own.system.zip(view.lease.record.system).filter(|(a, b)| a != b) {
        return Action::Refuse(format!(
            "the volume holds the database {found} and the Lease belongs to {wanted}: they were not made \
             together; move the volume's data away, or delete the Lease if this is the right database"
        ));
    }
    if view.stopping {
        return stopping(view);
    }
    if view.holds() {
        return leading(view);
    }
    if own.role == Role::Primary {
        return Action::Stop(Stop::Immediate);
    }
    match candidate(view) {
        Ok(()) => Action::Acquire,
        Err(reason) => following(view, reason),
    }
}

impl View<'_> {
    fn me(&self) -> &Name {
        &self.rules.me.name
    }

    fn is_mine(&self) -> bool {
        self.lease.holder.as_ref() == Some(&self.rules.me)
    }

    /// Whether the Lease is certainly this process's.
    pub fn holds(&self) -> bool {
        self.is_mine() && self.trusted.is_some_and(|until| self.now < until)
    }

    /// Whether clients and other replicas may be let in to a server that takes no writes. What a
    /// promotion that was not confirmed left behind must reach nobody: another one may give the
    /// same timeline another content.
    pub fn may_serve_reads(&self) -> bool {
        self.own.status.role == Role::Standby && !self.own.status.suspect && !self.holds()
    }

    fn is_expired(&self) -> bool {
        self.now.saturating_sub(self.seen) >= EXPIRES
    }

    fn others(&self) -> impl Iterator<Item = &Name> {
        self.rules.members.iter().filter(|name| *name != self.me())
    }

    /// The primary, as far as the Lease knows.
    fn leader(&self) -> Option<&Name> {
        self.lease.leader().filter(|name| *name != self.me() && !self.is_expired())
    }

    /// Whether the data may be used again: a promotion that was begun is continued only where
    /// nobody took the Lease since.
    fn is_usable(&self) -> bool {
        let resumes = |term| term == self.lease.transitions || self.lease.record.system.is_none();
        !self.own.broken && self.own.unconfirmed.is_none_or(resumes)
    }
}

fn stopping(view: &View) -> Action {
    match view.own.status.role {
        Role::Primary if !view.holds() => Action::Stop(Stop::Immediate),
        Role::Starting | Role::Standby | Role::Primary => Action::Stop(Stop::Fast),
        Role::Empty | Role::Stopped if view.holds() => Action::Release,
        Role::Empty | Role::Stopped => Action::Exit,
    }
}

fn leading(view: &View) -> Action {
    let own = &view.own.status;
    let record = &view.lease.record;
    let is_overdue = view.own.without_server.is_some_and(|since| view.now.saturating_sub(since) >= REPAIR);
    let successor = || view.peers.values().any(|peer| peer.role == Role::Standby && peer.settled);
    match own.role {
        Role::Primary if view.lease.leader() == Some(view.me()) && has_timeline(view, own) => Action::Lead,
        Role::Primary => Action::Confirm,
        Role::Empty if record.system.is_none() => Action::Initialize,
        Role::Empty => Action::Release,
        Role::Stopped if !view.is_usable() || is_overdue && successor() => Action::Release,
        Role::Stopped => Action::Start(None),
        Role::Starting if is_overdue && successor() => Action::Stop(Stop::Immediate),
        Role::Starting => Action::Wait("the server starts".to_owned()),
        Role::Standby if own.settled => Action::Promote,
        Role::Standby => Action::Wait("the server looks through its log".to_owned()),
    }
}

fn has_timeline(view: &View, status: &Status) -> bool {
    status.position.is_some_and(|position| position.timeline == view.lease.record.position.timeline)
}

/// Whether this server may take the Lease, or why not.
fn candidate(view: &View) -> Result<(), String> {
    if let Some(holder) = view.lease.holder.as_ref().filter(|_| !view.is_mine() && !view.is_expired()) {
        return Err(format!("{} holds the Lease", holder.name));
    }
    let last = view.lease.record.holder.as_ref();
    if let Some(name) = last.filter(|last| view.lease.record.alone && *last != view.me()) {
        return Err(format!("{name} holds the Lease as the only server, and need not renew it"));
    }
    let own = &view.own.status;
    if own.role == Role::Empty {
        return may_initialize(view);
    }
    let Some(position) = own.position.filter(|_| own.role == Role::Standby && own.settled) else {
        return Err("the server is not there yet".to_owned());
    };
    if !view.is_usable() {
        return Err("the data has to be copied anew".to_owned());
    }
    let record = &view.lease.record;
    if record.system.is_none() && record.holder.as_ref() != Some(view.me()) {
        return is_furthest_of_all(view, position);
    }
    if record.system.is_none() || view.own.unconfirmed.is_some() {
        return Ok(());
    }
    if position.timeline != record.position.timeline {
        return Err(format!(
            "the data is of timeline {} and the last primary's of {}",
            position.timeline, record.position.timeline
        ));
    }
    if record.primary.as_ref() == Some(view.me()) {
        return Ok(());
    }
    if record.synchronous.is_empty() {
        is_near_enough(view, position)
    } else {
        has_everything_acknowledged(view, position)
    }
}

/// The first server makes the database, once it is certain that there is none.
fn may_initialize(view: &View) -> Result<(), String> {
    if view.lease.record.system.is_some() {
        return Err("the volume is empty, and the database was made long ago".to_owned());
    }
    if view.rules.members.first() != Some(view.me()) {
        return Err("another server makes the database".to_owned());
    }
    if let Some(peer) = view.peers.values().find(|peer| peer.role != Role::Empty) {
        return Err(format!("{} has data, though the Lease knows of none", peer.name));
    }
    // However long that takes: it may be the one that has the data, and the Lease may have been lost.
    match view.others().find(|name| !view.peers.contains_key(*name)) {
        Some(name) => Err(format!("{name} has not said yet that it has no data")),
        None => Ok(()),
    }
}

/// The Lease was lost and says nothing: every server has to be heard.
fn is_furthest_of_all(view: &View, position: Position) -> Result<(), String> {
    for name in view.others() {
        let peer = view.peers.get(name).ok_or_else(|| format!("the Lease was lost and {name} is silent"))?;
        if peer.role == Role::Empty {
            continue;
        }
        let Some(theirs) = peer.position.filter(|_| peer.settled) else {
            return Err(format!("{name} is not there yet"));
        };
        yield_to(view, name, theirs, position)?;
    }
    Ok(())
}

/// Every acknowledged commit is on one of the servers that the Lease names, so all are asked.
fn has_everything_acknowledged(view: &View, position: Position) -> Result<(), String> {
    let asked = &view.lease.record.synchronous;
    if !asked.contains(view.me()) {
        return Err("the Lease does not name this server among those with every commit".to_owned());
    }
    for name in asked.iter().filter(|name| *name != view.me()) {
        let peer = view.peers.get(name).filter(|peer| peer.settled && !peer.suspect);
        let Some(theirs) = peer.and_then(|peer| peer.position) else {
            return Err(format!("{name} may have commits that this server lacks, and can't be asked"));
        };
        yield_to(view, name, theirs, position)?;
    }
    Ok(())
}

fn is_near_enough(view: &View, position: Position) -> Result<(), String> {
    let lag = view.lease.record.position.lsn.since(position.lsn);
    if lag > view.rules.max_lag {
        return Err(format!("{lag} bytes of log are missing, and at most {} may be", view.rules.max_lag));
    }
    for peer in view.peers.values().filter(|peer| peer.settled && !peer.suspect && peer.sees_lease) {
        let same = peer.position.filter(|theirs| theirs.timeline == position.timeline);
        if let Some(theirs) = same.filter(|_| peer.role == Role::Standby) {
            yield_to(view, &peer.name, theirs, position)?;
        }
    }
    Ok(())
}

/// Of two that are equally far the first by name goes.
fn yield_to(view: &View, name: &Name, theirs: Position, position: Position) -> Result<(), String> {
    if (theirs, Reverse(name)) > (position, Reverse(view.me())) {
        return Err(format!("{name} is at {theirs}, this server at {position}"));
    }
    Ok(())
}

fn following(view: &View, reason: String) -> Action {
    let own = &view.own.status;
    let leader = view.leader();
    match (own.role, leader) {
        (Role::Empty, Some(leader)) => Action::Copy(leader.clone()),
        (_, Some(leader)) if !view.is_usable() => Action::Copy(leader.clone()),
        (Role::Stopped, Some(leader))
            if view.own.failed_starts >= STARTS && primary(view, leader).is_some_and(|it| it.rewinds) =>
        {
            Action::Rewind(leader.clone())
        }
        (Role::Stopped, leader) if view.is_usable() => Action::Start(leader.cloned()),
        (Role::Standby, Some(leader)) => standing_by(view, leader),
        _ => Action::Wait(reason),
    }
}

/// What the primary says, once it says what the Lease says of it.
fn primary<'a>(view: &'a View, leader: &Name) -> Option<&'a Status> {
    view.peers.get(leader).filter(|peer| peer.role == Role::Primary && has_timeline(view, peer))
}

fn standing_by(view: &View, leader: &Name) -> Action {
    let own = &view.own.status;
    let known = primary(view, leader).and_then(|peer| Some((peer, peer.position?))).zip(own.position);
    if let Some(((peer, theirs), mine)) = known.filter(|_| own.settled) {
        match peer.history.relation(theirs, mine) {
            Relation::Diverged if !peer.rewinds => {
                return Action::Wait(format!("{leader} is at its first checkpoint"));
            }
            Relation::Diverged => return Action::Rewind(leader.clone()),
            Relation::Unrelated => return Action::Copy(leader.clone()),
            Relation::Behind => {}
        }
        if !own.receiving && peer.oldest.is_some_and(|oldest| mine.lsn < oldest) {
            return Action::Copy(leader.clone());
        }
    }
    if view.own.upstream.as_ref() != Some(leader) {
        return Action::Follow(leader.clone());
    }
    Action::Wait(format!("{leader} leads"))
}

#[cfg(test)]
#[path = "simulation.rs"]
mod simulation;

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
