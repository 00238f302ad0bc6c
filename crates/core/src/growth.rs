//! Volumes of data stores that grow; pure. The templates of a `StatefulSet` can't be changed, so its claims grow
//! first, and then the set is made anew around its pods, which notice nothing.

use std::collections::BTreeMap;

use serde_json::Value;
use trading_api::Quantity;

use crate::{
    object::Object,
    plan::Plan,
    problem::Problem,
    step::{Child, Prune},
};

/// Reason for which volumes stay as small as they are.
pub const CANNOT_GROW: &str = "VolumesCannotGrow";
/// Reason for which volumes stay as large as they are.
pub const CANNOT_SHRINK: &str = "VolumesCannotShrink";

/// A set whose claims grow, and that is then made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The set.
    pub set: Prune,
    /// Its component.
    pub component: String,
    /// How large the claims of each template become.
    pub sizes: BTreeMap<String, Quantity>,
}

/// What the sizes that are asked for mean for a set that is live.
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Its claims grow first.
    Grows(Growth),
    /// It can't be done; the set stays as it is.
    Impossible(Problem),
}

/// Compares what the templates ask for with what those of the live set do.
pub(crate) fn change(plan: &Plan, object: &Object, child: Option<&Child>) -> Change {
    let live = child.and_then(|child| Some((child, &child.workload.as_ref()?.volumes)));
    let Some((child, live)) = live else { return Change::None };
    let mut sizes = BTreeMap::new();
    for Template { name, size, class } in templates(object) {
        let Some(before) = live.get(name) else { continue };
        let (now, then) = (size.value(), before.value());
        if now < then {
            return Change::Impossible(Problem::of(
                &object.component,
                CANNOT_SHRINK,
                format!(
                    "volumes of {} have {before} and can't shrink to {size}: set storage.size to {before}, or make a second platform and move the data",
                    object.component
                ),
            ));
        }
        if now > then {
            if let Some(class) = rigid(plan, class) {
                return Change::Impossible(Problem::of(
                    &object.component,
                    CANNOT_GROW,
                    format!(
                        "volumes of {} can't grow from {before} to {size}: StorageClass {class:?} does not say allowVolumeExpansion: true; where its driver can, kubectl patch storageclass {class} -p '{{\"allowVolumeExpansion\":true}}'",
                        object.component
                    ),
                ));
            }
            sizes.insert(name.to_owned(), size);
        }
    }
    if sizes.is_empty() {
        return Change::None;
    }
    Change::Grows(Growth { set: child.into(), component: object.component.clone(), sizes })
}

struct Template<'a> {
    name: &'a str,
    size: Quantity,
    class: Option<&'a str>,
}

fn templates(object: &Object) -> impl Iterator<Item = Template<'_>> {
    object.body["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten().filter_map(|claim| {
        let size = claim.pointer("/spec/resources/requests/storage")?;
        Some(Template {
            name: claim.pointer("/metadata/name")?.as_str()?,
            size: serde_json::from_value(size.clone()).ok()?,
            class: claim.pointer("/spec/storageClassName").and_then(Value::as_str),
        })
    })
}

/// The class, where it is known and known not to let volumes grow.
fn rigid<'a>(plan: &'a Plan, name: Option<&'a str>) -> Option<&'a str> {
    let classes = plan.storage_classes.as_ref()?;
    let (name, class) = match name {
        Some(name) => (name, classes.get(name)?),
        None => {
            classes.iter().find(|(_, class)| class.is_default).map(|(name, class)| (name.as_str(), class))?
        }
    };
    (!class.expands).then_some(name)
}
