//! The verdict of a real apiserver on a resource, beside that of `trading_core::admission`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::PostParams;
use serde_json::{Value, json};
use trading_core::admission::{self, Violation};

use super::request::{Answer, Objects};
use super::{namespace, schema};

const NAMESPACE: &str = "admission";

/// What both say about one resource.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The apiserver's refusal.
    pub apiserver: Option<String>,
    /// What the rules say without a cluster.
    pub offline: Vec<Violation>,
}

impl Verdict {
    /// Whether both admit it or both refuse it.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.apiserver.is_none() == self.offline.is_empty()
    }

    /// Which of these messages the apiserver gives.
    #[must_use]
    pub fn rules_of_apiserver(&self, messages: &BTreeSet<String>) -> BTreeSet<String> {
        let said = self.apiserver.as_deref().unwrap_or_default();
        messages.iter().filter(|message| said.contains(*message)).cloned().collect()
    }

    /// Which of these messages are given without a cluster.
    #[must_use]
    pub fn rules_offline(&self, messages: &BTreeSet<String>) -> BTreeSet<String> {
        messages
            .iter()
            .filter(|message| self.offline.iter().any(|violation| violation.message.contains(*message)))
            .cloned()
            .collect()
    }
}

/// Asks both.
#[derive(Clone)]
pub struct Court {
    platforms: Objects,
    /// The messages of all CEL rules.
    pub messages: BTreeSet<String>,
}

impl Court {
    /// Needs the kind to be installed.
    ///
    /// # Errors
    /// When the namespace for the resources cannot be made.
    pub async fn new(client: &Client) -> Result<Self> {
        namespace(client, NAMESPACE).await?;
        Ok(Self {
            platforms: Objects::platforms(client, NAMESPACE),
            messages: schema::rule_messages(&trading_api::schema::open_api_schema()),
        })
    }

    /// The verdict on a new resource, or on the change from `old`. Nothing stays behind.
    ///
    /// # Errors
    /// When there is no answer, or `old` is not admitted.
    pub async fn judge(&self, resource: &Value, old: Option<&Value>) -> Result<Verdict> {
        let answer = match old {
            None => self.platforms.create(&dry_run(), &placed(resource)).await?,
            Some(old) => self.change(resource, old).await?,
        };
        Ok(Verdict {
            apiserver: answer.err().map(|status| status.message.clone()),
            offline: admission::check(resource, old),
        })
    }

    async fn change(&self, resource: &Value, old: &Value) -> Result<Answer> {
        let stored = self.platforms.create(&PostParams::default(), &placed(old)).await?;
        let stored = stored.map_err(|status| anyhow::anyhow!("`old` is refused: {}", status.message))?;
        let name = stored["metadata"]["name"].as_str().context("no name")?;
        ensure!(resource["metadata"]["name"] == name, "`old` has another name");
        let mut body = placed(resource);
        body["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let answer = self.platforms.replace(name, &dry_run(), &body).await?;
        self.platforms
            .delete(name)
            .await?
            .map_err(|status| anyhow::anyhow!("{name} is not deleted: {}", status.message))?;
        Ok(answer)
    }
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

/// In our namespace, whatever its own is.
fn placed(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if resource["metadata"].is_object() {
        resource["metadata"]["namespace"] = json!(NAMESPACE);
    }
    resource
}
