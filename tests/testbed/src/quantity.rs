//! Compares sizes of volumes.

/// The bytes of a quantity like `10Gi`; fractions and exponents do not occur in the sizes that we compare.
pub(crate) fn bytes(quantity: &str) -> Option<u128> {
    let digits = quantity.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = quantity.split_at(digits);
    let factor = match unit {
        "" => 1,
        "k" => 10_u128.pow(3),
        "M" => 10_u128.pow(6),
        "G" => 10_u128.pow(9),
        "T" => 10_u128.pow(12),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u128>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn units_are_told_apart() {
        assert_eq!(bytes("1024Mi"), bytes("1Gi"));
        assert!(bytes("1G") < bytes("1Gi"));
        assert_eq!(bytes("1.5Gi"), None);
        assert_eq!(bytes(""), None);
    }
}
