//! Words conditions. kstatus-clean: `Reconciling` and `Stalled` are true only while they matter,
//! and `Ready` stays true while an ordinary rollout keeps serving.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use trading_api::status::ComponentStatus;

use super::{is_warning, state, stores::TOLD};
use crate::{
    add_ons::MISSING,
    problem::Problem,
    storage::{CLASS_MISSING, NOT_EXPANDABLE, Volumes},
};

/// What conditions are made from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Generation that they speak of.
    pub generation: i64,
    /// The release that is asked for.
    pub version: &'a str,
    /// Every component and store.
    pub components: &'a [ComponentStatus],
    /// What is wrong.
    pub problems: &'a [Problem],
    /// Why autoscalers don't scale; `None` where there are none.
    pub autoscaling: Option<Vec<String>>,
    /// Which certificates are missing; `None` where there are none.
    pub certificates: Option<Vec<String>>,
    /// Objects of add-ons are asked for.
    pub needs_add_ons: bool,
    /// What is known of volumes.
    pub volumes: Option<&'a Volumes>,
    /// How far changes of the login to the database and of Redis' password are, where there was one.
    pub credentials: Option<Verdict>,
    /// How far TLS to the database is, where everybody has to use it.
    pub tls: Option<Verdict>,
    /// Which volumes are nearly full.
    pub nearly_full: NearlyFull,
    /// How backups are, where there are to be some.
    pub backup: Option<Verdict>,
    /// A store that is to be asked was not yet: what its servers said before stands.
    pub awaited: bool,
}

/// Which volumes are nearly full, in words.
#[derive(Clone, Debug)]
pub enum NearlyFull {
    /// No server of a store was asked yet, or none answers: what was said before stands.
    Unknown,
    /// These.
    Known(Vec<String>),
}

/// Every type of condition.
pub const TYPES: [&str; 13] = [
    "Ready",
    "Available",
    "Reconciling",
    "Stalled",
    "Degraded",
    "AutoscalingActive",
    "CertificatesAvailable",
    "AddOnsAvailable",
    "VolumesExpandable",
    "CredentialsRotated",
    TLS_REQUIRED,
    NEARLY_FULL,
    BACKUP_HEALTHY,
];

/// Condition: whether everybody has to use TLS to the database.
pub const TLS_REQUIRED: &str = "TLSRequired";

/// Condition: whether the last backup succeeded and what came since is archived.
pub const BACKUP_HEALTHY: &str = "BackupHealthy";

/// Condition, and reason of it: a volume is nearly full.
pub const NEARLY_FULL: &str = "VolumeNearlyFull";

/// All conditions; a time changes only with its status.
#[must_use]
pub fn conditions(facts: &Facts, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let was_ready = before.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let verdicts = [
        Some(("Ready", ready(facts, was_ready))),
        Some(("Available", available(facts))),
        Some(("Reconciling", reconciling(facts))),
        Some(("Stalled", stalled(facts))),
        Some(("Degraded", degraded(facts, before))),
        autoscaling(facts).map(|verdict| ("AutoscalingActive", verdict)),
        certificates(facts).map(|verdict| ("CertificatesAvailable", verdict)),
        facts.needs_add_ons.then(|| ("AddOnsAvailable", add_ons(facts))),
        facts.volumes.map(|volumes| ("VolumesExpandable", expandable(volumes))),
        facts.credentials.clone().map(|verdict| ("CredentialsRotated", verdict)),
        facts.tls.clone().map(|verdict| (TLS_REQUIRED, verdict)),
        facts.backup.clone().map(|verdict| (BACKUP_HEALTHY, verdict)),
    ];
    let timed = |(type_, verdict)| timed(type_, verdict, facts.generation, before, now);
    let nearly_full = match &facts.nearly_full {
        NearlyFull::Unknown => before.iter().find(|condition| condition.type_ == NEARLY_FULL).cloned(),
        NearlyFull::Known(volumes) => Some(timed((NEARLY_FULL, nearly_full(volumes)))),
    };
    verdicts.into_iter().flatten().map(timed).chain(nearly_full).collect()
}

/// Status, reason and message of a condition.
#[derive(Clone, Debug)]
pub struct Verdict {
    status: bool,
    reason: String,
    message: String,
}

impl Verdict {
    /// A verdict.
    #[must_use]
    pub fn new(status: bool, reason: &str, message: String) -> Self {
        Self { status, reason: reason.to_owned(), message }
    }

    /// Both in one: what is not so yet comes first.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (first, second) = if self.status && !other.status { (other, self) } else { (self, other) };
        Self { message: format!("{}; {}", first.message, second.message), ..first }
    }
}

/// Gives a verdict its time: that of the last change of its status.
#[must_use]
pub fn timed(
    type_: &str,
    verdict: Verdict,
    generation: i64,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = if verdict.status { "True" } else { "False" };
    let since = before
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason,
        message: verdict.message,
        observed_generation: Some(generation),
        last_transition_time: since,
    }
}

fn unsettled<'a>(facts: &'a Facts) -> Vec<&'a ComponentStatus> {
    facts.components.iter().filter(|component| component.state != state::READY).collect()
}

fn serves(component: &ComponentStatus) -> bool {
    component.ready > 0 || (component.desired == 0 && component.state == state::READY)
}

fn in_words(components: &[&ComponentStatus]) -> String {
    let each: Vec<String> = components
        .iter()
        .map(|component| match &component.message {
            Some(message) => format!("{}: {message}", component.name),
            None => component.name.clone(),
        })
        .collect();
    each.join("; ")
}

fn first_problem<'a>(facts: &'a Facts) -> Option<&'a Problem> {
    facts.problems.iter().find(|problem| !is_warning(problem))
}

fn ready(facts: &Facts, was_ready: bool) -> Verdict {
    let unsettled = unsettled(facts);
    let failed: Vec<&ComponentStatus> =
        unsettled.iter().filter(|component| component.state == state::FAILED).copied().collect();
    if let Some(problem) = first_problem(facts) {
        return Verdict::new(false, problem.reason, problem.message.clone());
    }
    if !failed.is_empty() {
        return Verdict::new(false, "ComponentFailed", in_words(&failed));
    }
    if unsettled.is_empty() {
        let message =
            format!("all {} components are ready at version {}", facts.components.len(), facts.version);
        return Verdict::new(true, "Ready", message);
    }
    if was_ready && facts.components.iter().all(serves) {
        return Verdict::new(
            true,
            "Serving",
            format!("serving while this settles: {}", in_words(&unsettled)),
        );
    }
    Verdict::new(false, "Progressing", format!("waiting for {}", in_words(&unsettled)))
}

fn available(facts: &Facts) -> Verdict {
    let down: Vec<&ComponentStatus> =
        facts.components.iter().filter(|component| !serves(component)).collect();
    if down.is_empty() {
        return Verdict::new(true, "Serving", "every component has a ready pod".to_owned());
    }
    let names: Vec<&str> = down.iter().map(|component| component.name.as_str()).collect();
    Verdict::new(false, "ComponentsDown", format!("no ready pod: {}", names.join(", ")))
}

fn reconciling(facts: &Facts) -> Verdict {
    let moving: Vec<&ComponentStatus> =
        facts.components.iter().filter(|component| component.state == state::PROGRESSING).collect();
    if moving.is_empty() {
        Verdict::new(false, "Settled", String::new())
    } else {
        Verdict::new(true, "Progressing", in_words(&moving))
    }
}

fn stalled(facts: &Facts) -> Verdict {
    let failed: Vec<&ComponentStatus> =
        facts.components.iter().filter(|component| component.state == state::FAILED).collect();
    if let Some(problem) = first_problem(facts) {
        return Verdict::new(true, problem.reason, problem.message.clone());
    }
    if failed.is_empty() {
        Verdict::new(false, "Progressing", String::new())
    } else {
        Verdict::new(true, "ComponentFailed", in_words(&failed))
    }
}

fn degraded(facts: &Facts, before: &[Condition]) -> Verdict {
    let Some(first) = facts.problems.first() else {
        let was_told =
            |it: &&Condition| it.type_ == "Degraded" && it.status == "True" && TOLD.contains(&&*it.reason);
        if let Some(told) = before.iter().find(was_told).filter(|_| facts.awaited) {
            return Verdict::new(true, &told.reason, told.message.clone());
        }
        return Verdict::new(false, "AsWished", String::new());
    };
    let all: Vec<&str> = facts.problems.iter().map(|problem| problem.message.as_str()).collect();
    Verdict::new(true, first.reason, all.join("; "))
}

fn add_ons(facts: &Facts) -> Verdict {
    let missing: Vec<&str> = facts
        .problems
        .iter()
        .filter(|problem| problem.reason == MISSING)
        .map(|problem| problem.message.as_str())
        .collect();
    if missing.is_empty() {
        Verdict::new(true, "Served", String::new())
    } else {
        Verdict::new(false, MISSING, missing.join("; "))
    }
}

fn expandable(volumes: &Volumes) -> Verdict {
    if !volumes.problems.is_empty() {
        let all: Vec<&str> = volumes.problems.iter().map(|problem| problem.message.as_str()).collect();
        return Verdict::new(false, CLASS_MISSING, all.join("; "));
    }
    if volumes.fixed.is_empty() {
        return Verdict::new(true, "Expandable", String::new());
    }
    let remedy = "let the administrator set it, or a full volume can only be left for a larger one";
    Verdict::new(false, NOT_EXPANDABLE, format!("{}: {remedy}", volumes.fixed.join("; ")))
}

fn nearly_full(volumes: &[String]) -> Verdict {
    if volumes.is_empty() {
        return Verdict::new(false, "Enough", String::new());
    }
    Verdict::new(true, NEARLY_FULL, volumes.join("; "))
}

fn autoscaling(facts: &Facts) -> Option<Verdict> {
    let failures = facts.autoscaling.as_ref()?;
    Some(if failures.is_empty() {
        Verdict::new(true, "Scaling", String::new())
    } else {
        Verdict::new(
            false,
            "MetricsUnavailable",
            format!("replicas stay as they are until metrics come back: {}", failures.join(", ")),
        )
    })
}

fn certificates(facts: &Facts) -> Option<Verdict> {
    let missing = facts.certificates.as_ref()?;
    Some(if missing.is_empty() {
        Verdict::new(true, "Present", String::new())
    } else {
        Verdict::new(
            false,
            "CertificateMissing",
            format!("visitors get the ingress controller's own until there is one: {}", missing.join("; ")),
        )
    })
}
