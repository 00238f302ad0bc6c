//! The same as in every run, but for hours: `cargo xtask soak`.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};
use trading_e2e::real::{Fault, Round, WRITES_AGAIN};

use super::postgres;
use super::{MACHINE, STAGE};

/// How many rounds.
const ROUNDS: &str = "TRADING_SOAK_ROUNDS";
/// Where the table's rows are written.
const ROWS: &str = "TRADING_SOAK_ROWS";

const FAULTS: [Fault; 3] = [Fault::Frozen, Fault::Killed, Fault::Deleted];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long; `cargo xtask soak` runs it"]
async fn primaries_are_lost_again_and_again() -> Result<()> {
    let _shared = MACHINE.read().await;
    let rounds: usize = std::env::var(ROUNDS).with_context(|| format!("{ROUNDS} is not set"))?.parse()?;
    let path = std::env::var_os(ROWS).with_context(|| format!("{ROWS} is not set"))?;
    let mut rows = File::create(path)?;
    let trial = postgres::begin("soak").await?;
    for (number, fault) in (1..=rounds).zip(FAULTS.into_iter().cycle()) {
        let round =
            Round::run(&trial, STAGE.cluster(), fault, &format!("round {number}"), WRITES_AGAIN).await?;
        let Round { pause, back, commits, failed_over } = round;
        let (pause, back) = (pause.as_secs_f64(), back.as_secs_f64());
        let leader = if failed_over { "another" } else { "the same" };
        let row = format!("| {number} | {fault} | {pause:.1} s | {back:.1} s | {leader} | {commits} |");
        eprintln!("{row}");
        writeln!(rows, "{row}")?;
    }
    trial.end().await
}
