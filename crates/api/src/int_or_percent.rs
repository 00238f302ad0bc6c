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

/// [`IntOrPercent`] that is less than all.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct IntOrShare(pub IntOrString);

impl IntOrShare {
    /// How many of `all` pods that is, rounded up as a `PodDisruptionBudget` rounds.
    #[must_use]
    pub fn of(&self, all: i32) -> i32 {
        match &self.0 {
            IntOrString::Int(pods) => *pods,
            IntOrString::String(share) => {
                let percent: i32 = share.trim_end_matches('%').parse().unwrap_or_default();
                (all * percent + 99) / 100
            }
        }
    }
}

impl JsonSchema for IntOrShare {
    fn schema_name() -> Cow<'static, str> {
        "IntOrShare".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(0, SHARE_PATTERN)
    }
}

/// A percentage below 100.
pub const SHARE_PATTERN: &str = "^(0|[1-9][0-9]?)%$";

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
