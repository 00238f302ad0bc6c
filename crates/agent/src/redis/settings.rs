//! Settings stage, pure: what a template sets, and what has to change in a server that runs with another.

use std::collections::BTreeMap;

use super::link::field;

/// Directive in lower case → the rest of its line. As in Redis, the last one wins.
pub type Settings = BTreeMap<String, String>;

/// Without these, or with other values, the server would not be the one that it is: where Redis does not
/// take them it must not start.
const INDISPENSABLE: [&str; 14] = [
    "appendonly",
    "bind",
    "cluster-config-file",
    "cluster-enabled",
    "dir",
    "maxmemory-policy",
    "port",
    "replicaof",
    "tls-ca-cert-file",
    "tls-cert-file",
    "tls-cluster",
    "tls-key-file",
    "tls-port",
    "tls-replication",
];

/// What the template sets.
pub fn parse(template: &str) -> Settings {
    let setting = |line: &str| {
        let line = line.trim();
        let (name, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let name = name.trim_matches(['"', '\'']).to_ascii_lowercase();
        (!name.is_empty() && !name.starts_with('#')).then(|| (name, value.trim().to_owned()))
    };
    template.lines().filter_map(setting).collect()
}

/// Whether the server must not start without the directive.
pub fn is_indispensable(directive: &str) -> bool {
    INDISPENSABLE.contains(&directive)
}

/// What becomes of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets another value.
    Set(String),
    /// It goes back to the server's own default.
    Unset,
}

/// From what a server runs with to what is wished.
pub fn changes(in_force: &Settings, wished: &Settings) -> BTreeMap<String, Change> {
    let set = wished
        .iter()
        .filter(|(name, value)| in_force.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), Change::Set(value.clone())));
    let unset = in_force.keys().filter(|name| !wished.contains_key(*name));
    set.chain(unset.map(|name| (name.clone(), Change::Unset))).collect()
}

/// A value as `CONFIG SET` takes it: without the quotes that a file needs around an empty one.
pub fn argument(value: &str) -> &str {
    if value == "\"\"" { "" } else { value }
}

/// Why the server must not get this `maxmemory` now, although Redis would take it.
///
/// `info` is what it says of itself; `limit` the bytes at which the kernel kills it.
pub fn starves(bytes: u64, policy: &str, info: &str, limit: Option<u64>) -> Option<String> {
    if let Some(limit) = limit.filter(|limit| bytes == 0 || bytes >= *limit) {
        return Some(format!("the container has {limit} bytes, and would be killed before keys are evicted"));
    }
    let number = |name| field(info, name).and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
    let used = number("used_memory").saturating_sub(number("mem_not_counted_for_evict"));
    if bytes == 0 || used <= bytes {
        return None;
    }
    let expires = info.lines().any(|line| {
        let count = line.split(',').find_map(|it| it.strip_prefix("expires="));
        line.starts_with("db") && count.is_some_and(|count| count.trim_end() != "0")
    });
    let frees = policy.starts_with("allkeys-") || policy.starts_with("volatile-") && expires;
    let why = if policy == "noeviction" {
        "noeviction frees nothing"
    } else {
        "no key has a time to live, so nothing could be evicted"
    };
    (!frees).then(|| format!("{used} bytes are in use, {why}, and writes would be refused"))
}

/// The line, counted from 1, and the reason, of what Redis says of a file that it does not take.
pub fn complaint(stderr: &str) -> Option<(usize, String)> {
    let line = stderr.lines().find_map(|line| line.strip_prefix("Reading the configuration file, at line "));
    let reason = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some((line?.trim().parse().ok()?, super::verdict::one_line(reason)))
}

/// The template without these of its lines, counted from 1.
pub fn without(template: &str, refused: &[usize]) -> String {
    let kept = template.lines().enumerate().filter(|(index, _)| !refused.contains(&(index + 1)));
    kept.fold(String::new(), |text, (_, line)| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_differs() {
        let before = parse("Port 1\n# x 2\ntimeout 10\nhz 10\nhz 20\n");
        assert_eq!(before["hz"], "20");
        let after = parse("port 1\nhz 50\nsave \"\"\n");
        let expected = [
            ("hz", Change::Set("50".into())),
            ("save", Change::Set("\"\"".into())),
            ("timeout", Change::Unset),
        ];
        let expected = expected.map(|(name, change)| (name.to_owned(), change));
        assert_eq!(changes(&before, &after), expected.into());
        assert_eq!(changes(&after, &after), BTreeMap::new());
        assert_eq!((argument("\"\""), argument("900 1")), ("", "900 1"));
    }

    #[test]
    fn memory_is_not_taken_from_a_server_that_could_free_none() {
        let info = |expires: u32| {
            format!(
                "used_memory:1000\r\nmem_not_counted_for_evict:100\r\ndb0:keys=5,expires={expires},avg_ttl=0\r\n"
            )
        };
        let is_refused =
            |bytes, policy, expires| starves(bytes, policy, &info(expires), Some(5000)).is_some();
        assert!(is_refused(899, "noeviction", 5));
        assert!(!is_refused(900, "noeviction", 5));
        assert!(is_refused(899, "volatile-lru", 0));
        assert!(!is_refused(899, "volatile-lru", 1));
        assert!(!is_refused(899, "allkeys-lru", 0));
        for bytes in [0, 5000, 6000] {
            assert!(is_refused(bytes, "allkeys-lru", 0), "{bytes}");
            assert_eq!(starves(bytes, "allkeys-lru", &info(0), None), None);
        }
    }

    #[test]
    fn redis_names_the_line_that_it_does_not_take() {
        let said = "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nReading the configuration file, at line 2\n\
            >>> 'hz abc'\nargument couldn't be parsed into an integer\n";
        let reason = "argument couldn't be parsed into an integer".to_owned();
        assert_eq!(complaint(said), Some((2, reason)));
        assert_eq!(complaint("Illegal instruction"), None);
        assert_eq!(without("a\nb\nc", &[2]), "a\nc\n");
    }
}
