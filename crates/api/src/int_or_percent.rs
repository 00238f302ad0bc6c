//! A number of pods, or a share of them.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A whole number such as `1`, or a percentage such as `25%`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct IntOrPercent(pub IntOrString);

/// [`IntOrPercent`] that is not 0.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct PositiveIntOrPercent(pub IntOrString);

impl JsonSchema for PositiveIntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "PositiveIntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(1, "^([1-9][0-9]?|100)%$")
    }
}

/// Bounds bind whole numbers, the pattern binds text.
fn schema(minimum: i32, pattern: &str) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": minimum,
        "maximum": 1000,
        "maxLength": 4,
        "pattern": pattern,
    })
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(0, "^(0|[1-9][0-9]?|100)%$")
    }
}
