//! An amount of a resource, as Kubernetes writes it.

use std::{borrow::Cow, fmt};

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// What the apiserver accepts as a non-negative quantity, after
/// `k8s.io/apimachinery/pkg/api/resource`.
pub const QUANTITY_PATTERN: &str = r"^(\d+[.]?\d*|[.]\d+)(Ki|[MGTPE]i?|[numk]|[eE][+-]?1?\d)?$";

/// [`QUANTITY_PATTERN`] with a digit that is not 0.
pub const POSITIVE_QUANTITY_PATTERN: &str =
    r"^(\d*[1-9]\d*[.]?\d*|\d*[.]\d*[1-9]\d*)(Ki|[MGTPE]i?|[numk]|[eE][+-]?1?\d)?$";

/// Largest whole number; more is written with a unit. Its digits stand in the definition for every quantity.
const MAX_NUMBER: u64 = 9_999_999_999_999;

/// A Kubernetes quantity: `500m` is half a core, `2Gi` is two gibibytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Quantity(pub String);

impl Quantity {
    /// The quantity as a number in its base unit (cores, bytes); `None` where it can't be read.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let split = self.0.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.0.len());
        let (digits, suffix) = self.0.split_at(split);
        let number: f64 = digits.parse().ok()?;
        let factor = match suffix {
            "" => 1.0,
            "n" => 1e-9,
            "u" => 1e-6,
            "m" => 1e-3,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "P" => 1e15,
            "E" => 1e18,
            "Ki" => 1024.0,
            "Mi" => 1024.0_f64.powi(2),
            "Gi" => 1024.0_f64.powi(3),
            "Ti" => 1024.0_f64.powi(4),
            "Pi" => 1024.0_f64.powi(5),
            "Ei" => 1024.0_f64.powi(6),
            exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
        };
        Some(number * factor)
    }
}

/// CEL of a quantity in bytes: far less means that the unit was left out, or is `m`, a thousandth.
pub(crate) fn at_least_1_mi(what: &str) -> Rule {
    Rule::new("!quantity(string(self)).isLessThan(quantity('1Mi'))")
        .message(format!("{what} needs at least 1Mi: is the unit missing, as in 10Gi?").as_str())
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: &Quantity) -> Self {
        Self(quantity.0.clone())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m, 2 or 1Gi")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            // A whole number in scientific notation.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                if number.fract() == 0.0 {
                    Ok(Quantity(format!("{number:.0}")))
                } else {
                    Err(E::invalid_type(de::Unexpected::Float(number), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": MAX_NUMBER,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
        })
    }
}

/// A [`Quantity`] greater than 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositiveQuantity(pub Quantity);

impl JsonSchema for PositiveQuantity {
    fn schema_name() -> Cow<'static, str> {
        "PositiveQuantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": MAX_NUMBER,
            "pattern": POSITIVE_QUANTITY_PATTERN,
            "maxLength": 20,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn suffixes_scale_the_number() {
        for (text, value) in
            [("500m", 0.5), ("2", 2.0), ("1Ki", 1024.0), ("1.5Gi", 1_610_612_736.0), ("3e2", 300.0)]
        {
            let read = Quantity::from(text).value();
            assert!(read.is_some_and(|v| (v - value).abs() < 1e-9), "{text}: {read:?}");
        }
        assert_eq!(Quantity::from("2GB").value(), None);
    }
}
