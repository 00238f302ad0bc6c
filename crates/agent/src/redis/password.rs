//! The Redis password, pure: any bytes, never shown.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

/// A password that is not empty. Redis reads an empty one as "no password needed".
pub struct Password(Vec<u8>);

impl Password {
    /// `None` for an empty value.
    pub fn new(value: OsString) -> Option<Self> {
        let bytes = value.into_vec();
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// The secret itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_neither_empty_nor_shown() {
        assert!(Password::new(OsString::new()).is_none());
        let password = Password::new("hunter2".into());
        assert_eq!(format!("{password:?}"), "Some(Password(…))");
    }
}
