//! Which add-ons the cluster has, and what is said about objects whose add-on is absent.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    kinds::{AddOn, KINDS, Kind},
    object::Object,
    plan::POSTGRES,
    problem::Problem,
};

/// Reason of the problem that objects are left out because their add-on is absent.
pub const MISSING: &str = "AddOnMissing";

/// Which kinds of add-ons the cluster serves. Kubernetes' own are always there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Capabilities {
    /// All: without a cluster nothing is left out.
    #[default]
    All,
    /// These.
    Only(BTreeSet<Kind>),
}

impl Capabilities {
    /// Those of a cluster with these add-ons, whole.
    #[must_use]
    pub fn of(add_ons: &[AddOn]) -> Self {
        let of_them = |add_on: AddOn| add_ons.contains(&add_on);
        Self::Only(
            KINDS.iter().filter(|info| info.add_on.is_some_and(of_them)).map(|info| info.kind).collect(),
        )
    }

    /// Whether objects of the kind are known to be served: not where nobody has asked.
    #[must_use]
    pub fn are_known_to_have(&self, kind: Kind) -> bool {
        matches!(self, Self::Only(kinds) if kinds.contains(&kind))
    }

    /// Whether objects of the kind can be made.
    #[must_use]
    pub fn serves(&self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kind.info().add_on.is_none() || kinds.contains(&kind),
        }
    }
}

/// What is told about objects that can't be made: one problem for each add-on that is absent.
#[must_use]
pub fn missing<'a>(left_out: impl IntoIterator<Item = &'a Object>) -> Vec<Problem> {
    let mut by_add_on: BTreeMap<AddOn, BTreeMap<Kind, Vec<&str>>> = BTreeMap::new();
    for object in left_out {
        if let Some(add_on) = object.kind.info().add_on {
            by_add_on.entry(add_on).or_default().entry(object.kind).or_default().push(&object.name);
        }
    }
    by_add_on.into_iter().map(|(add_on, objects)| problem(add_on, &objects)).collect()
}

fn problem(add_on: AddOn, objects: &BTreeMap<Kind, Vec<&str>>) -> Problem {
    let names: Vec<String> =
        objects.iter().map(|(kind, names)| format!("{kind} {}", names.join(", "))).collect();
    let definitions: Vec<String> = objects.keys().map(|kind| kind.info().definition()).collect();
    let version = objects.keys().next().map(|kind| kind.info().version).unwrap_or_default();
    let message = format!(
        "{} is not there (the cluster does not serve {} in version {version}); left out until it is: {}; install it, or take {} out of the resource",
        add_on.title(),
        definitions.join(", "),
        names.join("; "),
        add_on.field(),
    );
    let problem = match add_on {
        AddOn::CloudNativePG => Problem::of(POSTGRES, MISSING, message),
        _ => Problem::whole(MISSING, message),
    };
    if add_on.is_aside() { problem.as_warning() } else { problem }
}
