//! Decides which login of a database's owner clients are given, from the generation that is asked for, the
//! Secret that they read now and what the primary accepts.

use std::collections::BTreeMap;

use trading_api::{env::SecretKey, postgres::PostgresCredentials};

use super::{Context, postgres::OWNER, references};
use crate::{
    credentials::LAST_GENERATION,
    digest,
    inputs::{Reference, ReferenceState},
    plan::{LoginsPlan, POSTGRES, PasswordSource},
    problem::Problem,
};

/// The logins, and where the passwords of the owner and of the wished login are.
pub(super) fn resolve(
    context: &mut Context,
    credentials: Option<&PostgresCredentials>,
    owner: &str,
    secret: PasswordSource,
) -> (LoginsPlan, PasswordSource, Option<PasswordSource>) {
    let generation = credentials.map_or(1, |credentials| credentials.generation);
    let current = current(context, generation, owner, &secret);
    // A platform that is made anew takes up what is there, whatever its resource says by now.
    let wished = generation.max(current.unwrap_or(1));
    let told = context.inputs.told.as_ref();
    let is_accepted =
        context.inputs.references.is_none() || told.is_some_and(|it| it.logins.contains(&wished));
    let is_only = told.is_some_and(|it| it.logins.len() == 1) || context.inputs.settled;
    let given = if is_accepted { wished } else { current.unwrap_or(1) };
    let source = |generation: u32| PasswordSource {
        secret: context.identity.child("postgres-logins"),
        key: generation.to_string(),
        generated: true,
        is_there: is_there(context, &context.identity.child("postgres-logins"), generation),
    };
    let is_made = source(wished).is_there;
    let login = (wished > 1).then(|| {
        let is_used = is_accepted || current == Some(wished);
        // What nobody uses yet is not lost: it is made.
        PasswordSource { is_there: is_made || !is_used, ..source(wished) }
    });
    let made = if wished > 1 { source(wished) } else { secret.clone() };
    let chosen =
        credentials.filter(|it| it.generation == wished).and_then(|it| it.password_secret_ref.as_ref());
    let is_there = source(given).is_there;
    let chosen = chosen.map(|from| choose(context, from, wished, &made));
    let logins = LoginsPlan {
        wished,
        current,
        given,
        only: wished > 1 && is_accepted && is_only,
        is_there,
        is_made,
        chosen,
    };
    // A later login is filled in from its own Secret, as often as it is needed.
    (logins, PasswordSource { generated: given == 1, ..secret }, login)
}

/// The password that the resource has for a generation. It counts when the generation begins: what it is made of
/// later must not change a password that somebody uses.
fn choose(context: &mut Context, from: &SecretKey, generation: u32, made: &PasswordSource) -> PasswordSource {
    let namespace = context.identity.namespace_of(POSTGRES).to_owned();
    let consumed = references::secret_key(&namespace, &from.name, &from.key);
    let is_there = references::is_there(context.inputs, &consumed);
    let what = format!("key {:?} of Secret {:?}", from.key, from.name);
    if !made.is_there {
        if generation > 1 && !is_there {
            let message = format!(
                "login {generation} waits for its password, {what}, which is not there: create it in namespace {namespace:?}; clients go on with the login that they have"
            );
            context.problems.push(Problem::of(POSTGRES, "PasswordMissing", message).as_warning());
        } else if generation == 1 {
            references::report_missing(context, POSTGRES, &[consumed]);
        }
    } else if value(context, &namespace, &from.name, &from.key)
        .zip(value(context, &namespace, &made.secret, &made.key))
        .is_some_and(|(chosen, made)| chosen != made)
    {
        let message = format!(
            "{what} has another password than login {generation}, which keeps the one that it has: raise postgres.credentials.generation to {} for the new one, or put the old one back",
            generation + 1
        );
        context.problems.push(Problem::of(POSTGRES, "PasswordDiffers", message).as_warning());
    }
    PasswordSource { secret: from.name.clone(), key: from.key.clone(), generated: false, is_there }
}

impl Context<'_> {
    /// Where the password of the first login is to come from, if this is the Secret that is made with it.
    pub(super) fn chosen_for(&self, reference: &Reference) -> Option<&SecretKey> {
        let is_it = *reference
            == references::secret(self.identity.namespace_of(POSTGRES), &self.identity.child(OWNER));
        self.spec.postgres.as_ref().filter(|_| is_it)?.credentials.as_ref()?.password_secret_ref.as_ref()
    }
}

/// Digest of a value, where it is known.
fn value<'a>(context: &Context<'a>, namespace: &str, secret: &str, key: &str) -> Option<&'a String> {
    match context.inputs.references.as_ref()?.get(&references::secret(namespace, secret))? {
        ReferenceState::Present(keys) => keys.get(key),
        ReferenceState::Absent => None,
    }
}

fn is_there(context: &Context, secret: &str, generation: u32) -> bool {
    let namespace = context.identity.namespace_of(POSTGRES);
    let key = references::secret_key(namespace, secret, &generation.to_string());
    references::is_there(context.inputs, &key)
}

/// The generation whose user name clients find. Only digests of values are known.
fn current(context: &Context, generation: u32, owner: &str, secret: &PasswordSource) -> Option<u32> {
    let namespace = context.identity.namespace_of(POSTGRES);
    let reference = references::secret(namespace, &secret.secret);
    let Some(states) = &context.inputs.references else { return Some(generation) };
    let keys: &BTreeMap<String, String> = match states.get(&reference)? {
        ReferenceState::Present(keys) => keys,
        ReferenceState::Absent => return None,
    };
    let found = keys.get("username")?;
    let is_it =
        |generation: &u32| digest::of_bytes(LoginsPlan::role(owner, *generation).as_bytes()) == *found;
    // Ordinarily it is the first or one of the last.
    [1].into_iter().chain((2..=generation).rev()).chain(generation.max(1) + 1..=LAST_GENERATION).find(is_it)
}
