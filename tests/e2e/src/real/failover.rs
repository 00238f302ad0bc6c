//! One loss of a primary of Postgres under load, and what must be true of it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trading_api::labels::{ROLE_PRIMARY, STORE_ROLE};
use trading_testbed::real::RealCluster;

use super::{Trial, Witness, key, lost};
use crate::sim::{Propagation, text, wait_for};

/// Others take the Lease 15 s after they last saw it change; promotion, the label and kube-proxy follow.
pub const WRITES_AGAIN: Duration = Duration::from_secs(30);
/// The same on a machine that does other things meanwhile.
pub const WRITES_AGAIN_IF_BUSY: Duration = Duration::from_mins(1);

/// To come back, copying the primary anew at worst, while kubelets hold containers back that end too often.
const BACK: Duration = Duration::from_mins(6);

/// While the frozen server sleeps on after another leads, and after it has woken.
const WATCH: Duration = Duration::from_secs(3);

const AGENT: u16 = 8008;
const STORE: &str = "postgres";

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Agent and server stop where they are, and go on after another server leads: as a machine that hangs.
    Frozen,
    /// Agent and server are killed; the pod stays.
    Killed,
    /// The pod is deleted, and ends in order.
    Deleted,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::Frozen => "frozen until another leads (SIGSTOP)",
            Self::Killed => "killed (SIGKILL)",
            Self::Deleted => "deleted with its pod",
        })
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The longest time in which the application got no write acknowledged.
    pub pause: Duration,
    /// From the fault until the old primary had caught up as a replica, or led again.
    pub back: Duration,
    /// Acknowledged commits, all of which are there.
    pub commits: usize,
    /// Whether another server leads now.
    pub failed_over: bool,
}

/// The pod that is labelled as the primary.
pub async fn primary(trial: &Trial) -> Result<Value> {
    let mut pods = trial.pods(STORE).await?;
    pods.retain(|pod| pod["metadata"]["labels"][STORE_ROLE] == ROLE_PRIMARY);
    ensure!(pods.len() == 1, "{} pods are labelled as primary", pods.len());
    pods.pop().context("no pod is primary")
}

impl Round {
    /// Has it happen to a database with synchronous replication, and checks: writes are taken again in `time`, the
    /// old primary acknowledged nothing after the new one had begun, nothing acknowledged is lost, and the old
    /// primary is back as a replica.
    pub async fn run(
        trial: &Trial,
        cluster: &RealCluster,
        fault: Fault,
        what: &str,
        time: Duration,
    ) -> Result<Self> {
        settled(trial, BACK).await?;
        let old = primary(trial).await?;
        let name = text(&old, "/metadata/name").to_owned();
        let pods = trial.pods(STORE).await?;
        let servers: Vec<&str> = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
        let witness = Witness::begin(&trial.space, "shop-postgres-app", &servers, what).await?;

        let mut back = Duration::ZERO;
        let happens = async || {
            let began = Instant::now();
            strike(trial, cluster, fault, &old, &witness, what).await?;
            settled(trial, BACK).await?;
            back = began.elapsed();
            Ok(())
        };
        let ledgers = trial.under_load(what, happens).await?;
        let keys = witness.end(&name)?;
        let missing = lost(&trial.application, STORE, &keys).await?;
        ensure!(missing.is_empty(), "{what}: {} of {} direct commits are lost", missing.len(), keys.len());
        Ok(Self {
            pause: ledgers.paused_at_most(STORE, time)?,
            back,
            commits: keys.len() + ledgers.acknowledged(STORE),
            failed_over: text(&primary(trial).await?, "/metadata/name") != name,
        })
    }
}

async fn strike(
    trial: &Trial,
    cluster: &RealCluster,
    fault: Fault,
    old: &Value,
    witness: &Witness,
    what: &str,
) -> Result<()> {
    let (node, name) = (Trial::node(old)?, text(old, "/metadata/name"));
    // One that was just started again is not told of at once.
    let container = wait_for("its container runs", WRITES_AGAIN, async || {
        let pod = trial.space.get("Pod", name).await?;
        let container = Trial::container(&pod)?.to_owned();
        cluster.resident(node, &container)?;
        Ok(container)
    })
    .await?;
    match fault {
        Fault::Frozen => {
            cluster.freeze(node, &container)?;
            let led =
                wait_for("another server takes writes", BACK, async || witness.another_began(name)).await;
            tokio::time::sleep(WATCH).await;
            cluster.thaw(node, &container)?;
            led?;
            tokio::time::sleep(WATCH).await;
        }
        Fault::Killed => cluster.kill_container(node, &container)?,
        Fault::Deleted => {
            trial.space.delete("Pod", name, Propagation::Background).await?;
            trial.replaced(old).await?;
        }
    }
    let key = key(&format!("again {what}"));
    wait_for("writes are taken again", BACK, async || trial.application.keep(STORE, &key).await).await
}

/// Waits until one server leads and every other one gets its log.
pub async fn settled(trial: &Trial, patience: Duration) -> Result<()> {
    wait_for("one server leads and all others follow", patience, async || {
        let leader = primary(trial).await?;
        for pod in trial.pods(STORE).await? {
            let leads = pod["metadata"]["name"] == leader["metadata"]["name"];
            let line = if leads { "trading_postgres_holds_lease 1" } else { "trading_postgres_receiving 1" };
            trial.says(&pod, AGENT, line).await?;
        }
        Ok(())
    })
    .await
}
