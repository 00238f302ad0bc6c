//! A control plane with the chart installed, and the operator beside it with the chart's rights.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::serde::Deserialize;
use serde_json::{Value, json};
use trading_testbed::{
    ControlPlane, Kubectl, Operator, OperatorConfig, Options, Program, Programs, workspace_binary,
};

use super::space::Space;
use super::values::text;

/// Where the chart is installed.
pub const NAMESPACE: &str = "trading-system";

const RELEASE: &str = "trading-platform-operator";
const CHART: &str = "charts/trading-platform-operator";
const NODES: usize = 9;

/// What the operator logs when it begins to work.
const WORKING: &str = "all lists are complete";
const START: Duration = Duration::from_mins(1);

/// The kinds first: rights and resources refer to them.
const NEEDED: [&[&str]; 2] = [
    &["CustomResourceDefinition"],
    &["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
];

/// A control plane with nine nodes, the chart's objects, and one running operator.
#[derive(Debug)]
pub struct Stack {
    // Dropped first: it talks to the control plane.
    operator: Mutex<Operator>,
    config: OperatorConfig,
    service_account: String,
    rendered: Vec<Value>,
    cluster: ControlPlane,
}

impl Stack {
    /// Starts everything and waits until the operator works.
    pub fn start() -> Result<Self> {
        let binary = std::env::var("SIM_OPERATOR")
            .map_or_else(|_| workspace_binary("trading-operator"), |path| Ok(path.into()))?;
        let cluster = ControlPlane::start(Options::simulated(NODES).with_audit())?;
        let rendered = render(cluster.dir())?;
        install(&cluster, &rendered)?;
        let pod = rendered
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .and_then(|object| object.pointer("/spec/template/spec"))
            .context("the chart has no Deployment")?;
        let service_account = text(pod, "/serviceAccountName").to_owned();
        let arguments = pod.pointer("/containers/0/args").and_then(Value::as_array);
        let config = OperatorConfig {
            binary,
            kubeconfig: cluster.kubeconfig_for_service_account(NAMESPACE, &service_account)?,
            args: arguments.into_iter().flatten().filter_map(Value::as_str).map(on_this_machine).collect(),
            env: environment("operator-a"),
            log: cluster.dir().join("operator.log"),
        };
        let operator = Mutex::new(Operator::start(config.clone())?);
        let stack = Self { operator, config, service_account, rendered, cluster };
        stack.wait_until_working(1)?;
        Ok(stack)
    }

    /// The control plane.
    #[must_use]
    pub fn cluster(&self) -> &ControlPlane {
        &self.cluster
    }

    /// The operator's process. The guard must not be held while something else is awaited.
    pub fn operator(&self) -> MutexGuard<'_, Operator> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who the operator is for the apiserver.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{NAMESPACE}:{}", self.service_account)
    }

    /// Waits until the operator has begun to work so many times, restarts included.
    pub fn wait_until_working(&self, times: usize) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut operator = self.operator();
            let log = operator.log()?;
            if log.matches(WORKING).count() >= times {
                return Ok(());
            }
            if let Some(status) = operator.exited()? {
                bail!("the operator ended with {status}:\n{log}");
            }
            ensure!(began.elapsed() < START, "the operator does not begin to work:\n{log}");
            drop(operator);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the operator and starts it again, and waits until it works.
    pub fn restart_operator(&self) -> Result<()> {
        let times = self.operator().log()?.matches(WORKING).count();
        self.operator().restart()?;
        self.wait_until_working(times + 1)
    }

    /// A second operator with the same rights but a service account of its own, so that the audit log
    /// tells the two apart. Returns it and who it is.
    pub fn second_operator(&self, name: &str) -> Result<(Operator, String)> {
        let copy = |object: &Value| {
            let mut object = object.clone();
            if object["kind"] == "ServiceAccount" {
                object["metadata"]["name"] = json!(name);
            } else {
                object["metadata"]["name"] = json!(format!("{}-{name}", text(&object, "/metadata/name")));
                for subject in object["subjects"].as_array_mut().into_iter().flatten() {
                    subject["name"] = json!(name);
                }
            }
            object
        };
        let copied = ["ServiceAccount", "ClusterRoleBinding", "RoleBinding"];
        let objects: Vec<Value> =
            self.rendered.iter().filter(|o| copied.contains(&text(o, "/kind"))).map(copy).collect();
        apply(&self.kubectl()?, &objects)?;
        let config = OperatorConfig {
            kubeconfig: self.cluster.kubeconfig_for_service_account(NAMESPACE, name)?,
            env: environment(name),
            log: self.cluster.dir().join(format!("{name}.log")),
            ..self.config.clone()
        };
        Ok((Operator::start(config)?, format!("system:serviceaccount:{NAMESPACE}:{name}")))
    }

    /// kubectl as administrator.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.cluster.kubectl()
    }

    /// A new namespace that admits only restricted pods.
    pub async fn space(&self, name: &str) -> Result<Space<'_>> {
        Space::create(self, name).await
    }

    /// A namespace that is there, or will be.
    pub async fn existing_space(&self, name: &str) -> Result<Space<'_>> {
        Space::existing(self, name).await
    }
}

fn environment(pod: &str) -> Vec<(String, String)> {
    vec![("POD_NAMESPACE".into(), NAMESPACE.into()), ("POD_NAME".into(), pod.into())]
}

/// The port of the pod may be taken, and a person reads the log.
fn on_this_machine(argument: &str) -> String {
    match argument.split_once('=') {
        Some(("--http-addr", _)) => "--http-addr=127.0.0.1:0".to_owned(),
        Some(("--log-format", _)) => "--log-format=text".to_owned(),
        _ => argument.to_owned(),
    }
}

/// A path below the root of the repository.
pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn render(dir: &Path) -> Result<Vec<Value>> {
    let programs = Programs::new(&[Program::Helm])?;
    let output = Command::new(programs.path(Program::Helm)?)
        .args(["template", RELEASE])
        .arg(repository(CHART))
        .args(["--namespace", NAMESPACE, "--include-crds", "--set", "containerRuntime.allowed=true"])
        // Helm keeps caches in the person's home otherwise.
        .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, dir.join("helm"))))
        .output()
        .context("cannot run helm")?;
    ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    let objects = documents.collect::<Result<Vec<_>, _>>()?;
    Ok(objects.into_iter().filter(Value::is_object).collect())
}

fn install(cluster: &ControlPlane, rendered: &[Value]) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    kubectl.run(&["create", "namespace", NAMESPACE])?;
    for kinds in NEEDED {
        let objects = rendered.iter().filter(|object| kinds.contains(&text(object, "/kind"))).cloned();
        apply(&kubectl, &objects.collect::<Vec<_>>())?;
    }
    kubectl.wait_until_served("tradingplatforms.platform.trading")
}

fn apply(kubectl: &Kubectl, objects: &[Value]) -> Result<()> {
    // A JSON list is a manifest, too.
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    kubectl.run_with_input(&["apply", "--server-side", "-n", NAMESPACE, "-f", "-"], &list.to_string())?;
    Ok(())
}
