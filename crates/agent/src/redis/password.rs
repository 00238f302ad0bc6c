//! The passwords of Redis, I/O: files of the mounted Secret, never shown.
//!
//! While a password is replaced there are several. The Secret has, in this order: `password`, that
//! consumers have; `next`, that they will have; `previous`, that some may still have. Where a person
//! replaces `password` itself, what it was stays good for a while.

use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Keys of the Secret.
const MAIN: &str = "password";
const FURTHER: [&str; 2] = ["next", "previous"];
/// Keys that a Secret has in which the operator has replaced a password, or is about to.
const COUNTS: [&str; 2] = ["generation", "next-generation"];
/// Time for which a password stays good that a person has replaced.
const REPLACED: Duration = Duration::from_mins(10);

/// A password that is not empty. Redis reads an empty one as "no password needed".
#[derive(PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// `None` for an empty value.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// The secret itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As access control lists have it: hexadecimal digits of the SHA-256.
    pub fn hash(&self) -> String {
        Sha256::digest(&self.0).iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Which they are, for the operator, where a server takes these and shows that one.
pub fn told(takes: &[Arc<Password>], shows: Option<&Arc<Password>>) -> Option<String> {
    let is_first = shows.is_some() && shows == takes.first();
    let digests: Vec<String> = takes.iter().map(|it| trading_report::digest(it.bytes())).collect();
    let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
    is_first.then(|| trading_report::passwords(&digests))
}

/// As rules of an access control list.
pub fn hashes(passwords: &[Arc<Password>]) -> Vec<String> {
    passwords.iter().map(|password| format!("#{}", password.hash())).collect()
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why there are no passwords.
#[derive(Debug, Error)]
#[error("cannot read {}", path.display())]
pub struct PasswordError {
    path: PathBuf,
    source: io::Error,
}

/// The passwords that are good now. Copies of it see the same.
#[derive(Clone, Debug, Default)]
pub struct Passwords(Option<Arc<Files>>);

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    seen: Mutex<Seen>,
}

/// What the files were, for what they do not tell.
#[derive(Debug, Default)]
struct Seen {
    all: Vec<Arc<Password>>,
    replaced: Option<(Arc<Password>, Instant)>,
}

impl Passwords {
    /// Those in the folder; a server without a folder has no password.
    pub fn of(folder: Option<&PathBuf>) -> Result<Self, PasswordError> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let passwords = Self(Some(Arc::new(Files { folder: folder.clone(), seen: Mutex::default() })));
        let path = folder.join(MAIN);
        match fs::read(&path) {
            Ok(_) => Ok(passwords),
            Err(source) => Err(PasswordError { path, source }),
        }
    }

    /// All of them, the consumers' first. Files that are gone, as with a Secret that was deleted, change
    /// nothing.
    pub fn all(&self) -> Vec<Arc<Password>> {
        let Some(files) = &self.0 else { return Vec::new() };
        let told = files.read();
        files.seen.lock().unwrap_or_else(PoisonError::into_inner).now(told, Instant::now())
    }

    /// Whether the operator made them, which are too long to be guessed.
    pub fn are_counted(&self) -> bool {
        let is_there = |files: &Arc<Files>| COUNTS.iter().any(|key| files.folder.join(key).exists());
        self.0.as_ref().is_some_and(is_there)
    }

    /// The consumers'; none of a server without.
    pub fn main(&self) -> Option<Arc<Password>> {
        self.all().into_iter().next()
    }
}

impl Files {
    /// What the files say; `None` where there is no password, or they were replaced meanwhile: half of one
    /// state and half of another would shut somebody out.
    fn read(&self) -> Option<Vec<Arc<Password>>> {
        // The kubelet has a folder of each state behind a link.
        let state = || fs::canonicalize(self.folder.join("..data"));
        let before = state().unwrap_or_else(|_| self.folder.clone());
        let read = |name: &str| fs::read(before.join(name)).ok().and_then(Password::new).map(Arc::new);
        let main = read(MAIN)?;
        let further = FURTHER.iter().filter_map(|name| read(name));
        let told = [main].into_iter().chain(further).collect();
        (state().unwrap_or_else(|_| self.folder.clone()) == before).then_some(told)
    }
}

impl Seen {
    /// What is good, where the files say this.
    fn now(&mut self, told: Option<Vec<Arc<Password>>>, now: Instant) -> Vec<Arc<Password>> {
        let Some(mut told) = told else { return self.all.clone() };
        if let Some(before) = self.all.first()
            && *before != told[0]
            && !told.contains(before)
        {
            self.replaced = Some((Arc::clone(before), now));
        }
        self.replaced = self.replaced.take().filter(|(_, since)| now.duration_since(*since) < REPLACED);
        told.extend(self.replaced.iter().map(|(password, _)| Arc::clone(password)));
        self.all.clone_from(&told);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Arc<Password> {
        Arc::new(Password::new(text.into()).expect("not empty"))
    }

    #[test]
    fn is_neither_empty_nor_shown() {
        assert!(Password::new(Vec::new()).is_none());
        assert_eq!(format!("{:?}", password("hunter2")), "Password(…)");
        let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(password("test").hash(), hash);
    }

    #[test]
    fn is_told_of_only_where_servers_show_the_consumers() {
        let (a, b) = (password("a"), password("b"));
        let both = [Arc::clone(&a), Arc::clone(&b)];
        assert_eq!(told(&both, Some(&b)), None);
        let digests = [trading_report::digest(b"a"), trading_report::digest(b"b")];
        let expected = trading_report::passwords(&[&digests[0], &digests[1]]);
        assert_eq!(told(&both, Some(&a)), Some(expected.clone()));
        assert_ne!(told(&both[..1], Some(&a)), Some(expected));
        assert_eq!(told(&[], None), None);
    }

    #[test]
    fn a_password_that_a_person_replaces_stays_good_for_a_while() {
        let (mut seen, begin) = (Seen::default(), Instant::now());
        let mut now = |told: &[&str], seconds| {
            let told = told.iter().map(|text| password(text)).collect::<Vec<_>>();
            let told = (!told.is_empty()).then_some(told);
            let all = seen.now(told, begin + Duration::from_secs(seconds));
            all.iter().map(|it| String::from_utf8(it.bytes().to_vec()).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(now(&["a"], 0), ["a"]);
        assert_eq!(now(&["b"], 1), ["b", "a"]);
        assert_eq!(now(&["b"], 600), ["b", "a"]);
        assert_eq!(now(&[], 600), ["b", "a"], "files that are gone");
        assert_eq!(now(&["b"], 601), ["b"]);
        // The operator tells of every one itself, and when one is no longer good.
        assert_eq!(now(&["b", "c"], 602), ["b", "c"]);
        assert_eq!(now(&["c", "b"], 603), ["c", "b"]);
        assert_eq!(now(&["c"], 604), ["c"]);
    }
}
