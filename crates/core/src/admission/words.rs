//! Violations of the schema in words.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;
use trading_api::{
    int_or_percent::SHARE_PATTERN,
    quantity::{POSITIVE_QUANTITY_PATTERN, QUANTITY_PATTERN},
};

use super::Violation;

/// What the schema says against a resource, with the remedy.
pub(super) fn in_words(error: &ValidationError) -> Violation {
    let field = dotted(error.instance_path().as_str());
    let message = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let path = format!("tradingplatform.{}", field.split('[').next().unwrap_or_default());
            format!(
                "unknown field {}: check the spelling, see kubectl explain {}",
                unexpected.join(", "),
                path.trim_end_matches('.')
            )
        }
        ValidationErrorKind::Enum { options } => format!("{} is not one of {options}", error.instance()),
        ValidationErrorKind::Pattern { pattern } => {
            format!("{} does not have the form {pattern}{}", error.instance(), hint(pattern))
        }
        ValidationErrorKind::Required { property } => {
            format!("{} is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::Type { .. } if error.instance().is_number() || error.instance().is_boolean() => {
            format!("{error}: if text is meant, put it in quotes")
        }
        ValidationErrorKind::Maximum { limit } => {
            format!("{} is greater than the maximum {}", error.instance(), whole(limit))
        }
        ValidationErrorKind::Minimum { limit } => {
            format!("{} is less than the minimum {}", error.instance(), whole(limit))
        }
        _ => error.to_string(),
    };
    Violation { field, message }
}

/// What a pattern means, for those that say little by themselves.
fn hint(pattern: &str) -> &'static str {
    if pattern.ends_with("100)%$") {
        ": use a whole number such as 1 (without quotes) or a percentage such as 25%"
    } else if pattern == SHARE_PATTERN {
        ": use a whole number such as 1 (without quotes) or a percentage such as 25%, below 100%"
    } else if pattern == QUANTITY_PATTERN {
        ": use a quantity such as 500m, 2 or 1Gi"
    } else if pattern == POSITIVE_QUANTITY_PATTERN {
        ": use a quantity greater than 0, such as 100 or 500m"
    } else {
        ""
    }
}

/// `1000.0` as `1000`.
fn whole(limit: &Value) -> String {
    limit.to_string().trim_end_matches(".0").to_owned()
}

/// `/spec/services/0/name` as `spec.services[0].name`.
fn dotted(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, segment| {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.chars().all(|c| c.is_ascii_digit()) {
            format!("{path}[{segment}]")
        } else if path.is_empty() {
            segment
        } else {
            format!("{path}.{segment}")
        }
    })
}
