//! Pod Security `restricted`, written from the standard
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>) and not from our
//! renderer.

use serde_json::Value;

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

/// Why the pod would not be admitted.
pub fn refusal(template: &Value) -> Option<String> {
    let pod = &template["spec"];
    of_pod(pod)
        .or_else(|| of_annotations(&template["metadata"]["annotations"]))
        .or_else(|| containers(pod).find_map(|container| of_container(container, pod)))
}

/// All containers, those that run before the others included.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|kind| pod[kind].as_array())
        .flatten()
}

fn of_pod(pod: &Value) -> Option<String> {
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[host] == true {
            return Some(host.to_owned());
        }
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object()?.keys().filter(|key| *key != "name");
        if let Some(kind) = kinds.into_iter().find(|kind| !VOLUMES.contains(&kind.as_str())) {
            return Some(format!("volume of kind {kind}"));
        }
    }
    let sysctls = pod["securityContext"]["sysctls"].as_array().into_iter().flatten();
    if let Some(other) =
        sysctls.map(|sysctl| &sysctl["name"]).find(|name| !SYSCTLS.iter().any(|known| *name == known))
    {
        return Some(format!("sysctl {other}"));
    }
    of_security_context(&pod["securityContext"])
}

fn of_annotations(annotations: &Value) -> Option<String> {
    annotations.as_object()?.iter().find_map(|(key, value)| {
        let profile = value.as_str().unwrap_or_default();
        let harmless = ["", "runtime/default"].contains(&profile) || profile.starts_with("localhost/");
        (key.starts_with("container.apparmor.security.beta.kubernetes.io/") && !harmless).then(|| key.clone())
    })
}

/// What holds for the context of a pod and of a container alike.
fn of_security_context(context: &Value) -> Option<String> {
    if context["windowsOptions"]["hostProcess"] == true {
        return Some("hostProcess".to_owned());
    }
    let app_armor = context["appArmorProfile"]["type"].as_str().unwrap_or("RuntimeDefault");
    if app_armor == "Unconfined" {
        return Some("AppArmor unconfined".to_owned());
    }
    let linux = &context["seLinuxOptions"];
    let types = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    if !types.contains(&linux["type"].as_str().unwrap_or_default())
        || linux.get("user").is_some()
        || linux.get("role").is_some()
    {
        return Some(format!("SELinux options {linux}"));
    }
    (context["runAsUser"] == 0).then(|| "runs as root".to_owned())
}

fn of_container(container: &Value, pod: &Value) -> Option<String> {
    let context = &container["securityContext"];
    let inherited = &pod["securityContext"];
    let name = &container["name"];
    let refuse = |why: &str| Some(format!("container {name}: {why}"));

    if context["privileged"] == true {
        return refuse("privileged");
    }
    if context["allowPrivilegeEscalation"] != false {
        return refuse("may escalate privileges");
    }
    let non_root = context.get("runAsNonRoot").unwrap_or(&inherited["runAsNonRoot"]);
    if *non_root != true {
        return refuse("runAsNonRoot is not set");
    }
    let seccomp = context.get("seccompProfile").unwrap_or(&inherited["seccompProfile"]);
    if !["RuntimeDefault", "Localhost"].iter().any(|profile| seccomp["type"] == *profile) {
        return refuse("no seccomp profile");
    }
    let capabilities = &context["capabilities"];
    let drops = capabilities["drop"].as_array().is_some_and(|all| all.iter().any(|one| one == "ALL"));
    if !drops {
        return refuse("does not drop ALL capabilities");
    }
    let mut added = capabilities["add"].as_array().into_iter().flatten();
    if added.any(|one| one != "NET_BIND_SERVICE") {
        return refuse("adds capabilities");
    }
    if context["procMount"].as_str().is_some_and(|mount| mount != "Default") {
        return refuse("procMount");
    }
    let mut ports = container["ports"].as_array().into_iter().flatten();
    if ports.any(|port| port["hostPort"].as_i64().unwrap_or_default() != 0) {
        return refuse("a port of the host");
    }
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
    let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
    let mut handlers = probes.into_iter().chain(hooks);
    if handlers
        .any(|handler| ["httpGet", "tcpSocket"].iter().any(|kind| handler[*kind].get("host").is_some()))
    {
        return refuse("probes another host");
    }
    of_security_context(context).and_then(|why| refuse(&why))
}

#[test]
fn the_checker_refuses_what_the_standard_refuses() {
    use serde_json::json;

    let good = json!({"metadata": {}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [{"name": "app", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}});
    assert_eq!(refusal(&good), None);
    let container = "/spec/containers/0";
    for (place, field, value) in [
        ("/spec", "hostNetwork", json!(true)),
        ("/spec", "hostPID", json!(true)),
        ("/spec", "volumes", json!([{"name": "a", "hostPath": {"path": "/"}}])),
        ("/spec", "initContainers", json!([{"name": "init"}])),
        ("/spec/securityContext", "runAsNonRoot", json!(null)),
        ("/spec/securityContext", "runAsUser", json!(0)),
        ("/spec/securityContext", "seccompProfile", json!({"type": "Unconfined"})),
        ("/spec/securityContext", "sysctls", json!([{"name": "kernel.msgmax", "value": "1"}])),
        (
            "/metadata",
            "annotations",
            json!({"container.apparmor.security.beta.kubernetes.io/app": "unconfined"}),
        ),
        (container, "securityContext", json!({})),
        (container, "securityContext", json!({"allowPrivilegeEscalation": false})),
        (container, "ports", json!([{"containerPort": 80, "hostPort": 80}])),
        (container, "livenessProbe", json!({"httpGet": {"host": "169.254.169.254", "port": 80}})),
        ("/spec/containers/0/securityContext", "privileged", json!(true)),
        ("/spec/containers/0/securityContext", "allowPrivilegeEscalation", json!(true)),
        (
            "/spec/containers/0/securityContext",
            "capabilities",
            json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        ),
        ("/spec/containers/0/securityContext", "procMount", json!("Unmasked")),
    ] {
        let mut bad = good.clone();
        bad.pointer_mut(place).expect("it is there")[field] = value.clone();
        assert!(refusal(&bad).is_some(), "{place}/{field}: {value}");
    }
}
