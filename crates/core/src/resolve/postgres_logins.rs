//! Decides which login of a database's owner clients are given, from the generation that is asked for, the
//! Secret that they read now and what the primary accepts.

use std::collections::BTreeMap;

use super::{Context, references};
use crate::{
    digest,
    inputs::ReferenceState,
    plan::{LoginsPlan, POSTGRES, PasswordSource},
};

/// Highest generation.
const LAST: u32 = 999;

/// The logins, and where the passwords of the owner and of the wished login are.
pub(super) fn resolve(
    context: &Context,
    generation: u32,
    owner: &str,
    secret: PasswordSource,
) -> (LoginsPlan, PasswordSource, Option<PasswordSource>) {
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
    let logins = LoginsPlan {
        wished,
        current,
        given,
        only: wished > 1 && is_accepted && is_only,
        is_there: source(given).is_there,
        is_made,
    };
    // A later login is filled in from its own Secret, as often as it is needed.
    (logins, PasswordSource { generated: given == 1, ..secret }, login)
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
    [1].into_iter().chain((2..=generation).rev()).chain(generation.max(1) + 1..=LAST).find(is_it)
}
