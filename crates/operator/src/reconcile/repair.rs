//! Puts back what another client changed so that server-side apply alone can't.
//!
//! Entries of a list are merged by key. Where somebody changed the key (a Service's port), applying
//! adds our entry beside theirs, and the apiserver refuses the two together. Likewise settings of another
//! update strategy stay beside ours.

use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use trading_api::labels::FIELD_MANAGER;

use crate::objects::apply_as;

/// Field manager of the one patch that replaces whole lists.
const MANAGER: &str = "trading-operator-repair";

/// Replaces what we render as a whole, applies it, and gives the extra ownership up again, so that
/// later edits can remove entries. `None` where the apiserver refuses that as well.
pub async fn apply(
    api: &Api<DynamicObject>,
    name: &str,
    body: &Value,
) -> Result<Option<DynamicObject>, kube::Error> {
    let Some(mut spec) = body.get("spec").cloned() else { return Ok(None) };
    if let Some(strategy) = spec.get_mut("updateStrategy").and_then(Value::as_object_mut) {
        strategy.entry("rollingUpdate").or_insert(Value::Null);
    }
    let whole = json!({ "spec": spec });
    let replace = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(name, &replace, &Patch::Merge(&whole)).await {
        Err(kube::Error::Api(status)) if status.code == 422 => return Ok(None),
        result => result?,
    };
    let live = api.patch(name, &apply_as(FIELD_MANAGER).force(), &Patch::Apply(body)).await?;
    let entries = live.metadata.managed_fields.iter().flatten();
    let Some(index) = entries.into_iter().position(|entry| entry.manager.as_deref() == Some(MANAGER)) else {
        return Ok(Some(live));
    };
    let path = format!("/metadata/managedFields/{index}");
    let release: json_patch::Patch = serde_json::from_value(json!([
        {"op": "test", "path": format!("{path}/manager"), "value": MANAGER},
        {"op": "remove", "path": path},
    ]))
    .map_err(kube::Error::SerdeError)?;
    let live = api.patch(name, &PatchParams::default(), &Patch::<()>::Json(release)).await?;
    Ok(Some(live))
}
