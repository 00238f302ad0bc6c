//! Decides which generation of Redis' generated password is wished, from the resource and from what the Secret
//! holds. Only digests of values are known.

use super::{Context, references};
use crate::{
    credentials::LAST_GENERATION,
    digest,
    inputs::ReferenceState,
    plan::{HeldPasswords, PasswordSource, REDIS, RedisPasswords},
};

/// The generations of this password, of which this one is asked for.
pub(super) fn resolve(context: &Context, generation: u32, source: &PasswordSource) -> RedisPasswords {
    if !source.generated {
        return RedisPasswords { wished: 1, held: None };
    }
    let held = held(context, source);
    // A platform that is made anew takes up what is there, whatever its resource says by now.
    let wished = generation.max(held.as_ref().map_or(1, |held| held.generation));
    RedisPasswords { wished, held }
}

fn held(context: &Context, source: &PasswordSource) -> Option<HeldPasswords> {
    let reference = references::secret(context.identity.namespace_of(REDIS), &source.secret);
    let ReferenceState::Present(keys) = context.inputs.references.as_ref()?.get(&reference)? else {
        return None;
    };
    let number = |key: &str| {
        let found = keys.get(key)?;
        (1..=LAST_GENERATION).find(|number| digest::of_bytes(number.to_string().as_bytes()) == *found)
    };
    Some(HeldPasswords {
        // The first is not counted, and one that a person put there by hand is not either.
        generation: number("generation").unwrap_or(1),
        password: keys.get(&source.key)?.clone(),
        next: keys.get("next").map(|next| (number("next-generation").unwrap_or_default(), next.clone())),
        previous: keys.get("previous").cloned(),
    })
}
