//! A database that CloudNativePG runs, with its real definition and a stand-in for its operator: what the platform
//! says while it waits, what an edit changes, and that nothing but `deletion.data: Delete` takes the data.

use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trading_core::kinds::AddOn;
use trading_e2e::add_ons;
use trading_e2e::sim::{
    CloudNative, Propagation, SETTLE, Space, Stack, at, backup, bucket_secret, cloudnative_database,
    describe, merge, platform, text, wait_for,
};
use trading_testbed::Kubectl;
use trading_testbed::audit::Entry;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));
/// The definition is the cluster's, so the tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";
const DATABASE: &str = "shop-postgres";
const BACKUPS: &str = "shop-postgres-backup";

async fn definition(change: fn(&Kubectl, AddOn) -> Result<()>) -> Result<()> {
    definition_of(AddOn::CloudNativePG, change).await
}

async fn definition_of(add_on: AddOn, change: fn(&Kubectl, AddOn) -> Result<()>) -> Result<()> {
    tokio::task::spawn_blocking(move || change(&STACK.kubectl()?, add_on)).await?
}

async fn component(space: &Space<'_>, name: &str) -> Result<Value> {
    let live = space.get("TradingPlatform", NAME).await?;
    let all = at(&live, "/status/components").as_array();
    let found = all.into_iter().flatten().find(|component| component["name"] == name);
    found.cloned().with_context(|| format!("no component {name}"))
}

async fn told(space: &Space<'_>, name: &str, words: &str) -> Result<Value> {
    wait_for(&format!("{name} says {words:?}"), SETTLE, async || {
        let component = component(space, name).await?;
        ensure!(text(&component, "/message").contains(words), "{component}");
        Ok(component)
    })
    .await
}

/// Whether CloudNativePG is asked to stop it.
async fn asleep(space: &Space<'_>) -> Result<bool> {
    let live = space.get("Cluster", DATABASE).await?;
    ensure!(at(&live, "/metadata/deletionTimestamp").is_null(), "it is being deleted");
    Ok(live["metadata"]["annotations"]["cnpg.io/hibernation"] == "on")
}

/// What must never be another: the database, its volume, the password.
async fn treasures(space: &Space<'_>) -> Result<[Value; 3]> {
    let uid = |object: &Value| at(object, "/metadata/uid").clone();
    Ok([
        uid(&space.get("Cluster", DATABASE).await?),
        uid(&space.get("PersistentVolumeClaim", "shop-postgres-1").await?),
        at(&space.get("Secret", "shop-postgres-app").await?, "/data/password").clone(),
    ])
}

async fn bring_up(namespace: &str) -> Result<(Space<'static>, CloudNative)> {
    definition(add_ons::install).await?;
    let space = STACK.space(namespace).await?;
    let operator = CloudNative::start(&space);
    space.put(&platform(NAME, &cloudnative_database())).await?;
    space.ready(NAME).await?;
    Ok((space, operator))
}

#[tokio::test]
async fn the_platform_waits_for_cloudnative_pg_and_then_serves() -> Result<()> {
    let _turn = TURN.lock().await;
    definition(add_ons::remove).await?;
    let space = STACK.space("cnpg-waits").await?;
    space.put(&platform(NAME, &cloudnative_database())).await?;
    let missing = space.condition_is(NAME, "AddOnsAvailable", "False", "AddOnMissing", SETTLE).await?;
    ensure!(missing.contains("clusters.postgresql.cnpg.io") && missing.contains(DATABASE), "{missing}");
    let waiting = told(&space, "postgres", "CloudNativePG is not there").await?;
    ensure!(waiting["state"] == "Waiting" && waiting["kind"] == "Cluster", "{waiting}");
    space.get("Deployment", "shop-frontend").await?;

    // The definition is there before the operator works.
    definition(add_ons::install).await?;
    told(&space, "backend", "which CloudNativePG makes").await?;
    space.condition_is(NAME, "AddOnsAvailable", "True", "Served", SETTLE).await?;
    ensure!(space.find("Deployment", "shop-backend").await?.is_none(), "it would start twice");
    let stalled = space.condition(NAME, "Stalled").await?;
    ensure!(stalled["status"] == "False", "it gets on by itself: {stalled}");

    let operator = CloudNative::start(&space);
    space.ready(NAME).await?;
    let database = component(&space, "postgres").await?;
    ensure!(database["ready"] == 2 && database["message"] == "primary shop-postgres-1", "{database}");
    ensure!(database["version"] == "16-standard-trixie", "{database}");
    let backend = space.get("Deployment", "shop-backend").await?.to_string();
    for part in ["\"shop-postgres-rw\"", "\"shop-postgres-ro\"", "\"verify-full\"", "\"shop-postgres-ca\""] {
        ensure!(backend.contains(part), "no {part} in {backend}");
    }

    // An edit changes the Cluster alone.
    space.requests_until_rest(&STACK.mark()?).await?;
    let mark = STACK.mark()?;
    let parameters = json!({ "work_mem": "16MB" });
    let edit = json!({ "postgres": { "instances": 3, "parameters": parameters } });
    space.edit(NAME, &edit).await?;
    space.ready(NAME).await?;
    let entries = space.requests_until_rest(&mark).await?;
    let written = entries.iter().filter(|entry| entry.is_write());
    let others: Vec<Entry> = written
        .filter(|entry| !matches!(entry.resource.as_str(), "clusters" | "tradingplatforms"))
        .cloned()
        .collect();
    ensure!(others.is_empty(), "others were written:\n{}", describe(&others));
    let live = space.get("Cluster", DATABASE).await?;
    ensure!(live["spec"]["instances"] == 3, "{live}");
    ensure!(live["spec"]["postgresql"]["parameters"]["work_mem"] == "16MB", "{live}");

    // Its pooler is CloudNativePG's too, and goes when no client needs it.
    space.edit(NAME, &json!({ "postgres": { "pooler": { "instances": 2 } } })).await?;
    space.ready(NAME).await?;
    let pooler = component(&space, "postgres-pooler").await?;
    ensure!(pooler["state"] == "Ready" && pooler["kind"] == "Pooler" && pooler["ready"] == 2, "{pooler}");
    let backend = space.get("Deployment", "shop-backend").await?.to_string();
    ensure!(backend.contains("\"shop-postgres-pooler\"") && backend.contains("\"verify-ca\""), "{backend}");
    space.edit(NAME, &json!({ "postgres": { "pooler": null } })).await?;
    space.gone("Pooler", "shop-postgres-pooler", SETTLE).await?;
    space.ready(NAME).await?;

    // What only a person can mend is told.
    drop(operator);
    let stuck = json!({ "status": { "phase": "Cluster is unrecoverable and needs manual intervention" } });
    space.status("Cluster", DATABASE, &stuck).await?;
    let told = space.condition_is(NAME, "Stalled", "True", "ComponentFailed", SETTLE).await?;
    ensure!(told.contains("postgres: Cluster is unrecoverable"), "{told}");
    definition(add_ons::remove).await
}

#[tokio::test]
async fn the_data_outlives_the_platform_and_goes_when_it_is_told_to() -> Result<()> {
    let _turn = TURN.lock().await;
    let (space, _operator) = bring_up("cnpg-deleted").await?;
    let before = treasures(&space).await?;

    space.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    ensure!(treasures(&space).await? == before, "the data is another's");
    ensure!(asleep(&space).await?, "its servers run on");
    let live = space.get("Cluster", DATABASE).await?;
    ensure!(at(&live, "/status/readyInstances") == 0, "the platform did not wait for it: {live}");
    let left: Vec<_> =
        space.children(NAME).await?.into_keys().filter(|(_, name)| name.contains("postgres")).collect();
    ensure!(left.len() == 2, "more than the database and its login is left: {left:?}");

    // A platform of the same name takes it up.
    let made = space.put(&platform(NAME, &cloudnative_database())).await?;
    space.ready(NAME).await?;
    ensure!(treasures(&space).await? == before && !asleep(&space).await?, "it is another's, or sleeps");
    let live = space.get("Cluster", DATABASE).await?;
    ensure!(live["metadata"]["labels"]["platform.trading/uid"] == *at(&made, "/metadata/uid"), "{live}");

    space.edit(NAME, &json!({ "deletion": { "data": "Delete" } })).await?;
    space.ready(NAME).await?;
    space.delete("TradingPlatform", NAME, Propagation::Background).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    space.gone("Cluster", DATABASE, SETTLE).await?;
    space.gone("PersistentVolumeClaim", "shop-postgres-1", SETTLE).await?;
    ensure!(space.find("Secret", "shop-postgres-app").await?.is_none(), "the password is left");
    definition(add_ons::remove).await
}

#[tokio::test]
async fn a_database_that_is_removed_from_the_resource_sleeps_until_it_is_back() -> Result<()> {
    let _turn = TURN.lock().await;
    let (space, _operator) = bring_up("cnpg-removed").await?;
    let before = treasures(&space).await?;

    space.edit(NAME, &json!({ "postgres": null })).await?;
    space.condition_is(NAME, "Ready", "False", "StoreRemovalNotAcknowledged", SETTLE).await?;
    ensure!(!asleep(&space).await?, "nobody said that it may stop");
    space.edit(NAME, &json!({ "deletion": { "acknowledgeStoreRemoval": ["Postgres"] } })).await?;
    space.ready(NAME).await?;
    ensure!(asleep(&space).await?, "its servers run on");
    space.gone("NetworkPolicy", DATABASE, SETTLE).await?;
    space.edit(NAME, &json!({ "deletion": null })).await?;
    space.ready(NAME).await?;
    space.requests_until_rest(&STACK.mark()?).await?;

    // Servers of another mode would not find the data.
    let managed = json!({ "postgres": { "mode": "Managed", "version": 16 } });
    space.edit(NAME, &managed).await?;
    let told = space.condition_is(NAME, "Ready", "False", "StoreModeDiffers", SETTLE).await?;
    ensure!(told.contains("CloudNativePG"), "{told}");
    ensure!(space.find("StatefulSet", DATABASE).await?.is_none(), "it was made");

    space
        .edit(NAME, &json!({ "postgres": null, "deletion": { "acknowledgeStoreRemoval": ["Postgres"] } }))
        .await?;
    space.edit(NAME, &cloudnative_database()).await?;
    space.ready(NAME).await?;
    ensure!(treasures(&space).await? == before && !asleep(&space).await?, "it is another's, or sleeps");
    definition(add_ons::remove).await
}

/// What CloudNativePG says of backups from now on.
async fn says(space: &Space<'_>, type_: &str, status: &str, reason: &str) -> Result<()> {
    let live = space.get("Cluster", DATABASE).await?;
    let mut conditions = at(&live, "/status/conditions").as_array().context("no conditions")?.clone();
    let told =
        conditions.iter_mut().find(|condition| condition["type"] == type_).context("no such condition")?;
    told["status"] = json!(status);
    told["reason"] = json!(reason);
    told["message"] = json!("the bucket is closed");
    space.status("Cluster", DATABASE, &json!({ "status": { "conditions": conditions } })).await
}

#[tokio::test]
async fn its_backups_are_scheduled_and_it_is_told_how_they_are() -> Result<()> {
    let _turn = TURN.lock().await;
    definition(add_ons::install).await?;
    definition_of(AddOn::BarmanCloud, add_ons::remove).await?;
    let space = STACK.space("cnpg-backups").await?;
    let _operator = CloudNative::start(&space);
    let mut spec = cloudnative_database();
    merge(&mut spec, &backup());
    space.put(&platform(NAME, &spec)).await?;
    // A database that named a plugin that is not there would be left alone by CloudNativePG.
    space.ready(NAME).await?;
    let healthy = async |status: &str, reason: &str, words: &str| {
        let told = space.condition_is(NAME, "BackupHealthy", status, reason, SETTLE).await?;
        ensure!(told.contains(words), "{told}");
        Ok(())
    };
    healthy("False", "AddOnMissing", "AddOnsAvailable").await?;
    let missing = space.condition_is(NAME, "AddOnsAvailable", "False", "AddOnMissing", SETTLE).await?;
    ensure!(missing.contains("objectstores.barmancloud.cnpg.io"), "{missing}");
    ensure!(space.get("Cluster", DATABASE).await?["spec"]["plugins"].is_null(), "it names the plugin");
    ensure!(space.find("ScheduledBackup", BACKUPS).await?.is_none(), "nobody could make it");

    definition_of(AddOn::BarmanCloud, add_ons::install).await?;
    healthy("False", "BackupCredentialsMissing", "Secret \"bucket\", which does not exist: create it")
        .await?;
    let schedule =
        wait_for("it is scheduled", SETTLE, async || space.get("ScheduledBackup", BACKUPS).await).await?;
    ensure!(schedule["spec"]["schedule"] == "0 0 3 * * *", "{schedule}");
    space.put(&bucket_secret()).await?;
    healthy("True", "BackedUp", "2100-01-01T03:00:12Z").await?;
    space.ready(NAME).await?;
    let live = space.get("Cluster", DATABASE).await?;
    let name = text(&live, "/spec/plugins/0/parameters/barmanObjectName").to_owned();
    let bucket = space.get("ObjectStore", &name).await?;
    let folder = format!("s3://shop-backups/{}", space.name);
    ensure!(at(&bucket, "/spec/configuration/destinationPath") == &json!(folder), "{bucket}");

    // While the next one is made, the last one counts.
    says(&space, "LastBackupSucceeded", "False", "BackupStarted").await?;
    space.requests_until_rest(&STACK.mark()?).await?;
    healthy("True", "BackedUp", "2100-01-01T03:00:12Z").await?;
    says(&space, "LastBackupSucceeded", "False", "LastBackupFailed").await?;
    healthy("False", "BackupFailed", "the bucket is closed").await?;
    says(&space, "ContinuousArchiving", "False", "ContinuousArchivingFailing").await?;
    healthy("False", "ArchivingFails", "fills the volumes until it can: the bucket is closed").await?;
    let degraded = space.condition_is(NAME, "Degraded", "True", "ArchivingFails", SETTLE).await?;
    ensure!(degraded.contains("kubectl -n cnpg-backups"), "{degraded}");
    ensure!(space.condition(NAME, "Ready").await?["status"] == "True", "the platform serves");

    // Whoever gives up backups keeps the database.
    let before = treasures(&space).await?;
    space.edit(NAME, &json!({ "backup": null })).await?;
    space.gone("ScheduledBackup", BACKUPS, SETTLE).await?;
    space.gone("ObjectStore", &name, SETTLE).await?;
    space.ready(NAME).await?;
    ensure!(space.get("Cluster", DATABASE).await?["spec"]["plugins"].is_null(), "it names the plugin");
    ensure!(treasures(&space).await? == before, "the data is another's");

    // With the platform goes the schedule. The database that sleeps could not wake without its bucket.
    space.edit(NAME, &backup()).await?;
    space.ready(NAME).await?;
    wait_for("it archives", SETTLE, async || {
        let live = space.get("Cluster", DATABASE).await?;
        ensure!(live["spec"]["plugins"].is_array(), "it does not name the plugin");
        Ok(())
    })
    .await?;
    space.delete("TradingPlatform", NAME, Propagation::Foreground).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    ensure!(treasures(&space).await? == before && asleep(&space).await?, "it is another's, or runs on");
    ensure!(space.find("ScheduledBackup", BACKUPS).await?.is_none(), "it is scheduled on");
    space.get("ObjectStore", &name).await?;
    // One of the same name that wants no backups takes the database up without it.
    space.put(&platform(NAME, &cloudnative_database())).await?;
    space.ready(NAME).await?;
    ensure!(treasures(&space).await? == before && !asleep(&space).await?, "it is another's, or sleeps");
    space.gone("ObjectStore", &name, SETTLE).await?;
    space.edit(NAME, &backup()).await?;
    space.ready(NAME).await?;
    wait_for("it is there again", SETTLE, async || space.get("ObjectStore", &name).await).await?;
    space.edit(NAME, &json!({ "deletion": { "data": "Delete" } })).await?;
    space.ready(NAME).await?;
    space.delete("TradingPlatform", NAME, Propagation::Background).await?;
    space.gone("TradingPlatform", NAME, SETTLE).await?;
    space.gone("ObjectStore", &name, SETTLE).await?;
    definition_of(AddOn::BarmanCloud, add_ons::remove).await?;
    definition(add_ons::remove).await
}
