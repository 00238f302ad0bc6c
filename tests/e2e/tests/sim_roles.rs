//! The Services of a database follow the holder of its Lease. Nodes are simulated: the test writes what
//! agents would.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use trading_e2e::sim::{
    SETTLE, Space, Stack, at, describe, merge, own_database, platform, stays, text, wait_for,
};

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));

const NAME: &str = "shop";
const LEASE: &str = "shop-postgres";

fn pod(number: usize) -> String {
    format!("shop-postgres-{number}")
}

async fn hold(space: &Space<'_>, number: usize, second: usize) -> Result<Value> {
    let live = space.get("Pod", &pod(number)).await?;
    let holder = format!("{}/{}", pod(number), text(&live, "/metadata/uid"));
    let spec = json!({ "holderIdentity": holder, "renewTime": format!("2026-01-01T00:00:00.{second:06}Z") });
    space.patch("Lease", LEASE, &json!({ "spec": spec })).await
}

async fn roles(space: &Space<'_>, wanted: [&str; 2]) -> Result<()> {
    wait_for(&format!("the pods are {wanted:?}"), SETTLE, async || {
        for (number, role) in wanted.iter().enumerate() {
            let live = space.get("Pod", &pod(number)).await?;
            let found = text(&live, "/metadata/labels/platform.trading~1role");
            ensure!(found == *role, "{} is {found}", pod(number));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_label_of_the_primary_follows_the_lease_and_renewals_cost_nothing() -> Result<()> {
    let space = STACK.space("roles").await?;
    let mut patch = own_database();
    merge(&mut patch, &json!({ "redis": null, "frontend": null }));
    space.put(&platform(NAME, &patch)).await?;
    space.ready(NAME).await?;
    roles(&space, ["replica", "replica"]).await?;

    let begun = STACK.mark()?;
    hold(&space, 1, 0).await?;
    roles(&space, ["replica", "primary"]).await?;
    space.requests_until_rest(&begun).await?;
    let mark = STACK.mark()?;
    let mut second = 0;
    stays("nothing changes", Duration::from_secs(5), async || {
        second += 1;
        hold(&space, 1, second).await.map(drop)
    })
    .await?;
    let requests = space.requests_since(&mark)?;
    ensure!(requests.is_empty(), "renewals made the operator ask for\n{}", describe(&requests));

    hold(&space, 0, 50).await?;
    roles(&space, ["primary", "replica"]).await?;
    // What the agents wrote is not the operator's to take back.
    let lease = space.get("Lease", LEASE).await?;
    ensure!(text(&lease, "/spec/holderIdentity").starts_with("shop-postgres-0/"), "{}", at(&lease, "/spec"));
    Ok(())
}
