//! A control plane with the chart installed, and the operator beside it with the chart's rights.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use trading_api::labels;
use trading_testbed::chart::{self, Chart, NAMESPACE};
use trading_testbed::{
    ControlPlane, Kubectl, Operator, OperatorConfig, Options, Program, Programs, workspace_binary,
};

use super::platform::platform;
use super::space::Space;
use super::values::text;

const NODES: usize = 9;

/// What the operator logs when it begins to work.
const WORKING: &str = "all lists are complete";
const START: Duration = Duration::from_mins(1);

/// Without a cluster helm knows no kinds but the oldest.
const SERVED: &str = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";

/// A control plane with nine nodes, the chart's objects, and one running operator.
#[derive(Debug)]
pub struct Stack {
    // Dropped first: it talks to the control plane.
    operator: Mutex<Operator>,
    config: OperatorConfig,
    user: String,
    chart: Chart,
    cluster: ControlPlane,
}

impl Stack {
    /// Starts everything and waits until the operator works.
    pub fn start() -> Result<Self> {
        let binary = std::env::var("SIM_OPERATOR")
            .map_or_else(|_| workspace_binary("trading-operator"), |path| Ok(path.into()))?;
        let cluster = ControlPlane::start(Options::simulated(NODES).with_audit())?;
        let programs = Programs::new(&[Program::Helm])?;
        // What answers at an example's addresses is this machine's network's matter.
        let nobody = "--set-json=externalStores.checkedPorts=[]";
        let args = ["--set=containerRuntime.allowed=true", nobody, SERVED];
        let chart = Chart::render(programs.path(Program::Helm)?, cluster.dir(), &args)?;
        let kubectl = cluster.kubectl()?;
        chart.install(&kubectl)?;
        wait_for_policy(&kubectl)?;
        let config = OperatorConfig {
            binary,
            kubeconfig: cluster.kubeconfig_for_service_account(NAMESPACE, chart.service_account()?)?,
            args: chart.arguments()?,
            env: environment("operator-a"),
            log: cluster.dir().join("operator.log"),
        };
        let operator = Mutex::new(Operator::start(config.clone())?);
        let user = format!("system:serviceaccount:{NAMESPACE}:{}", chart.service_account()?);
        let stack = Self { operator, config, user, chart, cluster };
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
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The rules of the chart's roles that the operator is bound to.
    pub fn rules(&self) -> impl Iterator<Item = &Value> {
        let own = |role: &&Value| {
            let labels = role["metadata"]["labels"].as_object();
            !labels.is_some_and(|labels| labels.keys().any(|label| label.contains("aggregate-to-")))
        };
        let roles = self.chart.of(&["ClusterRole", "Role"]).filter(own);
        roles.filter_map(|role| role["rules"].as_array()).flatten()
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
        let objects: Vec<Value> = self.chart.of(&copied).map(copy).collect();
        chart::apply(&self.kubectl()?, &objects.iter().collect::<Vec<_>>())?;
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

/// The apiserver looks for new policies from time to time, and takes a moment more for a kind that it serves.
fn wait_for_policy(kubectl: &Kubectl) -> Result<()> {
    let trial = platform("trial", &json!({})).to_string();
    let args = ["create", "--dry-run=server", "-o", "jsonpath={.metadata.finalizers}", "-f", "-"];
    let began = Instant::now();
    loop {
        let made = kubectl.run_with_input(&args, &trial);
        if made.as_ref().is_ok_and(|finalizers| finalizers.contains(labels::FINALIZER)) {
            return Ok(());
        }
        ensure!(began.elapsed() < START, "the policy of the chart adds no finalizer: {made:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
