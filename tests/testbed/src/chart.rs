//! The operator's chart without its pod: the operator runs on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Kubectl, documents};

/// Where the chart is installed.
pub const NAMESPACE: &str = "trading-system";

pub(crate) const RELEASE: &str = "trading-platform-operator";
/// Of the repository.
pub(crate) const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/trading-platform-operator");

const CRD: &str = "tradingplatforms.platform.trading";

/// The kind first: rights and resources refer to it.
const NEEDED: [&[&str]; 2] = [
    &["CustomResourceDefinition"],
    &[
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    ],
];

/// What the chart makes.
#[derive(Debug)]
pub struct Chart {
    objects: Vec<Value>,
}

impl Chart {
    /// Renders it with these arguments of `helm template`. Helm's files are kept below `dir`.
    ///
    /// # Errors
    /// When helm refuses them.
    pub fn render(helm: &Path, dir: &Path, args: &[&str]) -> Result<Self> {
        let output = command(helm, dir)
            .args(["template", RELEASE, PATH, "--namespace", NAMESPACE, "--include-crds"])
            .args(args)
            .output()
            .context("cannot run helm")?;
        ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self { objects: documents(&String::from_utf8(output.stdout)?)? })
    }

    /// Installs the kinds, the rights and what else acts without the pod.
    ///
    /// # Errors
    /// When the cluster refuses them.
    pub fn install(&self, kubectl: &Kubectl) -> Result<()> {
        if kubectl.run(&["get", "namespace", NAMESPACE]).is_err() {
            kubectl.run(&["create", "namespace", NAMESPACE])?;
        }
        for kinds in NEEDED {
            apply(kubectl, &self.of(kinds).collect::<Vec<_>>())?;
        }
        kubectl.wait_until_served(CRD)
    }

    /// Its objects of these kinds.
    pub fn of(&self, kinds: &[&str]) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)))
    }

    /// The operator's service account.
    ///
    /// # Errors
    /// When the chart has no operator.
    pub fn service_account(&self) -> Result<&str> {
        self.pod()?["serviceAccountName"].as_str().context("the operator has no service account")
    }

    /// The operator's arguments, with a free port and a log for people.
    ///
    /// # Errors
    /// When the chart has no operator.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let arguments = self.pod()?.pointer("/containers/0/args").and_then(Value::as_array);
        Ok(arguments.into_iter().flatten().filter_map(Value::as_str).map(on_this_machine).collect())
    }

    fn pod(&self) -> Result<&Value> {
        self.of(&["Deployment"])
            .find_map(|deployment| deployment.pointer("/spec/template/spec"))
            .context("the chart has no Deployment")
    }
}

/// Applies objects of the chart.
///
/// # Errors
/// When one of them is refused.
pub fn apply(kubectl: &Kubectl, objects: &[&Value]) -> Result<()> {
    // A JSON list is a manifest, too.
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    kubectl.run_with_input(&["apply", "--server-side", "-n", NAMESPACE, "-f", "-"], &list.to_string())?;
    Ok(())
}

/// Helm, which keeps caches in the person's home otherwise.
pub(crate) fn command(helm: &Path, dir: &Path) -> Command {
    let mut command = Command::new(helm);
    let home = dir.join("helm");
    command.envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, &home)));
    command
}

fn on_this_machine(argument: &str) -> String {
    match argument.split_once('=') {
        Some(("--http-addr", _)) => "--http-addr=127.0.0.1:0".to_owned(),
        Some(("--log-format", _)) => "--log-format=text".to_owned(),
        _ => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_here_is_run_like_the_pod() -> Result<()> {
        let args = ["--log-format=json", "--http-addr=0.0.0.0:8080", "--lease-name=x"];
        let pod = json!({ "serviceAccountName": "operator", "containers": [{ "args": args }] });
        let objects = vec![json!({ "kind": "Deployment", "spec": { "template": { "spec": pod } } })];
        let chart = Chart { objects };
        assert_eq!(chart.service_account()?, "operator");
        assert_eq!(chart.arguments()?, ["--log-format=text", "--http-addr=127.0.0.1:0", "--lease-name=x"]);
        Ok(())
    }
}
