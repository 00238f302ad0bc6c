//! How far TLS between a database and its clients is, pure. The order is what matters: servers offer it, clients
//! insist on it, and only when no pod is left that does not are connections without it refused. It goes the other
//! way round.

use trading_report::POSTGRES_ACCESS;

use crate::{
    credentials::{consumers, is_in_place, is_rolled_out},
    digest,
    kinds::Kind,
    members::Answers,
    object::{Key, Object},
    plan::{POOLER, POSTGRES, POSTGRES_AGENT_PORT, Plan, PostgresServers, TlsPlan},
    render::access_file,
    status::{conditions::Verdict, stores::in_short},
    step::Observed,
};

/// How far it is; on the servers' `StatefulSet`, so that nobody has to remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Servers take connections with TLS and without.
    Offered,
    /// Clients insist on it, and check the certificate.
    Checked,
    /// Servers refuse connections without it.
    Required,
}

impl Level {
    /// As the annotation has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "Offered",
            Self::Checked => "Checked",
            Self::Required => "Required",
        }
    }

    /// From the annotation; `None` where it is not understood.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Offered, Self::Checked, Self::Required].into_iter().find(|level| level.as_str() == text)
    }
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There are no servers yet, and so nobody who could be cut off.
    Beginning,
    /// These come to offer it.
    ServersRoll(Vec<String>),
    /// All servers offer it.
    Offered,
    /// These components come to insist on it.
    ClientsRoll(Vec<String>),
    /// All Deployments insist. Pods of before may still be ending.
    Ending,
    /// These servers don't say yet that they refuse connections without it.
    Refusing(Vec<String>),
    /// It is as the resource says.
    Done,
    /// These, clients, pooler or servers, come to do without it.
    Leaving(Vec<String>),
    /// All Deployments do without. Pods of before may still be ending.
    Left,
}

/// How far it is; `None` where nobody had to use it, and nobody has to.
#[must_use]
pub fn stage(plan: &Plan, desired: &[Object], observed: &Observed) -> Option<Stage> {
    let servers = servers(plan)?;
    let TlsPlan { wished, level, .. } = servers.tls.as_ref()?;
    let set = observed.get(&set(plan)).filter(|set| set.is_of(&plan.identity));
    let rolling = || -> Vec<String> {
        let clients = consumers(plan).filter(|component| !is_rolled_out(plan, component, desired, observed));
        clients.map(|component| component.name.clone()).collect()
    };
    let some = |names: Vec<String>, waits: fn(Vec<String>) -> Stage, then: Stage| {
        if names.is_empty() { then } else { waits(names) }
    };
    Some(match (wished, level) {
        (Some(Level::Required), Level::Offered) if set.is_none() && !is_led(plan, observed) => {
            Stage::Beginning
        }
        (Some(Level::Required), Level::Offered) => {
            some(unsettled(plan, desired, observed), Stage::ServersRoll, Stage::Offered)
        }
        (Some(Level::Required), Level::Checked) => some(rolling(), Stage::ClientsRoll, Stage::Ending),
        (Some(Level::Required), Level::Required) => some(behind(plan, servers), Stage::Refusing, Stage::Done),
        (Some(_), _) => return None,
        (None, _) => {
            let mut insisting = rolling();
            insisting.extend(insisting_on_servers(plan, servers, desired, observed));
            some(insisting, Stage::Leaving, Stage::Left)
        }
    })
}

/// Whether some server leads, whatever became of the set.
fn is_led(plan: &Plan, observed: &Observed) -> bool {
    let lease = observed.get(&plan.identity.key(Kind::Lease, POSTGRES));
    lease.is_some_and(|lease| lease.holder.as_ref().is_some_and(|holder| !holder.is_empty()))
}

/// The pooler, and replicas, which insist on TLS towards servers until they have heard that they need not.
fn insisting_on_servers(
    plan: &Plan,
    servers: &PostgresServers,
    desired: &[Object],
    observed: &Observed,
) -> Vec<String> {
    let pooler = pooler(plan).filter(|key| !is_in_place(plan, key, desired, observed));
    // Where nobody answers, kubelets have had the time that clients took to roll.
    let is_heard = plan.members.of(POSTGRES).is_some_and(Answers::is_heard);
    let replicas = if is_heard { behind(plan, servers) } else { Vec::new() };
    pooler.map(|key| key.name).into_iter().chain(replicas).collect()
}

/// Where it goes from there; the inner `None` is: without TLS. `no_pod_is_left` of before is looked up where
/// [`waits_for_pods`] says so.
#[must_use]
pub fn next(stage: &Stage, no_pod_is_left: bool) -> Option<Option<Level>> {
    match stage {
        Stage::Beginning => Some(Some(Level::Required)),
        Stage::Offered => Some(Some(Level::Checked)),
        Stage::Ending if no_pod_is_left => Some(Some(Level::Required)),
        Stage::Left if no_pod_is_left => Some(None),
        _ => None,
    }
}

/// Whether it matters if pods of before are still ending.
#[must_use]
pub fn waits_for_pods(stage: &Stage) -> bool {
    matches!(stage, Stage::Ending | Stage::Left)
}

/// Whether it goes on when something has rolled out.
#[must_use]
pub fn waits_for_rollouts(stage: &Stage) -> bool {
    matches!(stage, Stage::ServersRoll(_) | Stage::ClientsRoll(_) | Stage::Leaving(_))
}

fn servers(plan: &Plan) -> Option<&PostgresServers> {
    plan.postgres.as_ref()?.servers.as_ref()
}

fn set(plan: &Plan) -> Key {
    plan.identity.key(Kind::StatefulSet, POSTGRES)
}

/// What takes connections and is not all of the newest kind.
fn unsettled(plan: &Plan, desired: &[Object], observed: &Observed) -> Vec<String> {
    let all = [set(plan)].into_iter().chain(pooler(plan));
    all.filter(|key| !is_in_place(plan, key, desired, observed)).map(|key| key.name).collect()
}

fn pooler(plan: &Plan) -> Option<Key> {
    let pooler = plan.postgres.as_ref()?.pooler.as_ref();
    pooler.map(|_| plan.identity.key(Kind::Deployment, POOLER))
}

/// Servers that don't say that they go by what the operator says of who may connect.
fn behind(plan: &Plan, servers: &PostgresServers) -> Vec<String> {
    let digest = digest::of_bytes(access_file(servers).as_bytes());
    let set = || vec![plan.identity.child(POSTGRES)];
    let Some(answers) = plan.members.of(POSTGRES) else { return set() };
    if answers.all_run_by(POSTGRES_ACCESS, &digest) {
        return Vec::new();
    }
    let behind: Vec<String> = answers.not_run_by(POSTGRES_ACCESS, &digest);
    // They said so before the latest edit, and are asked again.
    if behind.is_empty() { set() } else { behind }
}

/// What servers of the database say when they go by what is wished, where that is waited for.
pub(crate) fn awaited(plan: &Plan) -> Option<(&'static str, String)> {
    let servers = servers(plan)?;
    let tls = servers.tls.as_ref()?;
    (tls.level == Level::Required || tls.wished.is_none())
        .then(|| (POSTGRES_ACCESS, digest::of_bytes(access_file(servers).as_bytes())))
}

/// In words.
pub(crate) fn verdict(stage: &Stage) -> Verdict {
    let (status, reason, message) = match stage {
        Stage::Beginning => (false, "ServersRolling", "the database is made".to_owned()),
        Stage::ServersRoll(names) => (
            false,
            "ServersRolling",
            format!(
                "servers of the database come to offer TLS, and clients go on as before: {} roll; where it takes long, see their pods",
                in_short(names)
            ),
        ),
        Stage::Offered => (
            false,
            "ClientsRolling",
            "all servers of the database offer TLS; clients come to insist on it".to_owned(),
        ),
        Stage::ClientsRoll(names) => (
            false,
            "ClientsRolling",
            format!(
                "all servers of the database offer TLS, and its clients come to insist on it: {} roll",
                in_short(names)
            ),
        ),
        Stage::Ending => (
            false,
            "ClientsRolling",
            "clients of the database insist on TLS; connections without it are refused once no pod of before is left".to_owned(),
        ),
        Stage::Refusing(names) => (
            false,
            "ServersFollow",
            format!(
                "clients of the database insist on TLS; {} don't say yet that they refuse connections without it; it takes a minute or two; where it takes longer, see that the operator reaches port {POSTGRES_AGENT_PORT} of their pods",
                in_short(names)
            ),
        ),
        Stage::Done => (
            true,
            "Required",
            "clients of the database insist on TLS and check the certificate; connections without it are refused".to_owned(),
        ),
        Stage::Leaving(names) => (
            false,
            "Leaving",
            format!(
                "servers of the database offer TLS until nobody insists on it any more: {} still do",
                in_short(names)
            ),
        ),
        Stage::Left => (
            false,
            "Leaving",
            "servers of the database offer TLS until no pod is left that insists on it".to_owned(),
        ),
    };
    Verdict::new(status, reason, message)
}
