//! Which replicas a commit waits for, pure. What the Lease promises (every acknowledged commit is
//! on one of these) is always at least what the server is configured to wait for (one of these).

use std::collections::{BTreeMap, BTreeSet};

use super::lease::Name;
use super::position::Lsn;

/// What to change next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Let commits wait for one of these.
    Configure(BTreeSet<Name>),
    /// Promise in the Lease that acknowledged commits are on one of these.
    Promise(BTreeSet<Name>),
}

/// What the primary knows.
#[derive(Clone, Debug, Default)]
pub struct Commits {
    /// What commits wait for one of.
    pub configured: BTreeSet<Name>,
    /// What the Lease promises.
    pub promised: BTreeSet<Name>,
    /// Replicas that stream now or did a moment ago.
    pub streaming: BTreeSet<Name>,
    /// How far the replicas have the log on disk.
    pub flushed: BTreeMap<Name, Lsn>,
    /// End of the log when every sender was first seen with the configuration; later commits
    /// certainly waited for it.
    pub in_force_since: Option<Lsn>,
}

/// One step towards waiting for those replicas that stream, never for none: commits then wait
/// until one comes.
pub fn step(commits: &Commits) -> Step {
    let Commits { configured, promised, streaming, flushed, in_force_since } = commits;
    let wanted = if streaming.is_empty() { configured } else { streaming };
    if !wanted.is_subset(promised) {
        // More to ask is always true.
        return Step::Promise(promised.union(wanted).cloned().collect());
    }
    if !wanted.is_subset(configured) {
        return Step::Configure(promised.clone());
    }
    if wanted != configured {
        return Step::Configure(wanted.clone());
    }
    if configured == promised {
        return Step::Keep;
    }
    // Fewer to ask is true once one of them has what the others alone may have confirmed.
    let has_all = |name| in_force_since.zip(flushed.get(name)).is_some_and(|(since, at)| *at >= since);
    if configured.iter().any(has_all) { Step::Promise(configured.clone()) } else { Step::Keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> BTreeSet<Name> {
        text.chars().map(String::from).collect()
    }

    fn commits(configured: &str, promised: &str, streaming: &str) -> Commits {
        Commits {
            configured: names(configured),
            promised: names(promised),
            streaming: names(streaming),
            ..Commits::default()
        }
    }

    #[test]
    fn a_replica_that_went_is_asked_until_another_has_everything() {
        assert_eq!(step(&commits("bc", "bc", "b")), Step::Configure(names("b")));
        let mut narrowed = commits("b", "bc", "b");
        assert_eq!(step(&narrowed), Step::Keep);
        narrowed.in_force_since = Some(Lsn(10));
        narrowed.flushed.insert("b".into(), Lsn(9));
        assert_eq!(step(&narrowed), Step::Keep);
        narrowed.flushed.insert("b".into(), Lsn(10));
        assert_eq!(step(&narrowed), Step::Promise(names("b")));
        assert_eq!(step(&commits("b", "b", "b")), Step::Keep);
    }

    #[test]
    fn a_replica_that_came_is_promised_before_it_counts() {
        assert_eq!(step(&commits("b", "b", "bc")), Step::Promise(names("bc")));
        assert_eq!(step(&commits("b", "bc", "bc")), Step::Configure(names("bc")));
        assert_eq!(step(&commits("bc", "bc", "bc")), Step::Keep);
        assert_eq!(step(&commits("b", "b", "c")), Step::Promise(names("bc")));
    }

    #[test]
    fn the_last_one_stays() {
        assert_eq!(step(&commits("b", "b", "")), Step::Keep);
    }
}
