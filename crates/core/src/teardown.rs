//! Stage three of a platform that goes, pure: what is deleted next, in an order that is safe for
//! the data, and when the finalizer may let go.

use trading_api::deletion::DataPolicy;

use crate::{
    kinds::Kind,
    status::workload::Hibernation,
    step::{Child, Prune},
};

/// What to do with a platform that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Teardown {
    /// Delete these and come back when they are gone.
    Delete {
        /// What.
        objects: Vec<Prune>,
        /// In words, for status and Events.
        waiting_for: &'static str,
    },
    /// Stop these around their volumes, and come back when they have stopped.
    Hibernate {
        /// What.
        objects: Vec<Prune>,
        /// In words, for status and Events.
        waiting_for: &'static str,
    },
    /// These were asked to go and still run.
    Wait(&'static str),
    /// Nothing that would write to the stores is left, and neither are they.
    Done {
        /// Volumes go too.
        delete_claims: bool,
    },
    /// The person asked to keep everything (`--cascade=orphan`).
    Release,
}

/// The phases: applications stop, [the place of the last backup], stores stop, what is left of
/// the stores goes.
#[must_use]
pub fn teardown(children: &[Child], data: DataPolicy, orphan: bool) -> Teardown {
    if orphan || children.iter().any(was_orphaned) {
        return Teardown::Release;
    }
    let is_application = |child: &&Child| {
        (!child.is_store || child.is_abroad())
            && matches!(
                child.kind,
                Kind::Deployment | Kind::DaemonSet | Kind::HorizontalPodAutoscaler | Kind::Pooler
            )
    };
    let stops = |child: &&Child| data == DataPolicy::Retain && child.takes_volumes_along();
    let is_server = |child: &&Child| child.serves_data() && !stops(child);
    let is_rest = |child: &&Child| {
        child.is_store
            && !child.is_archived_to(children)
            && !(child.kind.serves_data() || child.kind == Kind::PersistentVolumeClaim)
            && (child.kind != Kind::Secret || child.is_copy || data == DataPolicy::Delete)
    };
    phase(children, is_application, "the applications to stop")
        .or_else(|| phase(children, is_server, "the data stores to stop"))
        .or_else(|| hibernated(&children.iter().filter(stops).collect::<Vec<_>>()))
        .or_else(|| phase(children, is_rest, "what belongs to the data stores and other namespaces to go"))
        .unwrap_or(Teardown::Done { delete_claims: data == DataPolicy::Delete })
}

/// Kubernetes takes the owner reference off when it orphans, and may be done with that before the
/// operator looks. A Deployment of ours never lacks it otherwise.
fn was_orphaned(child: &Child) -> bool {
    child.kind == Kind::Deployment && child.is_store && !child.is_abroad()
}

/// A database whose volumes go with it stays, without servers. One that does not serve is stopped by its
/// operator when it does: that is not waited for.
fn hibernated(databases: &[&Child]) -> Option<Teardown> {
    let waiting_for = "CloudNativePG's operator (and its plugin for backups, where there are some), which must be running, to hibernate the database";
    let of = |hibernation: Hibernation| {
        databases.iter().filter(move |child| !child.deleting && child.hibernation() == hibernation)
    };
    let objects: Vec<Prune> = of(Hibernation::None).map(|child| Prune::from(*child)).collect();
    if !objects.is_empty() {
        return Some(Teardown::Hibernate { objects, waiting_for });
    }
    of(Hibernation::Underway).next().map(|_| Teardown::Wait(waiting_for))
}

fn phase(
    children: &[Child],
    belongs: impl Fn(&&Child) -> bool,
    waiting_for: &'static str,
) -> Option<Teardown> {
    let members: Vec<&Child> = children.iter().filter(belongs).collect();
    if members.is_empty() {
        return None;
    }
    let objects: Vec<Prune> = members.into_iter().filter(|child| !child.deleting).map(Prune::from).collect();
    Some(if objects.is_empty() {
        Teardown::Wait(waiting_for)
    } else {
        Teardown::Delete { objects, waiting_for }
    })
}
