//! Two operators: one writes at a time, also when the leader was frozen past the end of its Lease.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use trading_e2e::sim::{
    LONG, Mark, SETTLE, Space, Stack, database_secret, describe, every_kind, platform, wait_for,
};
use trading_testbed::audit::Entry;

const NAME: &str = "shop";

/// What a user wrote since then, Leases excepted.
fn writes(stack: &Stack, user: &str, mark: &Mark) -> Result<Vec<Entry>> {
    let all = stack.requests_since(mark)?.into_iter();
    Ok(all.filter(|e| e.user == user && e.is_write() && e.resource != "leases").collect())
}

async fn begin<'a>(stack: &'a Stack, namespace: &str) -> Result<Space<'a>> {
    let space = stack.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, &every_kind())).await?;
    Ok(space)
}

#[tokio::test]
async fn a_leader_that_was_frozen_never_writes_again() -> Result<()> {
    let stack = Stack::start()?;
    let first = stack.user();
    let (mut standby, second) = stack.second_operator("operator-b")?;
    let mark = stack.mark()?;
    let calm = begin(&stack, "leader-calm").await?;
    calm.ready(NAME).await?;
    let of_standby = writes(&stack, &second, &mark)?;
    ensure!(of_standby.is_empty(), "the standby wrote\n{}", describe(&of_standby));
    ensure!(!writes(&stack, first, &mark)?.is_empty(), "the leader wrote nothing");
    ensure!(standby.exited()?.is_none(), "the standby ended:\n{}", standby.log()?);

    // Frozen in the middle of its work.
    let busy = begin(&stack, "leader-frozen").await?;
    wait_for("the leader has begun", SETTLE, async || busy.get("ServiceAccount", "shop-redis").await).await?;
    stack.operator().pause()?;
    let frozen = stack.mark()?;
    calm.edit(NAME, &json!({ "version": "2.0.0" })).await?;
    busy.condition_is(NAME, "Ready", "True", "Ready", LONG).await?;
    calm.ready(NAME).await?;
    ensure!(!writes(&stack, &second, &frozen)?.is_empty(), "the standby did not take over");

    let thawed = stack.mark()?;
    stack.operator().resume()?;
    wait_for("the old leader ends", Duration::from_secs(30), async || {
        let status = stack.operator().exited()?;
        let status = status.ok_or_else(|| anyhow::anyhow!("it runs"))?;
        ensure!(!status.success(), "it ended with {status}");
        Ok(())
    })
    .await?;
    let late = writes(&stack, first, &thawed)?;
    ensure!(late.is_empty(), "the old leader wrote\n{}", describe(&late));

    // A graceful end hands over at once: the old one starts again as the standby and takes over.
    let begun = stack.operator().log()?.matches("waiting for the Lease").count();
    stack.operator().restart()?;
    wait_for("it stands by", SETTLE, async || {
        let log = stack.operator().log()?;
        ensure!(log.matches("waiting for the Lease").count() > begun, "{log}");
        Ok(())
    })
    .await?;
    let asked = std::time::Instant::now();
    let status = standby.terminate(Duration::from_secs(30))?;
    ensure!(status.success(), "the leader ended with {status}:\n{}", standby.log()?);
    calm.edit(NAME, &json!({ "version": "3.0.0" })).await?;
    calm.ready(NAME).await?;
    eprintln!("handed over and ready {:.1} s after SIGTERM", asked.elapsed().as_secs_f64());
    ensure!(asked.elapsed() < Duration::from_secs(15), "the Lease was waited for");
    Ok(())
}
