//! Keys in Postgres; I/O. One connection, made anew after every error.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::Database;
use crate::store::{PATIENCE, StoreError, missing, patiently};

/// The keys' table; made where it is not there.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS ledger (key text PRIMARY KEY)";

/// Keys in a table.
pub struct Table {
    config: Config,
    /// The file with whom it trusts.
    authority: Option<String>,
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
            // Without an authority this program can't encrypt: it then says so instead of sending a password.
            .ssl_mode(if database.encrypted { SslMode::Require } else { SslMode::Prefer })
            .connect_timeout(PATIENCE)
            .application_name("trading-standin");
        Self { config, authority: database.authority.clone(), client: Mutex::default() }
    }

    /// The version of the server.
    pub async fn version(&self) -> Result<String, StoreError> {
        self.with(async |client| one(client, "SHOW server_version").await).await
    }

    /// Once this returns, the key is there for good.
    pub async fn keep(&self, key: &str) -> Result<(), StoreError> {
        let insert = "INSERT INTO ledger VALUES ($1) ON CONFLICT DO NOTHING";
        let key: (&(dyn ToSql + Sync), Type) = (&key, Type::TEXT);
        self.with(async |client| client.execute_typed(insert, &[key]).await.map(drop)).await
    }

    /// Those of the keys that are not there.
    pub async fn missing(&self, wanted: &[String]) -> Result<Vec<String>, StoreError> {
        let select = "SELECT key FROM ledger WHERE key = ANY($1)";
        let keys: (&(dyn ToSql + Sync), Type) = (&wanted, Type::TEXT_ARRAY);
        let rows = self.with(async |client| client.query_typed(select, &[keys]).await).await?;
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
            None => match &self.authority {
                None => patiently(self.connect(NoTls)).await?,
                Some(file) => {
                    let trusting =
                        trusting(file).map_err(|why| StoreError::Postgres(format!("{file}: {why}")))?;
                    patiently(self.connect(trusting)).await?
                }
            },
        };
        let result = patiently(ask(&client)).await;
        if result.is_ok() {
            *place = Some(client);
        }
        result
    }

    async fn connect<T>(&self, tls: T) -> Result<Client, tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket, Stream: Send + 'static>,
    {
        let (client, connection) = self.config.connect(tls).await?;
        // Its error reaches whoever asks over it next.
        tokio::spawn(async move { connection.await.ok() });
        // A replica gets it from its primary.
        let is_replica: bool = one(&client, "SELECT pg_is_in_recovery()").await?;
        if !is_replica {
            client.execute_typed(TABLE, &[]).await?;
        }
        Ok(client)
    }
}

/// Nothing is prepared: behind a pooler, the next transaction may be another server connection's.
async fn one<T>(client: &Client, query: &str) -> Result<T, tokio_postgres::Error>
where
    T: for<'a> FromSql<'a>,
{
    client.query_typed_one(query, &[]).await?.try_get(0)
}

/// TLS with servers whose certificate is of an authority in the file, as the file is now.
fn trusting(file: &str) -> Result<MakeRustlsConnect, Box<dyn Error>> {
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        trusted.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
