//! What is told of backups, from what CloudNativePG says of them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use super::conditions::{BACKUP_HEALTHY, Verdict};
use crate::{
    add_ons,
    cnpg::{ARCHIVING, BACKUP, BACKUP_STARTED, PLUGIN, PLUGIN_AWAITED, SWITCHING_OVER},
    kinds::Kind,
    object::Key,
    plan::{POSTGRES, Plan},
    problem::Problem,
    resolve::backup::NO_CREDENTIALS,
    step::Observed,
};

/// What a `Cluster` says of its backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// The bucket that it names.
    pub bucket: Option<String>,
    /// Since when its log can't be archived, and why.
    pub archiving: Option<(Timestamp, String)>,
    /// How the last one went.
    pub last: LastBackup,
}

/// How the last backup went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastBackup {
    /// There was none.
    #[default]
    None,
    /// It is being made.
    Underway,
    /// It ended well at this time.
    Succeeded(Timestamp),
    /// When it failed, and why.
    Failed(Timestamp, String),
}

impl Backups {
    /// From a `Cluster`.
    #[must_use]
    pub fn of(cluster: &Value) -> Self {
        let items = |of: &'static str, object: &Value| object[of].as_array().cloned().unwrap_or_default();
        let conditions = items("conditions", &cluster["status"]);
        let find = |type_: &str| conditions.iter().find(|condition| condition["type"] == type_);
        let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        let archiving = find(ARCHIVING).filter(|condition| condition["status"] == "False");
        // That it was underway before makes this the time of a backup's end.
        let time = |condition: &Value| text(condition, "lastTransitionTime").parse().unwrap_or_default();
        let archiving = archiving.map(|condition| (time(condition), text(condition, "message")));
        let last = match find(BACKUP) {
            None => LastBackup::None,
            Some(it) if it["status"] == "True" => LastBackup::Succeeded(time(it)),
            Some(it) if it["reason"] == BACKUP_STARTED => LastBackup::Underway,
            Some(it) => LastBackup::Failed(time(it), text(it, "message")),
        };
        let plugins = items("plugins", &cluster["spec"]);
        let plugin = plugins.iter().find(|plugin| plugin["name"] == PLUGIN);
        let bucket = plugin.and_then(|plugin| plugin["parameters"]["barmanObjectName"].as_str());
        Self {
            bucket: bucket.map(str::to_owned),
            // The next primary goes on with it.
            archiving: archiving.filter(|(_, failure)| !failure.starts_with(SWITCHING_OVER)),
            last,
        }
    }
}

/// Reason: the log stays on the servers' volumes.
const ARCHIVING_FAILS: &str = "ArchivingFails";
/// Reason: the last backup could not be made.
const FAILED: &str = "BackupFailed";

/// What is told.
pub(super) struct Told {
    /// Of the condition.
    pub(super) verdict: Verdict,
    /// What somebody has to mend.
    pub(super) problem: Option<Problem>,
}

/// What is told of the backups that the resource asks for.
pub(super) fn told(plan: &Plan, observed: &Observed, before: &[Condition]) -> Option<Told> {
    let wished = plan.postgres.as_ref()?.cluster.as_ref()?.backup.as_ref()?;
    let is = |healthy: bool, reason: &'static str, message: String| {
        let fails = matches!(reason, ARCHIVING_FAILS | FAILED);
        let problem = fails.then(|| Problem::whole(reason, message.clone()).as_warning());
        Some(Told { verdict: Verdict::new(healthy, reason, message), problem })
    };
    if !plan.capabilities.serves(Kind::ObjectStore) {
        return is(false, add_ons::MISSING, "who makes them is not there: see AddOnsAvailable".to_owned());
    }
    if let Some(missing) = plan.problems.iter().find(|problem| problem.reason == NO_CREDENTIALS) {
        return is(false, NO_CREDENTIALS, missing.message.clone());
    }
    let (name, namespace) = (plan.identity.child(POSTGRES), plan.identity.namespace_of(POSTGRES));
    let cluster = observed.get(&plan.identity.key(Kind::Cluster, POSTGRES));
    let backups = cluster.and_then(|child| child.workload.as_ref()).map(|it| it.backups.clone());
    let Backups { archiving, last, .. } = backups.unwrap_or_default();
    // What is older than the bucket is not about it.
    let bucket = Key::new(Kind::ObjectStore, namespace, plan.identity.child(&wished.bucket));
    let made = observed.get(&bucket).and_then(|child| child.made);
    let counts = |time: Timestamp| made.is_some_and(|made| made <= time);
    if let Some((_, failure)) = archiving.filter(|(since, _)| counts(*since)) {
        let fills = "the write-ahead log can't be archived, and fills the volumes until it can";
        if failure.starts_with(PLUGIN_AWAITED) {
            let message = format!("servers are started again with the plugin; until then {fills}: {failure}");
            return is(false, "ServersRestarting", message);
        }
        let message = format!(
            "{fills}: {failure} (kubectl -n {namespace} logs -l cnpg.io/cluster={name} -c plugin-barman-cloud)"
        );
        return is(false, ARCHIVING_FAILS, message);
    }
    match last {
        // What was said of the one before stands while the next is made.
        LastBackup::Underway => match before.iter().find(|it| was_told(it)) {
            Some(was) if was.reason == FAILED => is(false, FAILED, was.message.clone()),
            Some(was) => is(true, SUCCEEDED, was.message.clone()),
            None => is(false, "BackupUnderway", "a backup is being made".to_owned()),
        },
        _ if wished.suspend => is(false, "Suspended", "backup.suspend is set: none is made".to_owned()),
        LastBackup::Failed(time, failure) if counts(time) => {
            let message = format!(
                "the last backup failed, and the next one is made by schedule: {failure} (kubectl -n {namespace} get backups.postgresql.cnpg.io)"
            );
            is(false, FAILED, message)
        }
        LastBackup::Succeeded(time) if counts(time) => {
            is(true, SUCCEEDED, format!("the last backup ended at {time}"))
        }
        LastBackup::None | LastBackup::Succeeded(_) | LastBackup::Failed(..) => {
            let message = format!(
                "the first backup is made by schedule; for one at once: kubectl cnpg backup -n {namespace} {name} --method=plugin --plugin-name={PLUGIN}"
            );
            is(false, "NoBackupYet", message)
        }
    }
}

/// Reason: there is a backup.
const SUCCEEDED: &str = "BackedUp";

fn was_told(condition: &Condition) -> bool {
    condition.type_ == BACKUP_HEALTHY && matches!(condition.reason.as_str(), FAILED | SUCCEEDED)
}
