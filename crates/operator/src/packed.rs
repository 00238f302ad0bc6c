//! A platform as it is kept between reconciles: as text, which takes a fifth of the memory of the value.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use trading_api::{TradingPlatform, TradingPlatformSpec, deletion::Deletion};

use crate::cache::{self, Text};

/// What `kubectl apply` keeps for itself: the whole resource once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A platform. Whether its fields have the right types shows when it is unpacked: one bad resource must not
/// break the watch.
#[derive(Clone, Debug, Deserialize)]
pub struct Packed {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "text")]
    spec: Box<str>,
    /// There once with what is remembered of the status that was last written.
    #[serde(default, deserialize_with = "shared")]
    status: Option<Text>,
}

/// A platform with fields of the wrong types.
#[derive(Debug)]
pub struct Unreadable {
    /// What is known of it.
    pub metadata: ObjectMeta,
    /// What is wrong.
    pub error: serde_json::Error,
}

fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Box<str>, D::Error> {
    Ok(Value::deserialize(value)?.to_string().into())
}

fn shared<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Text>, D::Error> {
    let value = Value::deserialize(value)?;
    Ok((!value.is_null()).then(|| cache::text(&value.to_string())))
}

impl Packed {
    /// Drops what only others need.
    pub fn slim(&mut self) {
        self.metadata.managed_fields = None;
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
    }

    /// The platform.
    ///
    /// # Errors
    /// Where a field has a type that the kind doesn't know: an older definition let it in.
    pub fn unpack(&self) -> Result<Box<TradingPlatform>, Box<Unreadable>> {
        let unreadable = |error| Box::new(Unreadable { metadata: self.metadata.clone(), error });
        let spec = serde_json::from_str(&self.spec).map_err(unreadable)?;
        let mut platform = Box::new(TradingPlatform::new("", spec));
        if let Some(status) = &self.status {
            platform.status = serde_json::from_str(status).map_err(unreadable)?;
        }
        platform.metadata = self.metadata.clone();
        Ok(platform)
    }

    /// The platform as far as its deletion needs it. One that an older definition let in must be able to go.
    ///
    /// # Errors
    /// Where it can't be read what becomes of its data.
    pub fn unpack_for_deletion(&self) -> Result<Box<TradingPlatform>, Box<Unreadable>> {
        #[derive(Deserialize)]
        struct Going {
            deletion: Option<Deletion>,
        }
        let going: Going = serde_json::from_str(&self.spec)
            .map_err(|error| Box::new(Unreadable { metadata: self.metadata.clone(), error }))?;
        let spec = TradingPlatformSpec { deletion: going.deletion, ..TradingPlatformSpec::default() };
        let mut platform = Box::new(TradingPlatform::new("", spec));
        // What is written of a deletion replaces a status that can't be read.
        platform.status = self.status.as_ref().and_then(|status| serde_json::from_str(status).ok());
        platform.metadata = self.metadata.clone();
        Ok(platform)
    }
}

impl Resource for Packed {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        TradingPlatform::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TradingPlatform::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TradingPlatform::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TradingPlatform::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trading_api::{deletion::DataPolicy, status::TradingPlatformStatus};

    use super::*;

    fn packed(spec: &Value) -> Packed {
        let annotations = json!({LAST_APPLIED: "{}", "team": "trading"});
        let resource = json!({"metadata": {"name": "shop", "annotations": annotations}, "spec": spec});
        let mut packed: Packed = serde_json::from_value(resource).expect("anything can be packed");
        packed.slim();
        packed
    }

    #[test]
    fn a_platform_comes_out_as_it_went_in() {
        let platform = packed(&json!({"version": "2.0.0"})).unpack().expect("it has the right types");
        assert_eq!(platform.spec.version, "2.0.0");
        assert!(platform.status.is_none());
        let annotations: Vec<_> =
            platform.metadata.annotations.iter().flatten().map(|(key, _)| key).collect();
        assert_eq!(annotations, ["team"], "what kubectl keeps for itself is dropped");
    }

    #[test]
    fn a_status_that_was_written_and_came_back_is_there_once() {
        let condition = json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1});
        let came = json!({"conditions": [condition], "summary": "4/4", "observedGeneration": 1});
        let status: TradingPlatformStatus = serde_json::from_value(came.clone()).expect("it is a status");
        let packed: Packed = serde_json::from_value(json!({"metadata": {}, "spec": {}, "status": came}))
            .expect("anything can be packed");
        let wrote = serde_json::to_value(&status).expect("it can be text").to_string();
        assert_eq!(packed.status.as_deref(), Some(&*wrote));
    }

    #[test]
    fn one_that_can_not_be_read_can_go_unless_it_is_unclear_what_becomes_of_its_data() {
        let going =
            |deletion: Value| packed(&json!({"version": 5, "deletion": deletion})).unpack_for_deletion();
        let platform = going(json!({"data": "Delete"})).expect("it says what becomes of its data");
        assert_eq!(platform.spec.deletion.and_then(|deletion| deletion.data), Some(DataPolicy::Delete));
        assert!(going(Value::Null).expect("the default is to keep data").spec.deletion.is_none());
        assert!(going(json!({"data": "Perhaps"})).is_err());
    }

    #[test]
    fn what_can_not_be_read_says_what_is_wrong_and_whose_it_is() {
        let unreadable = packed(&json!({"version": ["2.0.0"]})).unpack().expect_err("a list is no version");
        assert_eq!(unreadable.metadata.name.as_deref(), Some("shop"));
        assert!(unreadable.error.to_string().contains("invalid type"), "{}", unreadable.error);
    }
}
