//! Installs what the operator needs from its chart: everything but the pod, because the operator runs on
//! this machine.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cluster::Cluster;
use super::example::documents;
use crate::repo;

/// Where the chart is installed.
pub const NAMESPACE: &str = "trading-system";

const CHART: &str = "charts/trading-platform-operator";
const RELEASE: &str = "trading-platform-operator";

const CRD: &str = "tradingplatforms.platform.trading";

/// The kind first: rights and resources refer to it.
const NEEDED: [&[&str]; 2] = [
    &["CustomResourceDefinition"],
    &["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
];

/// What of the chart's pod the operator on this machine takes over.
pub struct Installed {
    pub service_account: String,
    pub arguments: Vec<String>,
}

/// Installs the kinds and the rights.
pub fn install(cluster: &Cluster) -> Result<Installed> {
    let rendered = render(cluster)?;
    let kubectl = &cluster.kubectl;
    if kubectl.run(&["get", "namespace", NAMESPACE]).is_err() {
        kubectl.run(&["create", "namespace", NAMESPACE])?;
    }
    for kinds in NEEDED {
        let objects: Vec<_> = rendered.iter().filter(|object| kinds.contains(&kind(object))).collect();
        // A JSON list is a manifest, too.
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        kubectl.run_with_input(&["apply", "--server-side", "-n", NAMESPACE, "-f", "-"], &list.to_string())?;
    }
    kubectl.wait_until_served(CRD)?;
    installed(&rendered)
}

fn installed(rendered: &[Value]) -> Result<Installed> {
    let pod = rendered
        .iter()
        .find(|object| kind(object) == "Deployment")
        .and_then(|object| object.pointer("/spec/template/spec"))
        .context("the chart has no Deployment")?;
    let service_account =
        pod["serviceAccountName"].as_str().context("the operator has no service account")?;
    let arguments =
        pod.pointer("/containers/0/args").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(Installed {
        service_account: service_account.to_owned(),
        arguments: arguments.iter().filter_map(Value::as_str).map(on_this_machine).collect(),
    })
}

/// A person reads the log here, and the port of the pod may be taken.
fn on_this_machine(argument: &str) -> String {
    match argument.split_once('=') {
        Some(("--http-addr", _)) => "--http-addr=127.0.0.1:0".to_owned(),
        Some(("--log-format", _)) => "--log-format=text".to_owned(),
        _ => argument.to_owned(),
    }
}

fn render(cluster: &Cluster) -> Result<Vec<Value>> {
    let output = Command::new(&cluster.helm)
        .args(["template", RELEASE])
        .arg(repo::path(CHART))
        .args(["--namespace", NAMESPACE, "--include-crds"])
        .arg(format!("--set=containerRuntime.allowed={}", !cluster.is_persons()))
        // Helm keeps caches in the person's home otherwise.
        .env("HELM_CACHE_HOME", cluster.dir().join("helm"))
        .env("HELM_CONFIG_HOME", cluster.dir().join("helm"))
        .env("HELM_DATA_HOME", cluster.dir().join("helm"))
        .output()
        .context("cannot run helm")?;
    if !output.status.success() {
        bail!("helm template: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    documents(&String::from_utf8(output.stdout)?)
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_operator_here_is_run_like_the_pod() -> Result<()> {
        let args = ["--log-format=json", "--http-addr=0.0.0.0:8080", "--lease-name=x"];
        let pod = json!({ "serviceAccountName": "operator", "containers": [{ "args": args }] });
        let rendered = [json!({ "kind": "Deployment", "spec": { "template": { "spec": pod } } })];
        let installed = installed(&rendered)?;
        assert_eq!(installed.service_account, "operator");
        assert_eq!(installed.arguments, ["--log-format=text", "--http-addr=127.0.0.1:0", "--lease-name=x"]);
        Ok(())
    }
}
