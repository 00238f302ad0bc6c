//! How far a change of Redis' generated password is, pure. The order is what matters: the next password is made,
//! every server and Sentinel takes it, clients get it, and only when no pod has the old one is that refused.
//!
//! All of it stands in the Secret, which the servers have as files: `password`, `next`, `previous` and which
//! generations they are. Each step is one write that says what it replaces.

use crate::{
    credentials::{consumers_of, is_rolled_out},
    kinds::Kind,
    object::{Key, Object},
    plan::{HeldPasswords, Plan, REDIS, REDIS_METRICS_PORT, RedisPlan, SENTINEL},
    status::{conditions::Verdict, stores::in_short},
    step::Observed,
};
use trading_report::REDIS_PASSWORDS;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The next one is to be made.
    Making,
    /// These servers don't say yet that they take it.
    Pending(Vec<String>),
    /// All of them take it: clients are to get it.
    Taken,
    /// These components roll.
    Rolling(Vec<String>),
    /// All Deployments have it, and these servers don't say yet that they use it among themselves.
    Showing(Vec<String>),
    /// Pods of before may still be ending.
    Ending,
    /// These servers don't say yet that they refuse the old one.
    Refusing(Vec<String>),
    /// No other is accepted.
    Done,
}

/// What is written into the Secret next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A password of this generation, as the next one.
    Make(u32),
    /// The next one, of this generation and with this digest, becomes that of clients.
    Give(u32, String),
    /// The previous one, with this digest, goes.
    Retire(String),
}

/// How far it is; `None` where the first password is the only one there ever was, or may not be touched.
#[must_use]
pub fn stage(plan: &Plan, desired: &[Object], observed: &Observed) -> Option<Stage> {
    let redis = plan.redis.as_ref()?;
    let wished = redis.passwords.wished;
    let held = redis.passwords.held.as_ref().filter(|_| wished > 1)?;
    observed.get(&secret(plan, redis)).filter(|secret| secret.is_of(&plan.identity) && !secret.deleting)?;
    let behind = behind(plan, redis, held);
    // One after the other: of three passwords one would have to be forgotten while pods have it.
    if held.previous.is_none() && held.generation < wished {
        if held.next.as_ref().is_none_or(|(generation, _)| *generation != wished) {
            return Some(Stage::Making);
        }
        return Some(if behind.is_empty() { Stage::Taken } else { Stage::Pending(behind) });
    }
    if held.previous.is_none() {
        return Some(if behind.is_empty() { Stage::Done } else { Stage::Refusing(behind) });
    }
    let rolling: Vec<String> = consumers_of(plan, REDIS, &redis.password.secret)
        .filter(|component| !is_rolled_out(plan, component, desired, observed))
        .map(|component| component.name.clone())
        .collect();
    Some(match (rolling.is_empty(), behind.is_empty()) {
        (false, _) => Stage::Rolling(rolling),
        (true, false) => Stage::Showing(behind),
        (true, true) => Stage::Ending,
    })
}

/// What is to be written, where it depends on nothing that is not known.
#[must_use]
pub fn change(plan: &Plan, stage: &Stage) -> Option<Change> {
    let passwords = &plan.redis.as_ref()?.passwords;
    match stage {
        Stage::Making => Some(Change::Make(passwords.wished)),
        Stage::Taken => {
            let (generation, next) = passwords.held.as_ref()?.next.clone()?;
            Some(Change::Give(generation, next))
        }
        _ => None,
    }
}

/// What is to be written when no pod of before is left.
#[must_use]
pub fn ending(plan: &Plan, stage: &Stage) -> Option<Change> {
    let held = plan.redis.as_ref()?.passwords.held.as_ref().filter(|_| *stage == Stage::Ending)?;
    held.previous.clone().map(Change::Retire)
}

/// The Secret with the password.
#[must_use]
pub fn secret(plan: &Plan, redis: &RedisPlan) -> Key {
    Key::new(Kind::Secret, plan.identity.namespace_of(REDIS), redis.password.secret.clone())
}

/// What servers of a store say when they take exactly what the Secret holds, where that is waited for.
pub(crate) fn awaited(plan: &Plan) -> Option<(&'static str, String)> {
    let passwords = &plan.redis.as_ref()?.passwords;
    let held = passwords.held.as_ref().filter(|_| passwords.wished > 1)?;
    Some((REDIS_PASSWORDS, held.in_force()))
}

/// Servers and Sentinels that don't say that they take, and show to each other, what the Secret holds.
fn behind(plan: &Plan, redis: &RedisPlan, held: &HeldPasswords) -> Vec<String> {
    let digest = held.in_force();
    let of = |store: &&str| {
        let set = || vec![plan.identity.child(store)];
        let Some(answers) = plan.members.of(store) else { return set() };
        if answers.all_run_by(REDIS_PASSWORDS, &digest) {
            return Vec::new();
        }
        let pods = answers.not_run_by(REDIS_PASSWORDS, &digest);
        // They said so before the latest edit, and are asked again.
        if pods.is_empty() { set() } else { pods }
    };
    [REDIS].iter().chain(redis.sentinel.as_ref().map(|_| &SENTINEL)).flat_map(of).collect()
}

/// In words.
pub(crate) fn verdict(plan: &Plan, stage: &Stage) -> Option<Verdict> {
    let redis = plan.redis.as_ref()?;
    let (wished, secret) = (redis.passwords.wished, &redis.password.secret);
    let held = redis.passwords.held.as_ref().map_or(1, |held| held.generation);
    let asked = format!(
        "it takes a minute or two; where it takes longer, see that they run this release and that the operator reaches port {REDIS_METRICS_PORT} of their pods"
    );
    let (status, reason, message) = match stage {
        Stage::Making => (false, "PasswordMissing", format!("password {wished} of Redis is not made yet")),
        Stage::Pending(servers) => (
            false,
            "PasswordPending",
            format!(
                "servers of Redis come to take password {wished}, and clients go on with the old one: {} don't say yet that they do; {asked}",
                in_short(servers)
            ),
        ),
        Stage::Taken => (
            false,
            "ClientsRolling",
            format!("all servers of Redis take password {wished}; Secret {secret:?} gets it"),
        ),
        Stage::Rolling(components) => (
            false,
            "ClientsRolling",
            format!(
                "Secret {secret:?} has password {held} of Redis; its clients roll: {}",
                components.join(", ")
            ),
        ),
        Stage::Showing(servers) => (
            false,
            "ServersFollow",
            format!(
                "clients use password {held} of Redis, and servers come to use it among themselves: {} don't say yet that they do; {asked}",
                in_short(servers)
            ),
        ),
        Stage::Ending => (
            false,
            "OldPasswordEnds",
            format!("clients use password {held} of Redis; the older one is refused once no pod has it"),
        ),
        Stage::Refusing(servers) => (
            false,
            "OldPasswordEnds",
            format!(
                "no client has the older password of Redis; {} don't say yet that they refuse it; {asked}",
                in_short(servers)
            ),
        ),
        Stage::Done => {
            (true, "Rotated", format!("clients use password {wished} of Redis; older ones are refused"))
        }
    };
    Some(Verdict::new(status, reason, message))
}
