//! What the audit log says since a moment.

use anyhow::Result;
use jiff::Timestamp;
use trading_testbed::audit::{self, Entry};

use super::stack::Stack;

/// A moment, and how long the log was then: it grows to many megabytes, of which a test needs the end.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    offset: u64,
    at: Timestamp,
}

impl Mark {
    /// When it was.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Stack {
    /// Now.
    pub fn mark(&self) -> Result<Mark> {
        let at = Timestamp::now();
        Ok(Mark { offset: audit::end(&self.cluster().audit_log())?, at })
    }

    /// Before anybody asked for anything.
    #[must_use]
    pub fn beginning() -> Mark {
        Mark { offset: 0, at: Timestamp::UNIX_EPOCH }
    }

    /// All requests that came since then, of anybody for anything.
    pub fn requests_since(&self, mark: &Mark) -> Result<Vec<Entry>> {
        let entries = audit::read_from(&self.cluster().audit_log(), mark.offset)?;
        Ok(entries.into_iter().filter(|entry| entry.received >= mark.at).collect())
    }

    /// What the operator asked for since then, but for Leases and Events.
    pub fn operator_requests_since(&self, mark: &Mark) -> Result<Vec<Entry>> {
        let all = self.requests_since(mark)?.into_iter();
        Ok(all.filter(|entry| entry.user == self.user() && !is_aside(entry)).collect())
    }
}

/// Counted apart: a leader renews its Lease whatever it does, and Events are told once.
fn is_aside(entry: &Entry) -> bool {
    matches!(entry.resource.as_str(), "leases" | "events")
}

/// Requests in words, one in a line.
#[must_use]
pub fn describe(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let Entry { verb, resource, subresource, name, namespace, code, .. } = entry;
        format!("{verb} {resource} {subresource} {namespace}/{name} {code}")
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}
