//! Real nodes with the operator on them, installed by its chart.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trading_testbed::real::{Images, RealCluster};
use trading_testbed::{Kubectl, chart::NAMESPACE, documents, workspace_binary};

use crate::sim::{Space, text};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// The objects of a kustomization below `examples`.
pub fn rendered(kubectl: &Kubectl, example: &str) -> Result<Vec<Value>> {
    documents(&kubectl.run(&["kustomize", &format!("{EXAMPLES}/{example}")])?)
}

const NODES: usize = 3;

/// Labels of the operator's pods.
const OPERATOR: &str = "app.kubernetes.io/name=trading-platform-operator";
/// By the chart's default.
const OPERATORS: usize = 2;
const STARTS: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(500);

/// Three real nodes in three zones, and the operator.
#[derive(Debug)]
pub struct Stage {
    cluster: RealCluster,
}

impl Stage {
    /// Starts everything and waits until the operator's pods are ready.
    pub fn start() -> Result<Self> {
        let images = Images::make()?;
        let stage = Self { cluster: RealCluster::start(NODES, &images)? };
        let installed = stage.cluster.install_operator(NAMESPACE);
        installed.with_context(|| stage.explain(NAMESPACE))?;
        Ok(stage)
    }

    /// The nodes.
    #[must_use]
    pub fn cluster(&self) -> &RealCluster {
        &self.cluster
    }

    /// kubectl as administrator.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.cluster.control_plane().kubectl()
    }

    /// Kills every pod of the operator, as if its machines were gone.
    pub fn kill_operator(&self) -> Result<()> {
        let pods = ["delete", "pod", "-n", NAMESPACE, "-l", OPERATOR];
        let at_once = ["--grace-period=0", "--force", "--timeout=2m"];
        self.kubectl()?.run(&[&pods[..], &at_once].concat()).map(drop)
    }

    /// Waits until all its pods are ready.
    pub fn wait_for_operator(&self) -> Result<()> {
        let began = Instant::now();
        // The pods that follow those that were killed are made a moment later.
        while let Err(error) = self.operators_are_ready() {
            ensure!(began.elapsed() < STARTS, "the operator is not ready within {STARTS:?}: {error:#}");
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn operators_are_ready(&self) -> Result<()> {
        let pods = self.kubectl()?.run(&["get", "pods", "-n", NAMESPACE, "-l", OPERATOR, "-o", "json"])?;
        let pods: Value = serde_json::from_str(&pods)?;
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let is_true = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.is_some_and(|all| all.iter().any(is_true))
        };
        let ready = pods["items"].as_array().into_iter().flatten().filter(is_ready).count();
        ensure!(ready == OPERATORS, "{ready} of {OPERATORS} pods are ready");
        Ok(())
    }

    /// A new namespace that admits only restricted pods.
    pub async fn space(&self, name: &str) -> Result<Space<'_>> {
        Space::unaudited(self.cluster.control_plane(), name).await
    }

    /// A namespace that is there.
    pub async fn existing_space(&self, name: &str) -> Result<Space<'_>> {
        Space::unaudited_existing(self.cluster.control_plane(), name).await
    }

    /// Applies objects as administrator.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        // A JSON list is a manifest, too.
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        self.kubectl()?.apply(&list.to_string())?;
        Ok(())
    }

    /// What the operator will make of a platform.
    pub fn children(&self, platform: &Value) -> Result<Vec<Value>> {
        let name = format!("{}.json", text(platform, "/metadata/name"));
        let file = self.cluster.control_plane().dir().join(name);
        std::fs::write(&file, platform.to_string())?;
        let output = Command::new(workspace_binary("kubectl-trading")?)
            .args(["render", "-f"])
            .arg(&file)
            .output()
            .context("cannot run kubectl-trading")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl-trading render: {}", said.trim());
        documents(&String::from_utf8(output.stdout)?)
    }

    /// What to read when a test fails: pods, events and the operator's log.
    #[must_use]
    pub fn explain(&self, namespace: &str) -> String {
        let tell = |arguments: &[&str]| -> String {
            let said = self.kubectl().and_then(|kubectl| kubectl.run(arguments));
            said.unwrap_or_else(|error| format!("{error:#}"))
        };
        let pods = tell(&["get", "pods,pvc", "-A", "-o", "wide"]);
        let events = tell(&["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]);
        let select = "app.kubernetes.io/part-of=trading-platform";
        // Without `--ignore-errors` one container that still waits keeps the words of all others.
        let all = ["--all-containers", "--prefix", "--ignore-errors", "--tail=15"];
        let pods_say = tell(&[&["logs", "-n", namespace, "-l", select][..], &all].concat());
        let operator = self.cluster.operator_log(NAMESPACE, 30);
        let operator = operator.unwrap_or_else(|error| format!("{error:#}"));
        format!("{pods}\n{events}\n{pods_say}\n{operator}")
    }
}
