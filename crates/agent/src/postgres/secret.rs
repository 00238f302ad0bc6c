//! Passwords of Postgres, pure: printable text, never shown.

use std::fmt;

use postgres_protocol::password;

/// A password that is not empty and has no control characters, which would end a line of the
/// files and commands that it is written into.
pub struct Password(String);

impl Password {
    /// `None` where it does not hold.
    pub fn new(value: String) -> Option<Self> {
        let is_one_line = !value.is_empty() && !value.chars().any(char::is_control);
        is_one_line.then_some(Self(value))
    }

    /// As a line of a file of its own.
    pub fn line(&self) -> String {
        format!("{}\n", self.0)
    }

    /// As a literal of SQL, with `standard_conforming_strings` as it is by default.
    pub fn literal(&self) -> String {
        format!("'{}'", self.0.replace('\'', "''"))
    }

    /// What a server keeps of it and compares with: of no use to log in. It has no quotes.
    pub fn verifier(&self) -> String {
        password::scram_sha_256(self.0.as_bytes())
    }

    /// As it is.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// As the last field of a line of a password file.
    pub fn field(&self) -> String {
        self.0.replace('\\', "\\\\").replace(':', "\\:")
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
    fn is_one_line_and_not_shown() {
        for bad in ["", "a\nb", "a\u{0}"] {
            assert!(Password::new(bad.to_owned()).is_none(), "{bad:?}");
        }
        let password = Password::new("it's:a\\b".to_owned()).expect("valid");
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert_eq!(password.literal(), "'it''s:a\\b'");
        assert_eq!(password.field(), "it's\\:a\\\\b");
        let verifier = password.verifier();
        assert!(
            verifier.starts_with("SCRAM-SHA-256$4096:") && !verifier.contains(['\'', '\\', ' ']),
            "{verifier}"
        );
        assert_ne!(verifier, password.verifier(), "salted");
    }
}
