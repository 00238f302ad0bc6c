//! Stage three of a platform that goes, pure: what is deleted next, in an order that is safe for
//! the data, and when the finalizer may let go.

use trading_api::deletion::DataPolicy;

use crate::{
    kinds::Kind,
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
            && matches!(child.kind, Kind::Deployment | Kind::DaemonSet | Kind::HorizontalPodAutoscaler)
    };
    let is_server = |child: &&Child| child.is_store && child.kind == Kind::StatefulSet;
    let is_rest = |child: &&Child| {
        child.is_store
            && !matches!(child.kind, Kind::StatefulSet | Kind::PersistentVolumeClaim)
            && (child.kind != Kind::Secret || child.is_copy || data == DataPolicy::Delete)
    };
    phase(children, is_application, "the applications to stop")
        .or_else(|| phase(children, is_server, "the data stores to stop"))
        .or_else(|| phase(children, is_rest, "what belongs to the data stores and other namespaces to go"))
        .unwrap_or(Teardown::Done { delete_claims: data == DataPolicy::Delete })
}

/// Kubernetes takes the owner reference off when it orphans, and may be done with that before the
/// operator looks. A Deployment of ours never lacks it otherwise.
fn was_orphaned(child: &Child) -> bool {
    child.kind == Kind::Deployment && child.is_store && !child.is_abroad()
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
