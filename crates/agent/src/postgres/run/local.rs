//! Local stage, I/O: what this pod has on its volume and what its server says, put together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use trading_report::Volume;

use super::clock;
use super::decide::{Role, Status};
use super::objects::Objects;
use super::sense::{Sensed, Sensor};
use crate::postgres::data::{DataError, Place};
use crate::report;

/// Note beside the data: the term of a promotion that was begun.
pub const PROMOTING: &str = ".promoting";
/// Note beside the data: it is being changed in place.
pub const BROKEN: &str = ".broken";

/// This pod's part of the database.
pub struct Local {
    /// The pod.
    pub name: String,
    /// The data.
    pub data: PathBuf,
    /// The log, where it lies elsewhere.
    pub wal: Option<PathBuf>,
    /// Asks the server.
    pub sensor: Sensor,
    /// Whether the server's process is there.
    pub runs: AtomicBool,
    /// Whether the Lease was read lately.
    pub sees_lease: AtomicBool,
    /// Whether the newest parameters are not used.
    pub parameters_refused: AtomicBool,
    /// How many parameters wait for the next start of the server.
    pub parameters_pending: AtomicUsize,
    /// Declared databases, extensions and roles.
    pub objects: Objects,
    /// Milliseconds of [`clock::now`] at the last sign of life of the control loop.
    beat: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    system: Option<u64>,
    floors: BTreeMap<&'static str, u64>,
    last: Option<Sensed>,
    fails_since: Option<Duration>,
    in_force: BTreeMap<&'static str, String>,
    work: Option<String>,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// For the peers.
    pub status: Status,
    /// What the server said, if it did.
    pub sensed: Option<Sensed>,
    /// The term of a promotion that was begun and not confirmed.
    pub unconfirmed: Option<u32>,
    /// The data was left half changed.
    pub broken: bool,
    /// Why the server said nothing.
    pub problem: Option<String>,
    /// Since when it says nothing.
    pub fails_since: Option<Duration>,
}

impl Local {
    /// Nothing is known yet.
    pub fn new(name: String, data: PathBuf, wal: Option<PathBuf>, sensor: Sensor) -> Self {
        Self {
            name,
            data,
            wal,
            sensor,
            runs: AtomicBool::new(false),
            sees_lease: AtomicBool::new(false),
            parameters_refused: AtomicBool::new(false),
            parameters_pending: AtomicUsize::new(0),
            objects: Objects::default(),
            beat: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// Where the data lies.
    pub fn place(&self) -> Place<'_> {
        Place { data: &self.data, wal: self.wal.as_deref() }
    }

    fn known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Data was made, copied or found: whose it is, and what it was last used with. Nothing of what
    /// was said before counts.
    pub fn is_of(&self, system: u64, floors: BTreeMap<&'static str, u64>) {
        self.known(|known| {
            let (in_force, work) = (std::mem::take(&mut known.in_force), known.work.take());
            *known = Known { system: Some(system), floors, in_force, work, ..Known::default() };
        });
    }

    /// What the data was last used with.
    pub fn floors(&self) -> BTreeMap<&'static str, u64> {
        self.known(|known| known.floors.clone())
    }

    /// The server starts anew.
    pub fn forget(&self) {
        self.known(|known| (known.last, known.fails_since) = (None, None));
    }

    /// The control loop lives.
    pub fn beat(&self) {
        let millis = u64::try_from(clock::now().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis, Ordering::Relaxed);
    }

    /// How long it has not shown that.
    pub fn silence(&self) -> Duration {
        clock::now().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)))
    }

    /// Looks now; what peers are told may not be older than their question.
    pub async fn look(&self) -> Result<Look, DataError> {
        let mut look = Look::default();
        let place = self.place();
        look.broken = place.note(BROKEN)?.is_some();
        // Half a number is no term that ever was.
        look.unconfirmed = place.note(PROMOTING)?.map(|text| text.trim().parse().unwrap_or(u32::MAX));
        let system = self.known(|known| known.system);
        look.status = Status {
            name: self.name.clone(),
            role: if system.is_some() { Role::Stopped } else { Role::Empty },
            system,
            suspect: look.broken || look.unconfirmed.is_some(),
            sees_lease: self.sees_lease.load(Ordering::Relaxed),
            ..Status::default()
        };
        if !self.runs.load(Ordering::Relaxed) {
            return Ok(look);
        }
        match self.sensor.sense().await {
            Ok(sensed) => {
                self.known(|known| (known.last, known.fails_since) = (Some(sensed.clone()), None));
                describe(&mut look.status, &sensed, true);
                look.sensed = Some(sensed);
            }
            Err(error) => {
                look.problem = Some(error.to_string());
                let (last, since) = self.known(|known| {
                    let since = *known.fails_since.get_or_insert_with(clock::now);
                    (known.last.clone().filter(|last| !last.is_standby), since)
                });
                look.fails_since = Some(since);
                // A primary that is slow to answer is a primary still.
                match last {
                    Some(last) => describe(&mut look.status, &last, false),
                    None => look.status.role = Role::Starting,
                }
            }
        }
        Ok(look)
    }

    /// The volume of the data, and that of the log where it has one of its own.
    pub fn volumes(&self) -> Vec<Volume> {
        let all = [("data", Some(&self.data)), ("wal", self.wal.as_ref())];
        all.into_iter().filter_map(|(name, path)| report::volume(name, path?.parent()?)).collect()
    }

    /// The server runs by this file.
    pub fn runs_by(&self, file: &'static str, text: &str) {
        let digest = trading_report::digest(text.as_bytes());
        self.known(|known| known.in_force.insert(file, digest));
    }

    /// Files that the server runs by, and their digests.
    pub fn in_force(&self) -> BTreeMap<&'static str, String> {
        self.known(|known| known.in_force.clone())
    }

    /// What the agent does now, or waits for; nothing where it only goes on.
    pub fn works_on(&self, what: Option<String>) {
        self.known(|known| known.work = what);
    }

    /// What it does.
    pub fn work(&self) -> Option<String> {
        self.known(|known| known.work.clone())
    }
}

fn describe(status: &mut Status, sensed: &Sensed, is_fresh: bool) {
    status.role = if sensed.is_standby { Role::Standby } else { Role::Primary };
    status.system = Some(sensed.system);
    status.position = Some(sensed.position);
    status.settled = sensed.settled && is_fresh;
    status.receiving = sensed.receiving;
    status.history.clone_from(&sensed.history);
    status.oldest = Some(sensed.oldest);
    status.rewinds = !sensed.is_standby && sensed.checkpoint_timeline == sensed.position.timeline;
}
