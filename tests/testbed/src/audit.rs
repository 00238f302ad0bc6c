//! The apiserver's audit log: who asked for what, how often.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// One request. Parts that a request does not have, such as the namespace of a node, are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who asked; `system:serviceaccount:NAMESPACE:NAME` for a service account.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The plural name of the kind.
    pub resource: String,
    /// For example `status` or `scale`.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object.
    pub name: String,
    /// The path and query, which tell an apply from a merge and a dry run from a write.
    pub uri: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// The HTTP status, or 0 while there is none.
    pub code: u16,
    /// When the request came.
    pub received: Timestamp,
    /// When the answer was complete; for a watch that is still open, when it began.
    pub answered: Timestamp,
}

impl Entry {
    /// Whether it asks for a change; one that was refused counts as well.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && !self.uri.contains("dryRun=All")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

/// Reads the log. Each request is one entry, in the order of their first answers: of a watch the log
/// tells both the beginning and the end.
///
/// # Errors
/// When the log cannot be read or holds something else.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    read_from(path, 0)
}

/// Reads what was written after that many bytes, of [`end`].
///
/// # Errors
/// As [`read`].
pub fn read_from(path: &Path, offset: u64) -> Result<Vec<Entry>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    file.seek(SeekFrom::Start(offset)).with_context(cannot)?;
    let mut log = Vec::new();
    file.read_to_end(&mut log).with_context(cannot)?;
    parse(whole_lines(&log))
}

/// How many bytes the log's whole lines take. The file may be longer: the apiserver is still writing the
/// last line.
///
/// # Errors
/// When the log cannot be read.
pub fn end(path: &Path) -> Result<u64> {
    let whole = || -> io::Result<u64> {
        let mut file = File::open(path)?;
        let begin = file.metadata()?.len().saturating_sub(LONGEST_LINE);
        file.seek(SeekFrom::Start(begin))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(begin + whole_lines(&tail).len() as u64)
    };
    whole().with_context(|| format!("cannot read {}", path.display()))
}

/// More than the apiserver writes of any request, in bytes: a URI has at most 8 KiB, and no bodies are logged.
const LONGEST_LINE: u64 = 1 << 20;

fn whole_lines(log: &[u8]) -> &[u8] {
    let end = log.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    &log[..end]
}

fn parse(log: &[u8]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for event in serde_json::Deserializer::from_slice(log).into_iter() {
        let event: Event = event.context("not an audit log")?;
        if let Some(&index) = seen.get(&event.audit_id) {
            entries[index].code = event.response_status.code;
            entries[index].answered = event.stage_timestamp;
        } else {
            seen.insert(event.audit_id.clone(), entries.len());
            entries.push(event.into());
        }
    }
    Ok(entries)
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self {
            user: event.user.username,
            verb: event.verb,
            group: event.object_ref.api_group,
            resource: event.object_ref.resource,
            subresource: event.object_ref.subresource,
            namespace: event.object_ref.namespace,
            name: event.object_ref.name,
            uri: event.request_uri,
            user_agent: event.user_agent,
            code: event.response_status.code,
            received: event.request_received_timestamp,
            answered: event.stage_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, stage: &str, code: u16) -> String {
        format!(
            r#"{{"auditID":"{id}","stage":"{stage}","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{{"username":"u"}},"objectRef":{{"resource":"pods","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":{code}}},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:01.000000Z"}}"#
        )
    }

    #[test]
    fn a_watch_is_one_entry_though_it_has_two_stages() {
        let log = [
            line("a", "ResponseStarted", 200),
            line("b", "ResponseStarted", 200),
            line("a", "ResponseComplete", 410),
        ];
        let entries = parse(log.join("\n").as_bytes()).unwrap_or_default();
        assert_eq!(entries.iter().map(|entry| entry.code).collect::<Vec<_>>(), [410, 200]);
    }

    /// A mark that is set in the middle of a line begins with that line, not behind its first half.
    #[test]
    fn an_unfinished_last_line_is_left_for_later() -> Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        let line = line("a", "ResponseComplete", 200);
        let (begun, rest) = line.split_at(40);
        std::fs::write(log.path(), format!("{line}\n{begun}"))?;
        assert_eq!(read(log.path())?.len(), 1);
        let mark = end(log.path())?;
        std::fs::write(log.path(), format!("{line}\n{begun}{rest}\n"))?;
        assert_eq!(read_from(log.path(), mark)?.len(), 1);
        std::fs::write(log.path(), "nonsense\n")?;
        assert!(read(log.path()).is_err());
        Ok(())
    }
}
