//! Keys in Redis; I/O. One connection, made anew after every error.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, cmd, from_redis_value,
};
use tokio::sync::Mutex;

use crate::settings::Redis;
use crate::store::{StoreError, patiently};

/// How the keys begin, so that they are told from others.
const PREFIX: &str = "ledger:";

enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
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
        let text: String = self.ask(&lolwut).await?;
        let version = text.lines().find_map(|line| line.split("Redis ver. ").nth(1));
        Ok(version.unwrap_or_default().trim().to_owned())
    }

    /// Once this returns, a server has it; how safe it is there is that server's configuration.
    pub async fn keep(&self, key: &str) -> Result<(), StoreError> {
        let mut set = cmd("SET");
        set.arg(format!("{PREFIX}{key}")).arg(1);
        self.ask(&set).await
    }

    /// Those of the keys that are not there.
    pub async fn missing(&self, wanted: &[String]) -> Result<Vec<String>, StoreError> {
        let mut missing = Vec::new();
        for key in wanted {
            let mut exists = cmd("EXISTS");
            exists.arg(format!("{PREFIX}{key}"));
            if !self.ask::<bool>(&exists).await? {
                missing.push(key.clone());
            }
        }
        Ok(missing)
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => patiently(self.connect()).await?,
        };
        let answer = patiently(async {
            match &mut connection {
                Connection::Server(server) => server.req_packed_command(command).await,
                Connection::Cluster(cluster) => cluster.req_packed_command(command).await,
            }
        })
        .await?;
        *place = Some(connection);
        Ok(from_redis_value(answer).map_err(RedisError::from)?)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        match &self.settings {
            Redis::Standalone { host, port, password } => {
                let client = Client::open(info(host, *port, password)?)?;
                Ok(Connection::Server(client.get_multiplexed_async_connection().await?))
            }
            Redis::Cluster { host, port, password } => {
                let client = ClusterClientBuilder::new([info(host, *port, password)?]).build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            Redis::Sentinel { host, port, master, password } => {
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

fn login(password: &str) -> RedisConnectionInfo {
    let login = RedisConnectionInfo::default();
    if password.is_empty() { login } else { login.set_password(password) }
}

fn info(host: &str, port: u16, password: &str) -> RedisResult<ConnectionInfo> {
    let info = ConnectionAddr::Tcp(host.to_owned(), port).into_connection_info()?;
    Ok(info.set_redis_settings(login(password)))
}
