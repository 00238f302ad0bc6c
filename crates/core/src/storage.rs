//! Whether the volumes that a platform asks for can be made, and can grow later; pure. The claims are read
//! from the rendered objects, so whatever asks for a volume is seen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{kinds::Kind, object::Object, problem::Problem};

/// Reason of the warning that a class is not there. Volumes that exist serve without their class.
pub const CLASS_MISSING: &str = "StorageClassMissing";
/// Reason for which volumes can't grow.
pub const NOT_EXPANDABLE: &str = "NotExpandable";

/// What matters of a `StorageClass`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageClass {
    /// `allowVolumeExpansion`.
    pub expands: bool,
    /// Claims that name no class are its.
    pub is_default: bool,
}

/// The `StorageClasses` of a cluster by name.
pub type StorageClasses = BTreeMap<String, StorageClass>;

/// What is known of the volumes that a platform asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// Classes that are not there, each a warning.
    pub problems: Vec<Problem>,
    /// Why volumes can't grow; empty where all can.
    pub fixed: Vec<String>,
}

/// `None` where the platform asks for no volume.
#[must_use]
pub fn volumes(objects: &[Object], classes: &StorageClasses) -> Option<Volumes> {
    let mut by_class: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for (class, who) in objects.iter().flat_map(claims) {
        by_class.entry(class).or_default().insert(who);
    }
    if by_class.is_empty() {
        return None;
    }
    let mut volumes = Volumes::default();
    for (name, who) in by_class {
        let who = who.into_iter().collect::<Vec<_>>().join(", ");
        let class = match name {
            Some(name) => classes.get_key_value(name),
            None => classes.iter().find(|(_, class)| class.is_default),
        };
        match (name, class) {
            (_, Some((_, class))) if class.expands => {}
            (_, Some((name, _))) => volumes.fixed.push(format!(
                "volumes of {who} can't grow: StorageClass {name:?} does not say allowVolumeExpansion: true"
            )),
            (Some(name), None) => volumes.problems.push(missing(format!(
                "StorageClass {name:?}, which {who} asks for, does not exist: create it (docs/storage.md has an example); until then new pods of it wait for their volumes"
            ))),
            (None, None) => volumes.problems.push(missing(format!(
                "there is no default StorageClass, and {who} names none: annotate one with storageclass.kubernetes.io/is-default-class=true; until then new pods of it wait for their volumes"
            ))),
        }
    }
    Some(volumes)
}

fn missing(message: String) -> Problem {
    Problem::whole(CLASS_MISSING, message).as_warning()
}

/// Classes of the claims that an object is or makes, each with who asks.
fn claims(object: &Object) -> Vec<(Option<&str>, &str)> {
    let who = if object.component.is_empty() { &object.name } else { &object.component };
    let of = |claim| (Value::pointer(claim, "/spec/storageClassName").and_then(Value::as_str), who.as_str());
    match object.kind {
        Kind::PersistentVolumeClaim => vec![of(&object.body)],
        Kind::StatefulSet => {
            let templates = object.body["spec"]["volumeClaimTemplates"].as_array();
            templates.into_iter().flatten().map(of).collect()
        }
        Kind::Cluster => {
            let volumes = ["/spec/storage", "/spec/walStorage"].into_iter();
            let volumes = volumes.filter_map(|path| object.body.pointer(path));
            volumes.map(|volume| (volume["storageClass"].as_str(), who.as_str())).collect()
        }
        _ => Vec::new(),
    }
}
