//! Prints an estimate. Pure.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use trading_core::{
    cost::{Basis, Estimate, HOURS, Line, PriceTable, Span, money},
    plan::Identity,
};

const HEADER: [&str; 9] =
    ["COMPONENT", "PODS", "CPU", "MEMORY", "STORAGE", "CPU COST", "MEMORY COST", "STORAGE COST", "TOTAL"];

/// For people.
#[must_use]
pub fn text(name: &str, estimate: &Estimate, basis: Basis, nodes: u32) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(HEADER);
    for line in &estimate.lines {
        table.add_row(row(line));
    }
    let all = |of: fn(&Line) -> Span| estimate.lines.iter().map(of).sum::<Span>();
    table.add_row([
        "TOTAL".to_owned(),
        amount(all(|line| line.pods), ""),
        amount(all(|line| line.cpu), ""),
        amount(all(|line| line.memory), "Gi"),
        amount(all(|line| line.storage), "Gi"),
        cost(all(|line| line.cpu_cost)),
        cost(all(|line| line.memory_cost)),
        cost(all(|line| line.storage_cost)),
        cost(estimate.total),
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rows: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    let rows = rows.join("\n");
    format!(
        "{name}: {} a month of {HOURS} hours, {}, fewest–most pods\nprices: {}\n\n{rows}\n{}",
        estimate.currency,
        in_words(basis),
        estimate.prices,
        notes(estimate, nodes),
    )
}

fn in_words(basis: Basis) -> &'static str {
    match basis {
        Basis::Requests => "from requests",
        Basis::Limits => "from limits",
    }
}

fn row(line: &Line) -> [String; 9] {
    let mark = match (line.spot, line.per_node) {
        (true, _) => " (spot)",
        (_, true) => " (per node)",
        _ => "",
    };
    [
        format!("{}{mark}", line.component),
        amount(line.pods, ""),
        amount(line.cpu, ""),
        amount(line.memory, "Gi"),
        amount(line.storage, "Gi"),
        cost(line.cpu_cost),
        cost(line.memory_cost),
        cost(line.storage_cost),
        cost(line.cost),
    ]
}

fn notes(estimate: &Estimate, nodes: u32) -> String {
    let rest = "Nodes' spare room, traffic and services outside are not counted.\n";
    if !estimate.lines.iter().any(|line| line.per_node) {
        return format!("\n{rest}");
    }
    match nodes {
        1 => {
            format!("\nOf what has a pod on each node, one is counted: say on how many with --nodes. {rest}")
        }
        _ => format!("\nWhat has a pod on each node is counted on {nodes} nodes. {rest}"),
    }
}

fn amount(span: Span, unit: &str) -> String {
    if span.max.is_zero() {
        return "-".to_owned();
    }
    range(span, |number| format!("{}{unit}", number.round_dp(2).normalize()))
}

fn cost(span: Span) -> String {
    if span.max.is_zero() { "-".to_owned() } else { range(span, money) }
}

fn range(span: Span, word: impl Fn(Decimal) -> String) -> String {
    let (min, max) = (word(span.min), word(span.max));
    if min == max { min } else { format!("{min}–{max}") }
}

/// For programs: amounts are strings, as in the status.
#[must_use]
pub fn json(identity: &Identity, estimate: &Estimate, prices: &PriceTable, basis: Basis) -> Value {
    let number = |span: Span| {
        json!({
            "min": span.min.round_dp(3).normalize().to_string(),
            "max": span.max.round_dp(3).normalize().to_string(),
        })
    };
    let price = |span: Span| json!({ "min": money(span.min), "max": money(span.max) });
    let lines: Vec<Value> = estimate
        .lines
        .iter()
        .map(|line| {
            json!({
                "component": line.component,
                "kind": line.kind,
                "name": line.name,
                "spot": line.spot,
                "perNode": line.per_node,
                "pods": number(line.pods),
                "cpuCores": number(line.cpu),
                "memoryGi": number(line.memory),
                "storageGi": number(line.storage),
                "cpuCost": price(line.cpu_cost),
                "memoryCost": price(line.memory_cost),
                "storageCost": price(line.storage_cost),
                "cost": price(line.cost),
            })
        })
        .collect();
    json!({
        "name": identity.name,
        "namespace": identity.namespace,
        "currency": prices.currency,
        "prices": { "source": prices.source, "date": prices.date },
        "basis": match basis { Basis::Requests => "requests", Basis::Limits => "limits" },
        "hours": HOURS,
        "components": lines,
        "total": price(estimate.total),
    })
}
