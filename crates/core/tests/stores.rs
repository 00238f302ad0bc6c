//! Stores in all their modes: what clients are told, what is kept, and what the quota says.

#![allow(clippy::unwrap_used)] // a test ends where its resource can't be read

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{here, observed, rendered, then};
use trading_api::TradingPlatform;
use trading_core::{
    inputs::{Inputs, ReferenceState},
    kinds::Kind,
    object::{Content, Object},
    plan::Plan,
    render::render,
    resolve::{references, resolve},
    step::{Steps, steps},
    teardown::{Teardown, teardown},
};

/// A shop with a backend, and this beside it.
fn shop(spec: &Value) -> TradingPlatform {
    let mut all = json!({"version": "1.0.0", "backend": {"image": {"repository": "shop/backend"}}});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let metadata = json!({"name": "shop", "namespace": "trading", "uid": "1"});
    serde_json::from_value(json!({
        "apiVersion": "platform.trading/v1alpha1", "kind": "TradingPlatform", "metadata": metadata, "spec": all}))
    .unwrap()
}

fn object<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Object {
    objects.iter().find(|object| object.kind == kind && object.name == name).unwrap_or_else(|| {
        panic!("no {kind} {name:?} among {:?}", objects.iter().map(|o| &o.name).collect::<Vec<_>>())
    })
}

/// Environment of a component: values as they are, and `Secret/key` for what comes from a Secret.
fn environment(objects: &[Object], component: &str) -> BTreeMap<String, String> {
    let deployment = object(objects, Kind::Deployment, &format!("shop-{component}"));
    let container = &deployment.body["spec"]["template"]["spec"]["containers"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            let value = match variable.pointer("/valueFrom/secretKeyRef") {
                Some(from) => format!("{}/{}", text(&from["name"]), text(&from["key"])),
                None => text(&variable["value"]),
            };
            (text(&variable["name"]), value)
        })
        .filter(|(name, _)| name.starts_with("REDIS") || name.starts_with("PG") || name == "DATABASE_URL")
        .collect()
}

fn variables(wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const EXTERNAL: &str = "cache.example.com";

#[test]
fn clients_of_a_redis_outside_are_told_everything() {
    let auth = json!({"passwordSecretRef": {"name": "cache", "key": "token"}});
    let (_, objects) = rendered(&shop(&json!({"redis": {"mode": "External", "auth": auth,
        "external": {"host": EXTERNAL, "clusterMode": true, "username": "app"}}})));
    assert_eq!(
        environment(&objects, "backend"),
        variables(&[
            ("REDIS_HOST", EXTERNAL),
            ("REDIS_MODE", "cluster"),
            ("REDIS_PASSWORD", "cache/token"),
            ("REDIS_PORT", "6379"),
            ("REDIS_TLS", "true"),
            ("REDIS_URL", "rediss://cache.example.com:6379"),
            ("REDIS_USERNAME", "app"),
        ])
    );
    assert!(objects.iter().all(|object| object.component != "redis"), "nothing runs for it");
    let (_, objects) = rendered(&shop(&json!({"redis": {"mode": "External",
        "external": {"host": "2001:db8::5", "port": 7000, "tls": false}}})));
    let told = environment(&objects, "backend");
    assert_eq!(told["REDIS_URL"], "redis://[2001:db8::5]:7000");
    assert!(!told.contains_key("REDIS_PASSWORD"), "{told:?}");
}

#[test]
fn clients_of_a_replicated_redis_ask_the_sentinels() {
    let (_, objects) = rendered(&shop(&json!({"redis": {"mode": "Replicated"}})));
    assert_eq!(
        environment(&objects, "backend"),
        variables(&[
            ("REDIS_HOST_RO", "shop-redis"),
            ("REDIS_MODE", "sentinel"),
            ("REDIS_PASSWORD", "shop-redis-auth/password"),
            ("REDIS_PORT", "6379"),
            ("REDIS_SENTINEL_HOST", "shop-sentinel"),
            ("REDIS_SENTINEL_MASTER", "shop"),
            ("REDIS_SENTINEL_PORT", "26379"),
        ])
    );
    let config = &object(&objects, Kind::ConfigMap, "shop-sentinel").body["data"]["sentinel.conf"];
    let watches = "sentinel monitor shop shop-redis-0.shop-redis-headless.trading.svc 6379 2";
    assert!(config.as_str().unwrap().lines().any(|line| line == watches), "{config}");
    for (name, pods) in [("shop-redis", 3), ("shop-sentinel", 3)] {
        assert_eq!(object(&objects, Kind::StatefulSet, name).body["spec"]["replicas"], pods);
        object(&objects, Kind::PodDisruptionBudget, name);
        object(&objects, Kind::NetworkPolicy, name);
    }
}

#[test]
fn servers_are_replaced_only_for_what_a_running_redis_does_not_take() {
    let of = |redis: Value| rendered(&shop(&json!({ "redis": redis }))).1;
    let body = |objects: &[Object], kind| object(objects, kind, "shop-redis").body.clone();
    let before = of(json!({"mode": "Standalone"}));
    for (edit, replaces) in [
        (json!({"config": {"timeout": "300", "no-such-directive": "1"}}), false),
        (json!({"maxmemory": "64Mi", "maxmemoryPolicy": "NoEviction"}), false),
        (json!({"persistence": {"appendOnly": false, "appendFsync": "Always"}}), false),
        (json!({"config": {"databases": "32"}}), true),
    ] {
        let mut redis = json!({"mode": "Standalone"});
        redis.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
        let after = of(redis);
        assert_ne!(body(&before, Kind::ConfigMap), body(&after, Kind::ConfigMap), "{edit}");
        let is_replaced = body(&before, Kind::StatefulSet) != body(&after, Kind::StatefulSet);
        assert_eq!(is_replaced, replaces, "{edit}");
    }
}

fn managed(instances: i32) -> Value {
    json!({"mode": "Managed", "version": 16, "instances": instances, "database": "shop", "owner": "sales"})
}

#[test]
fn clients_of_an_own_database_write_to_the_primary_and_read_from_replicas() {
    let reader =
        |targets: Value| json!({"name": "analytics", "image": {"repository": "a/b"}, "connectsTo": targets});
    let (_, objects) =
        rendered(&shop(&json!({"postgres": managed(3), "services": [reader(json!(["postgres-ro"]))]})));
    let of = |host: &str| {
        variables(&[
            ("DATABASE_URL", &format!("postgresql://{host}:5432/shop?sslmode=prefer")),
            ("PGDATABASE", "shop"),
            ("PGHOST", host),
            ("PGHOST_RO", "shop-postgres-ro"),
            ("PGPASSWORD", "shop-postgres-app/password"),
            ("PGPORT", "5432"),
            ("PGSSLMODE", "prefer"),
            ("PGUSER", "shop-postgres-app/username"),
        ])
    };
    assert_eq!(environment(&objects, "backend"), of("shop-postgres"));
    assert_eq!(environment(&objects, "analytics"), of("shop-postgres-ro"));
    let writes = &object(&objects, Kind::Service, "shop-postgres").body["spec"]["selector"];
    assert_eq!(writes["platform.trading/role"], "primary");
    let reads = &object(&objects, Kind::Service, "shop-postgres-ro").body["spec"]["selector"];
    assert_eq!(reads["platform.trading/role"], "replica");

    let (_, objects) = rendered(&shop(&json!({"postgres": managed(1)})));
    assert!(!environment(&objects, "backend").contains_key("PGHOST_RO"));
    assert!(objects.iter().all(|object| object.name != "shop-postgres-ro"));
    let writes = &object(&objects, Kind::Service, "shop-postgres").body["spec"]["selector"];
    assert!(writes.get("platform.trading/role").is_none(), "one server is the primary: {writes}");
}

#[test]
fn servers_of_a_database_may_read_and_change_their_lease_and_nothing_else() {
    let (_, objects) = rendered(&shop(&json!({"postgres": managed(3)})));
    let name = "shop-postgres";
    let rules = &object(&objects, Kind::Role, name).body["rules"];
    assert_eq!(
        *rules,
        json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "resourceNames": [name], "verbs": ["get", "patch"]}])
    );
    let binding = &object(&objects, Kind::RoleBinding, name).body;
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": name, "namespace": "trading"}])
    );
    assert_eq!(
        binding["roleRef"],
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name})
    );
    // What it says is the agents'; the operator would take it back from them.
    let lease = &object(&objects, Kind::Lease, name).body;
    assert!(lease.get("spec").is_none_or(|spec| spec.as_object().is_none_or(serde_json::Map::is_empty)));
}

#[test]
fn a_server_that_is_added_restarts_no_other() {
    let of = |instances: i32| rendered(&shop(&json!({"postgres": managed(instances)}))).1;
    let (two, three) = (of(2), of(3));
    let template = |objects: &[Object]| {
        object(objects, Kind::StatefulSet, "shop-postgres").body["spec"]["template"].clone()
    };
    assert_eq!(template(&two), template(&three));
    let members = |objects: &[Object]| {
        object(objects, Kind::ConfigMap, "shop-postgres").body["data"]["members"].as_str().unwrap().to_owned()
    };
    assert_eq!(members(&two).lines().count(), 2);
    assert!(
        members(&three).ends_with("shop-postgres-2=shop-postgres-2.shop-postgres-headless.trading.svc\n")
    );
    let synchronous = json!({"mode": "Managed", "version": 16, "instances": 3, "synchronous": true});
    let (_, objects) = rendered(&shop(&json!({"postgres": synchronous})));
    let command = template(&objects)["spec"]["containers"][0]["command"].clone();
    assert!(command.as_array().unwrap().contains(&json!("--synchronous")), "{command}");
}

#[test]
fn the_kubernetes_api_is_opened_by_name_where_there_is_cilium() {
    use trading_core::{add_ons::Capabilities, kinds::AddOn};
    let platform = shop(&json!({"postgres": managed(1)}));
    let policies = |capabilities: Capabilities| {
        let inputs = Inputs { capabilities, ..Inputs::offline(then()) };
        let objects = render(&resolve(&platform, &inputs));
        objects.into_iter().filter(|object| object.kind == Kind::CiliumNetworkPolicy).collect::<Vec<_>>()
    };
    assert!(policies(Capabilities::All).is_empty(), "nobody knows");
    assert!(policies(Capabilities::of(&[])).is_empty());
    let [policy] = policies(Capabilities::of(&[AddOn::Cilium])).try_into().unwrap();
    assert_eq!(policy.body["spec"]["egress"], json!([{"toEntities": ["kube-apiserver"]}]));
}

#[test]
fn a_database_reaches_the_kubernetes_api_where_the_administrator_says_it_is() {
    let mut inputs = Inputs::offline(then());
    inputs.operator.api_server_ports = vec![16443];
    let objects = render(&resolve(&shop(&json!({"postgres": managed(1)})), &inputs));
    let policy = &object(&objects, Kind::NetworkPolicy, "shop-postgres").body;
    let egress = policy["spec"]["egress"].as_array().expect("it has rules");
    let outside = egress.iter().find(|rule| rule["to"][0]["ipBlock"]["cidr"] == "0.0.0.0/0").expect("one");
    assert_eq!(outside["ports"], json!([{"port": 16443, "protocol": "TCP"}]));
}

#[test]
fn replicas_of_a_database_outside_are_reached_too() {
    let external = json!({"host": "192.0.2.5", "readOnlyHost": "192.0.2.6", "database": "shop",
        "sslMode": "VerifyCa", "caSecretRef": {"name": "authority"}, "credentialsSecretRef": {"name": "db"}});
    let (plan, objects) = rendered(&shop(&json!({"postgres": {"mode": "External", "external": external}})));
    let told = environment(&objects, "backend");
    assert_eq!((told["PGHOST"].as_str(), told["PGHOST_RO"].as_str()), ("192.0.2.5", "192.0.2.6"));
    assert_eq!(told["PGSSLROOTCERT"], "/etc/platform/postgres/ca.crt");
    let admitted: Vec<&str> =
        plan.postgres.iter().flat_map(|p| &p.cidrs).map(|cidr| cidr.0.as_str()).collect();
    assert_eq!(admitted, ["192.0.2.5/32", "192.0.2.6/32"]);
    let pod = &object(&objects, Kind::Deployment, "shop-backend").body["spec"]["template"]["spec"];
    assert!(
        pod["volumes"].as_array().unwrap().iter().any(|volume| volume["secret"]["secretName"] == "authority")
    );
}

#[test]
fn guaranteed_pods_request_their_limits_in_every_container() {
    let (_, objects) = rendered(&shop(&json!({
        "backend": {"image": {"repository": "a/b"}, "qos": "Guaranteed",
            "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "1Gi"}}},
        "redis": {"mode": "Replicated", "qos": "Guaranteed"},
        "postgres": {"mode": "Managed", "version": 16, "qos": "Guaranteed"}})));
    for workload in objects.iter().filter(|o| matches!(o.kind, Kind::Deployment | Kind::StatefulSet)) {
        let pod = &workload.body["spec"]["template"]["spec"];
        let containers = ["initContainers", "containers"].into_iter().filter_map(|list| pod[list].as_array());
        for container in containers.flatten() {
            let resources = &container["resources"];
            assert_eq!(resources["requests"], resources["limits"], "{} {}", workload.name, container["name"]);
        }
    }
}

#[test]
fn the_pause_before_a_stop_fits_the_grace_period() {
    for (grace, pause) in [(json!(null), Some(5)), (json!(6), Some(5)), (json!(5), Some(4)), (json!(1), None)]
    {
        let backend = json!({"image": {"repository": "a/b"}, "terminationGracePeriodSeconds": grace});
        let (_, objects) = rendered(&shop(&json!({"backend": backend})));
        let container = &object(&objects, Kind::Deployment, "shop-backend").body["spec"]["template"]["spec"]
            ["containers"][0];
        let found = container.pointer("/lifecycle/preStop/sleep/seconds").and_then(Value::as_i64);
        assert_eq!(found, pause, "{grace}");
    }
}

/// The steps of a platform over what is live of an earlier one.
fn change(before: &Value, after: &Value) -> (Plan, Steps) {
    let (_, live) = rendered(&shop(before));
    let (plan, objects) = rendered(&shop(after));
    let next = steps(&plan, &objects, &observed(&live));
    (plan, next)
}

/// The steps when the servers of the database are gone.
fn afterwards(before: &Value, after: &Value) -> Steps {
    let (_, live) = rendered(&shop(before));
    let (plan, objects) = rendered(&shop(after));
    let mut live = observed(&live);
    live.remove(&here(Kind::StatefulSet, "shop-postgres"));
    steps(&plan, &objects, &live)
}

fn pruned(steps: &Steps) -> Vec<String> {
    let mut all: Vec<String> = steps.prune.iter().map(|prune| prune.key.to_string()).collect();
    all.sort();
    all
}

#[test]
fn a_removed_database_runs_on_until_it_is_acknowledged() {
    let stores = json!({"postgres": managed(2), "redis": {"mode": "Replicated"}});
    let (_, next) = change(&stores, &json!({}));
    assert_eq!(pruned(&next), [""; 0]);
    let reasons: Vec<_> = next.problems.iter().map(|p| (p.component.as_deref().unwrap(), p.reason)).collect();
    let kept = "StoreRemovalNotAcknowledged";
    assert_eq!(reasons, [("redis", kept), ("postgres", kept)]);
    assert!(next.problems[1].message.contains("add Postgres to deletion.acknowledgeStoreRemoval"));

    let gone =
        json!({"redis": {"mode": "Replicated"}, "deletion": {"acknowledgeStoreRemoval": ["Postgres"]}});
    // The servers end first: without Lease, account and policy they could not hand over.
    let (_, next) = change(&stores, &gone);
    assert_eq!(pruned(&next), ["StatefulSet shop-postgres"]);
    assert!(next.problems.is_empty() && next.delete_claims_of.is_empty());
    let removed = pruned(&afterwards(&stores, &gone));
    for kind in ["Lease", "Role", "RoleBinding", "ServiceAccount", "NetworkPolicy"] {
        assert!(removed.contains(&format!("{kind} shop-postgres")), "{kind}: {removed:?}");
    }
    assert!(removed.iter().all(|name| name.contains("postgres")), "Redis stays: {removed:?}");
    assert!(removed.iter().all(|name| !name.starts_with("Secret")), "passwords stay with data: {removed:?}");

    let mut forgotten = gone;
    forgotten["deletion"]["data"] = json!("Delete");
    let (_, next) = change(&stores, &forgotten);
    assert_eq!(next.delete_claims_of, [("trading".to_owned(), "postgres".to_owned())]);
    let removed = pruned(&afterwards(&stores, &forgotten));
    assert!(removed.contains(&"Secret shop-postgres-superuser".to_owned()), "{removed:?}");
}

#[test]
fn nothing_outside_takes_the_place_of_a_database_that_was_not_given_up() {
    let external =
        json!({"host": "db.example.com", "database": "shop", "credentialsSecretRef": {"name": "db"}});
    let outside = json!({"postgres": {"mode": "External", "external": external}});
    let (_, next) = change(&json!({"postgres": managed(1)}), &outside);
    assert!(next.held.contains(&here(Kind::Service, "shop-postgres")));
    assert!(next.problems.iter().any(|problem| problem.reason == "StoreRemovalNotAcknowledged"));
    assert_eq!(pruned(&next), [""; 0]);
}

#[test]
fn a_lost_password_of_the_database_is_never_replaced() {
    let platform = shop(&json!({"postgres": managed(2)}));
    let (_, live) = rendered(&platform);
    let mut inputs = Inputs::offline(then());
    let all = references::all(&resolve(&platform, &inputs));
    let names: Vec<&str> = all.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(names, ["shop-postgres-app", "shop-postgres-replication", "shop-postgres-superuser"]);
    for lost in names.iter().map(|&name| name.to_owned()) {
        let keys = BTreeMap::from(["username", "password"].map(|key| (key.to_owned(), "digest".to_owned())));
        let state = |name: &str| {
            if name == lost { ReferenceState::Absent } else { ReferenceState::Present(keys.clone()) }
        };
        inputs.references = Some(all.iter().map(|r| (r.clone(), state(&r.name))).collect());
        let plan = resolve(&platform, &inputs);
        let objects = render(&plan);
        let mut there = observed(&live);
        there.remove(&here(Kind::Secret, &lost));
        let next = steps(&plan, &objects, &there);
        let problem = next.problems.iter().find(|problem| problem.reason == "PasswordLost").unwrap();
        assert!(problem.message.contains(&format!("{lost:?}")), "{}", problem.message);
        assert!(next.apply.iter().all(|apply| apply.object.kind != Kind::Secret), "no new {lost}");
        // Where nothing runs, it is simply made.
        let fresh = steps(&plan, &objects, &support::observed(&[]));
        assert!(fresh.apply.iter().any(|apply| apply.object.name == lost), "{lost}");
    }
}

#[test]
fn shared_volumes_outlive_their_entry_and_their_platform() {
    let volumes = json!({"sharedVolumes": [{"name": "logs", "size": "10Gi"}]});
    let (_, next) = change(&volumes, &json!({}));
    assert_eq!(pruned(&next), [""; 0]);
    let (plan, objects) = rendered(&shop(&volumes));
    let claim = object(&objects, Kind::PersistentVolumeClaim, "shop-logs");
    assert_eq!(claim.body["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert!(claim.body["metadata"].get("ownerReferences").is_none());
    let live: Vec<_> = observed(&objects).into_values().filter(|child| child.kind == claim.kind).collect();
    assert_eq!(teardown(&live, plan.data, false), Teardown::Done { delete_claims: false });
}

#[test]
fn the_quota_is_compared_with_the_maximum() {
    let backend = json!({"image": {"repository": "a/b"}, "autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpu": 70},
        "updateStrategy": {"maxSurge": "25%"},
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}});
    let said = |quota: Value| {
        let platform = shop(&json!({"backend": backend, "quota": quota,
            "postgres": {"mode": "Managed", "version": 16, "instances": 2, "storage": {"size": "50Gi"},
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}}));
        let (plan, objects) = rendered(&platform);
        let next = steps(&plan, &objects, &support::observed(&[]));
        next.problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    // 10 replicas and 3 above them while they are replaced, and 2 servers.
    let fits = json!({"hard": {"pods": 15, "requests.cpu": "8.5", "cpu": "8500m", "limits.cpu": 15,
        "requests.memory": "15Gi", "limits.memory": "28Gi", "requests.storage": "100Gi",
        "persistentvolumeclaims": 2, "count/deployments.apps": 1, "requests.nvidia.com/gpu": 0}});
    assert_eq!(said(fits.clone()), [""; 0]);
    for (key, short, needed) in [
        ("pods", "14", "pods: 14, needed 15"),
        ("requests.cpu", "8400m", "requests.cpu: 8400m, needed 8.5"),
        ("cpu", "8", "cpu: 8, needed 8.5"),
        ("limits.memory", "27Gi", "limits.memory: 27Gi, needed 28Gi"),
        ("requests.storage", "99Gi", "requests.storage: 99Gi, needed 100Gi"),
        ("count/deployments.apps", "0", "count/deployments.apps: 0, needed 1"),
    ] {
        let mut quota = fits.clone();
        quota["hard"][key] = json!(short);
        let said = said(quota);
        assert!(said.len() == 1 && said[0].contains(needed), "{key}: {said:?}");
    }
    let bounds = json!({"container": {"min": {"memory": "1Gi"}, "max": {"cpu": "500m"}}});
    let said = said(bounds);
    assert_eq!(said.len(), 1);
    for part in ["shop-backend: limits.cpu above 500m", "shop-postgres: limits.cpu above 500m"] {
        assert!(said[0].contains(part), "{said:?}");
    }
    assert!(!said[0].contains("memory below"), "{said:?}");
}

/// A user comes without a change of the servers' pods; one whose Secret is lost keeps what the servers have.
#[test]
fn users_come_without_a_restart_and_keep_their_passwords() {
    let with = |users: Value| shop(&json!({"redis": {"mode": "Standalone", "users": users}}));
    let users = json!({"app": {"keys": ["a:*"], "channels": ["n"], "commands": ["+@all", "-flushall"]},
        "guest": {"commands": ["+ping"], "passwordSecretRef": {"name": "guests", "key": "one"}}});
    let (plan, objects) = rendered(&with(users.clone()));
    let find = |objects: &[Object], kind: Kind, name: &str| {
        objects.iter().find(|it| it.kind == kind && it.name == name).cloned()
    };
    let set = |objects: &[Object]| find(objects, Kind::StatefulSet, "shop-redis").unwrap().body;
    assert_eq!(set(&objects), set(&rendered(&with(json!({}))).1));
    let rules = find(&objects, Kind::ConfigMap, "shop-redis").unwrap().body["data"]["users"].clone();
    assert_eq!(rules, "app ~a:* &n +@all -flushall -@admin\nguest +ping -@admin\n");
    assert!(find(&objects, Kind::Secret, "shop-redis-user-app").is_some());
    assert!(find(&objects, Kind::Secret, "guests").is_none());
    let Content::CollectedFrom { originals, .. } =
        find(&objects, Kind::Secret, "shop-redis-users").unwrap().content
    else {
        panic!("it has the passwords of others")
    };
    let of = |user: &str| (originals[user].0.name.as_str(), originals[user].1.as_str());
    assert_eq!((of("app"), of("guest")), (("shop-redis-user-app", "password"), ("guests", "one")));

    let seen = |absent: &str, users_known: bool| {
        let states = references::all(&plan).into_iter().map(|it| {
            let is_absent = it.name == absent || it.name == "shop-redis-users" && !users_known;
            let keys =
                ["password", "one", "app", "guest"].map(|key| (key.to_owned(), "digest".to_owned())).into();
            (it, if is_absent { ReferenceState::Absent } else { ReferenceState::Present(keys) })
        });
        let states = Some(states.collect());
        let plan = resolve(&with(users.clone()), &Inputs { references: states, ..Inputs::offline(then()) });
        let objects = render(&plan);
        (steps(&plan, &objects, &observed(&objects)), objects)
    };
    let reasons = |steps: &Steps| steps.problems.iter().map(|it| it.reason).collect::<Vec<_>>();
    let reasons_of = |plan: &Plan| plan.problems.iter().map(|it| it.reason).collect::<Vec<_>>();
    assert!(reasons_of(&plan).is_empty());
    // It is new: one is made.
    let (_, new) = seen("shop-redis-user-app", false);
    assert!(find(&new, Kind::Secret, "shop-redis-user-app").is_some());
    // It is lost: none is made, and what the servers have is not touched.
    let (lost, objects) = seen("shop-redis-user-app", true);
    assert!(find(&objects, Kind::Secret, "shop-redis-user-app").is_none());
    assert!(lost.held.contains(&here(Kind::Secret, "shop-redis-users")), "{:?}", lost.held);
    assert!(!reasons(&lost).contains(&"ReferenceMissing"));
    // A person's is not there: the others are served.
    let (missing, _) = seen("guests", true);
    assert!(!missing.held.contains(&here(Kind::StatefulSet, "shop-redis")), "{:?}", missing.held);
}

/// The file of a store's `ConfigMap`.
fn configured(objects: &[Object], map: &str, file: &str) -> String {
    object(objects, Kind::ConfigMap, map).body["data"][file].as_str().unwrap().to_owned()
}

#[test]
fn redis_speaks_tls_alone_where_it_is_asked_for() {
    for mode in ["Standalone", "Replicated", "Cluster"] {
        let spec = |tls: Value| json!({"redis": {"mode": mode, "tls": tls}});
        let (_, plain) = rendered(&shop(&spec(Value::Null)));
        let (_, objects) = rendered(&shop(&spec(json!({"mode": "Required"}))));
        assert!(!configured(&plain, "shop-redis", "redis.conf").contains("tls"));
        let config = configured(&objects, "shop-redis", "redis.conf");
        let has = |line: &str| config.lines().filter(|found| *found == line).count() == 1;
        assert!(has("port 0") && has("tls-port 6379") && has("tls-replication yes"), "{config}");
        assert_eq!(has("tls-cluster yes"), mode == "Cluster");
        assert_eq!(has("cluster-preferred-endpoint-type hostname"), mode == "Cluster");
        if mode == "Replicated" {
            let config = configured(&objects, "shop-sentinel", "sentinel.conf");
            assert!(config.contains("port 0\n") && config.contains("tls-port 26379\n"), "{config}");
        }
        let told = environment(&objects, "backend");
        assert_eq!(told["REDIS_TLS"], "true");
        assert_eq!(told["REDIS_TLS_CA_FILE"], "/etc/platform/redis/ca.crt");
        assert!(told.get("REDIS_URL").is_none_or(|url| url == "rediss://shop-redis:6379"));
        assert!(!environment(&plain, "backend").contains_key("REDIS_TLS_CA_FILE"));

        let secret = object(&objects, Kind::Secret, "shop-redis-tls");
        let Content::Certified { names, .. } = &secret.content else { panic!("{:?}", secret.content) };
        for name in ["shop-redis", "shop-redis.trading.svc", "*.shop-redis-headless.trading.svc"] {
            assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
        }
        // No pod has the authority's key, and every agent knows how to talk.
        let sets = objects.iter().filter(|object| object.kind == Kind::StatefulSet);
        for set in sets {
            let spec = &set.body["spec"]["template"]["spec"];
            let volume = spec["volumes"].as_array().unwrap().iter().find(|it| it["name"] == "tls").unwrap();
            let items = volume["secret"]["items"].as_array().unwrap();
            assert!(items.iter().all(|item| item["key"] != "ca.key"), "{volume}");
            for container in [&spec["containers"][0], &spec["initContainers"][0]] {
                assert!(container["command"].as_array().unwrap().iter().any(|word| word == "--tls-name"));
            }
            let probe = &spec["containers"][0]["readinessProbe"]["exec"]["command"];
            assert!(probe.as_array().unwrap().iter().any(|word| word == "--tls"));
        }
    }
}

#[test]
fn a_redis_that_runs_is_not_given_tls_and_does_not_lose_it() {
    let with = |tls: Value| shop(&json!({"redis": {"mode": "Cluster", "tls": tls}}));
    let [plain, encrypted] = [Value::Null, json!({"mode": "Required"})].map(|tls| rendered(&with(tls)));
    for ((plan, objects), (_, live), what) in
        [(&encrypted, &plain, "without TLS"), (&plain, &encrypted, "with TLS alone")]
    {
        let found = steps(plan, objects, &observed(live));
        let problem = found.problems.iter().find(|it| it.reason == "StoreModeDiffers").unwrap();
        assert!(problem.message.contains(what), "{}", problem.message);
        assert!(found.apply.iter().all(|apply| apply.object.kind != Kind::StatefulSet), "{what}");
    }
    let (same, objects) = &encrypted;
    assert!(steps(same, objects, &observed(objects)).problems.is_empty());
}
