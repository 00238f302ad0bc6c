//! Stores that must not be touched, because what is live contradicts the resource.

use trading_api::deletion::Store;

use super::{Child, Observed, Steps};
use crate::{
    kinds::Kind,
    plan::{PasswordSource, Plan, STORES, StoreFacts},
    problem::Problem,
};

/// Which ones; `steps` gets why.
pub(super) fn blocked_stores(plan: &Plan, observed: &Observed, steps: &mut Steps) -> Vec<Store> {
    let mut blocked = Vec::new();
    for facts in plan.stores() {
        if let Some(problem) = moved(plan, &facts, observed) {
            blocked.push(facts.store);
            steps.problems.push(problem);
            continue;
        }
        let kinds = [facts.kind, Kind::StatefulSet, Kind::Cluster];
        let mut found =
            kinds.into_iter().filter_map(|kind| observed.get(&plan.identity.key(kind, facts.name)));
        let Some(live) = found.next() else { continue };
        let problems: Vec<Problem> = mode_differs(&facts, live)
            .into_iter()
            .chain(tls_differs(&facts, live))
            .chain(facts.passwords.iter().filter_map(|password| password_lost(plan, &facts, password, live)))
            .collect();
        if !problems.is_empty() {
            blocked.push(facts.store);
            steps.problems.extend(problems);
        }
    }
    blocked
}

/// Its servers run in another namespace than the resource says, and so does its data.
fn moved(plan: &Plan, facts: &StoreFacts, observed: &Observed) -> Option<Problem> {
    let (name, wished) = (facts.name, plan.identity.namespace_of(facts.name));
    let live = observed.values().find(|child| {
        child.kind.serves_data()
            && child.component == name
            && child.platform_uid == plan.identity.uid
            && child.namespace != wished
    })?;
    Some(Problem::of(
        name,
        "StoreMoved",
        format!(
            "{} runs in namespace {:?} and holds data; the resource puts it into {wished:?}: set placement.namespaces back, or make a second platform and move the data",
            title(facts.store),
            live.namespace
        ),
    ))
}

fn mode_differs(facts: &StoreFacts, live: &Child) -> Option<Problem> {
    let mode = live.store_mode.as_deref().filter(|mode| *mode != facts.mode)?;
    let (name, title) = (facts.name, title(facts.store));
    Some(Problem::of(
        name,
        "StoreModeDiffers",
        format!(
            "{title} runs in mode {mode} and holds data; the resource asks for {}: set {name}.mode back to {mode}, or make a second platform and move the data",
            facts.mode
        ),
    ))
}

/// Admission sees only a resource that had the store before.
fn tls_differs(facts: &StoreFacts, live: &Child) -> Option<Problem> {
    let has = live.tls.is_some();
    facts.tls.filter(|wished| *wished != has)?;
    let (name, title) = (facts.name, title(facts.store));
    let (runs, remedy) =
        if has { ("with TLS alone", "set it to what it was") } else { ("without TLS", "remove it") };
    Some(Problem::of(
        name,
        "StoreModeDiffers",
        format!(
            "{title} runs {runs} and holds data, which {name}.tls can't change: {remedy}, or make a second platform and move the data"
        ),
    ))
}

fn password_lost(
    plan: &Plan,
    facts: &StoreFacts,
    password: &PasswordSource,
    live: &Child,
) -> Option<Problem> {
    if !password.generated || password.is_there || !live.is_of(&plan.identity) {
        return None;
    }
    let remedy = match facts.store {
        Store::Redis => {
            format!("(the pods of StatefulSet {:?} still have it in the file /passwords/password)", live.name)
        }
        Store::Postgres if is_later_login(plan, password) => {
            "(or raise postgres.credentials.generation, for a new login)".to_owned()
        }
        Store::Postgres => format!(
            "(or with a new one that you have set with ALTER ROLE; psql works without it in the pods of {} {:?})",
            live.kind, live.name
        ),
    };
    Some(Problem::of(
        facts.name,
        "PasswordLost",
        format!(
            "Secret {:?} with the password of the running {} is gone; no new one is made while the old is in use: make the Secret again with the old value under key {:?} {remedy}",
            password.secret,
            title(facts.store),
            password.key
        ),
    ))
}

/// Whether it is the password of a login that is not the owner itself.
fn is_later_login(plan: &Plan, password: &PasswordSource) -> bool {
    let servers = plan.postgres.as_ref().and_then(|database| database.servers.as_ref());
    servers.is_some_and(|servers| servers.passwords.login.as_ref() == Some(password))
}

/// The word for a store.
fn title(store: Store) -> &'static str {
    STORES.iter().find(|(other, ..)| *other == store).map_or("", |(_, _, title)| title)
}
