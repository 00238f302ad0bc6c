//! How far a change of the login to the database is, pure. The order is what matters: a password is made, every
//! server accepts it, clients get it, and only when no pod has the old one is that refused.

use crate::{
    growth,
    inputs::ReferenceKind,
    kinds::Kind,
    object::{Key, Object},
    plan::{ComponentPlan, LoginsPlan, POSTGRES, Plan, PostgresPlan, PostgresServers, Target},
    status::conditions::Verdict,
    step::Observed,
    told,
};

/// The highest generation of a login or password that the schema admits.
pub(crate) const LAST_GENERATION: u32 = 999;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The servers don't accept it yet.
    Pending,
    /// Clients get it: the Secret, or the pods of these components.
    Rolling(Vec<String>),
    /// All Deployments have it. Pods of before may still be ending.
    Ending,
    /// No other login is accepted.
    Done,
}

/// How far it is; `None` where the first login is the only one there ever was.
#[must_use]
pub fn stage(plan: &Plan, desired: &[Object], observed: &Observed) -> Option<Stage> {
    let (_, servers) = database(plan)?;
    let LoginsPlan { wished, current, given, .. } = servers.logins;
    if wished <= 1 {
        return None;
    }
    let told = told::of(plan, observed);
    let accepts = |generation: &u32| told.is_some_and(|told| told.logins.contains(generation));
    if !accepts(&wished) {
        return Some(Stage::Pending);
    }
    let rolling: Vec<String> = consumers(plan)
        .filter(|component| !is_rolled_out(plan, component, desired, observed))
        .map(|component| component.name.clone())
        .collect();
    if given != wished || current != Some(wished) || !rolling.is_empty() {
        return Some(Stage::Rolling(rolling));
    }
    Some(if told.is_some_and(|told| told.logins.len() == 1) { Stage::Done } else { Stage::Ending })
}

fn database(plan: &Plan) -> Option<(&PostgresPlan, &PostgresServers)> {
    let database = plan.postgres.as_ref()?;
    Some((database, database.servers.as_ref()?))
}

/// Components whose pods have the login.
pub fn consumers(plan: &Plan) -> impl Iterator<Item = &ComponentPlan> {
    let secret = database(plan).map(|(database, _)| database.secret.as_str());
    secret.into_iter().flat_map(move |secret| consumers_of(plan, POSTGRES, secret))
}

/// Components whose pods have what is in this Secret of a store.
pub fn consumers_of<'a>(
    plan: &'a Plan,
    store: &str,
    secret: &'a str,
) -> impl Iterator<Item = &'a ComponentPlan> {
    let namespace = plan.identity.namespace_of(store);
    plan.components.iter().filter(move |component| {
        let mut all = component.references.iter().map(|item| &item.reference);
        all.any(|reference| {
            reference.kind == ReferenceKind::Secret
                && reference.name == secret
                && reference.namespace == namespace
        })
    })
}

/// Whether a component is led to the database's primary, by way of a pooler or not.
pub(crate) fn is_client(plan: &Plan, name: &str) -> bool {
    plan.components.iter().any(|it| it.name == name && it.targets.contains(&Target::Postgres))
}

/// Whether pods of one of them are still to be replaced.
pub(crate) fn clients_roll(plan: &Plan, desired: &[Object], observed: &Observed) -> bool {
    let clients = plan.components.iter().filter(|it| it.targets.contains(&Target::Postgres));
    clients.into_iter().any(|component| !is_rolled_out(plan, component, desired, observed))
}

/// Whether all pods of a component are as they should be, but for those that are ending.
pub(crate) fn is_rolled_out(
    plan: &Plan,
    component: &ComponentPlan,
    desired: &[Object],
    observed: &Observed,
) -> bool {
    is_in_place(plan, &plan.identity.key(Kind::Deployment, &component.name), desired, observed)
}

/// Whether a workload is as it should be, but for volumes that can't be as large as that, and so are all its pods but
/// those that are ending.
pub(crate) fn is_in_place(plan: &Plan, key: &Key, desired: &[Object], observed: &Observed) -> bool {
    let wished = desired.iter().find(|object| object.key() == *key);
    let live = observed.get(key);
    let workload = live.and_then(|live| live.workload.as_ref());
    let is_same = wished.zip(live).is_some_and(|(wished, live)| {
        let resized = growth::resized(plan, wished, live);
        let wished = resized.as_ref().map_or(wished, |resized| &resized.object);
        live.digest.as_ref() == Some(&wished.digest)
    });
    is_same && workload.is_some_and(|workload| workload.observed && workload.rolled_out)
}

/// Whether a pod of a component has what it consumes as it is now, from its annotations.
#[must_use]
pub fn is_current(component: &ComponentPlan, checksum: Option<&str>) -> bool {
    checksum == Some(&component.checksum)
}

/// In words.
pub(crate) fn verdict(plan: &Plan, stage: &Stage) -> Option<Verdict> {
    let (database, servers) = database(plan)?;
    let LoginsPlan { wished, is_made, .. } = servers.logins;
    let role = LoginsPlan::role(&servers.owner, wished);
    let secret = &database.secret;
    let (status, reason, message) = match stage {
        Stage::Pending if !is_made => {
            (false, "PasswordMissing", format!("the password of {role} is not made yet"))
        }
        Stage::Pending => (
            false,
            "LoginPending",
            format!(
                "the servers make the login {role}, which takes a minute or two; where it takes longer, the primary's log says why; clients go on with the old one"
            ),
        ),
        Stage::Rolling(rolling) if rolling.is_empty() => {
            (false, "ClientsRolling", format!("the servers accept {role}; Secret {secret:?} gets it"))
        }
        Stage::Rolling(rolling) => (
            false,
            "ClientsRolling",
            format!("Secret {secret:?} has the login {role}; its clients roll: {}", rolling.join(", ")),
        ),
        Stage::Ending => (
            false,
            "OldLoginEnds",
            format!("clients log in as {role}; older logins are refused once no pod has them"),
        ),
        Stage::Done => (true, "Rotated", format!("clients log in as {role}; older logins are refused")),
    };
    Some(Verdict::new(status, reason, message))
}
