//! A rendered platform, and questions about it.

use serde_json::Value;
use trading_api::{TradingPlatform, labels};
use trading_core::{kinds::Kind, object::Object, plan::Plan};

use crate::support::rendered;

/// A rendered platform.
pub struct World {
    pub plan: Plan,
    pub objects: Vec<Object>,
}

impl World {
    pub fn of(platform: &TradingPlatform) -> Self {
        let (plan, objects) = rendered(platform);
        Self { plan, objects }
    }

    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.kind == kind)
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Object> {
        self.all(kind).find(|object| object.namespace == namespace && object.name == name)
    }

    /// Objects that make pods, the privileged ones of a container runtime excepted.
    pub fn workloads(&self) -> impl Iterator<Item = &Object> {
        self.all(Kind::Deployment).chain(self.all(Kind::StatefulSet))
    }

    /// Objects that make pods.
    pub fn all_workloads(&self) -> impl Iterator<Item = &Object> {
        self.workloads().chain(self.all(Kind::DaemonSet))
    }
}

/// The template of the pods that a workload makes.
pub fn template(workload: &Object) -> &Value {
    &workload.body["spec"]["template"]
}

/// The component on an object's own label.
pub fn component(object: &Object) -> &Value {
    &object.body["metadata"]["labels"][labels::NAME]
}

/// Items of a list, or nothing.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Whether a set of labels has everything that a selector asks for.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|asked| {
        !asked.is_empty() && asked.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}
