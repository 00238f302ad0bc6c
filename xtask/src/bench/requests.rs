//! What the audit log says: requests sorted by what they are for.

use std::collections::BTreeMap;
use std::time::Duration;

use trading_api::labels::REPLICAS_MANAGER;
use trading_testbed::audit::Entry;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Makes a child.
    Create,
    /// Changes a child that was there.
    Apply,
    /// Keeps the number of replicas of a workload for its autoscaler.
    Replicas,
    /// Removes a child.
    Delete,
    /// Adds or removes the finalizer.
    Finalizer,
    /// Reports.
    Status,
    /// Writes an Event.
    Event,
    /// A write that was refused.
    Refused,
    Get,
    List,
    Watch,
    /// Anything about the Lease.
    Lease,
}

impl Class {
    /// Writes to objects of a platform.
    pub const CHILD: [Self; 4] = [Self::Create, Self::Apply, Self::Replicas, Self::Delete];

    /// All writes but those of Events and the Lease.
    pub const WRITES: [Self; 7] = [
        Self::Create,
        Self::Apply,
        Self::Replicas,
        Self::Delete,
        Self::Finalizer,
        Self::Status,
        Self::Refused,
    ];

    /// All reads but watches and the Lease's.
    pub const READS: [Self; 2] = [Self::Get, Self::List];

    fn of(entry: &Entry) -> Self {
        match (entry.resource.as_str(), entry.verb.as_str()) {
            ("leases", _) => Self::Lease,
            (_, "watch") => Self::Watch,
            (_, "get") => Self::Get,
            (_, "list") => Self::List,
            ("events", _) => Self::Event,
            _ if entry.code >= 400 => Self::Refused,
            ("tradingplatforms", _) if entry.subresource == "status" => Self::Status,
            ("tradingplatforms", _) => Self::Finalizer,
            (_, "delete") => Self::Delete,
            _ if entry.uri.contains(&format!("fieldManager={REPLICAS_MANAGER}")) => Self::Replicas,
            _ if entry.code == 201 => Self::Create,
            _ => Self::Apply,
        }
    }
}

/// Requests by what they are for.
#[derive(Clone, Debug, Default)]
pub struct Requests(BTreeMap<Class, usize>);

impl Requests {
    /// Sorts them.
    pub fn count<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut counts = BTreeMap::new();
        for entry in entries {
            *counts.entry(Class::of(entry)).or_default() += 1;
        }
        Self(counts)
    }

    /// How many are for that.
    pub fn of(&self, class: Class) -> usize {
        self.0.get(&class).copied().unwrap_or_default()
    }

    /// How many are for one of these.
    pub fn of_any(&self, classes: &[Class]) -> usize {
        classes.iter().map(|&class| self.of(class)).sum()
    }
}

/// The writes among them, by resource, such as `tradingplatforms/status`.
pub fn writes_by_resource<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries.into_iter().filter(|entry| Class::WRITES.contains(&Class::of(entry))) {
        let name = match entry.subresource.as_str() {
            "" => entry.resource.clone(),
            subresource => format!("{}/{subresource}", entry.resource),
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The children that were made.
pub fn created(entries: &[Entry]) -> Vec<Entry> {
    entries.iter().filter(|entry| Class::of(entry) == Class::Create).cloned().collect()
}

/// From the first request of the first to the last answer of the second.
pub fn span(first: &[Entry], last: &[Entry]) -> Option<Duration> {
    let began = first.iter().map(|entry| entry.received).min()?;
    let ended = last.iter().map(|entry| entry.answered).max()?;
    Duration::try_from(ended.duration_since(began)).ok()
}

/// Requests other than watches and the Lease's.
pub fn is_work(entry: &Entry) -> bool {
    !matches!(Class::of(entry), Class::Watch | Class::Lease)
}

/// Writes that changed something in the store, if they changed what they wrote. What is asked of the
/// apiserver without being kept, such as a token, is none.
pub fn is_stored(entry: &Entry) -> bool {
    let is_kept = entry.subresource != "token" && !entry.resource.ends_with("reviews");
    entry.is_write() && is_kept && (200..300).contains(&entry.code)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn entry(verb: &str, resource: &str, code: u16) -> Entry {
        Entry {
            user: String::new(),
            verb: verb.to_owned(),
            group: String::new(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            uri: "/?fieldManager=trading-operator".to_owned(),
            user_agent: String::new(),
            code,
            received: Timestamp::UNIX_EPOCH,
            answered: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn each_request_has_its_purpose() {
        let status = Entry { subresource: "status".to_owned(), ..entry("patch", "tradingplatforms", 200) };
        let replicas = Entry {
            uri: format!("/x?fieldManager={REPLICAS_MANAGER}"),
            ..entry("patch", "deployments", 200)
        };
        let entries = [
            (entry("patch", "services", 201), Class::Create),
            (entry("create", "secrets", 201), Class::Create),
            (entry("patch", "services", 200), Class::Apply),
            (entry("patch", "services", 409), Class::Refused),
            (entry("patch", "tradingplatforms", 200), Class::Finalizer),
            (entry("create", "events", 201), Class::Event),
            (entry("get", "secrets", 404), Class::Get),
            (entry("get", "leases", 200), Class::Lease),
            (entry("watch", "secrets", 200), Class::Watch),
            (status, Class::Status),
            (replicas, Class::Replicas),
        ];
        for (entry, class) in &entries {
            assert_eq!(Class::of(entry), *class, "{entry:?}");
        }
        let entries: Vec<_> = entries.into_iter().map(|(entry, _)| entry).collect();
        let counts = Requests::count(&entries);
        assert_eq!((counts.of(Class::Create), counts.of_any(&Class::WRITES)), (2, 7));
        let writes = writes_by_resource(&entries);
        assert_eq!((writes["services"], writes["tradingplatforms/status"]), (3, 1));
        assert_eq!(entries.iter().filter(|entry| is_work(entry)).count(), 9);
    }
}
