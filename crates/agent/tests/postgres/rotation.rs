//! The owner's login changes while clients log in all the time.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::OWNER;
use super::cluster::{Cluster, MEMBERS};
use super::ledger::{connect, connect_as};
use super::server::Bench;

const FORMS: Duration = Duration::from_secs(90);
const MADE: Duration = Duration::from_secs(40);
/// Of later logins.
const SECOND: &str = "second's: \\ $(y) \"";
const THIRD: &str = "the-third-one";

type Login = (&'static str, &'static str);

/// For how long connections may break in a row.
const BROKEN: Duration = Duration::from_secs(30);

/// Clients that log in anew for each question, at every server, with what the Secret has now.
struct Clients {
    login: Arc<Mutex<Login>>,
    stop: Arc<AtomicBool>,
    logins: Arc<AtomicUsize>,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    fn begin(cluster: &Cluster<'_>) -> Self {
        let login = Arc::new(Mutex::new(("app", OWNER)));
        let (stop, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let one = |index: usize| {
            let address = cluster.client_address(index);
            let (login, stop, logins) = (login.clone(), stop.clone(), logins.clone());
            tokio::spawn(async move {
                let mut answered = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let (user, password) = *login.lock().expect("not poisoned");
                    let session = async {
                        let client = connect_as(address, user, password).await?;
                        client.query_one("SELECT current_user::text", &[]).await
                    };
                    match session.await {
                        Ok(row) => {
                            assert_eq!(row.get::<_, String>(0), "app", "it works as the owner");
                            answered = Instant::now();
                            logins.fetch_add(1, Ordering::Relaxed);
                        }
                        // A connection breaks where a busy machine lets the Lease end; clients try again.
                        Err(error) if error.as_db_error().is_none() && answered.elapsed() < BROKEN => {}
                        Err(error) => panic!("{user} is not let in at {index}: {error:?}"),
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let running = (0..MEMBERS).map(one).collect();
        Self { login, stop, logins, running }
    }

    fn change(&self, login: Login) {
        *self.login.lock().expect("not poisoned") = login;
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.running {
            client.await.expect("no client failed");
        }
        self.logins.load(Ordering::Relaxed)
    }
}

async fn accepts(cluster: &Cluster<'_>, generations: &str) {
    cluster.is_told(&format!(r#"\"logins\":[{generations}]"#)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_replaces_another_and_no_client_fails() {
    let Some(bench) = Bench::new() else { return };
    let mut cluster = Cluster::new(&bench, false).await;
    let primary = cluster.settles(FORMS).await;
    let text = fs::read_to_string(cluster.file(0, "template.conf")).expect("read");
    for index in 0..MEMBERS {
        let own = text.replace("shop-postgres-0", &super::cluster::name(index));
        fs::write(cluster.file(index, "template.conf"), own + "log_statement = 'all'\n").expect("written");
    }
    accepts(&cluster, "1").await;
    let at = |index: usize| cluster.client_address(index);
    let old = connect(at(primary)).await.expect("connected");
    old.batch_execute("CREATE TABLE before AS SELECT 1 AS id").await.expect("made");
    let clients = Clients::begin(&cluster);

    // The password comes after the wish for it.
    cluster.write("login", "2\n");
    sleep(Duration::from_secs(3)).await;
    cluster.write("passwords/2", SECOND);
    accepts(&cluster, "1,2").await;
    clients.change(("app_login_2", SECOND));
    let new = connect_as(at(primary), "app_login_2", SECOND).await.expect("connected");
    for statement in ["CREATE TABLE after AS SELECT * FROM before", "DISCARD ALL", "DROP TABLE before"] {
        new.batch_execute(statement).await.expect("it works as the owner");
    }
    let owner = "SELECT tableowner::text FROM pg_tables WHERE tablename = 'after'";
    assert_eq!(new.query_one(owner, &[]).await.expect("read").get::<_, String>(0), "app");
    old.batch_execute("SELECT * FROM after").await.expect("the old login still works");
    sleep(Duration::from_secs(1)).await;

    cluster.write("login", "2 only\n");
    accepts(&cluster, "2").await;
    let end = Instant::now() + MADE;
    while old.batch_execute("SELECT 1").await.is_ok() {
        assert!(Instant::now() < end, "the old connection goes on");
        sleep(Duration::from_millis(200)).await;
    }
    for index in 0..MEMBERS {
        let old = connect_as(at(index), "app", OWNER).await;
        let error = old.err().unwrap_or_else(|| panic!("the old password works at {index}"));
        assert!(error.as_db_error().is_some(), "{error:?}");
    }
    let logins = clients.end().await;
    println!("{logins} logins, none refused");
    assert!(logins > 20, "{logins}");

    // Agents and servers end at any moment of it.
    cluster.write("passwords/3", THIRD);
    cluster.write("login", "3\n");
    sleep(Duration::from_secs(2)).await;
    cluster.kill(primary);
    let next = cluster.leads(FORMS).await;
    accepts(&cluster, "2,3").await;
    let address = cluster.client_address(next);
    for (user, password) in [("app_login_2", SECOND), ("app_login_3", THIRD)] {
        assert!(connect_as(address, user, password).await.is_ok(), "{user}");
    }
    cluster.write("login", "3 only\n");
    cluster.start(primary);
    cluster.settles(FORMS).await;
    accepts(&cluster, "3").await;
    assert!(connect_as(address, "app_login_2", SECOND).await.is_err());
    assert!(connect_as(address, "app_login_3", THIRD).await.is_ok());

    for index in 0..MEMBERS {
        let all = cluster.log(index) + &cluster.seen_by_others(index) + &cluster.api.lease();
        for secret in [SECOND, THIRD, "SCRAM-SHA-256$"] {
            assert!(!all.contains(secret), "{secret} is seen");
        }
    }
    assert!(cluster.log(primary).contains("CREATE TABLE after"), "statements are logged");
}
