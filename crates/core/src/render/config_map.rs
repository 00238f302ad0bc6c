//! Configuration files of components.

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{ComponentPlan, Plan},
};

pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    let config = component.spec.config.as_ref()?;
    let map = ConfigMap {
        metadata: meta::object(plan, &component.name, &component.name, meta::APPLICATION, Lifetime::Platform),
        data: Some(config.files.iter().map(|file| (file.name.clone(), file.content.clone())).collect()),
        ..ConfigMap::default()
    };
    Some(Object::new(Kind::ConfigMap, &component.name, Lifetime::Platform, &map))
}
