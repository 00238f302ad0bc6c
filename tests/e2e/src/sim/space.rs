//! A namespace to work in, as administrator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};
use trading_api::labels;
use trading_core::kinds::KINDS;
use trading_testbed::ControlPlane;
use trading_testbed::audit::Entry;

use super::audit::Mark;
use super::epilogue::Epilogue;
use super::stack::Stack;
use super::values::{at, text};
use super::wait::{SETTLE, wait_for};

/// The operator's objects by kind and name.
pub type Children = BTreeMap<(String, String), Value>;

/// How a deletion spreads.
pub type Propagation = PropagationPolicy;

/// No write for so long: the operator has done what it had to. Longer than it collects changes.
const QUIET: Duration = Duration::from_millis(1500);
/// Longer than the operator holds back progress that is no new verdict.
const REST: Duration = Duration::from_secs(12);

/// A namespace.
#[derive(Clone)]
pub struct Space<'a> {
    /// What the operator asked for is in its audit log; none where there is no such log.
    stack: Option<&'a Stack>,
    _epilogue: Option<Arc<Epilogue<'a>>>,
    /// An administrator's client.
    pub client: Client,
    /// The namespace.
    pub name: String,
}

/// How a kind is asked for.
#[must_use]
pub fn resource(kind: &str) -> ApiResource {
    let of = |group: &str, version: &str, plural: &str| {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    };
    if let Some(info) = KINDS.iter().find(|info| info.kind.to_string() == kind) {
        return of(info.group, info.version, info.plural);
    }
    match kind {
        "TradingPlatform" => of("platform.trading", "v1alpha1", "tradingplatforms"),
        "CustomResourceDefinition" => of("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        "ReplicaSet" => of("apps", "v1", "replicasets"),
        core => of("", "v1", &format!("{}s", core.to_lowercase())),
    }
}

impl<'a> Space<'a> {
    pub(super) async fn create(stack: &'a Stack, name: &str) -> Result<Self> {
        Self::existing(stack, name).await?.created().await
    }

    pub(super) async fn existing(stack: &'a Stack, name: &str) -> Result<Self> {
        let epilogue = Epilogue { stack, namespace: name.to_owned() };
        Ok(Self {
            stack: Some(stack),
            _epilogue: Some(Arc::new(epilogue)),
            client: stack.cluster().client().await?,
            name: name.to_owned(),
        })
    }

    /// A new namespace that admits only restricted pods, without an audit log.
    pub async fn unaudited(cluster: &ControlPlane, name: &str) -> Result<Self> {
        Self::unaudited_existing(cluster, name).await?.created().await
    }

    /// A namespace that is there, without an audit log.
    pub async fn unaudited_existing(cluster: &ControlPlane, name: &str) -> Result<Self> {
        Ok(Self { stack: None, _epilogue: None, client: cluster.client().await?, name: name.to_owned() })
    }

    async fn created(self) -> Result<Self> {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.name,
                "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
            },
        });
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource("Namespace"));
        api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        Ok(self)
    }

    /// The same namespace without the audit log, for who works beside a test.
    pub(super) fn unaudited_copy(&self) -> Space<'static> {
        Space { stack: None, _epilogue: None, client: self.client.clone(), name: self.name.clone() }
    }

    /// The objects of a kind.
    #[must_use]
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &resource(kind))
    }

    /// An object, if it is there.
    pub async fn find(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let found = self.api(kind).get_opt(name).await.with_context(|| format!("{kind} {name}"))?;
        found.map(|object| whole(kind, &object)).transpose()
    }

    /// An object, which must be there.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.find(kind, name).await?.with_context(|| format!("there is no {kind} {name}"))
    }

    /// The objects of a kind with these labels; all where the selector is empty.
    pub async fn list(&self, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let list = self.api(kind).list(&ListParams::default().labels(selector)).await?;
        list.items.iter().map(|object| whole(kind, object)).collect()
    }

    /// Whether the cluster has the kind now.
    pub async fn serves(&self, kind: &str) -> Result<bool> {
        match self.api(kind).list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("list {kind}")),
        }
    }

    /// The pods of a component.
    pub async fn pods(&self, platform: &str, component: &str) -> Result<Vec<Value>> {
        self.list("Pod", &format!("{}={platform},{}={component}", labels::INSTANCE, labels::NAME)).await
    }

    /// Creates an object.
    pub async fn put(&self, object: &Value) -> Result<Value> {
        let kind = text(object, "/kind");
        let made = self
            .api(kind)
            .create(&PostParams::default(), &serde_json::from_value(object.clone())?)
            .await
            .with_context(|| format!("create {kind} {}", text(object, "/metadata/name")))?;
        whole(kind, &made)
    }

    /// Replaces an object, whatever its version.
    pub async fn replace(&self, object: &Value) -> Result<Value> {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        loop {
            let mut next = object.clone();
            let live = self.get(kind, name).await?;
            next["metadata"]["resourceVersion"] = at(&live, "/metadata/resourceVersion").clone();
            next["metadata"]["finalizers"] = at(&live, "/metadata/finalizers").clone();
            match self.api(kind).replace(name, &PostParams::default(), &serde_json::from_value(next)?).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                result => return whole(kind, &result?),
            }
        }
    }

    /// Changes an object by a merge patch, as somebody else than the operator.
    pub async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<Value> {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        let live = self.api(kind).patch(name, &params, &Patch::Merge(patch)).await;
        whole(kind, &live.with_context(|| format!("patch {kind} {name}"))?)
    }

    /// Tells the status of an object by a merge patch, as its controller.
    pub async fn status(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        self.api(kind).patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Changes a platform's spec by a merge patch.
    pub async fn edit(&self, platform: &str, spec: &Value) -> Result<Value> {
        self.patch("TradingPlatform", platform, &json!({ "spec": spec })).await
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: &str, name: &str, propagation: Propagation) -> Result<()> {
        let params = DeleteParams { propagation_policy: Some(propagation), ..DeleteParams::default() };
        self.api(kind).delete(name, &params).await.with_context(|| format!("delete {kind} {name}"))?;
        Ok(())
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: &str, name: &str, timeout: Duration) -> Result<()> {
        wait_for(&format!("{kind} {name} is gone"), timeout, async || {
            let Some(live) = self.find(kind, name).await? else { return Ok(()) };
            let metadata = &live["metadata"];
            bail!(
                "it is there; deleted {}, finalizers {}, conditions {}",
                metadata["deletionTimestamp"],
                metadata["finalizers"],
                at(&live, "/status/conditions")
            )
        })
        .await
    }

    /// What the operator made of a platform. Labels alone don't tell: Kubernetes copies those of a Service
    /// to the slices that it makes.
    pub async fn children(&self, platform: &str) -> Result<Children> {
        let selector = format!("{}={platform},{}={}", labels::INSTANCE, labels::MANAGED_BY, labels::OPERATOR);
        let mut children = Children::new();
        for info in &KINDS {
            let kind = info.kind.to_string();
            if info.add_on.is_some() && !self.serves(&kind).await? {
                continue;
            }
            let listed = match self.list(&kind, &selector).await {
                // It went between the two questions.
                Err(error) if info.add_on.is_some() && is_absent(&error) => continue,
                listed => listed?,
            };
            for object in listed {
                let managers = at(&object, "/metadata/managedFields").as_array();
                if managers.into_iter().flatten().any(|m| text(m, "/manager").starts_with(labels::OPERATOR)) {
                    children.insert((kind.clone(), text(&object, "/metadata/name").to_owned()), object);
                }
            }
        }
        Ok(children)
    }

    /// A condition of a platform, which must speak of its newest generation.
    pub async fn condition(&self, platform: &str, type_: &str) -> Result<Value> {
        let live = self.get("TradingPlatform", platform).await?;
        let all = at(&live, "/status/conditions").as_array();
        let condition = all.into_iter().flatten().find(|condition| condition["type"] == type_);
        let condition = condition.with_context(|| format!("no condition {type_} yet"))?;
        ensure!(
            at(&live, "/status/observedGeneration") == at(&live, "/metadata/generation"),
            "the newest edit is not observed: {condition}"
        );
        Ok(condition.clone())
    }

    /// Waits until a platform's condition has this status and reason, and returns its message.
    pub async fn condition_is(
        &self,
        platform: &str,
        type_: &str,
        status: &str,
        reason: &str,
        timeout: Duration,
    ) -> Result<String> {
        let what = format!("{type_} of {platform} is {status} because of {reason}");
        wait_for(&what, timeout, async || {
            let condition = self.condition(platform, type_).await?;
            let is = condition["status"] == status && condition["reason"] == reason;
            ensure!(is, "it is {condition}");
            Ok(text(&condition, "/message").to_owned())
        })
        .await
    }

    /// Waits until every component of a platform is ready and new.
    pub async fn ready(&self, platform: &str) -> Result<()> {
        self.condition_is(platform, "Ready", "True", "Ready", SETTLE).await?;
        Ok(())
    }

    /// Waits until all pods of a store are ready and of its newest template.
    pub async fn rolled_out(&self, set: &str, timeout: Duration) -> Result<()> {
        wait_for(&format!("all pods of {set} are new"), timeout, async || {
            let live = self.get("StatefulSet", set).await?;
            let (status, pods) = (at(&live, "/status"), at(&live, "/spec/replicas"));
            let is_seen = at(status, "/observedGeneration") == at(&live, "/metadata/generation");
            let all = ["/updatedReplicas", "/readyReplicas"].iter().all(|field| at(status, field) == pods);
            ensure!(is_seen && all, "{status}");
            Ok(())
        })
        .await
    }

    /// What the operator asked for in this namespace since then, but for Events.
    pub fn requests_since(&self, mark: &Mark) -> Result<Vec<Entry>> {
        let stack = self.stack.context("this cluster has no audit log")?;
        let all = stack.operator_requests_since(mark)?.into_iter();
        Ok(all.filter(|entry| entry.namespace == self.name).collect())
    }

    /// The operator's requests since then, once it has done what it had to.
    pub async fn requests_until_quiet(&self, mark: &Mark) -> Result<Vec<Entry>> {
        self.requests_until_quiet_for(mark, QUIET).await
    }

    /// The operator's requests since then, once it has come to rest: progress may be told late.
    pub async fn requests_until_rest(&self, mark: &Mark) -> Result<Vec<Entry>> {
        self.requests_until_quiet_for(mark, REST).await
    }

    async fn requests_until_quiet_for(&self, mark: &Mark, window: Duration) -> Result<Vec<Entry>> {
        let began = Instant::now();
        loop {
            let requests = self.requests_since(mark)?;
            let last = requests.iter().map(|entry| entry.received).max().unwrap_or_else(|| mark.at());
            if Timestamp::now().duration_since(last) >= SignedDuration::try_from(window)? {
                return Ok(requests);
            }
            ensure!(
                began.elapsed() < SETTLE,
                "the operator does not come to rest:\n{}",
                super::describe(&requests)
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn is_absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 404)
}

/// Items of a list don't say what they are.
fn whole(kind: &str, object: &DynamicObject) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    let resource = resource(kind);
    value["apiVersion"] = json!(resource.api_version);
    value["kind"] = json!(resource.kind);
    Ok(value)
}
