//! State of the pods of one workload, reduced to what is reported.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::PersistentVolumeClaim,
};
use serde_json::Value;
use trading_api::{Quantity, labels};

/// State of a Deployment's, `StatefulSet`'s or `DaemonSet`'s pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its controller has seen the newest edit.
    pub observed: bool,
    /// Pods that are asked for.
    pub desired: i32,
    /// Pods that are ready, of any revision.
    pub ready: i32,
    /// All pods are of the newest revision and none is left over.
    pub rolled_out: bool,
    /// Release on the pod template.
    pub version: Option<String>,
    /// Why its controller gave up or can't make pods.
    pub failure: Option<String>,
    /// Size of the volumes that a `StatefulSet` makes for each pod, by the name of their template.
    pub volumes: BTreeMap<String, Quantity>,
}

impl Workload {
    /// Every wished pod is there, ready and new.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.observed && self.rolled_out && self.ready >= self.desired && self.failure.is_none()
    }
}

fn version(template: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>) -> Option<String> {
    template?.labels.as_ref()?.get(labels::VERSION).cloned()
}

impl From<&Deployment> for Workload {
    fn from(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let updated = status.updated_replicas.unwrap_or_default();
        let failure = status.conditions.iter().flatten().find_map(|condition| {
            let failed = (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True");
            failed.then(|| condition.message.clone().unwrap_or_default())
        });
        Self {
            observed: status.observed_generation >= deployment.metadata.generation,
            desired,
            ready: status.ready_replicas.unwrap_or_default(),
            rolled_out: updated >= desired && status.replicas.unwrap_or_default() <= updated,
            version: version(deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref())),
            failure,
            volumes: BTreeMap::new(),
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(set: &StatefulSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        let desired = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        Self {
            observed: status.observed_generation >= set.metadata.generation,
            desired,
            ready: status.ready_replicas.unwrap_or_default(),
            rolled_out: status.replicas >= desired
                && (status.update_revision.is_none() || status.current_revision == status.update_revision),
            version: version(set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref())),
            failure: None,
            volumes: volumes(set),
        }
    }
}

fn volumes(set: &StatefulSet) -> BTreeMap<String, Quantity> {
    let templates = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref());
    let size = |claim: &PersistentVolumeClaim| {
        let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        Some((claim.metadata.name.clone()?, Quantity(requests.get("storage")?.0.clone())))
    };
    templates.into_iter().flatten().filter_map(size).collect()
}

impl From<&DaemonSet> for Workload {
    fn from(set: &DaemonSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        let desired = status.desired_number_scheduled;
        Self {
            observed: status.observed_generation >= set.metadata.generation,
            desired,
            ready: status.number_ready,
            rolled_out: status.updated_number_scheduled.unwrap_or_default() >= desired
                && status.number_misscheduled == 0,
            version: version(set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref())),
            failure: None,
            volumes: BTreeMap::new(),
        }
    }
}

/// State of an autoscaler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Autoscaler {
    /// Why it can't scale.
    pub failure: Option<String>,
}

impl From<&HorizontalPodAutoscaler> for Autoscaler {
    fn from(autoscaler: &HorizontalPodAutoscaler) -> Self {
        let conditions = autoscaler.status.as_ref().and_then(|status| status.conditions.as_ref());
        let failure = conditions.into_iter().flatten().find_map(|condition| {
            let failed = matches!(condition.type_.as_str(), "AbleToScale" | "ScalingActive")
                && condition.status == "False"
                // Scaled to nothing on purpose.
                && condition.reason.as_deref() != Some("ScalingDisabled");
            // Its message names a different metric every time it looks; the reason stays.
            failed.then(|| condition.reason.clone().unwrap_or_default())
        });
        Self { failure }
    }
}

impl Autoscaler {
    /// State of KEDA's `ScaledObject`. Its condition `Ready` tells whether its triggers can be asked, and the
    /// reason of it stays while the message may change.
    #[must_use]
    pub fn of_scaled_object(object: &Value) -> Self {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
        let failed = ready.filter(|ready| ready["status"] == "False");
        Self { failure: failed.map(|ready| ready["reason"].as_str().unwrap_or_default().to_owned()) }
    }
}
