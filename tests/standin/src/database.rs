//! Keys in Postgres; I/O. One connection, made anew after every error.

use std::collections::BTreeSet;
use std::error::Error;

use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

use crate::settings::Database;
use crate::store::{PATIENCE, StoreError, missing, patiently};

/// The keys' table; made where it is not there.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS ledger (key text PRIMARY KEY)";

/// Keys in a table.
pub struct Table {
    config: Config,
    client: Mutex<Option<Client>>,
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Alone it says "db error" and no more.
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Postgres(format!("{error}{cause}"))
    }
}

impl Table {
    pub fn of(database: &Database) -> Self {
        let mut config = Config::new();
        config
            .host(&database.host)
            .port(database.port)
            .dbname(&database.name)
            .user(&database.user)
            .password(&database.password)
            // This program can't encrypt: it then says so instead of sending a password.
            .ssl_mode(if database.encrypted { SslMode::Require } else { SslMode::Prefer })
            .connect_timeout(PATIENCE)
            .application_name("trading-standin");
        Self { config, client: Mutex::default() }
    }

    /// The version of the server.
    pub async fn version(&self) -> Result<String, StoreError> {
        self.with(async |client| Ok(client.query_one("SHOW server_version", &[]).await?.try_get(0)?)).await
    }

    /// Once this returns, the key is there for good.
    pub async fn keep(&self, key: &str) -> Result<(), StoreError> {
        let insert = "INSERT INTO ledger VALUES ($1) ON CONFLICT DO NOTHING";
        self.with(async |client| client.execute(insert, &[&key]).await.map(drop)).await
    }

    /// Those of the keys that are not there.
    pub async fn missing(&self, wanted: &[String]) -> Result<Vec<String>, StoreError> {
        let select = "SELECT key FROM ledger WHERE key = ANY($1)";
        let rows = self.with(async |client| client.query(select, &[&wanted]).await).await?;
        let there: Result<BTreeSet<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(missing(wanted, &there?))
    }

    async fn with<T>(
        &self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let mut place = self.client.lock().await;
        let client = match place.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => patiently(self.connect()).await?,
        };
        let result = patiently(ask(&client)).await;
        if result.is_ok() {
            *place = Some(client);
        }
        result
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // Its error reaches whoever asks over it next.
        tokio::spawn(async move { connection.await.ok() });
        // A replica gets it from its primary.
        let is_replica: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get(0)?;
        if !is_replica {
            client.execute(TABLE, &[]).await?;
        }
        Ok(client)
    }
}
