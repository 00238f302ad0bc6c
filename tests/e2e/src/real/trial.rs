//! A platform under trial: its applications write to its stores while something happens, and what was
//! acknowledged must be there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::application::ask;
use super::{Application, Ledger, Load, Stage, key, platform};
use crate::sim::{Propagation, Space, at, text, wait_for};

const NAME: &str = "shop";

/// From applying a platform to Ready, images being there.
const UP: Duration = Duration::from_mins(3);

/// What the stores acknowledged while something happened.
#[derive(Debug)]
pub struct Ledgers(Vec<Ledger>);

impl Ledgers {
    /// How many writes a store acknowledged.
    #[must_use]
    pub fn acknowledged(&self, store: &str) -> usize {
        self.of(store).map_or(0, |ledger| ledger.acknowledged.len())
    }

    fn of(&self, store: &str) -> Option<&Ledger> {
        self.0.iter().find(|ledger| ledger.store == store)
    }

    /// Fails when a client that asks again so often would have failed.
    pub fn failed_in_a_row_at_most(&self, store: &str, bound: usize) -> Result<()> {
        let ledger = self.of(store).with_context(|| format!("no load on {store}"))?;
        let (found, said) = (ledger.failed_in_a_row, &ledger.last_error);
        ensure!(found <= bound, "{found} writes to {store} failed in a row, more than {bound}: {said}");
        Ok(())
    }

    /// Fails when a store took no writes for longer; returns for how long it took none.
    pub fn paused_at_most(&self, store: &str, bound: Duration) -> Result<Duration> {
        let gap = self.of(store).with_context(|| format!("no load on {store}"))?.longest_gap;
        ensure!(gap <= bound, "{store} took no writes for {gap:?}, longer than {bound:?}");
        Ok(gap)
    }
}

/// One platform in a namespace of its own.
pub struct Trial {
    /// Where it is.
    pub space: Space<'static>,
    /// Its backend.
    pub application: Application,
    stage: &'static Stage,
    stores: Vec<&'static str>,
}

impl Trial {
    /// Makes the platform, as a merge patch of the spec has it, and waits until it is ready.
    pub async fn begin(
        stage: &'static Stage,
        namespace: &str,
        stores: &[&'static str],
        patch: &Value,
    ) -> Result<Self> {
        let space = stage.space(namespace).await?;
        let began = Instant::now();
        space.put(&platform(NAME, patch)).await?;
        let application = Application::new(&space, NAME, "backend");
        let trial = Self { space, application, stage, stores: stores.to_vec() };
        trial.ready().await?;
        eprintln!("{namespace}: Ready after {:.1} s", began.elapsed().as_secs_f64());
        Ok(trial)
    }

    async fn ready(&self) -> Result<()> {
        let result = self.space.condition_is(NAME, "Ready", "True", "Ready", UP).await;
        result.map(drop).with_context(|| self.stage.explain(&self.space.name))
    }

    /// Writes to the stores while something happens, waits until all take writes again, and reads all back:
    /// nothing acknowledged may be lost.
    pub async fn under_load(&self, what: &str, happens: impl AsyncFnOnce() -> Result<()>) -> Result<Ledgers> {
        let ledgers = self.written_while(what, happens).await?;
        for ledger in &ledgers.0 {
            ledger.check(&self.application).await?;
        }
        Ok(ledgers)
    }

    /// The same, but this store may have acknowledged what it loses; it is only told how much.
    pub async fn under_load_losing(
        &self,
        store: &str,
        what: &str,
        happens: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Ledgers> {
        let ledgers = self.written_while(what, happens).await?;
        for ledger in &ledgers.0 {
            if ledger.store == store {
                let lost = ledger.lost(&self.application).await?.len();
                eprintln!(
                    "{what}: {store}: {lost} of {} acknowledged writes are lost",
                    ledger.acknowledged.len()
                );
            } else {
                ledger.check(&self.application).await?;
            }
        }
        Ok(ledgers)
    }

    async fn written_while(&self, what: &str, happens: impl AsyncFnOnce() -> Result<()>) -> Result<Ledgers> {
        let loads: Vec<Load> =
            self.stores.iter().map(|store| Load::begin(&self.application, store, what)).collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        happens().await?;
        for store in &self.stores {
            let again = format!("{store} takes writes after: {what}");
            wait_for(&again, UP, async || self.application.keep(store, &key(&format!("after {what}"))).await)
                .await
                .with_context(|| self.stage.explain(&self.space.name))?;
        }
        self.ready().await?;
        let mut ledgers = Vec::new();
        for load in loads {
            let ledger = load.end().await?;
            eprintln!("{what}: {}", ledger.describe());
            ledgers.push(ledger);
        }
        Ok(Ledgers(ledgers))
    }

    /// The pods of a component.
    pub async fn pods(&self, component: &str) -> Result<Vec<Value>> {
        self.space.pods(NAME, component).await
    }

    /// The first pod of a component.
    pub async fn pod(&self, component: &str) -> Result<Value> {
        let pods = self.pods(component).await?;
        pods.into_iter().next().with_context(|| format!("{component} has no pod"))
    }

    /// Kills pods at once, as if their machines were gone, and waits until others are ready in their place.
    pub async fn kill(&self, pods: &[Value]) -> Result<()> {
        let names: Vec<&str> = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
        let mut arguments =
            vec!["delete", "pod", "-n", &self.space.name, "--grace-period=0", "--force", "--timeout=2m"];
        arguments.extend(&names);
        self.stage.kubectl()?.run(&arguments)?;
        for pod in pods {
            self.replaced(pod).await?;
        }
        Ok(())
    }

    /// The number of the node on which a pod is.
    pub fn node(pod: &Value) -> Result<usize> {
        let name = text(pod, "/spec/nodeName");
        name.trim_start_matches("node-").parse().with_context(|| format!("no node {name}"))
    }

    /// The name of a pod's first container in its runtime.
    pub fn container(pod: &Value) -> Result<&str> {
        let id = text(pod, "/status/containerStatuses/0/containerID");
        id.strip_prefix("containerd://").with_context(|| format!("no container {id:?}"))
    }

    /// Whether a line of a server's metrics begins like this.
    pub async fn says(&self, pod: &Value, port: u16, line: &str) -> Result<()> {
        let address = SocketAddr::new(text(pod, "/status/podIP").parse()?, port);
        let metrics = ask(address, "/metrics", None).await?;
        let name = text(pod, "/metadata/name");
        ensure!(metrics.lines().any(|said| said.starts_with(line)), "{name} does not say {line}");
        Ok(())
    }

    /// Waits until another pod of that name is ready.
    pub async fn replaced(&self, old: &Value) -> Result<()> {
        let name = text(old, "/metadata/name");
        wait_for(&format!("pod {name} is replaced"), UP, async || {
            let pod = self.space.get("Pod", name).await?;
            ensure!(at(&pod, "/metadata/uid") != at(old, "/metadata/uid"), "it is the old one");
            let ready = at(&pod, "/status/containerStatuses/0/ready");
            ensure!(ready == &json!(true), "it is not ready: {}", at(&pod, "/status"));
            Ok(())
        })
        .await
        .with_context(|| self.stage.explain(&self.space.name))
    }

    /// Waits until all pods of a store are of its newest template and ready.
    pub async fn rolled_out(&self, store: &str, time: Duration) -> Result<()> {
        let rolled_out = self.space.rolled_out(&format!("{NAME}-{store}"), time).await;
        rolled_out.with_context(|| self.stage.explain(&self.space.name))
    }

    /// Has all pods of a store replaced, as an administrator does.
    pub async fn restart(&self, store: &str, time: Duration) -> Result<()> {
        let set = format!("statefulset/{NAME}-{store}");
        self.stage.kubectl()?.run(&["rollout", "restart", &set, "-n", &self.space.name])?;
        self.rolled_out(store, time).await
    }

    /// Changes the spec by a merge patch.
    pub async fn edit(&self, spec: &Value) -> Result<()> {
        self.space.edit(NAME, spec).await.map(drop)
    }

    /// Lets the platform go; its stores end when they have written what they have.
    pub async fn end(self) -> Result<()> {
        self.space.delete("TradingPlatform", NAME, Propagation::Background).await
    }
}

impl Drop for Trial {
    /// What a trial that failed leaves must hinder no other one, as its budgets would the drain of a node.
    fn drop(&mut self) {
        let arguments = ["delete", "tradingplatform", NAME, "-n", &self.space.name];
        let further = ["--wait=false", "--ignore-not-found"];
        let deleted =
            self.stage.kubectl().and_then(|kubectl| kubectl.run(&[arguments.as_slice(), &further].concat()));
        if let Err(error) = deleted {
            eprintln!("{}: {NAME} stays: {error:#}", self.space.name);
        }
    }
}
