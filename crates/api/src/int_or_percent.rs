//! A number of pods, or a share of them.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A whole number such as `1`, or a percentage such as `25%`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct IntOrPercent(pub IntOrString);

impl IntOrPercent {
    /// Whether it is `0` or `0%`.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match &self.0 {
            IntOrString::Int(number) => *number == 0,
            IntOrString::String(text) => text.trim_end_matches('%').parse() == Ok(0),
        }
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 4,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 && self <= 1000 : self.matches('^(0|[1-9][0-9]?|100)%$')",
                "message": "must be a whole number such as 1 (without quotes) or a percentage such as 25%",
            }],
        })
    }
}
