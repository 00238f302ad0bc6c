//! A platform under trial: its applications write to its stores while something happens, and what was
//! acknowledged must be there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Application, Load, Stage, key, platform};
use crate::sim::{Propagation, Space, at, text, wait_for};

const NAME: &str = "shop";

/// From applying a platform to Ready, images being there.
const UP: Duration = Duration::from_mins(3);

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

    /// Writes to the stores while something happens, waits until all take writes again, and reads all back.
    pub async fn under_load(&self, what: &str, happens: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
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
        for load in loads {
            let ledger = load.end().await?;
            eprintln!("{what}: {}", ledger.describe());
            ledger.check(&self.application).await?;
        }
        Ok(())
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
        let mut arguments = vec!["delete", "pod", "-n", &self.space.name, "--grace-period=0", "--force"];
        arguments.extend(&names);
        self.stage.kubectl()?.run(&arguments)?;
        for pod in pods {
            self.replaced(pod).await?;
        }
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

    /// Changes the spec by a merge patch.
    pub async fn edit(&self, spec: &Value) -> Result<()> {
        self.space.edit(NAME, spec).await.map(drop)
    }

    /// Lets the platform go.
    pub async fn end(self) -> Result<()> {
        self.space.delete("TradingPlatform", NAME, Propagation::Background).await
    }
}
