//! `validate`.

use trading_core::admission::{check, refusal};

use crate::support::{EXAMPLE, example, file, run, run_with_stdin};

/// The example with a text exchanged: exit code and standard error.
fn with(from: &str, to: &str) -> (i32, String) {
    assert!(example().contains(from), "{from}");
    let done = run_with_stdin(&["validate", "-f", "-"], &example().replace(from, to));
    assert_eq!(done.out.is_empty(), done.code != 0, "{}", done.out);
    (done.code, done.err)
}

fn refused(lines: &str) -> (i32, String) {
    (1, lines.to_owned())
}

#[test]
fn valid_files_are_named_one_by_one() {
    let done = run(&["validate", "-f", EXAMPLE, "-f", EXAMPLE]);
    let line = format!("{EXAMPLE}: tradingplatform/tradewizard is valid\n");
    assert_eq!((done.code, done.out, done.err.as_str()), (0, line.repeat(2), ""));
}

#[test]
fn every_broken_rule_is_a_line_with_file_name_and_field() {
    let wrong = example()
        .replace("  name: tradewizard\n", "  name: shop\n")
        .replace("minReplicas: 2", "minReplicas: 20")
        .replace("shards: 3", "shards: 2");
    let path = file("broken-rules.yaml", &wrong);
    let path = path.to_str().unwrap();
    let done = run(&["validate", "-f", path, "-f", EXAMPLE]);
    assert_eq!(done.code, 1);
    assert_eq!(done.out, format!("{EXAMPLE}: tradingplatform/tradewizard is valid\n"));
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!(lines.len(), 4, "{}", done.err);
    assert!(lines.iter().all(|line| line.starts_with(&format!("{path}: shop: spec."))), "{}", done.err);
    assert_eq!(
        lines[2],
        format!(
            "{path}: shop: spec.redis.shards: a Redis Cluster needs at least 3 shards to have a majority"
        )
    );
}

/// The apiserver lets these through: they would cost it too much. The operator finds them too.
#[test]
fn the_operator_says_what_validate_says_of_rules_that_are_dear() {
    let wrong = "apiVersion: platform.trading/v1alpha1
kind: TradingPlatform
metadata: { name: shop }
spec:
  version: 1.0.0
  quota: { hard: { pods: 1500m } }
  services:
  - name: greedy
    image: { repository: shop/greedy }
    resources: { requests: { cpu: 2 }, limits: { cpu: 1 } }
";
    let done = run_with_stdin(&["validate", "-f", "-"], wrong);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    let lines: Vec<&str> = done.err.lines().filter_map(|line| line.strip_prefix("stdin: shop: ")).collect();
    assert_eq!(lines.len(), 2, "{}", done.err);
    let condition = refusal(&check(&serde_yaml::from_str(wrong).unwrap(), None)).unwrap();
    let words = format!("nothing is changed until this is mended: {}", lines.join("; "));
    assert_eq!((condition.reason, condition.message), ("InvalidResource", words));
}

#[test]
fn a_valid_platform_beside_a_wrong_one_is_still_called_valid() {
    let wrong =
        example().replace("  name: tradewizard\n", "  name: wrong\n").replace("shards: 3", "shards: 2");
    let done = run_with_stdin(&["validate", "-f", "-"], &format!("{wrong}---\n{}", example()));
    assert_eq!((done.code, done.out.as_str()), (1, "stdin: tradingplatform/tradewizard is valid\n"));
}

#[test]
fn wrong_shapes_name_their_field() {
    assert_eq!(
        with("shards: 3", "shard: 3"),
        refused(
            "stdin: tradewizard: spec.redis: unknown field shard: check the spelling, see kubectl explain tradingplatform.spec.redis\n"
        )
    );
    assert_eq!(
        with("mode: Cluster", "mode: cluster"),
        refused(
            "stdin: tradewizard: spec.redis.mode: \"cluster\" is not one of [\"Standalone\",\"Replicated\",\"Cluster\",\"External\"]\n"
        )
    );
}

#[test]
fn bare_words_are_what_kubectl_makes_of_them() {
    let value = |value: &str| {
        with(
            "    probes:\n      liveness: { path: /health }",
            &format!(
                "    env: [{{ name: A, value: {value} }}]\n    probes:\n      liveness: {{ path: /health }}"
            ),
        )
    };
    assert_eq!(value("'on'"), (0, String::new()));
    let (code, error) = value("on");
    assert_eq!(code, 1);
    assert!(
        error.starts_with("stdin: tradewizard: spec.scraper.env[0].value: true is not of type"),
        "{error}"
    );
    assert_eq!(with("  version: 2.0.0", "  version: 2.0.0\n  features: { debug: yes }"), (0, String::new()));
}

#[test]
fn wrong_kinds_and_versions_come_with_the_right_ones() {
    assert_eq!(
        with("platform.trading/v1alpha1", "platform.trading/v1"),
        refused(
            "stdin: tradewizard: apiVersion: platform.trading/v1 is not known: use platform.trading/v1alpha1\n"
        )
    );
    assert_eq!(
        with("kind: TradingPlatform", "kind: TradingPlattform"),
        refused("stdin: tradewizard: kind: TradingPlattform is not known: use TradingPlatform\n")
    );
    assert_eq!(
        with("kind: TradingPlatform\n", ""),
        refused("stdin: tradewizard: kind: is missing: use TradingPlatform\n")
    );
}

#[test]
fn metadata_is_checked_as_kubernetes_does() {
    assert_eq!(
        with("  name: tradewizard\n", "  labels: {}\n"),
        refused("stdin: document 1: metadata.name: is missing: the names of all objects are made from it\n")
    );
    assert_eq!(
        with("  name: tradewizard\n", "  name: tradewizard\n  labels: { team: 7 }\n"),
        refused("stdin: tradewizard: metadata.labels[team]: 7 is not text: put it in quotes\n")
    );
}

#[test]
fn what_is_no_yaml_is_named_with_its_line() {
    let path = file("no-yaml.yaml", "kind: TradingPlatform\nspec:\n  version: a: b\n");
    let path = path.to_str().unwrap();
    let done = run(&["validate", "-f", path, "-f", "none.yaml", "-f", "examples", "-f", EXAMPLE]);
    assert_eq!(done.code, 1);
    assert_eq!(done.out, format!("{EXAMPLE}: tradingplatform/tradewizard is valid\n"));
    assert_eq!(
        done.err,
        format!(
            "{path}: mapping values are not allowed in this context at line 3 column 13\n\
             none.yaml: cannot be read: No such file or directory (os error 2)\n\
             examples: is a directory: build it and read the result, as in kubectl kustomize examples | kubectl trading validate -f -\n"
        )
    );
}

#[test]
fn without_a_platform_there_is_nothing_to_call_valid() {
    let done = run_with_stdin(&["validate", "-f", "-"], "apiVersion: v1\nkind: Secret\n");
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(
        done.err,
        "stdin: has no TradingPlatform in it, only Secret: it needs apiVersion: platform.trading/v1alpha1 and kind: TradingPlatform\n"
    );
}

#[test]
fn an_earlier_version_brings_the_rules_of_change() {
    let newer = example().replace("size: 20Gi", "size: 10Gi");
    assert_eq!(run_with_stdin(&["validate", "-f", "-"], &newer).code, 0);
    let done = run_with_stdin(&["validate", "-f", "-", "--old", EXAMPLE], &newer);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(
        done.err,
        "stdin: tradewizard: spec.redis.storage.size: volumes can't shrink: keep the size, or make a second platform and move the data\n"
    );
    let done = run(&["validate", "-f", EXAMPLE, "--old", "none.yaml"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(done.err, "error: none.yaml: cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn the_earlier_version_is_that_of_the_same_platform() {
    let named = |name: &str, namespace: &str| {
        example().replace("  name: tradewizard\n", &format!("  name: {name}\n  namespace: {namespace}\n"))
    };
    let bigger = |platform: String| platform.replace("size: 20Gi", "size: 30Gi");
    let old = file("old.yaml", &format!("{}---\n{}", bigger(named("shop", "b")), named("shop", "a")));
    let verdict = |platform: &str| {
        let done = run_with_stdin(&["validate", "-f", "-", "--old", old.to_str().unwrap()], platform);
        (done.code, done.out)
    };
    let valid = |rest: &str| (0, format!("stdin: tradingplatform/shop is valid{rest}\n"));
    assert_eq!(verdict(&named("shop", "a")), valid(""));
    assert_eq!(verdict(&bigger(named("shop", "b"))), valid(""));
    assert_eq!(verdict(&named("shop", "b")).0, 1);
    assert_eq!(verdict(&named("shop", "c")), valid("; it is new, --old does not have it"));
}

#[test]
fn risks_are_told_without_refusing() {
    let (code, error) = with("    mode: Cluster\n", "    mode: Cluster\n    maxmemoryPolicy: AllkeysLru\n");
    assert_eq!(code, 0);
    assert!(error.starts_with("stdin: tradewizard: warning: redis.maxmemoryPolicy may evict"), "{error}");
}
