//! Users stage: the further users of a server and what becomes of them; reads files, no other I/O.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::password::Password;

/// Whose accounts are not the resource's.
const OPERATOR: &str = "default";

/// Rules of each user, with the hash of the password, as `ACL SETUSER` takes them.
pub type Users = BTreeMap<String, String>;

/// Where the further users are told of.
#[derive(Clone, Debug)]
pub struct Files {
    /// Lines of names and rules.
    pub rules: PathBuf,
    /// A password in a file of each name.
    pub passwords: PathBuf,
}

impl Files {
    /// Those whose password is there, or was: a Secret that is deleted shuts nobody out.
    pub fn read(&self, known: &Users) -> io::Result<Users> {
        let rules = match fs::read_to_string(&self.rules) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            rules => rules?,
        };
        Ok(of(&rules, known, |name| Password::new(fs::read(self.passwords.join(name)).ok()?)))
    }
}

fn of(rules: &str, known: &Users, password: impl Fn(&str) -> Option<Password>) -> Users {
    let user = |line: &str| {
        let (name, rules) = line.split_once(' ')?;
        // They are plain words; what is not would be another argument, or another user's.
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name || name == OPERATOR {
            return None;
        }
        let account = match password(name) {
            Some(password) => format!("on #{} {rules}", password.hash()),
            None => known.get(name)?.clone(),
        };
        Some((name.to_owned(), account))
    };
    rules.lines().filter_map(user).collect()
}

/// Lines of a configuration.
pub fn lines(users: &Users) -> String {
    users.iter().fold(String::new(), |text, (name, rules)| format!("{text}user {name} {rules}\n"))
}

/// What is to be said to a server that knows some users, for each that differs: the words of a command.
pub fn commands(known: &Users, wished: &Users) -> BTreeMap<String, Vec<String>> {
    let words = |line: String| line.split(' ').map(ToOwned::to_owned).collect();
    let set = wished.iter().filter(|(name, rules)| known.get(*name) != Some(rules));
    let set = set.map(|(name, rules)| (name.clone(), words(format!("ACL SETUSER {name} reset {rules}"))));
    let gone = known.keys().filter(|name| !wished.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), words(format!("ACL DELUSER {name}"))));
    set.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(rules: &str) -> Users {
        of(rules, &Users::new(), |name| Password::new(name.into()).filter(|_| name != "nobody"))
    }

    #[test]
    fn users_are_those_with_a_password() {
        let known = users("app ~a:* &* +@all -@admin\nnobody +get\ndefault +get\n../x +get\napp2\n");
        assert_eq!(known.keys().collect::<Vec<_>>(), ["app"]);
        let hash = Password::new("app".into()).expect("not empty").hash();
        assert_eq!(lines(&known), format!("user app on #{hash} ~a:* &* +@all -@admin\n"));
        assert_eq!(of("app ~b:*", &known, |_| None), known, "its password was there");
    }

    #[test]
    fn only_who_differs_is_told_of() {
        let (before, after) = (users("a +get\nb +get\nc +get"), users("b +get\nc +set\nd +get"));
        let commands = commands(&before, &after);
        assert_eq!(commands.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(commands["a"], ["ACL", "DELUSER", "a"]);
        assert_eq!(commands["c"][..4], ["ACL", "SETUSER", "c", "reset"]);
        assert_eq!(commands["c"].last().map(String::as_str), Some("+set"));
        assert!(super::commands(&after, &after).is_empty());
    }
}
