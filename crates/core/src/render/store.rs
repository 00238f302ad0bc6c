//! What the objects of all data stores have in common.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            ContainerPort, ExecAction, HTTPGetAction, PersistentVolumeClaim, PersistentVolumeClaimSpec,
            PodSpec, PodTemplateSpec, Probe, Secret, Service, ServiceAccount, ServicePort, ServiceSpec,
            VolumeResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use trading_api::{Quantity, labels};

use super::meta;
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{HEADLESS, Plan},
};

/// Where the agent is in a store's pods.
pub(super) const AGENT: &str = "/agent/trading-agent";

/// A data store, or a part of one with pods of its own.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    pub plan: &'a Plan,
    /// Name among components.
    pub name: &'static str,
    pub tier: &'static str,
}

impl Store<'_> {
    pub(super) fn metadata(&self, suffix: &str) -> ObjectMeta {
        meta::object(self.plan, suffix, self.name, self.tier, Lifetime::Store)
    }

    pub(super) fn object(&self, kind: Kind, typed: &impl serde::Serialize) -> Object {
        Object::new(kind, self.name, Lifetime::Store, typed)
    }

    pub(super) fn selector(&self) -> BTreeMap<String, String> {
        meta::selector(&self.plan.identity.name, self.name)
    }

    pub(super) fn account(&self) -> Object {
        let account = ServiceAccount {
            metadata: self.metadata(self.name),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        };
        self.object(Kind::ServiceAccount, &account)
    }

    /// A Secret whose keys are generated when it is made.
    pub(super) fn secret(&self, name: &str) -> Object {
        let mut metadata = self.metadata(self.name);
        metadata.name = Some(name.to_owned());
        let secret = Secret { metadata, type_: Some("Opaque".to_owned()), ..Secret::default() };
        self.object(Kind::Secret, &secret)
    }

    /// Leads to those of the pods that carry the labels and are ready.
    pub(super) fn service(
        &self,
        suffix: &str,
        ports: Vec<ServicePort>,
        selector: BTreeMap<String, String>,
    ) -> Object {
        let service = Service {
            metadata: self.metadata(suffix),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                selector: Some(selector),
                ports: Some(ports),
                ..ServiceSpec::default()
            }),
            status: None,
        };
        self.object(Kind::Service, &service)
    }

    /// Gives each server a name of its own, before it is ready too: servers must find each other
    /// to become ready.
    pub(super) fn headless_service(&self, ports: Vec<ServicePort>) -> Object {
        let service = Service {
            metadata: self.metadata(&self.headless_suffix()),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                selector: Some(self.selector()),
                ports: Some(ports),
                ..ServiceSpec::default()
            }),
            status: None,
        };
        self.object(Kind::Service, &service)
    }

    fn headless_suffix(&self) -> String {
        format!("{}-{HEADLESS}", self.name)
    }

    /// What follows the pod's name in its DNS name.
    pub(super) fn domain(&self) -> String {
        self.plan.identity.domain(self.name)
    }

    /// DNS name of the first pod.
    pub(super) fn first_host(&self) -> String {
        format!("{}-0.{}", self.plan.identity.child(self.name), self.domain())
    }

    /// One pod at a time, so that no drain can take a quorum; none where there is a single pod, which
    /// would block every node drain for ever.
    pub(super) fn budget(&self, pods: i32) -> Option<Object> {
        if pods < 2 {
            return None;
        }
        let budget = PodDisruptionBudget {
            metadata: self.metadata(self.name),
            spec: Some(PodDisruptionBudgetSpec {
                selector: Some(meta::matching(self.selector())),
                max_unavailable: Some(IntOrString::Int(1)),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        };
        Some(self.object(Kind::PodDisruptionBudget, &budget))
    }

    /// All pods start at once, since they need each other to become ready, and are replaced in the order of
    /// [`crate::replacing`]; claims are never deleted by Kubernetes.
    pub(super) fn set(&self, pods: i32, template: PodTemplateSpec) -> StatefulSetSpec {
        StatefulSetSpec {
            replicas: Some(pods),
            service_name: Some(self.plan.identity.child(&self.headless_suffix())),
            selector: meta::matching(self.selector()),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            template,
            ..StatefulSetSpec::default()
        }
    }

    /// Immutable once made, so it carries nothing that may change: no UID, no release.
    pub(super) fn claim(&self, name: &str, size: &Quantity, class: Option<&String>) -> PersistentVolumeClaim {
        let mut all = self.selector();
        all.insert(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned());
        let identity = &self.plan.identity;
        if identity.namespace_of(self.name) != identity.namespace {
            all.insert(labels::HOME.to_owned(), identity.namespace.clone());
        }
        PersistentVolumeClaim {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(all), ..ObjectMeta::default() },
            spec: Some(claim_spec("ReadWriteOnce", size, class)),
            status: None,
        }
    }

    pub(super) fn template(&self, version: &str, checksum: &str, pod: PodSpec) -> PodTemplateSpec {
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(meta::pod_labels(self.plan, self.name, self.tier, version)),
                annotations: Some(BTreeMap::from([(
                    labels::CONFIG_CHECKSUM.to_owned(),
                    checksum.to_owned(),
                )])),
                ..ObjectMeta::default()
            }),
            spec: Some(pod),
        }
    }
}

/// What a claim asks for.
pub(super) fn claim_spec(access: &str, size: &Quantity, class: Option<&String>) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        access_modes: Some(vec![access.to_owned()]),
        storage_class_name: class.cloned(),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), size.into())])),
            limits: None,
        }),
        ..PersistentVolumeClaimSpec::default()
    }
}

pub(super) fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

pub(super) fn container_port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// A probe by the agent.
pub(super) fn probe(command: &[&str], failures: i32) -> Probe {
    Probe { exec: Some(ExecAction { command: Some(strings(command)) }), ..times(failures) }
}

/// A question to the agent where it runs as a server.
pub(super) fn http_probe(path: &str, port: &str, failures: i32) -> Probe {
    let get = HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::String(port.to_owned()),
        // Kubernetes' default, which it writes there itself.
        scheme: Some("HTTP".to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), ..times(failures) }
}

fn times(failures: i32) -> Probe {
    Probe {
        period_seconds: Some(5),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

pub(super) fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
