//! Digests of JSON values that do not depend on the order of keys.

use std::io;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The first 16 hexadecimal digits of the SHA-256 of the value's canonical form.
#[must_use]
pub fn of(value: &Value) -> String {
    let mut hasher = Sha256::new();
    feed(value, &mut hasher);
    short(hasher)
}

/// The same for bytes.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    trading_report::digest(bytes)
}

fn short(hasher: Sha256) -> String {
    use std::fmt::Write;
    hasher.finalize().iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn feed(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort_unstable();
            hasher.update(b"{");
            for key in keys {
                hasher.update(key.as_bytes());
                hasher.update([0]);
                feed(&map[key], hasher);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                feed(item, hasher);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        // Neither a scalar nor the hasher can fail.
        scalar => serde_json::to_writer(Sink(hasher), scalar).unwrap_or_default(),
    }
}

/// Takes the text of a scalar as it is written.
struct Sink<'a>(&'a mut Sha256);

impl io::Write for Sink<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.update(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
