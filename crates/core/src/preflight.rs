//! Before anything is applied, pure: whether what the platform would ask for at its maximum fits
//! the quota that it brings along. The numbers are read from the rendered objects, so whatever
//! makes pods is counted.

use std::collections::BTreeMap;

use serde_json::Value;
use trading_api::{Quantity, component::ResourceAmounts};

use crate::{kinds::Kind, object::Object, plan::Plan, problem::Problem};

/// Reason of the warning that the quota is too small for the maximum; what fits runs.
const QUOTA_TOO_SMALL: &str = "QuotaTooSmall";
/// Amounts are sums of binary fractions; what differs by less is equal.
const TOLERANCE: f64 = 1e-6;

/// What does not fit.
#[must_use]
pub fn problems(plan: &Plan, objects: &[Object]) -> Vec<Problem> {
    let Some(quota) = &plan.quota else { return Vec::new() };
    let here: Vec<Object> =
        objects.iter().filter(|object| object.namespace == plan.identity.namespace).cloned().collect();
    let objects = here.as_slice();
    let most = demand(objects);
    let short: Vec<String> = quota
        .hard
        .iter()
        .filter_map(|(key, bound)| {
            let wanted = *most.get(full_name(key))?;
            (wanted > bound.value()? + TOLERANCE)
                .then(|| format!("{key}: {bound}, needed {}", in_words(key, wanted)))
        })
        .collect();
    let too_small = (!short.is_empty()).then(|| {
        format!(
            "quota.hard is too small for the platform with all replicas and one update under way ({}): raise it, or lower maxReplicas or resources",
            short.join("; ")
        )
    });
    let outside = quota.container.as_ref().map(|bounds| out_of_bounds(bounds, objects)).unwrap_or_default();
    let outside = (!outside.is_empty()).then(|| {
        format!(
            "quota.container refuses containers of the platform ({}): widen it, or change their resources",
            outside.join("; ")
        )
    });
    too_small
        .into_iter()
        .chain(outside)
        .map(|message| Problem::whole(QUOTA_TOO_SMALL, message).as_warning())
        .collect()
}

/// Pods of a database of CloudNativePG beside its servers: one that joins is a Job first, which copies the data.
const JOINING: f64 = 1.0;

/// `cpu` and `memory` are short for what is requested of them.
fn full_name(key: &str) -> &str {
    match key {
        "cpu" => "requests.cpu",
        "memory" => "requests.memory",
        "count/pods" => "pods",
        "count/services" => "services",
        "count/secrets" => "secrets",
        "count/configmaps" => "configmaps",
        "count/persistentvolumeclaims" => "persistentvolumeclaims",
        other => other,
    }
}

/// A number of cores or objects as it is, bytes in Gi.
fn in_words(key: &str, amount: f64) -> String {
    const GI: f64 = 1024.0 * 1024.0 * 1024.0;
    if key.ends_with("memory") || key.ends_with("storage") {
        format!("{}Gi", rounded_up(amount / GI))
    } else {
        rounded_up(amount)
    }
}

/// At most two digits after the point, never less than the amount.
fn rounded_up(amount: f64) -> String {
    let text = format!("{:.2}", ((amount - TOLERANCE) * 100.0).ceil() / 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a `ResourceQuota` would count with every workload at its maximum, by its key.
fn demand(objects: &[Object]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    let mut add = |key: &str, amount: f64| *sums.entry(key.to_owned()).or_default() += amount;
    for object in objects {
        match object.kind {
            Kind::Service => add("services", 1.0),
            Kind::Secret => add("secrets", 1.0),
            Kind::ConfigMap => add("configmaps", 1.0),
            Kind::PersistentVolumeClaim => {
                add("persistentvolumeclaims", 1.0);
                add("requests.storage", storage(&object.body["spec"]));
            }
            _ => {}
        }
        let info = object.kind.info();
        let dot = if info.group.is_empty() { "" } else { "." };
        add(&format!("count/{}{dot}{}", info.plural, info.group), 1.0);
        let joining = if object.kind == Kind::Cluster { JOINING } else { 0.0 };
        let pods = f64::from(most_pods(object, objects)) + joining;
        if pods > 0.0 {
            add("pods", pods);
            for bound in ["requests", "limits"] {
                for resource in ["cpu", "memory"] {
                    let beside = beside(object, objects, bound, resource);
                    add(
                        &format!("{bound}.{resource}"),
                        pods * (of_pod(&object.body, bound, resource) + beside),
                    );
                }
            }
        }
        if object.kind == Kind::Cluster {
            for volume in ["storage", "walStorage"] {
                if let Some(size) = amount(&object.body["spec"][volume]["size"]) {
                    add("persistentvolumeclaims", pods - JOINING);
                    add("requests.storage", (pods - JOINING) * size);
                }
            }
        }
        for claim in list(&object.body["spec"]["volumeClaimTemplates"]) {
            add("persistentvolumeclaims", pods);
            add("requests.storage", pods * storage(&claim["spec"]));
        }
    }
    sums
}

fn storage(claim: &Value) -> f64 {
    amount(&claim["resources"]["requests"]["storage"]).unwrap_or_default()
}

/// Pods that a workload has at most, with those that an update puts beside the old ones.
fn most_pods(object: &Object, objects: &[Object]) -> i32 {
    let spec = &object.body["spec"];
    let replicas = || number(&spec["replicas"]).or(object.seed_replicas).unwrap_or(1);
    match object.kind {
        Kind::StatefulSet => replicas(),
        Kind::Cluster => number(&spec["instances"]).unwrap_or(1),
        // It is a Deployment with Kubernetes' own surge.
        Kind::Pooler => number(&spec["instances"]).map_or(0, |pods| pods + surge(&Value::from("25%"), pods)),
        Kind::Deployment => {
            let scaled = objects
                .iter()
                .find(|other| {
                    other.kind.scales() && other.name == object.name && other.namespace == object.namespace
                })
                .map(|autoscaler| &autoscaler.body["spec"])
                .and_then(|spec| number(&spec["maxReplicas"]).or_else(|| number(&spec["maxReplicaCount"])));
            let pods = scaled.unwrap_or_else(replicas);
            if pods == 0 { 0 } else { pods + surge(&spec["strategy"]["rollingUpdate"]["maxSurge"], pods) }
        }
        _ => 0,
    }
}

fn number(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|number| i32::try_from(number).ok())
}

/// Kubernetes rounds a share up.
fn surge(value: &Value, pods: i32) -> i32 {
    let share = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i32>().ok());
    share.map_or_else(|| number(value).unwrap_or_default(), |percent| (pods * percent + 99) / 100)
}

/// What counts for a pod: its containers together, or an init container that asks for more.
fn of_pod(workload: &Value, bound: &str, resource: &str) -> f64 {
    // CloudNativePG's servers have one container of their own.
    if let Some(amounts) = workload["spec"].get("resources") {
        return amount(&amounts[bound][resource]).unwrap_or_default();
    }
    let pod = &workload["spec"]["template"]["spec"];
    let of = |container: &Value| amount(&container["resources"][bound][resource]).unwrap_or_default();
    let together: f64 = list(&pod["containers"]).map(of).sum();
    list(&pod["initContainers"]).map(of).fold(together, f64::max)
}

/// What a backup's container asks for beside each server of CloudNativePG.
fn beside(object: &Object, objects: &[Object], bound: &str, resource: &str) -> f64 {
    let is_its = |other: &&Object| other.kind == Kind::ObjectStore && other.component == object.component;
    let bucket = objects.iter().find(is_its).filter(|_| !object.body["spec"]["plugins"].is_null());
    let amounts = bucket.map(|bucket| &bucket.body["spec"]["instanceSidecarConfiguration"]["resources"]);
    amounts.and_then(|amounts| amount(&amounts[bound][resource])).unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn amount(value: &Value) -> Option<f64> {
    Quantity::from(value.as_str()?).value()
}

/// Containers that a `LimitRange` would refuse.
fn out_of_bounds(bounds: &trading_api::placement::ContainerLimits, objects: &[Object]) -> Vec<String> {
    let bound_of = |amounts: Option<&ResourceAmounts>, resource: &str| {
        let amounts = amounts?;
        if resource == "cpu" { amounts.cpu.clone() } else { amounts.memory.clone() }
    };
    let mut found = Vec::new();
    for object in objects {
        let pod = &object.body["spec"]["template"]["spec"];
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            for resource in ["cpu", "memory"] {
                let of = |bound: &str| amount(&container["resources"][bound][resource]);
                let max = bound_of(bounds.max.as_ref(), resource);
                if let (Some(max), Some(limit)) = (max, of("limits"))
                    && max.value().is_some_and(|most| limit > most + TOLERANCE)
                {
                    found.push(format!("{}: limits.{resource} above {max}", object.name));
                }
                let min = bound_of(bounds.min.as_ref(), resource);
                if let (Some(min), Some(request)) = (min, of("requests"))
                    && min.value().is_some_and(|least| request + TOLERANCE < least)
                {
                    found.push(format!("{}: requests.{resource} below {min}", object.name));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}
