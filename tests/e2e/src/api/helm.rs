//! Runs helm.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use trading_testbed::{ControlPlane, Program, Programs};

use super::repository;

/// helm as administrator of a cluster.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// helm for this cluster.
    ///
    /// # Errors
    /// When helm is missing and cannot be built.
    pub fn new(cluster: &ControlPlane) -> Result<Self> {
        let programs = Programs::new(&[Program::Helm])?;
        Ok(Self {
            program: programs.path(Program::Helm)?.to_owned(),
            kubeconfig: cluster.kubeconfig(),
            home: cluster.dir().join("helm"),
        })
    }

    /// Runs helm in the folder of the chart, which is `.` there, and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the error holds what it said.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(repository("charts/trading-platform-operator"))
            .env("KUBECONFIG", &self.kubeconfig)
            // Otherwise these are in the person's home.
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("helm {}: {}\n{printed}", args.join(" "), said.trim());
        }
        Ok(printed)
    }

    /// Like [`Helm::run`], for what must fail: returns what it said.
    ///
    /// # Errors
    /// When it succeeds.
    pub fn refused(&self, args: &[&str]) -> Result<String> {
        match self.run(args) {
            Ok(_) => bail!("helm {} succeeds", args.join(" ")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }
}
