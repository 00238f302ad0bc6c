//! Autoscaling by add-ons: what KEDA and the Vertical Pod Autoscaler are told, and how replicas change hands.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use serde_json::{Value, json};
use support::{child, here, merged, observed, rendered, shop, then};
use trading_core::{
    add_ons::Capabilities,
    inputs::Inputs,
    kinds::{AddOn, Kind},
    object::{Key, Object},
    render::render,
    resolve::resolve,
    status::status,
    step::{Replicas, ReplicasOwnership, Steps, steps},
};

const REDIS: &str = r#"{"redis": {"mode": "Standalone"}}"#;

fn with(triggers: &Value, further: &Value) -> Value {
    let backend =
        json!({"backend": {"autoscaling": {"minReplicas": 2, "maxReplicas": 10, "triggers": triggers}}});
    merged(&backend, further)
}

fn list(source: &str) -> Value {
    json!([{"type": "RedisList", "source": source, "threshold": 100}])
}

fn objects(spec: &Value) -> Vec<Object> {
    rendered(&shop(spec)).1
}

fn body(objects: &[Object], kind: Kind, name: &str) -> Value {
    let is_it = |object: &&Object| object.kind == kind && object.name == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}")).clone().into_body()
}

fn scaled(spec: &Value) -> Value {
    body(&objects(spec), Kind::ScaledObject, "shop-backend")["spec"].clone()
}

/// The first trigger.
fn trigger(spec: &Value) -> Value {
    scaled(spec)["triggers"][0].clone()
}

fn kinds(objects: &[Object]) -> Vec<Kind> {
    let of_scaling = [Kind::TriggerAuthentication, Kind::VerticalPodAutoscaler];
    let kinds = objects.iter().map(|object| object.kind);
    kinds.filter(|kind| kind.scales() || of_scaling.contains(kind)).collect()
}

#[test]
fn a_scaled_object_is_as_the_project_documents_it() {
    let spec = with(
        &json!([
            {"type": "RedisList", "source": "orders", "threshold": 100},
            {"type": "Prometheus", "source": "sum(lag)", "threshold": 5},
        ]),
        &json!({
            "redis": {"mode": "Standalone"},
            "backend": {"autoscaling": {
                "cpu": 60, "memory": 80,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
            }},
        }),
    );
    let objects = objects(&spec);
    assert_eq!(kinds(&objects), [Kind::TriggerAuthentication, Kind::ScaledObject]);
    let scaled = body(&objects, Kind::ScaledObject, "shop-backend");
    assert_eq!(scaled["apiVersion"], "keda.sh/v1alpha1");
    assert_eq!(
        scaled["spec"],
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-backend"},
            "minReplicaCount": 2,
            "maxReplicaCount": 10,
            "advanced": {"horizontalPodAutoscalerConfig": {
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
            }},
            "triggers": [
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}},
                {"type": "memory", "metricType": "Utilization", "metadata": {"value": "80"}},
                {
                    "type": "redis",
                    "metadata": {"address": "shop-redis.trading.svc:6379", "listName": "orders", "listLength": "100"},
                    "authenticationRef": {"name": "shop-backend"},
                },
                {
                    "type": "prometheus",
                    "metadata": {
                        "serverAddress": "http://prometheus-operated.monitoring.svc:9090",
                        "query": "sum(lag)",
                        "threshold": "5",
                    },
                },
            ],
        })
    );
    assert_eq!(
        body(&objects, Kind::TriggerAuthentication, "shop-backend")["spec"],
        json!({"secretTargetRef": [{"parameter": "password", "name": "shop-redis-auth", "key": "password"}]})
    );
}

#[test]
fn queues_are_looked_at_where_the_platform_has_its_redis() {
    let stream =
        json!([{"type": "RedisStream", "source": "trades", "consumerGroup": "workers", "threshold": 7}]);
    let sentinel = trigger(&with(&list("orders"), &json!({"redis": {"mode": "Replicated"}})));
    assert_eq!(sentinel["type"], "redis-sentinel");
    assert_eq!(
        sentinel["metadata"],
        json!({"addresses": "shop-sentinel.trading.svc:26379", "sentinelMaster": "shop", "listName": "orders", "listLength": "100"})
    );
    let replicated = objects(&with(&list("orders"), &json!({"redis": {"mode": "Replicated"}})));
    assert_eq!(
        body(&replicated, Kind::TriggerAuthentication, "shop-backend")["spec"],
        json!({"secretTargetRef": [
            {"parameter": "password", "name": "shop-redis-auth", "key": "password"},
            {"parameter": "sentinelPassword", "name": "shop-redis-auth", "key": "password"},
        ]})
    );
    let cluster = trigger(&with(&stream, &json!({"redis": {"mode": "Cluster"}})));
    assert_eq!(cluster["type"], "redis-cluster-streams");
    assert_eq!(
        cluster["metadata"],
        json!({"addresses": "shop-redis.trading.svc:6379", "stream": "trades", "consumerGroup": "workers", "lagCount": "7", "activationLagCount": "1"})
    );
    let all = json!([{"type": "RedisStream", "source": "trades", "threshold": 7}]);
    let all = trigger(&with(&all, &json!({"redis": {"mode": "Standalone"}})));
    assert_eq!(all["type"], "redis-streams");
    assert_eq!(all["metadata"]["streamLength"], "7");
}

#[test]
fn a_redis_outside_is_reached_as_its_clients_reach_it() {
    let outside = |further: &Value| {
        let external = merged(&json!({"host": "cache.example.com", "username": "shop"}), further);
        with(
            &list("orders"),
            &json!({"redis": {
                "mode": "External",
                "auth": {"passwordSecretRef": {"name": "cache", "key": "token"}},
                "external": external,
            }}),
        )
    };
    let objects = objects(&outside(&json!({"port": 6380})));
    assert_eq!(
        body(&objects, Kind::ScaledObject, "shop-backend")["spec"]["triggers"][0]["metadata"],
        json!({
            "address": "cache.example.com:6380", "enableTLS": "true", "username": "shop",
            "listName": "orders", "listLength": "100",
        })
    );
    assert_eq!(
        body(&objects, Kind::TriggerAuthentication, "shop-backend")["spec"]["secretTargetRef"][0],
        json!({"parameter": "password", "name": "cache", "key": "token"})
    );
    let cluster = trigger(&outside(&json!({"host": "2001:db8::1", "clusterMode": true, "tls": false})));
    assert_eq!(cluster["type"], "redis-cluster");
    assert_eq!(cluster["metadata"]["addresses"], "[2001:db8::1]:6379");
    assert!(cluster["metadata"].get("enableTLS").is_none());
}

#[test]
fn what_an_autoscaler_cannot_read_decides_and_then_the_platform() {
    let of = |autoscaling: Value, platform: Value| {
        let scaling = merged(&json!({"minReplicas": 1, "maxReplicas": 3}), &autoscaling);
        kinds(&objects(&json!({
            "redis": {"mode": "Standalone"}, "autoscaling": platform, "backend": {"autoscaling": scaling},
        })))
    };
    let external = json!({"metrics": [{"type": "External", "external": {
        "metric": {"name": "lag"}, "target": {"type": "Value", "value": 30}}}]});
    let keda = || json!({"provider": "KEDA"});
    assert_eq!(of(json!({"cpu": 70}), json!({})), [Kind::HorizontalPodAutoscaler]);
    assert_eq!(of(json!({"cpu": 70}), keda()), [Kind::ScaledObject]);
    assert_eq!(of(external, keda()), [Kind::HorizontalPodAutoscaler]);
    let queue = of(json!({"triggers": list("orders")}), json!({"provider": "HPA"}));
    assert_eq!(queue, [Kind::TriggerAuthentication, Kind::ScaledObject]);
    // Development stays at the fewest.
    assert_eq!(of(json!({"triggers": list("orders")}), json!({"enabled": false})), []);
}

#[test]
fn keda_reaches_the_queues_and_nothing_else() {
    let ingress = |spec: &Value, name: &str| {
        let policy = body(&objects(spec), Kind::NetworkPolicy, name);
        policy["spec"]["ingress"].as_array().cloned().unwrap_or_default()
    };
    let from = |labels: Value| json!([{"namespaceSelector": {"matchLabels": labels}}]);
    let at = |port: i32| json!([{"port": port, "protocol": "TCP"}]);
    let keda = |labels: Value, port: i32| json!({"from": from(labels), "ports": at(port)});
    let here = || json!({"kubernetes.io/metadata.name": "keda"});

    let redis: Value = serde_json::from_str(REDIS).unwrap();
    let spec = with(&list("orders"), &redis);
    assert!(ingress(&spec, "shop-redis").contains(&keda(here(), 6379)));
    assert!(!ingress(&spec, "shop-backend").iter().any(|rule| rule["from"] == from(here())));
    let elsewhere = merged(&spec, &json!({"networkPolicy": {"kedaNamespaceLabels": {"team": "scaling"}}}));
    assert!(ingress(&elsewhere, "shop-redis").contains(&keda(json!({"team": "scaling"}), 6379)));

    let replicated = with(&list("orders"), &json!({"redis": {"mode": "Replicated"}}));
    let peers = &ingress(&replicated, "shop-sentinel")[0];
    assert!(peers["from"].as_array().unwrap().contains(&from(here())[0]), "{peers}");

    let query = json!([{"type": "Prometheus", "source": "sum(lag)", "threshold": 5}]);
    assert!(!ingress(&with(&query, &redis), "shop-redis").iter().any(|rule| rule["from"] == from(here())));
}

/// What is done about scaling when `before` became `now`, with the live number at 7.
fn change(before: &Value, now: &Value, capabilities: &Capabilities) -> Steps {
    let mut live = observed(&rendered(&shop(before)).1);
    let deployment = live.get_mut(&here(Kind::Deployment, "shop-backend")).unwrap();
    deployment.workload.as_mut().unwrap().desired = 7;
    let has_number = before["backend"]["replicas"].is_i64();
    deployment.replicas = ReplicasOwnership { ours: has_number, others: !has_number };
    let inputs = Inputs { capabilities: capabilities.clone(), ..Inputs::offline(then()) };
    let plan = resolve(&shop(now), &inputs);
    steps(&plan, &render(&plan), &live)
}

fn pruned_first(steps: &Steps) -> Vec<Kind> {
    steps.prune_first.iter().map(|prune| prune.key.kind).collect()
}

fn of_deployment(steps: &Steps) -> Option<Replicas> {
    steps.apply.iter().find(|apply| apply.object.kind == Kind::Deployment).map(|apply| apply.replicas)
}

fn applied(steps: &Steps, kind: Kind) -> bool {
    steps.apply.iter().any(|apply| apply.object.kind == kind)
}

#[test]
fn replicas_stay_when_keda_takes_over_and_gives_back() {
    let redis: Value = serde_json::from_str(REDIS).unwrap();
    let hpa = merged(
        &redis,
        &json!({"backend": {"autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpu": 70}}}),
    );
    let keda = with(&list("orders"), &redis);
    let fixed = merged(&redis, &json!({"backend": {"replicas": 7}}));
    let all = Capabilities::All;

    // KEDA refuses a target that has an autoscaler, so that goes first. The Deployment stays as it is.
    let there = change(&hpa, &keda, &all);
    assert_eq!(pruned_first(&there), [Kind::HorizontalPodAutoscaler]);
    assert!(applied(&there, Kind::ScaledObject) && of_deployment(&there).is_none());
    let back = change(&keda, &hpa, &all);
    assert_eq!(pruned_first(&back), [Kind::ScaledObject]);
    assert!(applied(&back, Kind::HorizontalPodAutoscaler) && of_deployment(&back).is_none());

    let on = change(&fixed, &keda, &all);
    assert_eq!(of_deployment(&on), Some(Replicas::Keep(7)));
    let off = change(&keda, &fixed, &all);
    assert_eq!(
        (pruned_first(&off), of_deployment(&off)),
        (vec![Kind::ScaledObject], Some(Replicas::AsRendered))
    );
}

#[test]
fn without_keda_the_pods_stay_at_their_number_and_the_platform_says_so() {
    let redis: Value = serde_json::from_str(REDIS).unwrap();
    let keda = with(&list("orders"), &redis);
    let without = Capabilities::of(&[AddOn::PrometheusOperator]);
    let hpa = merged(
        &redis,
        &json!({"backend": {"autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpu": 70}}}),
    );
    let there = change(&hpa, &keda, &without);
    assert_eq!(pruned_first(&there), [Kind::HorizontalPodAutoscaler]);
    assert!(of_deployment(&there).is_none(), "nobody writes a number");
    let held = [Kind::TriggerAuthentication, Kind::ScaledObject].map(|kind| here(kind, "shop-backend"));
    assert!(held.iter().all(|key| there.held.contains(key)), "{:?}", there.held);

    let inputs = Inputs { capabilities: without, ..Inputs::offline(then()) };
    let plan = resolve(&shop(&keda), &inputs);
    let served: Vec<Object> =
        render(&plan).into_iter().filter(|object| plan.capabilities.serves(object.kind)).collect();
    let live = served.iter().map(|object| (object.key(), child(object))).collect();
    let status = status(&plan, &steps(&plan, &render(&plan), &live), &live, None, then());
    let condition = status.conditions.iter().find(|condition| condition.type_ == "AddOnsAvailable").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "AddOnMissing"));
    assert_eq!(
        condition.message,
        "KEDA is not there (the cluster does not serve triggerauthentications.keda.sh, scaledobjects.keda.sh in version v1alpha1); left out until it is: TriggerAuthentication shop-backend; ScaledObject shop-backend; install it, or take autoscaling.provider KEDA and triggers out of the resource"
    );
}

#[test]
fn keda_logs_in_with_the_copy_where_the_component_lives_elsewhere() {
    let spec = with(
        &list("orders"),
        &json!({
            "redis": {"mode": "Standalone"},
            "backend": {"connectsTo": []},
            "placement": {"namespaces": {"backend": "tier"}},
        }),
    );
    let objects = objects(&spec);
    let login = body(&objects, Kind::TriggerAuthentication, "shop-backend");
    assert_eq!(login["metadata"]["namespace"], "tier");
    let secret = login["spec"]["secretTargetRef"][0]["name"].as_str().unwrap();
    let copy = Key::new(Kind::Secret, "tier", secret);
    assert!(objects.iter().any(|object| object.key() == copy), "{secret} is not copied");
}

#[test]
fn a_vertical_autoscaler_is_as_the_project_documents_it() {
    let spec = json!({"backend": {
        "resources": {"limits": {"cpu": 2, "memory": "1Gi"}},
        "verticalScaling": {
            "mode": "Initial", "resources": ["memory"], "minAllowed": {"cpu": "500m", "memory": "64Gi"},
        },
    }});
    let objects = objects(&spec);
    let vertical = body(&objects, Kind::VerticalPodAutoscaler, "shop-backend");
    assert_eq!(vertical["apiVersion"], "autoscaling.k8s.io/v1");
    assert_eq!(
        vertical["spec"],
        json!({
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-backend"},
            "updatePolicy": {"updateMode": "Initial"},
            "resourcePolicy": {"containerPolicies": [
                {
                    "containerName": "backend",
                    "controlledResources": ["memory"],
                    "controlledValues": "RequestsOnly",
                    "minAllowed": {"cpu": "500m", "memory": "1Gi"},
                    "maxAllowed": {"cpu": "2", "memory": "1Gi"},
                },
                {"containerName": "*", "mode": "Off"},
            ]},
        })
    );
    let mode = |mode: &str| {
        let spec = json!({"backend": {"qos": "Guaranteed", "verticalScaling": {"mode": mode}}});
        let spec = body(&self::objects(&spec), Kind::VerticalPodAutoscaler, "shop-backend")["spec"].clone();
        let policy = &spec["resourcePolicy"]["containerPolicies"][0];
        assert_eq!(policy["controlledResources"], json!(["cpu", "memory"]));
        assert_eq!(policy["controlledValues"], "RequestsAndLimits");
        assert!(policy.get("minAllowed").is_none());
        spec["updatePolicy"]["updateMode"].clone()
    };
    assert_eq!([mode("Recommend"), mode("Recreate")], [json!("Off"), json!("Recreate")]);
}

#[test]
fn keda_asks_a_redis_that_speaks_tls_as_clients_do() {
    let spec = with(&list("orders"), &json!({"redis": {"mode": "Cluster", "tls": {"mode": "Required"}}}));
    assert_eq!(trigger(&spec)["metadata"]["enableTLS"], "true");
    let login = body(&objects(&spec), Kind::TriggerAuthentication, "shop-backend");
    let from = login["spec"]["secretTargetRef"].as_array().unwrap();
    assert_eq!(from[1], json!({"parameter": "ca", "name": "shop-redis-tls", "key": "ca.crt"}));
}
