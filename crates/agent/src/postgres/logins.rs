//! Logins of the owner, pure: which there are, which are wished, and what is done next. The owner is the first
//! itself; each later one is a role of its own that works as the owner, so that one can replace the other without
//! a moment at which neither is accepted.

use std::collections::BTreeSet;

use thiserror::Error;

use super::secret::Password;

/// Between the owner's name and the generation.
const MIDDLE: &str = "_login_";
/// What is left for the owner's name: Postgres cuts names at 63 bytes.
const LONGEST_OWNER: usize = 63 - "_login_999".len();

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The generation that is to be accepted.
    pub generation: u32,
    /// All others are to be refused.
    pub only: bool,
}

/// The operator's file is not understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("which login is wanted is not understood: {0:?}")]
pub struct NotUnderstood(String);

impl Wanted {
    /// As the operator writes it: a number, and `only` where all others are to be refused.
    pub fn parse(text: &str) -> Result<Self, NotUnderstood> {
        let mut words = text.split_whitespace();
        let generation = words.next().and_then(|word| word.parse().ok()).filter(|it| *it > 0);
        match (generation, words.next(), words.next()) {
            (Some(generation), None, None) => Ok(Self { generation, only: false }),
            (Some(generation), Some("only"), None) => Ok(Self { generation, only: true }),
            _ => Err(NotUnderstood(text.to_owned())),
        }
    }
}

/// A role that may be a login of the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// It can log in with a password.
    pub accepted: bool,
    /// It works as the owner, or is it.
    pub works: bool,
}

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Make this role, which is there already or not, a login.
    Make(String),
    /// Refuse these roles.
    Refuse(Vec<String>),
    /// Nothing: somebody else's role has the name.
    Taken(String),
}

/// The role that a generation logs in as.
pub fn role(owner: &str, generation: u32) -> String {
    if generation <= 1 {
        return owner.to_owned();
    }
    format!("{}{generation}", beginning(owner))
}

/// How the names of all later logins begin.
pub fn beginning(owner: &str) -> String {
    let end = owner.len().min(LONGEST_OWNER);
    format!("{}{MIDDLE}", owner.get(..end).unwrap_or(owner))
}

fn generation(owner: &str, name: &str) -> Option<u32> {
    if name == owner {
        return Some(1);
    }
    let found = name.strip_prefix(&beginning(owner))?.parse().ok()?;
    (role(owner, found) == name).then_some(found)
}

/// Generations that can log in.
pub fn accepted(owner: &str, found: &[Found]) -> BTreeSet<u32> {
    let all = found.iter().filter(|role| role.accepted && role.works);
    all.filter_map(|role| generation(owner, &role.name)).collect()
}

/// What is done next. `known` are the generations that every server accepts: nobody is refused while the login
/// that is wanted is not among them.
pub fn step(owner: &str, wanted: Wanted, found: &[Found], known: &BTreeSet<u32>) -> Step {
    let name = role(owner, wanted.generation);
    let there = found.iter().find(|role| role.name == name);
    if there.is_some_and(|role| !role.works) {
        return Step::Taken(name);
    }
    // The owner came with the database. Where it can't log in, somebody has decided that.
    if wanted.generation > 1 && !there.is_some_and(|role| role.accepted) {
        return Step::Make(name);
    }
    if !wanted.only || !known.contains(&wanted.generation) {
        return Step::Keep;
    }
    let others = found.iter().filter(|role| role.works && role.accepted && role.name != name);
    let others: Vec<String> =
        others.filter(|role| generation(owner, &role.name).is_some()).map(|role| role.name.clone()).collect();
    if others.is_empty() { Step::Keep } else { Step::Refuse(others) }
}

/// Makes a role a login that works as the owner: all of it, or nothing. What it makes belongs to the owner.
pub fn make(owner: &str, role: &str, is_there: bool, password: &Password) -> String {
    let verb = if is_there { "ALTER" } else { "CREATE" };
    let verifier = password.verifier();
    format!(
        "{verb} ROLE \"{role}\" LOGIN PASSWORD '{verifier}'; GRANT \"{owner}\" TO \"{role}\"; \
         ALTER ROLE \"{role}\" SET role = '{owner}'"
    )
}

/// Refuses a role.
pub fn refuse(role: &str) -> String {
    format!("ALTER ROLE \"{role}\" NOLOGIN PASSWORD NULL")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trading_core::plan::LoginsPlan;

    use super::*;

    fn found(name: &str, accepted: bool, works: bool) -> Found {
        Found { name: name.to_owned(), accepted, works }
    }

    #[test]
    fn what_the_operator_writes_is_understood() {
        assert_eq!(Wanted::parse("1\n"), Ok(Wanted { generation: 1, only: false }));
        assert_eq!(Wanted::parse("12 only\n"), Ok(Wanted { generation: 12, only: true }));
        for bad in ["", "0", "only", "1 no", "1 only 2", "-1"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_old_login_goes_only_after_the_new_one_is_accepted_everywhere() {
        let mut roles = vec![found("app", true, true), found("app_login_x", true, true)];
        let wanted = Wanted { generation: 2, only: true };
        let none = BTreeSet::new();
        let make = Step::Make("app_login_2".to_owned());
        assert_eq!(step("app", wanted, &roles, &none), make);
        roles.push(found("app_login_2", false, true));
        assert_eq!(step("app", wanted, &roles, &none), make, "it was refused earlier");
        roles[2].accepted = true;
        assert_eq!(step("app", wanted, &roles, &BTreeSet::from([1])), Step::Keep);
        let known = accepted("app", &roles);
        assert_eq!(known, BTreeSet::from([1, 2]));
        assert_eq!(step("app", Wanted { only: false, ..wanted }, &roles, &known), Step::Keep);
        assert_eq!(step("app", wanted, &roles, &known), Step::Refuse(vec!["app".to_owned()]));
        roles[0].accepted = false;
        assert_eq!(step("app", wanted, &roles, &known), Step::Keep);
        roles[2].works = false;
        assert_eq!(step("app", wanted, &roles, &known), Step::Taken("app_login_2".to_owned()));
        let first = Wanted { generation: 1, only: false };
        assert_eq!(step("app", first, &roles, &known), Step::Keep, "the owner is never made");
    }

    proptest! {
        #[test]
        fn names_are_those_of_the_operator_and_lead_back(owner in "[a-z_][a-z0-9_]{0,62}", number in 1_u32..=999) {
            let name = role(&owner, number);
            prop_assert_eq!(&name, &LoginsPlan::role(&owner, number));
            prop_assert!(name.len() <= 63);
            prop_assert_eq!(generation(&owner, &name), Some(number));
        }
    }
}
