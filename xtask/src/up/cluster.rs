//! The cluster on which a platform runs: one of our own, or the person's.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;
use trading_testbed::real::{self, Images, RealCluster};
use trading_testbed::{ControlPlane, Kubectl, Options, Program, Programs};

/// Three in each zone: six Redis pods on different nodes leave some over.
const NODES: usize = 9;
/// One in each zone.
const REAL_NODES: usize = 3;

/// What the platform runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Nodes {
    /// Objects only: pods become ready, and nothing runs.
    Simulated,
    /// Containers run.
    Real,
}

/// A cluster, and the programs to handle it.
pub struct Cluster {
    pub kubectl: Kubectl,
    pub helm: PathBuf,
    files: Files,
}

/// Where its files are, and what has to be kept so that they are.
enum Files {
    Own(Box<ControlPlane>),
    Real(Box<RealCluster>),
    Persons(TempDir),
}

/// Finds or builds what a cluster of our own, or the handling of the person's, takes.
pub fn programs(persons: bool, nodes: Nodes) -> Result<Programs> {
    if persons {
        return Programs::preferring_path(&[Program::Kubectl, Program::Helm]);
    }
    if nodes == Nodes::Real {
        real::prepare()?;
        return Programs::new(real::PROGRAMS);
    }
    Programs::new(&[
        Program::Etcd,
        Program::Apiserver,
        Program::ControllerManager,
        Program::Scheduler,
        Program::Kwok,
        Program::Kubectl,
        Program::Helm,
    ])
}

impl Cluster {
    /// Takes the cluster of the kubeconfig, or starts a control plane.
    pub fn start(kubeconfig: Option<&Path>, nodes: Nodes, programs: &Programs) -> Result<Self> {
        let helm = programs.path(Program::Helm)?.to_owned();
        if let Some(kubeconfig) = kubeconfig {
            let kubeconfig = std::path::absolute(kubeconfig)?;
            let kubectl = Kubectl::new(programs.path(Program::Kubectl)?, &kubeconfig);
            let dir = tempfile::Builder::new().prefix("trading-up-").tempdir()?;
            return Ok(Self { kubectl, helm, files: Files::Persons(dir) });
        }
        if nodes == Nodes::Real {
            let images = Images::make()?;
            let started = Instant::now();
            let cluster = RealCluster::start(REAL_NODES, &images)?;
            let seconds = started.elapsed().as_secs_f64();
            eprintln!(
                "control plane with {REAL_NODES} real nodes in three zones: ready after {seconds:.1} s"
            );
            let kubectl = cluster.control_plane().kubectl()?;
            return Ok(Self { kubectl, helm, files: Files::Real(Box::new(cluster)) });
        }
        let started = Instant::now();
        let control_plane = ControlPlane::start(Options::simulated(NODES))?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("control plane with {NODES} simulated nodes in three zones: ready after {seconds:.1} s");
        Ok(Self { kubectl: control_plane.kubectl()?, helm, files: Files::Own(Box::new(control_plane)) })
    }

    /// Its pods are real: what they are allowed matters.
    pub fn is_persons(&self) -> bool {
        matches!(self.files, Files::Persons(_))
    }

    /// A folder that goes when the cluster, or our use of it, ends.
    pub fn dir(&self) -> &Path {
        match &self.files {
            Files::Own(control_plane) => control_plane.dir(),
            Files::Real(cluster) => cluster.control_plane().dir(),
            Files::Persons(dir) => dir.path(),
        }
    }

    /// The nodes, where they are real ones of our own.
    pub fn real_nodes(&self) -> Option<&RealCluster> {
        match &self.files {
            Files::Real(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// A kubeconfig that acts as a service account.
    pub fn kubeconfig_for(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.kubectl.run(&["create", "token", account, "-n", namespace, "--duration=24h"])?;
        let config = self.kubectl.run(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"])?;
        let path = self.dir().join(format!("{account}.kubeconfig"));
        let config = with_token(serde_json::from_str(&config)?, token.trim())?;
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(path)
    }

    /// Says how to look at what runs.
    pub fn explain(&self, binaries: &Path) {
        let tools = self.kubectl.program().parent().unwrap_or(Path::new("."));
        println!("\nIn another terminal:\n");
        println!("  export KUBECONFIG={}", self.kubectl.kubeconfig().display());
        println!("  export PATH={}:{}:$PATH", tools.display(), binaries.display());
        println!("  kubectl get tp -A");
        if self.real_nodes().is_none() {
            println!("\nThe operator's log: {}", self.dir().join("operator.log").display());
        }
        match self.files {
            Files::Own(_) | Files::Real(_) => println!("Ctrl-C takes all of it down."),
            Files::Persons(_) => {
                println!("Ctrl-C stops the operator; what was applied stays in your cluster.");
            }
        }
    }
}

/// Replaces whatever the kubeconfig's user proves who they are with.
fn with_token(mut config: Value, token: &str) -> Result<Value> {
    let user = config.pointer_mut("/users/0/user").context("the kubeconfig's current context has no user")?;
    *user = json!({ "token": token });
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_person_stays_in_the_operators_kubeconfig() -> Result<()> {
        let persons = json!({ "users": [{ "name": "me", "user": { "client-key-data": "secret" } }] });
        let operators = with_token(persons, "abc")?;
        assert_eq!(operators, json!({ "users": [{ "name": "me", "user": { "token": "abc" } }] }));
        Ok(())
    }
}
