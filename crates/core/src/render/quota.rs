//! The `ResourceQuota` and the `LimitRange` of the namespace.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use trading_api::component::ResourceAmounts;

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::Plan,
};

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    quota(plan).into_iter().chain(limits(plan)).collect()
}

fn metadata(plan: &Plan) -> ObjectMeta {
    meta::object(plan, "quota", "quota", meta::APPLICATION, Lifetime::Platform)
}

fn quota(plan: &Plan) -> Option<Object> {
    let hard = &plan.quota.as_ref().filter(|quota| !quota.hard.is_empty())?.hard;
    let object = ResourceQuota {
        metadata: metadata(plan),
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard.iter().map(|(key, value)| (key.clone(), value.into())).collect()),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    };
    Some(Object::new(Kind::ResourceQuota, "", Lifetime::Platform, &object))
}

fn limits(plan: &Plan) -> Option<Object> {
    let bounds = plan.quota.as_ref()?.container.as_ref()?;
    let object = LimitRange {
        metadata: metadata(plan),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                min: bounds.min.as_ref().map(amounts),
                max: bounds.max.as_ref().map(amounts),
                ..LimitRangeItem::default()
            }],
        }),
    };
    Some(Object::new(Kind::LimitRange, "", Lifetime::Platform, &object))
}

fn amounts(given: &ResourceAmounts) -> BTreeMap<String, Quantity> {
    let named = [("cpu", given.cpu.as_ref()), ("memory", given.memory.as_ref())];
    named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount?.into()))).collect()
}
