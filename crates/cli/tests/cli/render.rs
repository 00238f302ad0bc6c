//! `render` and `crd`.

use std::{fs::OpenOptions, io::Write, path::Path, process::Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::support::{Done, EXAMPLE, example, plugin, run, run_with_stdin};

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap()).collect()
}

#[test]
fn the_example_becomes_all_its_objects_in_the_order_of_applying() {
    let done = run(&["render", "-f", EXAMPLE]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let documents = documents(&done.out);
    let mut kinds: Vec<&str> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "ResourceQuota",
            "NetworkPolicy",
            "ServiceAccount",
            "Secret",
            "ConfigMap",
            "Service",
            "PodDisruptionBudget",
            "StatefulSet",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Ingress",
            "ServiceMonitor",
            "PrometheusRule",
        ]
    );
    assert!(documents.iter().all(|document| document["metadata"]["name"].is_string()));
    assert!(
        done.out.starts_with("apiVersion: v1\nkind: ResourceQuota\nmetadata:\n  name: tradewizard-quota\n")
    );
    assert_eq!(done.out.matches("\n---\n").count() + 1, documents.len());
}

#[test]
fn generated_secrets_have_no_data_and_say_so() {
    let out = run(&["render", "-f", EXAMPLE]).out;
    assert!(out.contains(
        "---\n# The operator fills `password` once, when it makes this Secret, and keeps it.\napiVersion: v1\nkind: Secret\nmetadata:\n  name: tradewizard-redis-auth\n"
    ));
    let secret = documents(&out).into_iter().find(|document| document["kind"] == "Secret").unwrap();
    assert_eq!(secret.get("data"), None);
    assert_eq!(secret.get("stringData"), None);
}

#[test]
fn it_is_the_same_every_time_and_from_standard_input() {
    let first = run(&["render", "-f", EXAMPLE]).out;
    assert_eq!(run(&["render", "-f", EXAMPLE]).out, first);
    assert_eq!(run_with_stdin(&["render", "-f", "-"], &example()).out, first);
}

#[test]
fn the_output_of_kustomize_renders() {
    let platform = example().replace("  name: tradewizard\n", "  name: tradewizard\n  namespace: prod\n");
    let stream = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: prod\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n---\n{platform}"
    );
    let done = run_with_stdin(&["render", "--filename", "-"], &stream);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(documents(&done.out).iter().all(|document| document["metadata"]["namespace"] == "prod"));
    assert!(!done.out.contains("kind: Namespace"));
}

#[test]
fn several_platforms_follow_each_other() {
    let second = example().replace("  name: tradewizard\n", "  name: second\n");
    let done = run_with_stdin(&["render", "-f", "-"], &format!("{}---\n{second}", example()));
    let one = documents(&run(&["render", "-f", EXAMPLE]).out);
    let both = documents(&done.out);
    assert_eq!(both[..one.len()], one);
    assert_eq!(both[one.len()]["metadata"]["name"], "second-quota");
}

#[test]
fn the_agents_image_can_be_chosen() {
    let image = "registry.example/agent:1";
    assert!(!run(&["render", "-f", EXAMPLE]).out.contains(image));
    let done = run(&["render", "-f", EXAMPLE, "--agent-image", image]);
    assert!(done.out.contains(&format!("image: {image}\n")));
}

#[test]
fn what_the_cluster_lacks_is_left_out_and_told() {
    let platform = "tests/golden/vibebox/production/input.yaml";
    let rendered = |capabilities: &str| {
        let done = run(&["render", "-f", platform, "--capabilities", capabilities]);
        assert_eq!(done.code, 0, "{}", done.err);
        (documents(&done.out), done.err)
    };
    let is = |kind: &'static str| move |document: &Value| document["kind"] == kind;
    let is_abroad = |document: &Value| document["metadata"]["namespace"] != "vibebox";

    let whole = documents(&run(&["render", "-f", platform]).out);
    for has in [
        whole.iter().any(is("DaemonSet")),
        whole.iter().any(is("PrometheusRule")),
        whole.iter().any(is_abroad),
    ] {
        assert!(has, "the example does not show it");
    }
    let (bare, warnings) = rendered("");
    assert!(!bare.iter().any(|document| is("DaemonSet")(document) || is("PrometheusRule")(document)));
    assert!(!bare.iter().any(is_abroad), "without consent nothing is made elsewhere");
    for part in
        ["--allow-container-runtime", "platform.trading/allows=", "the Prometheus operator is not there"]
    {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
    let (allowed, _) = rendered("container-runtime,consent");
    assert!(allowed.iter().any(is("DaemonSet")) && allowed.iter().any(is_abroad));
    assert!(!allowed.iter().any(is("PrometheusRule")));

    let done = run(&["render", "-f", platform, "--capabilities", "kubernetes"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("kubernetes is none of prometheus-operator, "), "{}", done.err);
}

#[test]
fn text_that_kubectl_would_misread_is_quoted() {
    let platform = example().replace(
        "    probes:\n      liveness: { path: /api/health }",
        "    env: [{ name: A, value: 'yes' }, { name: B, value: '1_000' }]\n    probes:\n      liveness: { path: /api/health }",
    );
    let done = run_with_stdin(&["render", "-f", "-"], &platform);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(
        done.out.contains("- name: A\n          value: 'yes'\n        - name: B\n          value: '1_000'\n")
    );
}

#[test]
fn an_invalid_platform_is_refused_and_nothing_is_rendered() {
    let wrong =
        example().replace("shards: 3", "shards: 2").replace("  name: tradewizard\n", "  name: wrong\n");
    let done = run_with_stdin(&["render", "-f", "-"], &format!("{}---\n{wrong}", example()));
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(
        done.err,
        "stdin: wrong: spec.redis.shards: a Redis Cluster needs at least 3 shards to have a majority\n"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    for (file, error) in [
        ("none.yaml", "error: none.yaml: cannot be read: No such file or directory (os error 2)\n"),
        (
            "examples/tradewizard/base/kustomization.yaml",
            "error: examples/tradewizard/base/kustomization.yaml: has no TradingPlatform in it, only Kustomization: it needs apiVersion: platform.trading/v1alpha1 and kind: TradingPlatform\n",
        ),
    ] {
        let done = run(&["render", "-f", file]);
        assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (1, "", error));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for (arguments, stdin) in [(vec!["render", "-f", "-"], example()), (vec!["crd"], String::new())] {
        let mut child = plugin(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before there is anything to print; a pipe would hold all of it.
        drop(child.stdout.take());
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        let done = Done::from(child.wait_with_output().unwrap());
        assert_eq!((done.code, done.err.as_str()), (0, ""));
    }
}

#[test]
fn output_that_is_lost_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = plugin(&["render", "-f", EXAMPLE]).stdout(full).output().unwrap();
    let done = Done::from(output);
    assert_eq!((done.code, done.err.as_str()), (1, "error: No space left on device (os error 28)\n"));
}

#[test]
fn the_definition_is_the_one_of_the_api() {
    let done = run(&["crd"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(done.out.starts_with("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"));
    let expected = serde_json::to_value(trading_api::schema::crd()).unwrap();
    assert_eq!(documents(&done.out), [expected]);
}
