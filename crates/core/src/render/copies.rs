//! Copies of the stores' Secrets in the namespaces of those who log in with them.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use trading_api::labels;

use super::meta;
use crate::{
    kinds::Kind,
    object::{Content, Lifetime, Object},
    plan::{CopyPlan, Plan},
};

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    plan.copies.iter().map(|copy| one(plan, copy)).collect()
}

/// The values are filled in when it is applied. Their digest makes it differ when they do.
fn one(plan: &Plan, copy: &CopyPlan) -> Object {
    let CopyPlan { store, namespace, suffix, original, .. } = copy;
    let mut metadata = meta::object_in(plan, namespace, suffix, store, meta::APPLICATION, Lifetime::Platform);
    metadata.annotations.get_or_insert_default().extend([
        (labels::COPIED_FROM.to_owned(), format!("{}/{}", original.namespace, original.name)),
        (labels::CONFIG_CHECKSUM.to_owned(), copy.checksum.clone()),
    ]);
    let data: BTreeMap<String, ByteString> =
        copy.keys.iter().map(|key| (key.clone(), ByteString(Vec::new()))).collect();
    let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
    let mut object = Object::new(Kind::Secret, store, Lifetime::Platform, &secret);
    object.content = Content::CopiedFrom { original: original.clone(), is_there: copy.is_there };
    object
}
