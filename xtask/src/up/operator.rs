//! The operator that the platform is given: a process on this machine, or pods.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use trading_testbed::chart::{Chart, NAMESPACE};
use trading_testbed::{Operator, OperatorConfig};

use super::cluster::Cluster;
use super::{Binaries, tail};

/// Long enough for a hook or a slow machine, short enough for a person who waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const LINES: usize = 25;

/// Where the operator runs.
pub enum Running {
    Here(Operator),
    Pods,
}

impl Running {
    /// Starts it: on real nodes as its chart does, otherwise here with the rights that the chart gives.
    pub fn start(binaries: &Binaries, cluster: &Cluster) -> Result<Self> {
        if let Some(nodes) = cluster.real_nodes() {
            nodes.install_operator(NAMESPACE)?;
            return Ok(Self::Pods);
        }
        let runtimes = format!("--set=containerRuntime.allowed={}", !cluster.is_persons());
        // What is reached from here says nothing of the cluster.
        let nobody = "--set-json=externalStores.checkedPorts=[]";
        // Without its policy: a person's cluster would keep that when the operator here is gone.
        let chart = Chart::render(&cluster.helm, cluster.dir(), &[&runtimes, nobody])?;
        chart.install(&cluster.kubectl)?;
        Ok(Self::Here(Operator::start(config(binaries, cluster, &chart)?)?))
    }

    /// An error when it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Self::Here(operator) = self
            && let Some(status) = operator.exited()?
        {
            bail!("the operator ended with {status}; its last words:\n{}", tail(&operator.log()?, LINES));
        }
        Ok(())
    }

    /// What it logged last.
    pub fn last_words(&self, cluster: &Cluster) -> Result<String> {
        match self {
            Self::Here(operator) => Ok(tail(&operator.log()?, LINES)),
            Self::Pods => {
                let nodes = cluster.real_nodes().context("pods without nodes")?;
                nodes.operator_log(NAMESPACE, LINES)
            }
        }
    }

    /// Ends it.
    pub fn end(self) {
        if let Self::Here(mut operator) = self {
            // It gives up its lease; whatever else it would do after that, the cluster's end makes pointless.
            operator.terminate(STOP_TIMEOUT).ok();
        }
    }
}

/// The operator runs on this machine, with no more rights than the chart gives its service account.
fn config(binaries: &Binaries, cluster: &Cluster, chart: &Chart) -> Result<OperatorConfig> {
    Ok(OperatorConfig {
        binary: binaries.operator.clone(),
        kubeconfig: cluster.kubeconfig_for(NAMESPACE, chart.service_account()?)?,
        args: chart.arguments()?,
        env: vec![("POD_NAMESPACE".into(), NAMESPACE.into())],
        log: cluster.dir().join("operator.log"),
    })
}
