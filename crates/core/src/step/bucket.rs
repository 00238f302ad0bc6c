//! What a database of CloudNativePG may name. With a plugin that does not find its bucket CloudNativePG does
//! nothing with a database, so one names a bucket only where that is known to be there, and the platform's.

use serde_json::json;

use super::{Child, Observed};
use crate::{
    kinds::Kind,
    object::{Key, Object},
    plan::Identity,
};

/// The `Cluster` as it is written while its bucket is not there: with the one before, where it has one. `None`
/// where it may be written as it is.
pub(super) fn without_bucket(
    identity: &Identity,
    cluster: &Object,
    live: Option<&Child>,
    observed: &Observed,
) -> Option<Object> {
    const NAME: &str = "/spec/plugins/0/parameters/barmanObjectName";
    let name = cluster.body.pointer(NAME).filter(|_| cluster.kind == Kind::Cluster)?.as_str()?;
    let bucket = Key::new(Kind::ObjectStore, cluster.namespace.clone(), name);
    let before = live.and_then(Child::archive);
    if before.is_some_and(|before| before == name)
        || observed.get(&bucket).is_some_and(|bucket| bucket.is_of(identity))
    {
        return None;
    }
    Some(cluster.with(|body| match (before, body.pointer_mut(NAME)) {
        (Some(before), Some(name)) => *name = json!(before),
        _ => {
            body["spec"].as_object_mut().map(|spec| spec.remove("plugins"));
        }
    }))
}
