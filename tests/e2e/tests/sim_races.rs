//! Changes that come at the very moment at which the operator begins to look at a platform, while it is
//! busy with others: none is missed, and none waits for ever.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use trading_e2e::sim::{Propagation, SETTLE, Space, Stack, at, platform, wait_for};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

/// Enough that the operator is busy with others when one changes.
const PLATFORMS: u64 = 16;
const ROUNDS: u64 = 6;
/// Others are looked at meanwhile, in turn. What was missed is found by nothing later.
const SEEN: Duration = Duration::from_mins(1);

/// A platform of one Deployment, for which nothing has to be brought up.
fn small(name: &str) -> Value {
    let nothing = json!({ "backend": null, "redis": null, "postgres": null, "frontend": { "replicas": 0 } });
    platform(name, &nothing)
}

/// The operator waits for 300 ms to look at what changed: pauses around that, another one each time.
fn pause(platform: u64, round: u64) -> Duration {
    Duration::from_millis(270 + (platform * 7 + round * 13) % 60)
}

async fn observed(space: &Space<'_>, name: &str) -> Result<()> {
    wait_for(&format!("{name} is observed"), SEEN, async || {
        let live = space.get("TradingPlatform", name).await?;
        let (newest, seen) = (at(&live, "/metadata/generation"), at(&live, "/status/observedGeneration"));
        ensure!(newest == seen, "generation {newest}, observed {seen}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_edit_while_the_operator_begins_to_look_is_seen() -> Result<()> {
    let space = &STACK.space("races-edit").await?;
    try_join_all((0..PLATFORMS).map(async |index| {
        let name = format!("shop-{index}");
        space.put(&small(&name)).await?;
        for round in 0..ROUNDS {
            space.edit(&name, &json!({ "version": format!("1.{round}.0") })).await?;
            tokio::time::sleep(pause(index, round)).await;
            space.edit(&name, &json!({ "version": format!("1.{round}.1") })).await?;
            observed(space, &name).await?;
        }
        Ok(())
    }))
    .await
    .map(drop)
}

#[tokio::test]
async fn a_namesake_that_comes_while_the_operator_forgets_is_seen() -> Result<()> {
    let space = &STACK.space("races-anew").await?;
    try_join_all((0..PLATFORMS).map(async |index| {
        let name = format!("shop-{index}");
        for round in 0..ROUNDS {
            space.put(&small(&name)).await?;
            observed(space, &name).await?;
            space.delete("TradingPlatform", &name, Propagation::Background).await?;
            space.gone("TradingPlatform", &name, SETTLE).await?;
            tokio::time::sleep(pause(index, round)).await;
        }
        Ok(())
    }))
    .await
    .map(drop)
}
