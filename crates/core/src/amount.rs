//! Kubernetes quantities as exact numbers.

use std::str::FromStr;

use rust_decimal::Decimal;

/// Bytes of a GiB.
const GIB: u64 = 1 << 30;

/// The quantity in its base unit (cores, bytes); `None` where it can't be read or is beyond any node.
#[must_use]
pub fn amount(quantity: &str) -> Option<Decimal> {
    let split = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (digits, suffix) = quantity.split_at(split);
    let number = Decimal::from_str(digits.trim_end_matches('.')).ok()?;
    match suffix {
        "" => Some(number),
        "n" => number.checked_div(power(10, 9)?),
        "u" => number.checked_div(power(10, 6)?),
        "m" => number.checked_div(power(10, 3)?),
        "k" => number.checked_mul(power(10, 3)?),
        "Ki" => number.checked_mul(power(1024, 1)?),
        "M" => number.checked_mul(power(10, 6)?),
        "Mi" => number.checked_mul(power(1024, 2)?),
        "G" => number.checked_mul(power(10, 9)?),
        "Gi" => number.checked_mul(power(1024, 3)?),
        "T" => number.checked_mul(power(10, 12)?),
        "Ti" => number.checked_mul(power(1024, 4)?),
        "P" => number.checked_mul(power(10, 15)?),
        "Pi" => number.checked_mul(power(1024, 5)?),
        "E" => number.checked_mul(power(10, 18)?),
        "Ei" => number.checked_mul(power(1024, 6)?),
        exponent => scaled(number, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

/// Bytes as GiB.
pub(crate) fn gib(bytes: Decimal) -> Decimal {
    bytes / Decimal::from(GIB)
}

fn scaled(number: Decimal, exponent: i32) -> Option<Decimal> {
    let factor = power(10, exponent.unsigned_abs())?;
    if exponent < 0 { number.checked_div(factor) } else { number.checked_mul(factor) }
}

fn power(base: u64, exponent: u32) -> Option<Decimal> {
    base.checked_pow(exponent).map(Decimal::from)
}

#[cfg(test)]
mod tests {
    use super::{amount, gib};

    #[test]
    fn suffixes_scale_the_number_exactly() {
        for (quantity, expected) in [
            ("500m", "0.5"),
            ("2", "2"),
            (".5", "0.5"),
            ("2.", "2"),
            ("1.5Gi", "1610612736"),
            ("100n", "0.0000001"),
            ("3e2", "300"),
            ("3E-1", "0.3"),
            ("1Ei", "1152921504606846976"),
            ("1E", "1000000000000000000"),
        ] {
            let read = amount(quantity).map(|number| number.normalize().to_string());
            assert_eq!(read.as_deref(), Some(expected), "{quantity}");
        }
        assert_eq!(amount("512Mi").map(|bytes| gib(bytes).normalize().to_string()).as_deref(), Some("0.5"));
    }

    #[test]
    fn what_no_node_has_is_no_amount() {
        for quantity in ["", "2GB", "-1", "1e400", "99999999999999999999999999999999Ei", "1.2.3", "e3"] {
            assert_eq!(amount(quantity), None, "{quantity}");
        }
    }
}
