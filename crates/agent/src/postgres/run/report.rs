//! Report stage: what a server and its agent say → what the operator is told. Asks the server for its version
//! and pending parameters.

use std::collections::BTreeSet;

use trading_report::{Report, Role as Told};

use super::decide::Role;
use super::http::Shared;
use super::local::Look;

/// All of it.
pub async fn of(shared: &Shared, look: &Look) -> Report {
    let failure = shared.failed.get().cloned();
    let mut report = compose(shared, look);
    if look.sensed.is_some() {
        // Without an answer there is less to tell, and that shows.
        if let Ok((version, pending)) = shared.local.sensor.settings().await {
            // Debian's has its own after a blank.
            report.version = version.split(' ').next().map(ToOwned::to_owned);
            report.pending_restart = pending.into_iter().collect();
        }
    }
    Report { failure, ..report }
}

fn compose(shared: &Shared, look: &Look) -> Report {
    let leads = shared.gate.is_open_for_writes();
    let standby = look.sensed.as_ref().filter(|sensed| sensed.is_standby);
    let lag = standby.map(|sensed| shared.lag(sensed.replayed));
    let leader = shared.keeper.observed().and_then(|observed| observed.lease.holder);
    let in_step = standby.zip(lag).map(|(sensed, lag)| sensed.receiving && lag <= shared.max_replica_lag);
    let is_fine = leads || in_step == Some(true);
    Report {
        name: shared.local.name.clone(),
        role: match look.status.role {
            Role::Primary if leads => Told::Primary,
            Role::Standby => Told::Replica,
            Role::Primary | Role::Empty | Role::Stopped | Role::Starting => Told::Unknown,
        },
        follows: standby.filter(|sensed| sensed.receiving).and(leader).map(|leader| leader.name),
        in_step,
        lag_bytes: lag,
        in_force: shared
            .local
            .in_force()
            .into_iter()
            .map(|(file, digest)| (file.to_owned(), digest))
            .collect(),
        volumes: shared.local.volumes(),
        refused: if leads { shared.local.objects.refused() } else { BTreeSet::new() },
        waits_for: if is_fine { None } else { look.problem.clone().or_else(|| shared.local.work()) },
        ..Report::default()
    }
}
