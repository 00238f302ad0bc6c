//! Live objects of which the caches keep more than the metadata.

use std::fmt::Debug;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    coordination::v1::Lease,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource, ResourceExt,
    core::{DynamicObject, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use trading_core::{
    cnpg,
    kinds::Kind,
    status::workload::{Autoscaler, Workload},
    step::Child,
    told::{self, Told},
};

use super::entry::{Entry, child};

/// A kind that is watched whole.
pub trait Live:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static
{
    /// The kind.
    const KIND: Kind;

    /// Notes what matters of it beside the metadata.
    fn describe(&self, child: &mut Child);

    /// The object as the cache keeps it. `None` where it is not the operator's.
    fn entry(&self) -> Option<Entry> {
        let mut entry = child(Self::KIND, self.meta())?;
        self.describe(&mut entry.child);
        Some(entry)
    }
}

impl Live for Deployment {
    const KIND: Kind = Kind::Deployment;

    fn describe(&self, child: &mut Child) {
        child.workload = Some(Workload::from(self));
    }
}

impl Live for DaemonSet {
    const KIND: Kind = Kind::DaemonSet;

    fn describe(&self, child: &mut Child) {
        child.workload = Some(Workload::from(self));
    }
}

impl Live for StatefulSet {
    const KIND: Kind = Kind::StatefulSet;

    fn describe(&self, child: &mut Child) {
        child.workload = Some(Workload::from(self));
    }
}

impl Live for HorizontalPodAutoscaler {
    const KIND: Kind = Kind::HorizontalPodAutoscaler;

    fn describe(&self, child: &mut Child) {
        child.autoscaler = Some(Autoscaler::from(self));
    }
}

/// The Lease of a database: of what the agents write there little matters, and that changes rarely.
impl Live for Lease {
    const KIND: Kind = Kind::Lease;

    fn describe(&self, child: &mut Child) {
        child.holder = self.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let annotation = self.metadata.annotations.as_ref().and_then(|all| all.get(told::ANNOTATION));
        child.told = annotation.and_then(|text| Told::parse(text));
    }
}

/// KEDA's `ScaledObject`, which is none of Kubernetes' own types.
pub fn scaled_object(live: &DynamicObject) -> Option<Entry> {
    let mut entry = child(Kind::ScaledObject, &live.metadata)?;
    entry.child.autoscaler = Some(Autoscaler::of_scaled_object(&live.data));
    Some(entry)
}

/// CloudNativePG's `Cluster`, which is none either.
pub fn cluster(live: &DynamicObject) -> Option<Entry> {
    let mut entry = child(Kind::Cluster, &live.metadata)?;
    let asleep = live.annotations().get(cnpg::HIBERNATION).is_some_and(|value| value == cnpg::ASLEEP);
    entry.child.workload = Some(Workload::of_cluster(&live.data, asleep));
    Some(entry)
}

/// And its `Pooler`.
pub fn pooler(live: &DynamicObject) -> Option<Entry> {
    let mut entry = child(Kind::Pooler, &live.metadata)?;
    entry.child.workload = Some(Workload::of_pooler(&live.data));
    Some(entry)
}

/// An answer of the apiserver as the cache keeps it, the same as the watch makes of the object.
pub fn answered(kind: Kind, live: &DynamicObject) -> Option<Entry> {
    fn parsed<K: Live>(live: &DynamicObject) -> Option<Entry> {
        live.clone().try_parse::<K>().ok()?.entry()
    }
    match kind {
        Kind::Deployment => parsed::<Deployment>(live),
        Kind::DaemonSet => parsed::<DaemonSet>(live),
        Kind::StatefulSet => parsed::<StatefulSet>(live),
        Kind::HorizontalPodAutoscaler => parsed::<HorizontalPodAutoscaler>(live),
        Kind::Lease => parsed::<Lease>(live),
        Kind::ScaledObject => scaled_object(live),
        Kind::Cluster => cluster(live),
        Kind::Pooler => pooler(live),
        _ => child(kind, &live.metadata),
    }
}

/// Whether what the caches keep of a new object of the kind is in its document and its metadata.
pub fn starts_blank(kind: Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::DaemonSet | Kind::StatefulSet | Kind::HorizontalPodAutoscaler)
}

/// A new object of such a kind as the cache keeps it. Should it have existed, its watch tells what it was.
pub fn made(kind: Kind, metadata: ObjectMeta, body: &Value) -> Option<Entry> {
    fn of<K: Live>(metadata: ObjectMeta, body: &Value) -> Option<Entry> {
        let mut live = K::deserialize(body).ok()?;
        *live.meta_mut() = metadata;
        live.entry()
    }
    match kind {
        Kind::Deployment => of::<Deployment>(metadata, body),
        Kind::DaemonSet => of::<DaemonSet>(metadata, body),
        Kind::StatefulSet => of::<StatefulSet>(metadata, body),
        Kind::HorizontalPodAutoscaler => of::<HorizontalPodAutoscaler>(metadata, body),
        _ => child(kind, &metadata),
    }
}
