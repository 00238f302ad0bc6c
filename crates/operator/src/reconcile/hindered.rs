//! Looks why pods are not ready where they have had time enough: at first soon, then ever more rarely.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use trading_core::{
    hindrance::{lacking, problem},
    plan::Plan,
    problem::Problem,
    step::Observed,
};

use super::{Context, ReconcileError};
use crate::{cache::PlatformKey, objects::pods_of};

/// Time to pull an image and to start.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between looks: at first, and at last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(5));
/// Pods of one component that are looked at; others mostly wait for the same.
const LOOKED_AT: u32 = 50;

/// What is remembered of a platform's components without enough ready pods.
#[derive(Default)]
pub struct Hindered {
    since: BTreeMap<String, Instant>,
    looked: Option<Look>,
    told: Vec<Problem>,
}

struct Look {
    at: Instant,
    pause: Duration,
    of: BTreeSet<String>,
}

/// Who is to be looked at now, and when to come again otherwise.
struct Turn {
    due: BTreeSet<String>,
    again: Option<Duration>,
}

impl Hindered {
    fn turn(&mut self, lacking: BTreeSet<String>, now: Instant) -> Turn {
        self.since.retain(|component, _| lacking.contains(component));
        self.told.retain(|problem| problem.component.as_ref().is_some_and(|name| lacking.contains(name)));
        for component in lacking {
            self.since.entry(component).or_insert(now);
        }
        let left = |since: &Instant| PATIENCE.saturating_sub(now - *since);
        let late = self.since.iter().filter(|(_, since)| left(since).is_zero());
        let late: BTreeSet<String> = late.map(|(component, _)| component.clone()).collect();
        let next = self.since.values().map(left).filter(|left| !left.is_zero()).min();
        if late.is_empty() {
            self.looked = None;
            return Turn { due: late, again: next };
        }
        let look = self.looked.as_ref().filter(|look| look.of == late);
        let wait = look.map_or(Duration::ZERO, |look| look.pause.saturating_sub(now - look.at));
        if !wait.is_zero() {
            return Turn { due: BTreeSet::new(), again: [next, Some(wait)].into_iter().flatten().min() };
        }
        let pause = look.map_or(PAUSES.0, |look| (look.pause * 2).min(PAUSES.1));
        self.looked = Some(Look { at: now, pause, of: late.clone() });
        Turn { due: late, again: [next, Some(pause)].into_iter().flatten().min() }
    }
}

/// What hinders pods, as far as is known, and when to look again.
pub async fn look(
    key: &PlatformKey,
    plan: &Plan,
    live: &Observed,
    context: &Context,
) -> Result<(Vec<Problem>, Option<Duration>), ReconcileError> {
    let lacking = lacking(plan, live);
    let turn = context.memories.update(key, |memory| memory.hindered.turn(lacking, Instant::now()));
    if !turn.due.is_empty() {
        let mut found = Vec::new();
        for component in &turn.due {
            let namespace = plan.identity.namespace_of(component);
            let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
            let pods = api.list(&pods_of(&plan.identity.name, component).limit(LOOKED_AT)).await;
            let pods = pods.map_err(ReconcileError::reading(format!("pods of {component:?}")))?;
            found.extend(problem(plan, component, &pods.items));
        }
        context.memories.update(key, |memory| memory.hindered.told = found);
    }
    Ok((context.memories.update(key, |memory| memory.hindered.told.clone()), turn.again))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn it_looks_soon_and_then_ever_more_rarely() {
        let (mut hindered, start) = (Hindered::default(), Instant::now());
        let mut turn = |lacking: &[&str], second: u64| {
            let turn = hindered.turn(names(lacking), start + Duration::from_secs(second));
            (turn.due.into_iter().collect::<Vec<_>>(), turn.again.map(|again| again.as_secs()))
        };
        let nobody: Vec<String> = Vec::new();
        assert_eq!(turn(&["redis"], 0), (nobody.clone(), Some(45)));
        assert_eq!(turn(&["redis", "backend"], 40), (nobody.clone(), Some(5)));
        assert_eq!(turn(&["redis", "backend"], 45), (vec!["redis".to_owned()], Some(30)));
        assert_eq!(turn(&["redis", "backend"], 60), (nobody.clone(), Some(15)));
        // Somebody else is late now.
        let both = vec!["backend".to_owned(), "redis".to_owned()];
        assert_eq!(turn(&["redis", "backend"], 85), (both.clone(), Some(30)));
        assert_eq!(turn(&["redis", "backend"], 115), (both.clone(), Some(60)));
        assert_eq!(turn(&["redis", "backend"], 175), (both.clone(), Some(120)));
        for second in [295, 535, 835] {
            let (due, again) = turn(&["redis", "backend"], second);
            assert_eq!((due, again), (both.clone(), Some(if second == 295 { 240 } else { 300 })));
        }
        assert_eq!(turn(&[], 836), (nobody.clone(), None));
        assert_eq!(turn(&["redis"], 900), (nobody, Some(45)), "it begins anew");
    }
}
