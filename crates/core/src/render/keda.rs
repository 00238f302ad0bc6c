//! KEDA: a `ScaledObject` in the place of a `HorizontalPodAutoscaler`, and how KEDA logs in to Redis.
//! KEDA makes an autoscaler of its own from it.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HPAScalingRules;
use serde_json::{Value, json};
use trading_api::{
    autoscaling::{Autoscaling, Behavior, Provider, Trigger, TriggerKind},
    redis::RedisMode,
};

use super::{autoscaler, meta};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{
        ComponentPlan, ExternalRedisPlan, Plan, REDIS, REDIS_PORT, RedisPlan, SENTINEL, SENTINEL_PORT,
        Scaling, StoreCertificate,
    },
};

pub(super) fn render(plan: &Plan, component: &ComponentPlan) -> Vec<Object> {
    let Scaling::Auto(autoscaling, Provider::KEDA) = &component.scaling else { return Vec::new() };
    let login = component.scaling.looks_at_redis().then(|| login(plan, component)).flatten();
    let scaled = scaled(plan, component, autoscaling, login.is_some());
    login.into_iter().chain([scaled]).collect()
}

fn object(plan: &Plan, component: &ComponentPlan, kind: Kind, spec: &Value) -> Object {
    let name = &component.name;
    let metadata = meta::object(plan, name, name, meta::APPLICATION, Lifetime::Platform);
    Object::new(kind, name, Lifetime::Platform, &json!({ "metadata": metadata, "spec": spec }))
}

fn scaled(plan: &Plan, component: &ComponentPlan, autoscaling: &Autoscaling, has_login: bool) -> Object {
    let name = plan.identity.child(&component.name);
    let used = [("cpu", autoscaling.cpu), ("memory", autoscaling.memory)];
    let used = used.into_iter().filter_map(|(what, percent)| Some(utilization(what, percent?)));
    let triggers = autoscaling.triggers.iter().map(|trigger| match trigger.kind {
        TriggerKind::Prometheus => query(plan, trigger),
        TriggerKind::RedisList | TriggerKind::RedisStream => {
            let mut queue = queue(plan, trigger);
            if has_login {
                queue["authenticationRef"] = json!({ "name": name });
            }
            queue
        }
    });
    let mut spec = json!({
        "scaleTargetRef": {
            "apiVersion": Kind::Deployment.api_version(),
            "kind": Kind::Deployment.to_string(),
            "name": name,
        },
        "minReplicaCount": autoscaling.min_replicas,
        "maxReplicaCount": autoscaling.max_replicas,
        "triggers": used.chain(triggers).collect::<Vec<_>>(),
    });
    let behavior = autoscaling.behavior.as_ref().map(rules).unwrap_or_default();
    if !behavior.is_empty() {
        spec["advanced"] = json!({ "horizontalPodAutoscalerConfig": { "behavior": behavior } });
    }
    object(plan, component, Kind::ScaledObject, &spec)
}

/// Without empty rules. Where the last field of an object is taken away that the operator applied, the apiserver
/// leaves null, and the definition wants an object.
fn rules(behavior: &Behavior) -> BTreeMap<&'static str, HPAScalingRules> {
    let behavior = autoscaler::behavior(behavior);
    [("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down)]
        .into_iter()
        .filter_map(|(direction, rules)| Some((direction, rules?)))
        .filter(|(_, rules)| *rules != HPAScalingRules::default())
        .collect()
}

fn utilization(what: &str, percent: i32) -> Value {
    json!({ "type": what, "metricType": "Utilization", "metadata": { "value": percent.to_string() } })
}

fn query(plan: &Plan, trigger: &Trigger) -> Value {
    json!({
        "type": "prometheus",
        "metadata": {
            "serverAddress": plan.prometheus_address,
            "query": trigger.source,
            "threshold": trigger.threshold.to_string(),
        },
    })
}

/// How KEDA reaches the platform's Redis: what its scalers are called after, and what they are told.
struct Connection {
    topology: &'static str,
    metadata: Value,
}

fn queue(plan: &Plan, trigger: &Trigger) -> Value {
    let Connection { topology, mut metadata } = connection(plan);
    let threshold = trigger.threshold.to_string();
    let suffix = if trigger.kind == TriggerKind::RedisList {
        metadata["listName"] = json!(trigger.source);
        metadata["listLength"] = json!(threshold);
        ""
    } else {
        metadata["stream"] = json!(trigger.source);
        match &trigger.consumer_group {
            Some(group) => {
                metadata["consumerGroup"] = json!(group);
                metadata["lagCount"] = json!(threshold);
                // KEDA up to 2.15 takes no lag without it, and 2.16 none with 0. It matters only where pods come from none.
                metadata["activationLagCount"] = json!("1");
            }
            None => metadata["streamLength"] = json!(threshold),
        }
        "-streams"
    };
    json!({ "type": format!("redis{topology}{suffix}"), "metadata": metadata })
}

/// KEDA asks from a namespace of its own.
fn connection(plan: &Plan) -> Connection {
    let own = plan.redis.as_ref().map(|redis| own(plan, redis));
    let outside = || plan.external_redis.as_ref().map(outside);
    // Admission asks for a Redis; without one there is nothing to look at.
    own.or_else(outside).unwrap_or(Connection { topology: "", metadata: json!({}) })
}

fn own(plan: &Plan, redis: &RedisPlan) -> Connection {
    let at = |component: &str, port: i32| {
        let identity = &plan.identity;
        format!("{}.{}.svc:{port}", identity.child(component), identity.namespace_of(component))
    };
    let mut connection = match redis.mode {
        RedisMode::Replicated => Connection {
            topology: "-sentinel",
            metadata: json!({
                "addresses": at(SENTINEL, SENTINEL_PORT),
                "sentinelMaster": plan.identity.name,
            }),
        },
        RedisMode::Cluster => {
            Connection { topology: "-cluster", metadata: json!({ "addresses": at(REDIS, REDIS_PORT) }) }
        }
        RedisMode::Standalone | RedisMode::External => {
            Connection { topology: "", metadata: json!({ "address": at(REDIS, REDIS_PORT) }) }
        }
    };
    if redis.tls.is_some() {
        connection.metadata["enableTLS"] = json!("true");
    }
    connection
}

fn outside(redis: &ExternalRedisPlan) -> Connection {
    let host = redis.host.to_string();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let (topology, address) = if redis.cluster { ("-cluster", "addresses") } else { ("", "address") };
    let mut metadata = json!({ address: format!("{host}:{}", redis.port) });
    if redis.tls {
        metadata["enableTLS"] = json!("true");
    }
    if let Some(username) = &redis.username {
        metadata["username"] = json!(username);
    }
    Connection { topology, metadata }
}

/// The password stays in its Secret: KEDA reads it there.
fn login(plan: &Plan, component: &ComponentPlan) -> Option<Object> {
    let own = plan.redis.as_ref().map(|redis| (&redis.password.secret, &redis.password.key));
    let outside = plan.external_redis.as_ref().and_then(|redis| redis.password.as_ref());
    let (secret, key) = own.or(outside.map(|(secret, key)| (secret, key)))?;
    let name = plan.login(&component.name, REDIS, secret);
    let password = |parameter| json!({ "parameter": parameter, "name": name, "key": key });
    let mut from = vec![password("password")];
    // Sentinels ask for the servers' password, too, and KEDA takes theirs from a place of its own.
    if plan.redis.as_ref().is_some_and(|redis| redis.mode == RedisMode::Replicated) {
        from.push(password("sentinelPassword"));
    }
    from.extend(plan.redis.iter().filter_map(|redis| redis.tls.as_ref()).map(|tls| {
        let name = plan.login(&component.name, REDIS, &tls.secret);
        json!({ "parameter": "ca", "name": name, "key": StoreCertificate::AUTHORITY })
    }));
    let spec = json!({ "secretTargetRef": from });
    Some(object(plan, component, Kind::TriggerAuthentication, &spec))
}
