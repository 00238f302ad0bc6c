//! Parameters change under a server that serves.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;
use trading_api::postgres::PARAMETERS;
use trading_core::postgres_parameters::needs_restart;

use super::cluster::Cluster;
use super::ledger::connect;
use super::server::Bench;

const FORMS: Duration = Duration::from_secs(90);
/// The agent looks every 5 s.
const TAKEN_UP: Duration = Duration::from_secs(30);

async fn shown(client: &Client, parameter: &str) -> String {
    let row = client.query_one(&format!("SHOW {parameter}"), &[]).await.expect("the connection goes on");
    row.get(0)
}

/// The operator writes another configuration.
fn write(cluster: &Cluster<'_>, lines: &str) {
    let file = cluster.file(0, "template.conf");
    let access = cluster.file(0, "pg_hba.conf");
    let text = format!(
        "hba_file = '{}'\nmax_connections = '50'\nshared_buffers = '16MB'\n{lines}",
        access.display()
    );
    fs::write(file, text).expect("written");
}

/// Until the Lease or the metrics say it.
async fn says(cluster: &Cluster<'_>, what: &str) -> String {
    let end = Instant::now() + TAKEN_UP;
    loop {
        let metrics = cluster.get(0, "/metrics").await.map(|(_, text)| text).unwrap_or_default();
        let all = format!("{}\n{metrics}", cluster.api.lease());
        if all.contains(what) {
            return all;
        }
        assert!(Instant::now() < end, "nobody says {what}: {}", cluster.everything().await);
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_taken_up_while_clients_go_on() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::alone(&bench).await;
    cluster.leads(FORMS).await;
    let client = connect(cluster.client_address(0)).await.expect("connected");

    write(&cluster, "work_mem = '7MB'\nmax_wal_senders = '11'\n");
    says(&cluster, "trading_postgres_parameters_pending 1").await;
    assert_eq!(shown(&client, "work_mem").await, "7MB");
    assert_eq!(shown(&client, "max_wal_senders").await, "10", "it waits for a restart");

    // What Postgres refuses is never put before it, and why is told.
    write(&cluster, "work_mem = 'lots'\nmaintenance_work_mem = '9MB'\n");
    let all = says(&cluster, "refused\\\"").await;
    assert!(all.contains(r#"invalid value for parameter \\\"work_mem\\\": \\\"lots\\\""#), "{all}");
    says(&cluster, "trading_postgres_parameters_refused 1").await;
    assert_eq!(shown(&client, "work_mem").await, "7MB");
    assert_ne!(shown(&client, "maintenance_work_mem").await, "9MB", "nothing of it is in force");

    // Left out again, it is as by default; the refusal is over.
    write(&cluster, "");
    says(&cluster, "trading_postgres_parameters_refused 0").await;
    says(&cluster, "trading_postgres_parameters_pending 0").await;
    assert_eq!(shown(&client, "work_mem").await, "4MB");
    assert!(!cluster.api.lease().contains("lots"), "{}", cluster.api.lease());

    // A server that would not start with them starts with those that it had.
    for lines in ["work_mem = 'lots'\n", "shared_buffers = '1000TB'\n"] {
        cluster.stop(0).await.expect("it ends");
        write(&cluster, lines);
        cluster.renew(0);
        cluster.start(0);
        cluster.leads(FORMS).await;
        says(&cluster, "trading_postgres_parameters_refused 1").await;
        let client = connect(cluster.client_address(0)).await.expect("connected");
        assert_eq!(shown(&client, "shared_buffers").await, "16MB");
        says(&cluster, "refused\\\"").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_is_what_the_server_says() {
    let Some(bench) = Bench::new() else { return };
    let cluster = Cluster::alone(&bench).await;
    cluster.leads(FORMS).await;
    let major: i32 = bench.major().parse().expect("a number");
    let client = connect(cluster.client_address(0)).await.expect("connected");
    for parameter in PARAMETERS.split('|') {
        let context = "SELECT context FROM pg_settings WHERE lower(name) = $1";
        let row = client.query_opt(context, &[&parameter]).await.expect("read");
        let context: String = row.unwrap_or_else(|| panic!("there is no {parameter}")).get(0);
        assert_eq!(context == "postmaster", needs_restart(parameter, major), "{parameter}: {context}");
    }
}
