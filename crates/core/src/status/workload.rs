//! State of the pods of one workload, reduced to what is reported.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::PersistentVolumeClaim,
};
use serde_json::Value;
use trading_api::{Quantity, labels};

use super::backup::Backups;
use crate::cnpg;

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
    /// Pods of a `StatefulSet` that are not of its newest revision.
    pub outdated: i32,
    /// Release on the pod template.
    pub version: Option<String>,
    /// Why its controller gave up or can't make pods.
    pub failure: Option<String>,
    /// What its controller says of itself, where it is another operator.
    pub says: Option<String>,
    /// How far that operator is with stopping it around its volumes.
    pub hibernation: Hibernation,
    /// What it says of backups.
    pub backups: Backups,
    /// Size of the volumes that a `StatefulSet` makes for each pod, by the name of their template.
    pub volumes: BTreeMap<String, Quantity>,
}

/// A database of `CloudNativePG` that stops around its volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hibernation {
    /// It is to run.
    #[default]
    None,
    /// Its servers end.
    Underway,
    /// It does not serve, and is stopped when it does.
    Deferred,
    /// Its servers are gone.
    Done,
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
            // Of pods without probes only those that have run for a while.
            ready: status.available_replicas.unwrap_or_default(),
            rolled_out: updated >= desired && status.replicas.unwrap_or_default() <= updated,
            version: version(deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref())),
            failure,
            ..Self::default()
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(set: &StatefulSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        let desired = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        // Which revision is the current one says nothing: it stays the first where pods are replaced by us.
        let updated = status.updated_replicas.unwrap_or_default();
        Self {
            observed: status.observed_generation >= set.metadata.generation,
            desired,
            ready: status.ready_replicas.unwrap_or_default(),
            rolled_out: status.replicas >= desired
                && (status.update_revision.is_none() || updated >= status.replicas),
            outdated: if status.update_revision.is_some() { (status.replicas - updated).max(0) } else { 0 },
            version: version(set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref())),
            volumes: volumes(set),
            ..Self::default()
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
            ..Self::default()
        }
    }
}

impl Workload {
    /// State of a database that `CloudNativePG` runs. Its status does not say which edit it is of; but its
    /// phase leaves the healthy one as soon as an edit changes anything. `asleep`: it was asked to stop.
    #[must_use]
    pub fn of_cluster(object: &Value, asleep: bool) -> Self {
        let status = &object["status"];
        let text = |name: &str| status[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let phase = text("phase");
        let is_healthy = phase.as_deref() == Some(cnpg::HEALTHY);
        let failure = phase.clone().filter(|phase| cnpg::STUCK.contains(&phase.as_str()));
        let reason = text("phaseReason").filter(|_| !is_healthy);
        let explained = |phase: String| match &reason {
            Some(reason) => format!("{phase}: {reason}"),
            None => phase,
        };
        let primary = text("currentPrimary").map(|primary| format!("primary {primary}"));
        let phase = phase.filter(|_| !is_healthy);
        Self {
            observed: status.is_object(),
            desired: number(&object["spec"]["instances"]).unwrap_or(1),
            ready: number(&status["readyInstances"]).unwrap_or_default(),
            rolled_out: is_healthy,
            version: text("image").and_then(|image| Some(tag(&image)?.to_owned())),
            failure: failure.map(explained),
            says: in_words([phase.map(explained), primary]),
            backups: Backups::of(object),
            hibernation: if asleep { hibernation(status) } else { Hibernation::None },
            ..Self::default()
        }
    }
}

impl Workload {
    /// State of a pooler that `CloudNativePG` runs: how many pods there are, which it tells, and not how many of
    /// them are ready.
    #[must_use]
    pub fn of_pooler(object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let text = |name: &str| status[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let desired = number(&spec["instances"]).unwrap_or(1);
        let there = number(&status["instances"]).unwrap_or_default();
        let has_failed = text("phase").is_some_and(|phase| phase == cnpg::POOLER_FAILED);
        Self {
            observed: status.is_object(),
            desired,
            ready: there.min(desired),
            rolled_out: there == desired,
            version: text("image").and_then(|image| Some(tag(&image)?.to_owned())),
            failure: text("phaseReason").filter(|_| has_failed),
            says: text("phaseReason").or_else(|| text("error")),
            ..Self::default()
        }
    }
}

fn in_words(parts: [Option<String>; 2]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn number(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|number| i32::try_from(number).ok())
}

/// Of `registry:5000/name:tag@digest`.
fn tag(image: &str) -> Option<&str> {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    image.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

fn hibernation(status: &Value) -> Hibernation {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut told = conditions.filter(|condition| condition["type"] == cnpg::HIBERNATION);
    match told.next() {
        Some(condition) if condition["status"] == "True" => Hibernation::Done,
        Some(condition) if condition["reason"] == cnpg::WAITING_FOR_HEALTHY => Hibernation::Deferred,
        _ => Hibernation::Underway,
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSetStatus;

    use super::*;

    #[test]
    fn a_set_is_rolled_out_when_all_its_pods_are_of_the_newest_revision() {
        let with = |updated: i32, current: &str| {
            let status = StatefulSetStatus {
                replicas: 3,
                ready_replicas: Some(3),
                updated_replicas: Some(updated),
                current_revision: Some(current.to_owned()),
                update_revision: Some("a".to_owned()),
                ..StatefulSetStatus::default()
            };
            let spec =
                k8s_openapi::api::apps::v1::StatefulSetSpec { replicas: Some(3), ..Default::default() };
            Workload::from(&StatefulSet { spec: Some(spec), status: Some(status), ..StatefulSet::default() })
        };
        // Kubernetes leaves the current revision as it is where pods are replaced by others than itself.
        for current in ["a", "b"] {
            assert!(with(3, current).is_settled());
            let rolling = with(1, current);
            assert_eq!((rolling.is_settled(), rolling.outdated), (false, 2));
        }
    }
}
