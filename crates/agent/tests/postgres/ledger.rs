//! Clients that write without pause and note what was acknowledged, by whom and when.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::OWNER;
use super::authority::Authority;

/// After which a client asks elsewhere; it goes on waiting for the answer beside.
const PATIENCE: Duration = Duration::from_secs(2);

/// An acknowledged row.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub id: i64,
    pub server: SocketAddr,
    pub at: Instant,
}

#[derive(Default)]
struct Shared {
    entries: Mutex<Vec<Entry>>,
    next: AtomicI64,
    stop: AtomicBool,
}

/// The clients and their notes.
pub struct Ledger {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    servers: Vec<SocketAddr>,
}

pub async fn connect(server: SocketAddr) -> Option<Client> {
    timeout(PATIENCE, connect_as(server, "app", OWNER)).await.ok()?.ok()
}

pub async fn connect_as(
    server: SocketAddr,
    user: &str,
    password: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(server.ip().to_string()).port(server.port()).user(user).password(password).dbname("shop");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// With TLS alone, where the server's certificate is of this authority and for its address.
pub async fn connect_checked(
    server: SocketAddr,
    login: (&str, &str),
    authority: &Authority,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(server.ip().to_string()).port(server.port()).user(login.0).password(login.1).dbname("shop");
    config.ssl_mode(SslMode::Require);
    let (client, connection) = config.connect(MakeRustlsConnect::new(authority.trusting())).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect_to_primary(servers: &[SocketAddr], first: usize) -> Option<(Client, SocketAddr)> {
    for server in servers.iter().cycle().skip(first).take(servers.len()) {
        let Some(client) = connect(*server).await else { continue };
        let asked = timeout(PATIENCE, client.query_one("SELECT pg_is_in_recovery()", &[])).await;
        if asked.is_ok_and(|row| row.is_ok_and(|row| !row.get::<_, bool>(0))) {
            return Some((client, *server));
        }
    }
    None
}

impl Ledger {
    /// Makes the table and begins.
    pub async fn begin(servers: Vec<SocketAddr>, clients: usize) -> Self {
        let (client, _) = connect_to_primary(&servers, 0).await.expect("there is a primary");
        client.batch_execute("CREATE TABLE ledger (id int8 PRIMARY KEY, note text)").await.expect("made");
        let shared = Arc::new(Shared::default());
        let spawn = |first| tokio::spawn(write(shared.clone(), servers.clone(), first));
        let clients = (0..clients).map(spawn).collect();
        Self { shared, clients, servers }
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.shared.entries.lock().expect("not poisoned").clone()
    }

    /// How long after `since` a server other than `old` acknowledged something.
    pub async fn first_elsewhere(
        &self,
        old: SocketAddr,
        since: Instant,
        patience: Duration,
    ) -> Option<Duration> {
        while since.elapsed() < patience {
            let first = self
                .entries()
                .iter()
                .filter(|entry| entry.server != old && entry.at > since)
                .map(|it| it.at)
                .min();
            if let Some(at) = first {
                return Some(at - since);
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Stops writing, and compares the notes with what the primary has: how many are noted, and
    /// which are missing.
    pub async fn end(self) -> (Vec<Entry>, Vec<i64>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("clients don't panic");
        }
        // Answers that come late would be noted still.
        sleep(PATIENCE).await;
        let entries = self.shared.entries.lock().expect("not poisoned").clone();
        let (client, _) = connect_to_primary(&self.servers, 0).await.expect("there is a primary");
        let rows = client.query("SELECT id FROM ledger", &[]).await.expect("read");
        let there: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        let lost = entries.iter().map(|entry| entry.id).filter(|id| !there.contains(id)).collect();
        (entries, lost)
    }
}

async fn write(shared: Arc<Shared>, servers: Vec<SocketAddr>, first: usize) {
    let note = "x".repeat(200);
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let Some((client, server)) = connection.take() else {
            connection = connect_to_primary(&servers, first).await;
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let (shared, note) = (shared.clone(), note.clone());
        let mut insert = tokio::spawn(async move {
            let done = client.execute("INSERT INTO ledger VALUES ($1, $2)", &[&id, &note]).await;
            if done.is_ok() {
                let entry = Entry { id, server, at: Instant::now() };
                shared.entries.lock().expect("not poisoned").push(entry);
            }
            done.is_ok().then_some(client)
        });
        if let Ok(Ok(Some(client))) = timeout(PATIENCE, &mut insert).await {
            connection = Some((client, server));
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Nobody acknowledged anything after somebody else had begun to: servers take turns, and each
/// turn is over before the next.
pub fn turns(entries: &[Entry]) -> usize {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| entry.at);
    sorted.chunk_by(|a, b| a.server == b.server).count()
}
