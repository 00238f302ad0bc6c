//! Installs the operator as a person would: its chart, by helm.

use anyhow::{Context, Result, ensure};

use super::RealCluster;
use crate::chart::{PATH, RELEASE, command};
use crate::programs::{Program, Programs};

impl RealCluster {
    /// Installs the operator and waits until its pods are ready.
    ///
    /// # Errors
    /// When helm is missing and cannot be built, or the operator is not ready in time.
    pub fn install_operator(&self, namespace: &str) -> Result<()> {
        let programs = Programs::new(&[Program::Helm])?;
        let control_plane = self.control_plane();
        let output = command(programs.path(Program::Helm)?, control_plane.dir())
            .args(["install", RELEASE, PATH])
            .args(["--namespace", namespace, "--create-namespace", "--wait", "--timeout", "3m"])
            .arg("--kubeconfig")
            .arg(control_plane.kubeconfig())
            .output()
            .context("cannot run helm")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm install: {}", said.trim());
        Ok(())
    }

    /// What the operator's pods have logged last.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn operator_log(&self, namespace: &str, lines: usize) -> Result<String> {
        let (selector, tail) =
            ("app.kubernetes.io/name=trading-platform-operator", format!("--tail={lines}"));
        self.control_plane.kubectl()?.run(&["logs", "-n", namespace, "-l", selector, "--prefix", &tail])
    }
}
