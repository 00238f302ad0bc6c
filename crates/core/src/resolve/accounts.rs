//! Decides where the passwords of further accounts at a data store are. One that was generated and is lost is not
//! made anew while the servers have it.

use trading_api::env::SecretKey;

use super::{Context, references};
use crate::{
    plan::{AccountPlan, PasswordSource},
    problem::Problem,
};

/// The accounts of one data store.
pub(super) struct Accounts {
    /// Its name among components.
    pub store: &'static str,
    /// The field that lists them.
    pub field: &'static str,
    /// What one is called in a sentence.
    pub title: &'static str,
    /// What the Secret with all passwords, which the servers have, is called after the platform's name.
    pub all: &'static str,
    /// Reason of the problem that one can't log in yet.
    pub without_password: &'static str,
}

impl Accounts {
    /// One of them, whose generated Secret would be called so after the platform's name.
    pub fn resolve(
        &self,
        context: &mut Context,
        name: &str,
        secret: &str,
        given: Option<&SecretKey>,
    ) -> AccountPlan {
        let namespace = context.identity.namespace_of(self.store).to_owned();
        let (secret, key, generated) = match given {
            Some(from) => (from.name.clone(), from.key.clone(), false),
            None => (context.identity.child(secret), "password".to_owned(), true),
        };
        let consumed = references::secret_key(&namespace, &secret, &key);
        let is_there = references::is_there(context.inputs, &consumed);
        let had = references::secret_key(&namespace, &context.identity.child(self.all), name);
        let knows = context.inputs.references.is_some() && references::is_there(context.inputs, &had);
        let account = AccountPlan {
            name: name.to_owned(),
            password_digest: references::checksum(context.inputs, &[consumed], None),
            is_lost: generated && !is_there && knows,
            password: PasswordSource { secret, key, generated, is_there },
        };
        context.problems.extend(self.problem(context, &account, &namespace));
        account
    }

    fn problem(&self, context: &Context, account: &AccountPlan, namespace: &str) -> Option<Problem> {
        let AccountPlan { name, password: PasswordSource { secret, key, generated, is_there }, .. } = account;
        let Self { store, field, title, .. } = self;
        let (reason, message) = match (account.is_lost, *generated || *is_there) {
            (true, _) => (
                "PasswordLost",
                format!(
                    "Secret {secret:?} of the {title} {name:?} is gone; no new one is made while its password is in use: make the Secret again, with key {key:?} as Secret {:?} has it under {name:?}",
                    context.identity.child(self.all)
                ),
            ),
            (false, false) => (
                self.without_password,
                format!(
                    "{field}.{name} can't log in: Secret {secret:?} with key {key:?} does not exist: create it in namespace {namespace:?}"
                ),
            ),
            (false, true) => return None,
        };
        Some(Problem::of(store, reason, message))
    }
}
