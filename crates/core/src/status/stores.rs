//! What is told of data stores from what their servers say. Where nobody was asked yet, or nobody answers,
//! nothing is said; and nothing is said of what passes while pods come and go.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use trading_api::status::{ComponentStatus, MemberStatus};

use super::{
    conditions::{NEARLY_FULL, NearlyFull},
    state,
};
use crate::{
    members::{Answers, Member, NO_TLS, Role, Target, UNREACHABLE, targets},
    plan::{POSTGRES, Plan, REDIS, SENTINEL},
    problem::Problem,
    resolve::directives,
    step::Observed,
};

/// Reason: nobody takes writes.
const NO_PRIMARY: &str = "NoPrimary";
/// Reason: keys of some slots can't be reached.
const UNSERVED: &str = "SlotsWithoutServer";
/// Reason: a failover could lose writes, or has nobody to go to.
const OUT_OF_STEP: &str = "ReplicasNotInStep";
/// Reasons of warnings that stand until servers are heard again.
pub const TOLD: [&str; 3] = [OUT_OF_STEP, UNREACHABLE, NO_TLS];
/// Reason: something that is declared is not there.
const REFUSED: &str = "DatabaseObjectsRefused";
/// Reason: servers don't run by all settings of the resource.
const SETTINGS_REFUSED: &str = "ConfigurationRefused";
/// Percent from which a volume is nearly full.
const FULL: u8 = 85;
/// Percent below which it is so no more.
const ENOUGH: u8 = 80;
/// Members whose words a message has.
const QUOTED: usize = 3;

/// What is told beside the components.
pub struct Told {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Which volumes are nearly full.
    pub nearly_full: NearlyFull,
    /// Somebody who is to be asked was not yet, as after a start of the operator.
    pub awaited: bool,
}

impl Told {
    /// From what is known of all stores.
    pub fn of(plan: &Plan, live: &Observed, before: &[Condition]) -> Self {
        let mut targets = targets(plan, live);
        targets.retain(|target| target.store != SENTINEL);
        let awaited = targets.iter().any(|target| plan.members.of(target.store).is_none());
        let mut problems: Vec<Problem> = targets
            .iter()
            .filter(|target| target.is_outside())
            .filter_map(|target| Some((target, plan.members.of(target.store)?)))
            .flat_map(|(target, answers)| unreachable(target, answers))
            .collect();
        let unasked = targets.iter().filter(|target| plan.members.of(target.store).is_none());
        problems.extend(unasked.filter_map(|target| outage_before(target.store, before)));
        let heard: Vec<(&'static str, bool, &Answers)> = targets
            .iter()
            .filter(|target| !target.is_outside())
            .filter_map(|target| Some((target.store, target.settled, plan.members.of(target.store)?)))
            .filter(|(_, _, answers)| answers.is_heard())
            .collect();
        for (store, settled, answers) in &heard {
            problems.extend(failures(store, answers));
            problems.extend(outage(plan, store, answers, before));
            problems.extend(refused(store, answers));
            problems.extend(settings_refused(store, *settled, answers));
            if *settled {
                problems.extend(out_of_step(store, answers));
            }
        }
        if heard.is_empty() {
            return Self { problems, nearly_full: NearlyFull::Unknown, awaited };
        }
        let was_full = before.iter().any(|it| it.type_ == NEARLY_FULL && it.status == "True");
        let limit = if was_full { ENOUGH } else { FULL };
        let full = heard.iter().flat_map(|(store, _, answers)| full(store, answers, limit));
        let full: Vec<Problem> = full.collect();
        let words = full.iter().map(|problem| problem.message.clone()).collect();
        problems.extend(full);
        Self { problems, nearly_full: NearlyFull::Known(words), awaited }
    }
}

/// What clients may find, too. The operator is elsewhere than they are: only their own pods can tell for sure.
fn unreachable<'a>(target: &'a Target, answers: &'a Answers) -> impl Iterator<Item = Problem> + 'a {
    answers.heard().filter_map(move |(host, member)| {
        let (reason, message) = member.failure.as_ref()?;
        let (store, port) = (target.store, target.port);
        let message = format!(
            "{host}:{port} of {store}.external {message}; seen from the operator's pod: see that host, port and TLS are right, that the server runs, and that firewalls admit the cluster"
        );
        Some(Problem::of(store, reason, message).as_warning())
    })
}

/// Servers that can't run. Where another one serves, the platform does, too.
fn failures<'a>(store: &'a str, answers: &'a Answers) -> impl Iterator<Item = Problem> + 'a {
    let serves = answers.has_primary();
    answers.heard().filter_map(move |(name, member)| {
        let (reason, message) = member.failure.as_ref()?;
        let problem = Problem::of(store, reason, format!("{name} can't run: {message}"));
        Some(if serves { problem.as_warning() } else { problem })
    })
}

/// Nobody takes writes, or nobody has some of the keys, although all was well before: of a store that is
/// only being made, its pods tell.
fn outage(plan: &Plan, store: &str, answers: &Answers, before: &[Condition]) -> Option<Problem> {
    let was = |reason: &str| {
        let ready = before.iter().find(|condition| condition.type_ == "Ready");
        ready.is_some_and(|ready| ready.status == "True" || ready.reason == reason)
    };
    let is_cluster = store == REDIS && plan.redis.as_ref().is_some_and(|redis| redis.cluster.is_some());
    let has_failed = answers.heard().any(|(_, member)| member.failure.is_some());
    if is_cluster {
        let slots = answers.unserved();
        return (slots > 0 && was(UNSERVED)).then(|| {
            let message = format!(
                "{slots} of Redis' 16384 slots have no server, and requests for their keys fail{}; look at the pods of the masters that are down",
                waiting(answers)
            );
            Problem::of(store, UNSERVED, message)
        });
    }
    (!answers.has_primary() && !has_failed && was(NO_PRIMARY)).then(|| {
        let message = format!(
            "{} takes writes{}; if this stays so, look at the logs of its pods",
            nobody(store),
            waiting(answers)
        );
        Problem::of(store, NO_PRIMARY, message)
    })
}

/// What was said of a store stands until its servers were asked, as after a start of the operator.
fn outage_before(store: &str, before: &[Condition]) -> Option<Problem> {
    let ready = before.iter().find(|it| it.type_ == "Ready" && it.status == "False")?;
    let reason = [NO_PRIMARY, UNSERVED].into_iter().find(|reason| *reason == ready.reason)?;
    let is_its = reason == UNSERVED && store == REDIS || ready.message.starts_with(nobody(store));
    is_its.then(|| Problem::of(store, reason, ready.message.clone()))
}

fn nobody(store: &str) -> &'static str {
    if store == POSTGRES { "no server of the database" } else { "no server of Redis" }
}

/// What the primary can't make. All else that is declared is there.
fn refused(store: &str, answers: &Answers) -> Option<Problem> {
    if store != POSTGRES {
        return None;
    }
    let primary = answers.heard().find(|(_, member)| member.role == Role::Primary)?.1;
    (!primary.refused.is_empty()).then(|| {
        let all: Vec<&str> = primary.refused.iter().map(String::as_str).collect();
        let message = format!("not everything that is declared at {store} is there: {}", all.join("; "));
        Problem::of(store, REFUSED, message).as_warning()
    })
}

/// What servers of Redis do not take: each goes on with what it had. What only a start changes is not refused
/// while pods are still to be replaced for it.
fn settings_refused(store: &str, settled: bool, answers: &Answers) -> Option<Problem> {
    if store != REDIS {
        return None;
    }
    let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (pod, member) in answers.heard() {
        for words in &member.refused {
            let directive = words.split(' ').next().unwrap_or_default();
            if settled || !directives::needs_start(directive) {
                refused.entry(words).or_default().push(pod);
            }
        }
    }
    let all: Vec<String> = refused
        .iter()
        .map(|(words, pods)| format!("{} (on {})", with_field(words), in_short(pods)))
        .collect();
    (!all.is_empty()).then(|| {
        let message = format!(
            "Redis refuses settings, and goes on with those that it had: {}; mend or remove them",
            all.join("; ")
        );
        Problem::of(store, SETTINGS_REFUSED, message).as_warning()
    })
}

/// With the field of the resource instead of the directive, which is the first word.
fn with_field(words: &str) -> String {
    let (directive, rest) = words.split_once(' ').unwrap_or((words, ""));
    let field = match directive {
        "maxmemory" => "redis.maxmemory".to_owned(),
        "maxmemory-policy" => "redis.maxmemoryPolicy".to_owned(),
        "appendonly" => "redis.persistence.appendOnly".to_owned(),
        "appendfsync" => "redis.persistence.appendFsync".to_owned(),
        user if user.starts_with("users.") => format!("redis.{user}"),
        other => format!("redis.config.{other}"),
    };
    format!("{field} {rest}")
}

/// The first three, and how many more there are.
pub(crate) fn in_short(pods: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = pods.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        few => few.join(", "),
    }
}

fn out_of_step(store: &str, answers: &Answers) -> Option<Problem> {
    let behind: Vec<&str> = answers
        .heard()
        .filter(|(_, member)| member.in_step == Some(false))
        .map(|(name, _)| name.as_str())
        .collect();
    (!behind.is_empty()).then(|| {
        let message = format!(
            "{} do not keep up with whom they follow{}; a failover to them could lose writes: look at load, network and volumes",
            behind.join(", "),
            waiting(answers)
        );
        Problem::of(store, OUT_OF_STEP, message).as_warning()
    })
}

fn full<'a>(store: &'a str, answers: &'a Answers, limit: u8) -> impl Iterator<Item = Problem> + 'a {
    answers.heard().filter_map(move |(name, member)| {
        let volume = member.volume.as_ref().filter(|volume| volume.percent >= limit)?;
        let field = if volume.name == "wal" { "walStorage" } else { "storage" };
        let message = format!(
            "volume {} of {name} is more than {} % full, and a full one stops the server: raise {store}.{field}.size",
            volume.name, volume.percent
        );
        Some(Problem::of(store, NEARLY_FULL, message).as_warning())
    })
}

/// What some of them wait for, as an addition to a sentence.
fn waiting(answers: &Answers) -> String {
    let all = answers.heard().filter_map(|(name, member)| Some((name, member.waits_for.as_ref()?)));
    let words: Vec<String> = all.take(QUOTED).map(|(name, words)| format!("{name}: {words}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
}

/// Adds to what is told of a store what its servers say. Before they were asked, what was said before stands.
pub fn tell(plan: &Plan, store: &mut ComponentStatus, before: Option<&ComponentStatus>) {
    let is_store = store.name == REDIS && plan.redis.is_some()
        || store.name == POSTGRES
            && plan.postgres.as_ref().is_some_and(|database| database.servers.is_some());
    if !is_store {
        return;
    }
    let Some(answers) = plan.members.of(&store.name) else {
        store.members = before.map(|before| before.members.clone()).unwrap_or_default();
        return;
    };
    if !answers.is_heard() {
        return;
    }
    let name_of_primary = if store.name == REDIS { "master" } else { "primary" };
    store.members =
        answers.servers.iter().map(|(name, told)| member(name, told.as_ref(), name_of_primary)).collect();
    let words = waiting(answers);
    if !words.is_empty() && matches!(store.state.as_str(), state::PROGRESSING | state::READY) {
        let message = store.message.take().unwrap_or_else(|| "waits".to_owned());
        store.message = Some(message + &words);
    }
}

fn member(name: &str, told: Option<&Member>, name_of_primary: &str) -> MemberStatus {
    let role = told.and_then(|member| match member.role {
        Role::Primary => Some(name_of_primary),
        Role::Replica => Some("replica"),
        Role::Sentinel | Role::Unknown => None,
    });
    let state = match told {
        None => state::SILENT,
        Some(member) if member.failure.is_some() => state::FAILED,
        Some(member) if member.in_step == Some(false) => state::OUT_OF_STEP,
        Some(_) if role.is_none() => state::WAITING,
        Some(_) => state::READY,
    };
    MemberStatus { name: name.to_owned(), role: role.map(ToOwned::to_owned), state: state.to_owned() }
}
