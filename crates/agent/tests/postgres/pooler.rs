//! Clients behind a real PgBouncer with the configuration that is rendered: a login changes, the primary changes,
//! the pooler is asked to stop, and none of them fails where it must not.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::cluster::{Cluster, MEMBERS};
use super::ledger::connect_as;
use super::server::{Bench, free_port};
use super::{OWNER, REPLICATION};

const FORMS: Duration = Duration::from_secs(90);
const MADE: Duration = Duration::from_secs(40);
const SECOND: &str = "second's: \\ $(y) \"";
/// Of the pooler itself.
pub const POOLER: &str = "0123456789abcdefghij";
const RENDERED: &str = "../../tests/golden/stores/own/configmap-shop-postgres-pooler.yaml";

type Login = (&'static str, &'static str);

pub fn has_pgbouncer() -> bool {
    let there = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].iter().any(|file| Path::new(file).is_file());
    if !there {
        // Past the harness, which would swallow it for a test that passes.
        let _ = writeln!(io::stderr(), "skipped: there is no pgbouncer");
    }
    there
}

/// As the Service does: leads to who is primary, when a connection is made.
async fn service(primary: Arc<Mutex<SocketAddr>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = *primary.lock().expect("not poisoned");
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    port
}

/// PgBouncer below the agent.
pub struct Pooler {
    process: Child,
    pub address: SocketAddr,
}

impl Pooler {
    /// Before the server at this port, with the certificate in a folder or without one.
    pub async fn start(bench: &Bench, database: SocketAddr, tls: Option<&Path>) -> Self {
        let (users, config) = (bench.root().join("users.txt"), bench.root().join("pgbouncer.ini"));
        let port = free_port();
        let rendered = fs::read_to_string(RENDERED).expect("read");
        let (_, rendered) = rendered.split_once("pgbouncer.ini: |\n").expect("it is there");
        let (rendered, _) = rendered.split_once("\nkind:").expect("it ends");
        let lines = rendered.lines().map(str::trim_start);
        let text = lines.fold(String::new(), |text, line| {
            let line = match line.split_once(" = ") {
                Some(("listen_port", _)) => format!("listen_port = {port}"),
                Some(("listen_addr", _)) => "listen_addr = 127.0.0.1".to_owned(),
                Some(("auth_file", _)) => format!("auth_file = {}", users.display()),
                Some(("shop", _)) => {
                    format!("shop = host={} port={} dbname=shop", database.ip(), database.port())
                }
                _ => line.to_owned(),
            };
            text + &line + "\n"
        });
        let text = text + &tls.map(encrypted).unwrap_or_default();
        assert!(text.contains("auth_query = ") && text.contains("dbname=shop"), "{text}");
        fs::write(&config, text).expect("written");
        fs::write(&users, format!("\"trading_pooler\" \"{POOLER}\"\n")).expect("written");
        bench.own_only(&[users, config.clone()]);
        let log = fs::File::create(bench.root().join("pooler.log")).expect("made");
        let process = bench
            .command(env!("CARGO_BIN_EXE_trading-agent"))
            .args(["postgres", "pool", "--config"])
            .arg(config)
            .args(tls.iter().flat_map(|folder| [Path::new("--tls"), folder]))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("cloned"))
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let end = Instant::now() + MADE;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < end, "{}", log_of(bench));
            sleep(Duration::from_millis(50)).await;
        }
        Self { process, address }
    }

    fn ask_to_stop(&self) {
        let status = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    async fn ends(&mut self) {
        let end = Instant::now() + MADE;
        while self.process.try_wait().expect("asked").is_none() {
            assert!(Instant::now() < end, "it goes on");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// As it is rendered where everybody has to use TLS.
fn encrypted(folder: &Path) -> String {
    let file = |name| folder.join(name).display().to_string();
    format!(
        "client_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n\
         client_tls_ca_file = {ca}\nserver_tls_sslmode = verify-full\nserver_tls_ca_file = {ca}\n",
        file("tls.crt"),
        file("tls.key"),
        ca = file("ca.crt")
    )
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // By the agent, which ends with it; twice, for it does not wait then.
        for _ in 0..2 {
            let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).output();
        }
        let _ = self.process.wait();
    }
}

pub fn log_of(bench: &Bench) -> String {
    fs::read_to_string(bench.root().join("pooler.log")).unwrap_or_default()
}

/// Of one row with one column. In a pool of transactions a statement is not prepared in one and used in another.
pub async fn ask(client: &Client, question: &str) -> Result<String, tokio_postgres::Error> {
    let answer = client.simple_query(question).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(row.unwrap_or_default())
}

/// Clients that log in anew for each question, with what the Secret has now.
struct Clients {
    login: Arc<Mutex<Login>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    fn begin(address: SocketAddr) -> Self {
        let login = Arc::new(Mutex::new(("app", OWNER)));
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let one = |_| {
            let (login, stop, answered) = (login.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (user, password) = *login.lock().expect("not poisoned");
                    let session = async {
                        let client = connect_as(address, user, password).await?;
                        ask(&client, "SELECT current_user").await
                    };
                    match session.await {
                        Ok(user) => assert_eq!(user, "app", "it works as the owner"),
                        Err(error) => panic!("{user} is not let in: {error:?}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let running = (0..3).map(one).collect();
        Self { login, stop, answered, running }
    }

    fn change(&self, login: Login) {
        *self.login.lock().expect("not poisoned") = login;
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.running {
            client.await.expect("no client failed");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_and_go_by_way_of_the_pooler_whatever_changes_behind_it() {
    let Some(bench) = Bench::new().filter(|_| has_pgbouncer()) else { return };
    let mut cluster = Cluster::new(&bench, false).await;
    let first = cluster.settles(FORMS).await;
    cluster.is_told(r#"\"pooler\":false"#).await;
    // The password comes after the wish for it.
    cluster.write("pooler", "trading_pooler\n");
    sleep(Duration::from_secs(3)).await;
    cluster.write("passwords/pooler", POOLER);
    cluster.is_told(r#"\"pooler\":true"#).await;

    let primary = Arc::new(Mutex::new(cluster.client_address(first)));
    let leads_there = (Ipv4Addr::LOCALHOST, service(primary.clone()).await).into();
    let mut pooler = Pooler::start(&bench, leads_there, None).await;
    let app = connect_as(pooler.address, "app", OWNER).await.unwrap_or_else(|error| {
        panic!("{error:?}: {}", log_of(&bench));
    });
    app.batch_execute("CREATE TABLE kept (id int8)").await.expect("made");
    assert!(ask(&app, "SELECT passwd FROM trading_pooler.login('app')").await.is_err(), "it is not theirs");
    for (user, password) in [("app", "wrong"), ("postgres", "super"), ("streaming_replica", REPLICATION)] {
        let refused = timeout(MADE, connect_as(pooler.address, user, password)).await.expect("it answers");
        let let_in = match refused {
            Ok(client) => ask(&client, "SELECT 1").await.is_ok(),
            Err(_) => false,
        };
        assert!(!let_in, "{user} is let in");
    }

    let clients = Clients::begin(pooler.address);
    cluster.write("passwords/2", SECOND);
    cluster.write("login", "2\n");
    cluster.is_told(r#"\"logins\":[1,2]"#).await;
    clients.change(("app_login_2", SECOND));
    sleep(Duration::from_secs(1)).await;
    drop(app);
    cluster.write("login", "2 only\n");
    cluster.is_told(r#"\"logins\":[2]"#).await;
    sleep(Duration::from_secs(1)).await;
    let answered = clients.end().await;
    println!("{answered} logins by way of the pooler while they changed, none refused");
    assert!(answered > 20, "{answered}");
    assert!(connect_as(pooler.address, "app", OWNER).await.is_err(), "the old password works");

    // A client that stays: what it asks meanwhile may fail, and then goes on.
    let client = connect_as(pooler.address, "app_login_2", SECOND).await.expect("connected");
    ask(&client, "INSERT INTO kept VALUES (1) RETURNING id").await.expect("written");
    let began = Instant::now();
    cluster.stop(first).await.expect("it ends");
    let second = cluster.leads(FORMS).await;
    assert_ne!(first, second);
    *primary.lock().expect("not poisoned") = cluster.client_address(second);
    let end = Instant::now() + MADE;
    loop {
        let session = async {
            let client = connect_as(pooler.address, "app_login_2", SECOND).await?;
            ask(&client, "INSERT INTO kept VALUES (2) RETURNING id").await
        };
        match session.await {
            Ok(id) => break assert_eq!(id, "2"),
            Err(error) if Instant::now() > end => panic!("{error:?}: {}", log_of(&bench)),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    println!("written by way of the pooler {:?} after the primary was told to end", began.elapsed());
    cluster.start(first);
    cluster.settles(FORMS).await;

    // Asked to stop, it lets a transaction end.
    let client = connect_as(pooler.address, "app_login_2", SECOND).await.expect("connected");
    client.batch_execute("BEGIN; INSERT INTO kept VALUES (3)").await.expect("written");
    pooler.ask_to_stop();
    sleep(Duration::from_secs(1)).await;
    ask(&client, "INSERT INTO kept VALUES (4) RETURNING id").await.expect("the transaction goes on");
    client.batch_execute("COMMIT").await.expect("and ends");
    pooler.ends().await;
    let direct = connect_as(cluster.client_address(second), "app_login_2", SECOND).await.expect("connected");
    assert_eq!(
        ask(&direct, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM kept").await.expect("read"),
        "1 2 3 4"
    );

    (0..MEMBERS).for_each(|index| fs::remove_file(cluster.file(index, "pooler")).expect("removed"));
    cluster.is_told(r#"\"pooler\":false"#).await;
    let end = Instant::now() + MADE;
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'trading_pooler') \
        + (SELECT count(*) FROM pg_namespace WHERE nspname = 'trading_pooler')";
    while ask(&direct, left).await.expect("read") != "0" {
        assert!(Instant::now() < end, "{}", cluster.everything().await);
        sleep(Duration::from_millis(100)).await;
    }
    for index in 0..MEMBERS {
        let all =
            cluster.log(index) + &cluster.seen_by_others(index) + &cluster.api.lease() + &log_of(&bench);
        for secret in [POOLER, SECOND, "SCRAM-SHA-256$"] {
            assert!(!all.contains(secret), "a secret is seen");
        }
    }
}
