//! Claims of volumes that components share.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use trading_api::platform::SharedVolume;

use super::{meta, store::claim_spec};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::Plan,
};

/// What the claims carry instead of a component's name.
const COMPONENT: &str = "shared-volume";

pub(super) fn render(plan: &Plan, volume: &SharedVolume) -> Object {
    let claim = PersistentVolumeClaim {
        metadata: meta::object(plan, &volume.name, COMPONENT, meta::APPLICATION, Lifetime::Store),
        spec: Some(claim_spec("ReadWriteMany", &volume.size, volume.storage_class_name.as_ref())),
        status: None,
    };
    Object::new(Kind::PersistentVolumeClaim, "", Lifetime::Store, &claim)
}
