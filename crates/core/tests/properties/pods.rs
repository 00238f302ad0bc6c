//! Pods and what they refer to.

use std::collections::BTreeSet;

use serde_json::Value;
use trading_api::Quantity;
use trading_core::{kinds::Kind, object::Object};

use crate::{
    restricted::{containers, refusal},
    world::{World, items, template},
};

/// What is wrong with the pods.
pub fn flaw(world: &World) -> Option<String> {
    world.workloads().find_map(|workload| {
        let (template, pod) = (template(workload), &template(workload)["spec"]);
        let why = refusal(template)
            .map(|why| format!("not admitted at Pod Security restricted: {why}"))
            .or_else(|| of_pod(pod, workload, world))
            .or_else(|| containers(pod).find_map(|container| of_container(container, pod, workload)))?;
        Some(format!("{} {:?}: {why}", workload.kind, workload.name))
    })
}

fn of_pod(pod: &Value, workload: &Object, world: &World) -> Option<String> {
    if pod["automountServiceAccountToken"] != false {
        return Some("mounts a token".to_owned());
    }
    let token = |volume: &&Value| {
        items(&volume["projected"]["sources"]).any(|source| source.get("serviceAccountToken").is_some())
    };
    if let Some(volume) = items(&pod["volumes"]).find(token) {
        let mounts = |container: &&Value| {
            items(&container["volumeMounts"]).any(|mount| mount["name"] == volume["name"])
        };
        let holders: Vec<&Value> =
            containers(pod).filter(mounts).map(|container| &container["name"]).collect();
        if workload.component != "postgres" || holders != ["postgres"] {
            return Some(format!("{holders:?} have a token"));
        }
    }
    let account = pod["serviceAccountName"].as_str().unwrap_or_default();
    let Some(account) = world.get(Kind::ServiceAccount, &workload.namespace, account) else {
        return Some(format!("runs as {account:?}, which is not the platform's"));
    };
    if account.body["automountServiceAccountToken"] != false {
        return Some("its account mounts tokens".to_owned());
    }
    let claims =
        items(&workload.body["spec"]["volumeClaimTemplates"]).map(|claim| &claim["metadata"]["name"]);
    let volumes: Vec<&Value> = items(&pod["volumes"]).map(|volume| &volume["name"]).chain(claims).collect();
    if let Some(twice) = repeated(volumes.iter().copied()) {
        return Some(format!("volume {twice} twice"));
    }
    for container in containers(pod) {
        for mount in items(&container["volumeMounts"]) {
            if !volumes.contains(&&mount["name"]) {
                return Some(format!("mounts {}, which it does not have", mount["name"]));
            }
        }
    }
    let mut claims = items(&pod["volumes"])
        .filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
    let has = |kind: Kind, name: &str| world.get(kind, &workload.namespace, name).is_some();
    let is_a_persons = |claim: &str| {
        let mut volumes = world.plan.components.iter().flat_map(|component| &component.spec.volumes);
        volumes.any(|volume| volume.claim_name.as_deref() == Some(claim))
    };
    let is_there = |claim: &str| is_a_persons(claim) || has(Kind::PersistentVolumeClaim, claim);
    if let Some(claim) = claims.find(|claim| !is_there(claim)) {
        return Some(format!("mounts claim {claim}, which the platform does not make"));
    }
    let mut maps = items(&pod["volumes"]).filter_map(|volume| volume.pointer("/configMap/name"));
    maps.find(|name| !has(Kind::ConfigMap, name.as_str().unwrap_or_default()))
        .map(|name| format!("mounts ConfigMap {name}, which is not the platform's"))
}

fn of_container(container: &Value, pod: &Value, workload: &Object) -> Option<String> {
    if container["securityContext"]["readOnlyRootFilesystem"] != true {
        return Some("its root file system can be written".to_owned());
    }
    for resource in ["cpu", "memory"] {
        let amount = |bound: &str| {
            let text = container["resources"][bound][resource].as_str()?;
            Quantity::from(text).value()
        };
        let (Some(request), Some(limit)) = (amount("requests"), amount("limits")) else {
            return Some(format!("no bounds of {resource}: {}", container["resources"]));
        };
        if request > limit {
            return Some(format!("requests more {resource} than its limit: {}", container["resources"]));
        }
    }
    for (list, field) in [("volumeMounts", "mountPath"), ("env", "name"), ("ports", "name")] {
        if let Some(twice) = repeated(items(&container[list]).map(|item| &item[field])) {
            return Some(format!("{list} with {twice} twice"));
        }
    }
    for variable in items(&container["env"]) {
        if variable.get("value").is_some() == variable.get("valueFrom").is_some()
            && variable.get("value").is_some()
        {
            return Some(format!("{variable} has two values"));
        }
    }
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let pause = container.pointer("/lifecycle/preStop/sleep/seconds").and_then(Value::as_i64);
    if pause.is_some_and(|pause| pause > grace) {
        return Some("pauses before the stop for longer than it has".to_owned());
    }
    let ports: Vec<&Value> = items(&container["ports"]).map(|port| &port["name"]).collect();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        for handler in ["httpGet", "tcpSocket"] {
            let port = container[probe][handler].get("port");
            if port.is_some_and(|port| !ports.contains(&port)) {
                return Some(format!("{probe} asks port {port:?}, which it does not have"));
            }
        }
    }
    // A password in a value would be readable by everybody who may read pods.
    let ours = [
        "REDIS_PASSWORD",
        "PGPASSWORD",
        "PGUSER",
        "OWNER_PASSWORD",
        "SUPERUSER_PASSWORD",
        "REPLICATION_PASSWORD",
    ];
    (workload.kind == Kind::StatefulSet)
        .then(|| items(&container["env"]).find(|variable| ours.iter().any(|name| variable["name"] == *name)))
        .flatten()
        .filter(|variable| variable.pointer("/valueFrom/secretKeyRef").is_none())
        .map(|variable| format!("{variable} is not from a Secret"))
}

fn repeated<'a>(values: impl Iterator<Item = &'a Value>) -> Option<String> {
    let mut seen = BTreeSet::new();
    values.map(ToString::to_string).find(|value| !seen.insert(value.clone()))
}

/// A secret's value in what is rendered. Copies name their keys.
pub fn secret_value(world: &World) -> Option<String> {
    let is_filled = |data: &Value| data.as_object().is_none_or(|data| data.values().any(|value| value != ""));
    world
        .all(Kind::Secret)
        .find(|secret| {
            ["data", "stringData"].iter().any(|field| secret.body.get(field).is_some_and(is_filled))
        })
        .map(|secret| format!("Secret {:?} is rendered with values", secret.name))
}
