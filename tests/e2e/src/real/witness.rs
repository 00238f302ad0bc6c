//! Clients that write to each server of a database by itself, past its Services: they see what a server
//! acknowledges that should be quiet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use k8s_openapi::ByteString;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::sim::{Space, at, text};

const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at a server that takes no writes.
const REFUSED: Duration = Duration::from_millis(250);
/// Between two looks whether the pod is still the same.
const LOOK: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(3);

/// One acknowledged commit.
#[derive(Clone, Debug)]
struct Commit {
    server: String,
    key: String,
    at: Instant,
}

/// A client for each server, each of which waits for as long as its server's pod is there: a commit that was
/// on its way when the server froze can still be acknowledged when it wakes.
pub struct Witness {
    seen: Arc<Mutex<Vec<Commit>>>,
    clients: Vec<JoinHandle<()>>,
}

struct Server {
    space: Space<'static>,
    name: String,
    login: Config,
    prefix: String,
}

impl Witness {
    /// Begins to write to these servers with the login of the database's owner.
    pub async fn begin(space: &Space<'static>, secret: &str, servers: &[&str], what: &str) -> Result<Self> {
        let login = login(space, secret).await?;
        let seen: Arc<Mutex<Vec<Commit>>> = Arc::default();
        let clients = servers.iter().map(|name| {
            let server = Server {
                space: space.clone(),
                name: (*name).to_owned(),
                login: login.clone(),
                prefix: super::key(&format!("{what} {name}")),
            };
            tokio::spawn(server.write(Arc::clone(&seen)))
        });
        Ok(Self { clients: clients.collect(), seen })
    }

    /// When another server than this one acknowledged something first.
    pub fn another_began(&self, server: &str) -> Result<Instant> {
        let seen = guard(&self.seen);
        let first = seen.iter().filter(|commit| commit.server != server).map(|commit| commit.at).min();
        first.ok_or_else(|| anyhow::anyhow!("no other server than {server} has acknowledged anything"))
    }

    /// Ends. Fails when the old primary acknowledged anything after another server had; returns all keys that
    /// must be there.
    pub fn end(self, old: &str) -> Result<Vec<String>> {
        self.clients.iter().for_each(JoinHandle::abort);
        if let Ok(began) = self.another_began(old) {
            let seen = guard(&self.seen);
            let late = seen.iter().find(|commit| commit.server == old && commit.at > began);
            ensure!(
                late.is_none(),
                "{old} acknowledged {late:?} after another server had begun at {began:?}"
            );
        }
        Ok(guard(&self.seen).iter().map(|commit| commit.key.clone()).collect())
    }
}

fn guard(seen: &Mutex<Vec<Commit>>) -> MutexGuard<'_, Vec<Commit>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn login(space: &Space<'static>, secret: &str) -> Result<Config> {
    let secret = space.get("Secret", secret).await?;
    let value = |key: &str| -> Result<String> {
        let bytes: ByteString = serde_json::from_value(at(&secret, &format!("/data/{key}")).clone())?;
        Ok(String::from_utf8(bytes.0)?)
    };
    let mut login = Config::new();
    login.user(value("username")?).password(value("password")?).dbname(value("dbname")?);
    login.connect_timeout(CONNECT).application_name("witness");
    Ok(login)
}

impl Server {
    async fn write(self, seen: Arc<Mutex<Vec<Commit>>>) {
        let mut number = 0_u64;
        loop {
            // Servers come and go; what counts is what one acknowledges while it is there.
            let _ended = self.session(&mut number, &seen).await;
            tokio::time::sleep(REFUSED).await;
        }
    }

    async fn session(&self, number: &mut u64, seen: &Mutex<Vec<Commit>>) -> Result<()> {
        let pod = self.space.get("Pod", &self.name).await?;
        let mut login = self.login.clone();
        login.host(text(&pod, "/status/podIP"));
        let (client, connection) = tokio::time::timeout(CONNECT, login.connect(NoTls)).await??;
        // Its error reaches whoever asks over it next.
        tokio::spawn(async move { connection.await.ok() });
        tokio::select! {
            ended = self.commits(&client, number, seen) => ended,
            ended = self.is_replaced(text(&pod, "/metadata/uid")) => ended,
        }
    }

    async fn commits(&self, client: &Client, number: &mut u64, seen: &Mutex<Vec<Commit>>) -> Result<()> {
        loop {
            let key = format!("{}-{number}", self.prefix);
            *number += 1;
            match client.execute("INSERT INTO ledger VALUES ($1)", &[&key]).await {
                Ok(_) => {
                    guard(seen).push(Commit { server: self.name.clone(), key, at: Instant::now() });
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if client.is_closed() => return Err(error.into()),
                // It follows another one, which may change.
                Err(_) => tokio::time::sleep(REFUSED).await,
            }
        }
    }

    async fn is_replaced(&self, uid: &str) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK).await;
            let pod = self.space.find("Pod", &self.name).await?;
            if pod.is_none_or(|pod| text(&pod, "/metadata/uid") != uid) {
                bail!("the pod is gone");
            }
        }
    }
}
