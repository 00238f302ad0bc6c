//! Whom to ask, when, and what was answered last.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use trading_core::members::{Answers, Member, Members, Report, Target, take_in};

use crate::{cache::PlatformKey, lease::jittered};

/// Between questions while something is on its way.
const BUSY: Duration = Duration::from_secs(5);
/// Between questions at rest.
const CALM: Duration = Duration::from_secs(45);
/// Longest pause where nobody answers: of a store whose pods are not all ready, and of one at rest, which the
/// operator then does not reach.
const UNHEARD: (Duration, Duration) = (Duration::from_secs(20), Duration::from_mins(5));
/// After a change in what is live: pods that became ready have names in a moment.
const SOON: Duration = Duration::from_secs(1);
/// Trouble is told when it is found for this many times in a row.
const CERTAIN: u8 = 3;

/// What every server answered, by platform and store and pod.
pub type Told = BTreeMap<&'static str, BTreeMap<String, Option<Report>>>;

/// One round of questions.
pub struct Round {
    /// Of this platform.
    pub key: PlatformKey,
    /// To these.
    pub targets: Vec<Target>,
    edit: u64,
}

/// All platforms.
#[derive(Default)]
pub struct Book {
    pages: Mutex<HashMap<PlatformKey, Page>>,
    changed: Notify,
}

/// One platform.
struct Page {
    generation: i64,
    /// Counts changes of the resource and of what is live, so that older answers are told from newer ones.
    edit: u64,
    targets: Vec<Target>,
    known: Arc<Members>,
    /// How often in a row a store had trouble that is not told yet.
    doubts: HashMap<&'static str, u8>,
    /// Rounds in a row in which nobody answered, since anything changed.
    unheard: u32,
    /// The same, whatever changed.
    silence: u8,
    /// When they are asked next; `None` while they are.
    due: Option<Instant>,
}

impl Page {
    fn new(generation: i64) -> Self {
        Self {
            generation,
            edit: 0,
            targets: Vec::new(),
            known: Arc::default(),
            doubts: HashMap::new(),
            unheard: 0,
            silence: 0,
            due: None,
        }
    }

    /// Nothing that was asked before counts as an answer to what is so now.
    fn outdate(&mut self) {
        self.edit += 1;
        self.unheard = 0;
        if self.known.0.values().any(|answers| answers.current) {
            let known = Arc::make_mut(&mut self.known);
            known.0.values_mut().for_each(|answers| answers.current = false);
        }
    }

    /// What is known of stores that change by themselves.
    fn inside(&self) -> impl Iterator<Item = &Answers> {
        let inside = self.targets.iter().filter(|target| !target.is_outside());
        inside.filter_map(|target| self.known.of(target.store))
    }

    /// Until the next round.
    fn pause(&self) -> Duration {
        let all_run = self.targets.iter().all(|target| target.settled);
        if self.unheard > 0 {
            let longest = if all_run { UNHEARD.1 } else { UNHEARD.0 };
            return BUSY.saturating_mul(2_u32.saturating_pow(self.unheard.min(16) - 1)).min(longest);
        }
        let is_busy = !all_run
            || self.targets.iter().any(|target| target.is_awaited(self.known.of(target.store)))
            || self.doubts.values().any(|doubts| *doubts > 0)
            || self.inside().any(Answers::is_unsettled);
        if is_busy { BUSY } else { CALM }
    }
}

impl Book {
    fn pages<T>(&self, change: impl FnOnce(&mut HashMap<PlatformKey, Page>) -> T) -> T {
        change(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of a platform of which this is the latest generation.
    pub fn known(&self, key: &PlatformKey, generation: i64) -> Arc<Members> {
        self.pages(|pages| {
            let page = pages.entry(key.clone()).or_insert_with(|| Page::new(generation));
            if page.generation != generation {
                page.generation = generation;
                page.outdate();
                // A platform without stores has nobody to ask.
                page.due = (!page.targets.is_empty()).then(|| Instant::now() + SOON);
                self.changed.notify_one();
            }
            Arc::clone(&page.known)
        })
    }

    /// Whether nobody of a platform answered time and again: once can be a name or a firewall that takes a moment.
    pub fn is_out_of_reach(&self, key: &PlatformKey) -> bool {
        self.pages(|pages| pages.get(key).is_some_and(|page| page.silence >= CERTAIN))
    }

    /// These are a platform's stores now.
    pub fn watch(&self, key: &PlatformKey, targets: Vec<Target>) {
        self.pages(|pages| {
            let Some(page) = pages.get_mut(key).filter(|page| page.targets != targets) else { return };
            page.outdate();
            let known = Arc::make_mut(&mut page.known);
            known.0.retain(|store, _| targets.iter().any(|target| target.store == store));
            page.due = (!targets.is_empty()).then(|| Instant::now() + SOON);
            page.targets = targets;
            self.changed.notify_one();
        });
    }

    /// A platform is gone.
    pub fn forget(&self, key: &PlatformKey) {
        self.pages(|pages| pages.remove(key));
    }

    /// Whose turn it is, who waits longest first and so many at most, and when it is the next one's, if anybody's.
    pub fn due(&self, now: Instant, most: usize) -> (Vec<Round>, Option<Instant>) {
        self.pages(|pages| {
            let mut due: Vec<(&PlatformKey, &mut Page)> =
                pages.iter_mut().filter(|(_, page)| page.due.is_some_and(|due| due <= now)).collect();
            due.sort_by_key(|(_, page)| page.due);
            let rounds = due.into_iter().take(most).map(|(key, page)| {
                page.due = None;
                Round { key: key.clone(), targets: page.targets.clone(), edit: page.edit }
            });
            let rounds = rounds.collect();
            (rounds, pages.values().filter_map(|page| page.due).min())
        })
    }

    /// Waits until somebody else is to be asked, or earlier.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes answers in; whether there is something new in them that matters.
    pub fn enter(&self, round: &Round, mut told: Told) -> bool {
        self.pages(|pages| {
            // They are of what is no longer so, and others are on their way.
            let Some(page) = pages.get_mut(&round.key).filter(|page| page.edit == round.edit) else {
                return false;
            };
            let mut known = (*page.known).clone();
            let mut is_heard = false;
            for target in &page.targets {
                let before = known.of(target.store);
                let new = answers(target, told.remove(target.store).unwrap_or_default(), before);
                is_heard |= new.is_heard();
                let doubts = page.doubts.entry(target.store).or_default();
                let is_worse = match before {
                    Some(before) => before.is_heard() && new.is_worse_than(before),
                    // Nobody has seen it answer, and names and firewalls may take a moment.
                    None => target.is_outside() && new.has_trouble(),
                };
                if is_worse {
                    *doubts += 1;
                    if *doubts < CERTAIN {
                        continue;
                    }
                }
                *doubts = 0;
                known.0.insert(target.store.to_owned(), new);
            }
            page.silence = if is_heard { 0 } else { page.silence.saturating_add(1) };
            page.unheard = if is_heard { 0 } else { page.unheard.saturating_add(1) };
            let is_news = *page.known != known;
            if is_news {
                page.known = Arc::new(known);
            }
            page.due = Some(Instant::now() + jittered(page.pause()));
            is_news
        })
    }
}

/// Who failed for good and is silent now has been ended, and will say the same when it is back.
fn answers(target: &Target, mut told: BTreeMap<String, Option<Report>>, before: Option<&Answers>) -> Answers {
    let last = |pod: &String| -> Option<Member> {
        before?.servers.get(pod)?.clone().filter(|member| member.failure.is_some())
    };
    let servers = target.servers.iter().map(|(pod, _)| {
        let member = told.remove(pod).flatten().and_then(|report| take_in(pod, report));
        (pod.clone(), member.or_else(|| last(pod)))
    });
    Answers { servers: servers.collect(), current: true }
}
