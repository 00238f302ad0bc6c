//! Keys in Redis; I/O. One connection, made anew after every error.

use std::fs;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{
    SentinelClient, SentinelClientBuilder, SentinelNodeConnectionInfo, SentinelServerType,
};
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode, cmd, pipe,
};
use tokio::sync::Mutex;

use crate::settings::{Redis, Servers};
use crate::store::{StoreError, patiently};

/// For a replica to say that it has something.
const CONFIRMED_MILLIS: u32 = 1000;

/// How the keys begin, so that they are told from others.
const PREFIX: &str = "ledger:";

enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server(server) => command.query_async(server).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }

    async fn ask_at_once<T: FromRedisValue>(&mut self, commands: &Pipeline) -> RedisResult<T> {
        match self {
            Self::Server(server) => commands.query_async(server).await,
            Self::Cluster(cluster) => commands.query_async(cluster).await,
        }
    }
}

/// Keys of Redis.
pub struct Keys {
    settings: Redis,
    connection: Mutex<Option<Connection>>,
}

impl Keys {
    pub fn of(settings: &Redis) -> Self {
        Self { settings: settings.clone(), connection: Mutex::default() }
    }

    /// The version of a server.
    pub async fn version(&self) -> Result<String, StoreError> {
        let mut lolwut = cmd("LOLWUT");
        lolwut.arg("VERSION").arg(1).arg(1);
        let text: String = self.with(async |connection| connection.ask(&lolwut).await).await?;
        let version = text.lines().find_map(|line| line.split("Redis ver. ").nth(1));
        Ok(version.unwrap_or_default().trim().to_owned())
    }

    /// Once this returns, a server has it; how safe it is there is that server's configuration.
    pub async fn keep(&self, key: &str) -> Result<(), StoreError> {
        self.with(async |connection| connection.ask(&set(key)).await).await
    }

    /// Once this returns, a replica has it, too: copying is asynchronous, and a master that dies takes along
    /// what it has not passed on.
    pub async fn keep_confirmed(&self, key: &str) -> Result<(), StoreError> {
        // On one connection: a server answers for what came over the one on which it is asked.
        let mut commands = pipe();
        commands.add_command(set(key)).ignore().cmd("WAIT").arg(1).arg(CONFIRMED_MILLIS);
        let (confirmed,): (u64,) =
            self.with(async |connection| connection.ask_at_once(&commands).await).await?;
        if confirmed == 0 { Err(StoreError::Unconfirmed) } else { Ok(()) }
    }

    /// Those of the keys that are not there.
    pub async fn missing(&self, wanted: &[String]) -> Result<Vec<String>, StoreError> {
        let mut missing = Vec::new();
        for key in wanted {
            let mut exists = cmd("EXISTS");
            exists.arg(format!("{PREFIX}{key}"));
            let is_there: bool = self.with(async |connection| connection.ask(&exists).await).await?;
            if !is_there {
                missing.push(key.clone());
            }
        }
        Ok(missing)
    }

    async fn with<T>(
        &self,
        ask: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => patiently(self.connect()).await?,
        };
        let answer = patiently(ask(&mut connection)).await?;
        *place = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        // As the file is now.
        let trusted = self.settings.authority.as_ref().map(fs::read).transpose()?;
        let trusted = trusted.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        match (&self.settings.servers, trusted) {
            (Servers::Standalone { host, port, password }, None) => {
                let client = Client::open(info(host, *port, password)?)?;
                Ok(Connection::Server(client.get_multiplexed_async_connection().await?))
            }
            (Servers::Standalone { host, port, password }, Some(trusted)) => {
                let info = encrypted(host, *port).into_connection_info()?.set_redis_settings(login(password));
                let client = Client::build_with_tls(info, trusted)?;
                Ok(Connection::Server(client.get_multiplexed_async_connection().await?))
            }
            (Servers::Cluster { host, port, password }, None) => {
                let client = ClusterClientBuilder::new([info(host, *port, password)?]).build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            (Servers::Cluster { host, port, password }, Some(trusted)) => {
                let info = encrypted(host, *port).into_connection_info()?.set_redis_settings(login(password));
                let client = ClusterClientBuilder::new([info]).certs(trusted).build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            (Servers::Sentinel { host, port, master, password }, Some(trusted)) => {
                let at = [encrypted(host, *port)];
                let mut client = SentinelClientBuilder::new(at, master.clone(), SentinelServerType::Master)?
                    .set_client_to_redis_password(password)
                    .set_client_to_redis_tls_mode(TlsMode::Secure)
                    .set_client_to_redis_certificates(trusted.clone())
                    .set_client_to_sentinel_password(password)
                    .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                    .set_client_to_sentinel_certificates(trusted)
                    .build()?;
                Ok(Connection::Server(client.get_async_connection().await?))
            }
            (Servers::Sentinel { host, port, master, password }, None) => {
                let login = login(password);
                let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(login);
                let sentinels = vec![info(host, *port, password)?];
                let mut client =
                    SentinelClient::build(sentinels, master.clone(), Some(node), SentinelServerType::Master)?;
                Ok(Connection::Server(client.get_async_connection().await?))
            }
        }
    }
}

/// A server that speaks TLS and has a certificate for this name.
fn encrypted(host: &str, port: u16) -> ConnectionAddr {
    ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
}

fn set(key: &str) -> Cmd {
    let mut set = cmd("SET");
    set.arg(format!("{PREFIX}{key}")).arg(1);
    set
}

fn login(password: &str) -> RedisConnectionInfo {
    let login = RedisConnectionInfo::default();
    if password.is_empty() { login } else { login.set_password(password) }
}

fn info(host: &str, port: u16, password: &str) -> RedisResult<ConnectionInfo> {
    let info = ConnectionAddr::Tcp(host.to_owned(), port).into_connection_info()?;
    Ok(info.set_redis_settings(login(password)))
}
