//! The Lease as data, pure: who leads, since which change of hands, and what was promised of the
//! data then.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::position::Position;

/// How long a Lease counts for others after they last saw it change.
pub const EXPIRES: Duration = Duration::from_secs(15);
/// How long its holder trusts a renewal, from before it was sent. The rest is for clocks that go
/// at different speeds and for answers under way.
pub const TRUSTED: Duration = Duration::from_secs(10);
/// Time between renewals.
pub const RENEWED: Duration = Duration::from_secs(3);

/// A server of the database; names of pods.
pub type Name = String;

/// One life of a server's pod. Its container may start again within it, and never runs twice then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The pod.
    pub name: Name,
    /// Tells it from an earlier pod of this name, which may still run where nobody sees it.
    pub life: String,
}

impl Holder {
    /// As the Lease has it.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, life) = text.split_once('/')?;
        Some(Self { name: name.to_owned(), life: life.to_owned() })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.life)
    }
}

/// What the primary tells those who may come after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Identifier of the database; `None` until there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<u64>,
    /// The last server that took writes: it has everything that was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<Name>,
    /// Which change of hands made it primary.
    pub term: u32,
    /// How far its data went at the last renewal; its timeline holds for the whole term.
    pub position: Position,
    /// Every acknowledged commit is on one of these servers; empty where commits wait for nobody.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub synchronous: BTreeSet<Name>,
    /// The last holder, whether it took writes or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Name>,
    /// It knew of no other server, so that it goes on where it can't renew the Lease: nobody else
    /// takes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Why the servers don't use the newest parameters, in Postgres' words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Generations of the owner's logins that every server accepts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub logins: BTreeSet<u32>,
    /// Whether the pooler can log in; `None` until that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooler: Option<bool>,
}

/// The Lease as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it; `None` where it was never taken, or was given up.
    pub holder: Option<Holder>,
    /// How often it went from one server to another.
    pub transitions: u32,
    /// What else it says.
    pub record: Record,
}

impl Lease {
    /// The Lease after `me` took it.
    pub fn taken(&self, me: &Holder) -> Self {
        let is_new = self.record.holder.as_ref() != Some(&me.name);
        let record = Record { holder: Some(me.name.clone()), ..self.record.clone() };
        Self { holder: Some(me.clone()), transitions: self.transitions + u32::from(is_new), record }
    }

    /// The Lease after its holder gave it up.
    pub fn released(&self) -> Self {
        Self { holder: None, ..self.clone() }
    }

    /// The Lease after its holder began to take writes.
    pub fn confirmed(&self, system: u64, position: Position, synchronous: BTreeSet<Name>) -> Self {
        let primary = self.holder.as_ref().map(|holder| holder.name.clone());
        let record = Record {
            system: Some(system),
            primary,
            term: self.transitions,
            position,
            synchronous,
            ..self.record.clone()
        };
        Self { record, ..self.clone() }
    }

    /// The Lease that says why the newest parameters are not used.
    pub fn refusing(&self, reason: Option<&str>) -> Self {
        let record = Record { refused: reason.map(str::to_owned), ..self.record.clone() };
        Self { record, ..self.clone() }
    }

    /// The Lease that says which logins every server accepts.
    pub fn accepting(&self, logins: BTreeSet<u32>) -> Self {
        Self { record: Record { logins, ..self.record.clone() }, ..self.clone() }
    }

    /// The Lease that says whether the pooler can log in.
    pub fn pooled(&self, pooler: bool) -> Self {
        Self { record: Record { pooler: Some(pooler), ..self.record.clone() }, ..self.clone() }
    }

    /// The holder, once it takes writes.
    pub fn leader(&self) -> Option<&Name> {
        let holder = self.holder.as_ref()?;
        let is_primary =
            self.record.term == self.transitions && self.record.primary.as_ref() == Some(&holder.name);
        is_primary.then_some(&holder.name)
    }
}
