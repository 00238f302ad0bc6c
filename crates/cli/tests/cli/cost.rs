//! `cost`: the table, its prices, and what is said of wrong ones.

use serde_json::{Value, json};

use crate::support::{EXAMPLE, example, file, run, run_with_stdin};

/// A price table as a person writes it.
fn table(name: &str, data: &[(&str, &str)]) -> String {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prices"}, "data": data});
    file(name, &map.to_string()).display().to_string()
}

#[test]
fn each_component_has_a_row() {
    let done = run(&["cost", "-f", EXAMPLE]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = done.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |name: &str| rows.iter().find(|row| row.first() == Some(&name)).unwrap();
    // 6 servers × 0.5 cores × 0.033 × 730, 6 GiB × 0.00375 × 730, 6 × 20 GiB × 0.08.
    assert_eq!(row("redis")[1..], ["6", "3", "6Gi", "120Gi", "72.27", "16.43", "9.60", "98.30"]);
    // 2–10 pods of half a core and half a GiB.
    assert_eq!(
        row("frontend")[1..],
        ["2–10", "1–5", "1Gi–5Gi", "-", "24.09–120.45", "2.74–13.69", "-", "26.83–134.14"]
    );
    assert_eq!(row("TOTAL").last(), Some(&"181.52–440.48"));
    assert!(
        done.out.starts_with(
            "tradewizard: USD a month of 730 hours, from requests, fewest–most pods\nprices: AWS us-east-1"
        ),
        "{}",
        done.out
    );
}

#[test]
fn limits_cost_more_than_requests() {
    let total = |arguments: &[&str]| -> f64 {
        let done = run(&[&["cost", "-f", EXAMPLE, "-o", "json"], arguments].concat());
        let printed: Value = serde_json::from_str(&done.out).unwrap();
        printed["total"]["min"].as_str().unwrap().parse().unwrap()
    };
    assert!(total(&["--limits"]) > 2.0 * total(&[]));
    assert!((total(&["--provider", "AWS"]) - total(&[])).abs() < 0.001);
    assert!((total(&["--provider", "GCP"]) - total(&[])).abs() > 0.001);
}

#[test]
fn a_pod_on_each_node_is_counted_on_all_that_are_named() {
    let platform = "tests/golden/vibebox/production/input.yaml";
    let cost = |arguments: &[&str]| {
        let done = run(&[&["cost", "-f", platform, "-o", "json"], arguments].concat());
        let printed: Value = serde_json::from_str(&done.out).unwrap();
        let all = printed["components"].as_array().unwrap();
        let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
        let of_runtime: f64 =
            all.iter().filter(|line| line["perNode"] == true).map(|line| number(&line["cost"]["min"])).sum();
        (of_runtime, number(&printed["total"]["min"]))
    };
    let ((one, least), (ten, most)) = (cost(&[]), cost(&["--nodes", "10"]));
    assert!(one > 0.0 && (ten - 10.0 * one).abs() < 0.1, "{one} and {ten}");
    assert!((most - least - (ten - one)).abs() < 0.1, "{least} and {most}");
    let printed = |arguments: &[&str]| run(&[&["cost", "-f", platform], arguments].concat());
    assert!(printed(&[]).out.contains("say on how many with --nodes"));
    assert!(printed(&["--nodes", "10"]).out.contains("is counted on 10 nodes"));
    assert_eq!(printed(&["--nodes", "0"]).code, 2);
}

#[test]
fn a_program_reads_amounts_and_prices() {
    let done = run_with_stdin(&["cost", "-f", "-", "-o", "json", "--provider", "Azure"], &example());
    let printed: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(printed["currency"], "USD");
    assert_eq!(printed["prices"]["source"], "Azure East US, Dsv5 and Esv5, Premium SSD P10");
    let redis =
        printed["components"].as_array().unwrap().iter().find(|line| line["component"] == "redis").unwrap();
    assert_eq!(redis["storageGi"], json!({"min": "120", "max": "120"}));
    assert_eq!(redis["storageCost"], json!({"min": "18.48", "max": "18.48"}));
}

#[test]
fn own_prices_come_from_a_file() {
    let prices = table(
        "own-prices.yaml",
        &[
            ("currency", "EUR"),
            ("source", "our contract"),
            ("date", "2026-11-01"),
            ("cpu.onDemand", "0.01"),
            ("memory.onDemand", "0.001"),
            ("storage", "1"),
            ("storage.fast-ssd", "2"),
        ],
    );
    let done = run(&["cost", "-f", EXAMPLE, "--prices", &prices]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(done.out.contains("EUR a month") && done.out.contains("prices: our contract (2026-11-01)"));
    // 120 GiB of the class fast-ssd.
    assert!(done.out.contains("240.00"), "{}", done.out);
}

#[test]
fn wrong_prices_are_named_with_place_and_remedy() {
    let prices = table(
        "wrong-prices.yaml",
        &[("source", "us"), ("date", "2026"), ("cpu.onDemand", "-0.03"), ("storage", "0.1")],
    );
    let done = run(&["cost", "-f", EXAMPLE, "--prices", &prices]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(
        done.err.contains(&format!(
            "{prices}: cpu.onDemand: \"-0.03\" is negative: give the price of a core for an hour, such as 0.033"
        )),
        "{}",
        done.err
    );
    assert!(
        done.err.contains("memory.onDemand: is missing: give the price of a GiB of memory"),
        "{}",
        done.err
    );

    let empty = file("no-prices.yaml", "kind: Secret\n").display().to_string();
    let done = run(&["cost", "-f", EXAMPLE, "--prices", &empty]);
    assert!(done.err.contains("has 0 ConfigMaps: it needs one, with the prices under data"), "{}", done.err);
}

#[test]
fn it_says_what_it_needs() {
    for (arguments, message) in [
        (vec!["cost"], "required arguments were not provided"),
        (vec!["cost", "shop", "-f", EXAMPLE], "cannot be used with"),
        (vec!["cost", "-f", EXAMPLE, "--provider", "aws"], "possible values: AWS, GCP, Azure"),
        (vec!["cost", "-f", EXAMPLE, "--price-table", "prices"], "use NAMESPACE/NAME"),
        (vec!["cost", "shop"], "no cluster to ask, set KUBECONFIG"),
    ] {
        let done = run(&arguments);
        assert_ne!(done.code, 0, "{arguments:?}");
        assert!(done.err.contains(message), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn a_refused_platform_has_no_price() {
    let done = run_with_stdin(&["cost", "-f", "-"], &example().replace("shards: 3", "shards: 2"));
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(done.err.contains("at least 3 shards"), "{}", done.err);
}
