//! The `ResourceQuota` of the namespace.

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::Plan,
};

pub(super) fn render(plan: &Plan) -> Option<Object> {
    let quota = plan.quota.as_ref()?;
    let object = ResourceQuota {
        metadata: meta::object(plan, "quota", "quota", meta::APPLICATION, Lifetime::Platform),
        spec: Some(ResourceQuotaSpec {
            hard: Some(quota.hard.iter().map(|(key, value)| (key.clone(), value.into())).collect()),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    };
    Some(Object::new(Kind::ResourceQuota, "", Lifetime::Platform, &object))
}
