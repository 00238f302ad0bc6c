//! Volumes of data stores that grow; pure. The templates of a `StatefulSet` can't be changed, so its claims grow
//! first, and then the set is made anew around its pods, which notice nothing. Until then it is kept as it is
//! wished but for the sizes, so that nothing else waits.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use trading_api::Quantity;

use crate::{
    amount::amount,
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
#[derive(Clone, Debug)]
pub struct Growth {
    /// The set that is live.
    pub set: Prune,
    /// The set as it is wished.
    pub object: Object,
    /// How large the claims of each template become.
    pub sizes: BTreeMap<String, Quantity>,
}

/// What the sizes that are asked for mean for a set that is live.
pub(crate) struct Resized {
    /// As it is wished, with the sizes that the live set has.
    pub object: Object,
    /// What grows.
    pub growth: Option<Growth>,
    /// Why nothing does.
    pub problem: Option<Problem>,
}

/// Compares what the templates ask for with what those of the live set do; `None` where they agree.
pub(crate) fn resized(plan: &Plan, object: &Object, child: &Child) -> Option<Resized> {
    let live = &child.workload.as_ref()?.volumes;
    let differing: Vec<Template> = templates(object, live).filter(Template::differs).collect();
    if differing.is_empty() {
        return None;
    }
    let problem = differing.iter().find_map(|template| template.obstacle(plan, object));
    let sizes =
        differing.iter().map(|template| (template.name.to_owned(), template.wished.clone())).collect();
    // One that an earlier platform left is taken up first.
    let is_own = child.platform_uid == plan.identity.uid;
    let growth =
        (problem.is_none() && is_own).then(|| Growth { set: child.into(), object: object.clone(), sizes });
    Some(Resized { object: object.with(|body| keep_sizes(body, live)), growth, problem })
}

struct Template<'a> {
    name: &'a str,
    live: &'a Quantity,
    wished: Quantity,
    class: Option<&'a str>,
}

impl Template<'_> {
    /// Exactly: the apiserver writes 2.3Gi as 2469606195200m.
    fn amounts(&self) -> Option<(Decimal, Decimal)> {
        Some((amount(&self.live.0)?, amount(&self.wished.0)?))
    }

    fn differs(&self) -> bool {
        self.amounts().is_some_and(|(live, wished)| live != wished)
    }

    /// Why it can't become as large, or as small, as it is wished.
    fn obstacle(&self, plan: &Plan, object: &Object) -> Option<Problem> {
        let (who, Self { live, wished, .. }) = (&object.component, self);
        if self.amounts().is_some_and(|(live, wished)| wished < live) {
            let message = format!(
                "volumes of {who} have {live} and can't shrink to {wished}: set their size to {live}, or make a second platform and move the data"
            );
            return Some(Problem::of(who, CANNOT_SHRINK, message));
        }
        let class = self.class?;
        let is_rigid = !plan.storage_classes.as_ref()?.get(class)?.expands;
        is_rigid.then(|| {
            let message = format!(
                "volumes of {who} can't grow from {live} to {wished}: StorageClass {class:?} does not say allowVolumeExpansion: true; where its driver can, kubectl patch storageclass {class} -p '{{\"allowVolumeExpansion\":true}}'"
            );
            Problem::of(who, CANNOT_GROW, message)
        })
    }
}

fn templates<'a>(
    object: &'a Object,
    live: &'a BTreeMap<String, Quantity>,
) -> impl Iterator<Item = Template<'a>> {
    object.body["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten().filter_map(|claim| {
        let name = claim.pointer("/metadata/name")?.as_str()?;
        Some(Template {
            name,
            live: live.get(name)?,
            wished: serde_json::from_value(claim.pointer(SIZE)?.clone()).ok()?,
            class: claim.pointer("/spec/storageClassName").and_then(Value::as_str),
        })
    })
}

const SIZE: &str = "/spec/resources/requests/storage";

fn keep_sizes(body: &mut Value, live: &BTreeMap<String, Quantity>) {
    let templates = body["spec"]["volumeClaimTemplates"].as_array_mut();
    for claim in templates.into_iter().flatten() {
        let size = claim.pointer("/metadata/name").and_then(Value::as_str).and_then(|name| live.get(name));
        if let (Some(size), Some(place)) = (size.cloned(), claim.pointer_mut(SIZE)) {
            *place = json!(size);
        }
    }
}
