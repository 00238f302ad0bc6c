//! Health, metrics, status and report over HTTP, I/O: for the kubelet, Prometheus, the other servers and
//! the operator.
//! Nothing here is secret.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::decide::Role;
use super::gate::Gate;
use super::keeper::Keeper;
use super::local::{Local, Look};
use super::position::Lsn;

/// After which a control loop without a sign of life is dead.
const DEAD: Duration = Duration::from_mins(2);

/// What is served.
pub struct Shared {
    /// This pod.
    pub local: Arc<Local>,
    /// The Lease.
    pub keeper: Arc<Keeper>,
    /// Whether clients are let in.
    pub gate: Gate,
    /// How many there are.
    pub connections: Arc<AtomicUsize>,
    /// Bytes of log that a replica may lack and still serve reads.
    pub max_replica_lag: u64,
    /// Why there is no server, once that is so.
    pub failed: super::Failed,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route(trading_report::PATH, get(report))
        .route("/metrics", get(metrics))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are no longer served");
    }
}

/// A server that recovers, copies or waits lives; a restart would only begin it again.
async fn live(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.local.silence() < DEAD {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the agent's control loop hangs\n")
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let unready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why + "\n");
    let look = match shared.local.look().await {
        Ok(look) => look,
        Err(error) => return unready(error.to_string()),
    };
    match (look.status.role, &look.sensed) {
        (Role::Primary, _) if !shared.gate.is_open_for_writes() => {
            unready("the Lease is not this server's".to_owned())
        }
        (Role::Primary, Some(_)) => (StatusCode::OK, "primary\n".to_owned()),
        (Role::Standby, Some(sensed)) => {
            let lag = shared.lag(sensed.replayed);
            if lag > shared.max_replica_lag {
                return unready(format!(
                    "{lag} bytes of log are not replayed yet, more than {}",
                    shared.max_replica_lag
                ));
            }
            (StatusCode::OK, "replica\n".to_owned())
        }
        (Role::Empty, _) => unready("there is no data yet".to_owned()),
        _ => unready(look.problem.unwrap_or_else(|| "the server does not run".to_owned())),
    }
}

impl Shared {
    /// Bytes from what was replayed to what the primary had at its last renewal of the Lease.
    pub(super) fn lag(&self, replayed: Lsn) -> u64 {
        self.keeper.observed().map_or(0, |observed| observed.lease.record.position.lsn.since(replayed))
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.local.look().await {
        Ok(look) => Json(look.status).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn report(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.local.look().await {
        Ok(look) => Json(super::report::of(&shared, &look).await).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let Ok(mut look) = shared.local.look().await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, String::new());
    };
    if let Some(sensed) = &mut look.sensed {
        // Without an answer there is less to tell, and that shows.
        let _ = shared.local.sensor.sense_replicas(sensed).await;
        sensed.size = shared.local.sensor.size().await.unwrap_or_default();
    }
    (StatusCode::OK, text(&shared, &look))
}

fn text(shared: &Shared, look: &Look) -> String {
    let mut page = Page(String::new());
    let role = look.status.role;
    page.gauge("trading_postgres_up", "1 where the server answers", u8::from(look.sensed.is_some()));
    page.gauge(
        "trading_postgres_is_primary",
        "1 on the server that takes writes",
        u8::from(role == Role::Primary),
    );
    let leads = shared.gate.is_open_for_writes();
    page.gauge("trading_postgres_holds_lease", "1 where clients may write", u8::from(leads));
    let clients = shared.connections.load(Ordering::Relaxed);
    page.gauge("trading_postgres_proxied_connections", "Clients and replicas of the agent's port", clients);
    let refused = shared.local.parameters_refused.load(Ordering::Relaxed);
    page.gauge("trading_postgres_parameters_refused", "1 where the newest are not used", u8::from(refused));
    let pending = shared.local.parameters_pending.load(Ordering::Relaxed);
    page.gauge("trading_postgres_parameters_pending", "Wait for the next start of the server", pending);
    let refused = if leads { shared.local.objects.refused().len() } else { 0 };
    page.gauge("trading_postgres_objects_refused", "Declared and can't be made", refused);
    if let Some(volume) = shared.local.volumes().first() {
        let (free, all) = (volume.free_bytes, volume.total_bytes);
        page.gauge("trading_postgres_volume_free_bytes", "Bytes that the data's volume has left", free);
        page.gauge("trading_postgres_volume_bytes", "Bytes of the data's volume", all);
    }
    let Some(sensed) = &look.sensed else { return page.0 };
    page.gauge("trading_postgres_timeline", "Counts promotions", sensed.position.timeline);
    page.gauge("trading_postgres_log_bytes", "End of the write-ahead log", sensed.position.lsn.0);
    page.gauge("trading_postgres_connections", "Clients of the server", sensed.connections);
    page.gauge("trading_postgres_max_connections", "Most clients of the server", sensed.max_connections);
    page.gauge("trading_postgres_database_bytes", "Bytes of all databases", sensed.size);
    if sensed.is_standby {
        let lag = shared.lag(sensed.replayed);
        page.gauge("trading_postgres_replay_lag_bytes", "Log of the primary that is not replayed", lag);
        page.gauge(
            "trading_postgres_replay_lag_seconds",
            "Age of the last commit replayed",
            sensed.replay_seconds,
        );
        page.gauge("trading_postgres_receiving", "1 where log comes in", u8::from(sensed.receiving));
    }
    let end = sensed.position.lsn;
    let lags = sensed.replicas.iter().map(|(name, replica)| (name, end.since(replica.replayed)));
    page.gauges("trading_postgres_replica_lag_bytes", "Log that a replica has not replayed", "replica", lags);
    let counts = sensed.replicas.iter().map(|(name, replica)| (name, u64::from(replica.counts)));
    page.gauges("trading_postgres_replica_synchronous", "1 where commits may wait for it", "replica", counts);
    let kept = sensed.slots.iter().map(|(name, slot)| (name, slot.kept));
    page.gauges("trading_postgres_slot_kept_bytes", "Log that is kept for a replica", "slot", kept);
    let active = sensed.slots.iter().map(|(name, slot)| (name, u8::from(slot.active)));
    page.gauges("trading_postgres_slot_active", "1 where the slot is used", "slot", active);
    page.0
}

/// Prometheus' text format. Names of replicas and slots are those of pods and need no escaping.
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }

    fn gauges<'a, V: std::fmt::Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'a String, V)>,
    ) {
        let mut lines = String::new();
        for (value, number) in values.filter(|(value, _)| is_plain(value)) {
            let _ = writeln!(lines, "{name}{{{label}=\"{value}\"}} {number}");
        }
        if !lines.is_empty() {
            let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
        }
    }
}

/// Others may connect under any name.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_prometheus_text() {
        let mut page = Page(String::new());
        page.gauge("a", "What it is", 1);
        let names = ["p-1".to_owned(), "p\"\n".to_owned()];
        page.gauges("b", "And that", "replica", names.iter().map(|name| (name, 2)));
        page.gauges("c", "Nothing", "replica", std::iter::empty::<(&String, u8)>());
        assert_eq!(
            page.0,
            "# HELP a What it is\n# TYPE a gauge\na 1\n# HELP b And that\n# TYPE b gauge\nb{replica=\"p-1\"} 2\n"
        );
    }
}
