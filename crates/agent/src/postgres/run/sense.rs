//! Sense stage, I/O: asks the server how far it is, over its socket.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, Row};

use super::position::{History, Lsn, Position};
use crate::postgres::config;
use crate::postgres::logins::{self, Found};
use crate::postgres::pooler::ROLE;

/// The database in which there is nothing of the application's.
const OWN: &str = "postgres";
/// For one question.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the server could not be asked.
#[derive(Debug, Error)]
pub enum SenseError {
    /// It refused, or hung up.
    #[error("the server does not answer: {}", plain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// It took too long.
    #[error("the server does not answer in time")]
    Timeout,
    /// It said something that is not understood.
    #[error("the server's {0} is not understood")]
    Unknown(&'static str),
}

/// Its own words; the library's name neither the statement nor its parameters.
pub(super) fn plain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// What the server said.
#[derive(Clone, Debug, Default)]
pub struct Sensed {
    /// Whether it replays.
    pub is_standby: bool,
    /// Identifier of its database.
    pub system: u64,
    /// How far it is.
    pub position: Position,
    /// How far it has replayed.
    pub replayed: Lsn,
    /// Whether it has looked through its own log.
    pub settled: bool,
    /// Whether it gets a log.
    pub receiving: bool,
    /// Timeline of its last checkpoint.
    pub checkpoint_timeline: u32,
    /// Where its own log begins.
    pub oldest: Lsn,
    /// Where its timelines ended.
    pub history: History,
    /// Seconds since the commit that was replayed last; 0 where nothing is left to replay.
    pub replay_seconds: f64,
    /// Client connections.
    pub connections: i64,
    /// Of at most.
    pub max_connections: i64,
    /// Bytes of all databases.
    pub size: i64,
    /// Who gets the log, by name.
    pub replicas: BTreeMap<String, Replica>,
    /// Slots, by name.
    pub slots: BTreeMap<String, Slot>,
}

/// Somebody who gets the log.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// Whether it has caught up once and goes on.
    pub streams: bool,
    /// On its disk.
    pub flushed: Lsn,
    /// Visible to its clients.
    pub replayed: Lsn,
    /// Whether commits may wait for it.
    pub counts: bool,
}

/// What is kept for somebody.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Whether it is used now.
    pub active: bool,
    /// Bytes of log that are kept.
    pub kept: i64,
}

const QUESTION: &str = "\
SELECT r.standby, (SELECT system_identifier FROM pg_control_system()) AS system, \
  CASE WHEN r.standby THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END AS file, \
  CASE WHEN r.standby THEN NULL ELSE pg_current_wal_flush_lsn()::text END AS flushed, \
  CASE WHEN r.standby THEN NULL ELSE pg_current_wal_insert_lsn()::text END AS inserted, \
  pg_last_wal_receive_lsn()::text AS received, pg_last_wal_replay_lsn()::text AS replayed, \
  (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming') AS incoming, \
  w.newest, w.oldest, (SELECT timeline_id FROM pg_control_checkpoint()) AS checkpoint, \
  (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') AS segment, \
  CASE WHEN pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn() THEN 0 \
    ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END::float8 AS lag, \
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections, \
  current_setting('max_connections')::int8 AS max_connections \
FROM (SELECT pg_is_in_recovery() AS standby) r, \
  (SELECT max(left(name, 8)) AS newest, min(substring(name from 9)) AS oldest FROM pg_ls_waldir() \
   WHERE name ~ '^[0-9A-F]{24}$') w";

const REPLICAS: &str = "\
SELECT application_name AS name, state = 'streaming' AS streams, coalesce(flush_lsn, '0/0')::text AS flushed, \
  coalesce(replay_lsn, '0/0')::text AS replayed, sync_priority > 0 AS counts FROM pg_stat_replication \
WHERE usename = 'streaming_replica' AND application_name <> 'pg_basebackup'";

const SLOTS: &str = "\
SELECT slot_name AS name, active, CASE WHEN pg_is_in_recovery() OR restart_lsn IS NULL THEN 0 \
  ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END::int8 AS kept \
FROM pg_replication_slots WHERE slot_type = 'physical'";

const SETTINGS: &str = "\
SELECT current_setting('server_version') AS version, \
  coalesce(array_agg(name) FILTER (WHERE pending_restart), '{}')::text[] AS pending FROM pg_settings";

/// Asks one server.
pub struct Sensor {
    socket: PathBuf,
    port: u16,
    data: PathBuf,
    client: Mutex<Option<Arc<Client>>>,
}

impl Sensor {
    /// The server with this socket and these data.
    pub fn new(socket: PathBuf, port: u16, data: PathBuf) -> Self {
        Self { socket, port, data, client: Mutex::new(None) }
    }

    async fn client(&self) -> Result<Arc<Client>, tokio_postgres::Error> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        Ok(kept.insert(Arc::new(self.connect(OWN).await?)).clone())
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket).port(self.port).user("postgres").dbname(database);
        // What the agent asks must not wait for replicas, nor be cut short by what clients are given.
        // What it says is in no log, whatever else is: it makes logins.
        config.application_name("trading-agent").options(
            "-c synchronous_commit=local -c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 \
             -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic",
        );
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // Its end is seen where the client is used next.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// A connection of its own to any database, for what may take a while. Nothing that the owner of the database
    /// has set for it holds there, for it works as the superuser.
    pub(super) async fn session(&self, database: &str) -> Result<Client, SenseError> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket).port(self.port).user("postgres").dbname(database);
        config.application_name("trading-agent").options(
            "-c search_path=pg_catalog -c role=none -c default_transaction_read_only=off \
             -c synchronous_commit=local -c statement_timeout=60000 -c lock_timeout=10000 -c idle_session_timeout=0 \
             -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic",
        );
        let connected = async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(async move {
                // Its end is seen where the client is used next.
                let _ = connection.await;
            });
            Ok(client)
        };
        timeout(PATIENCE, connected).await.map_err(|_| SenseError::Timeout)?
    }

    /// Writes everything to disk, however long it takes. Only then does the data say which timeline
    /// it is of, and others can rewind themselves by it.
    pub async fn checkpoint(&self) -> Result<(), SenseError> {
        Ok(self.connect(OWN).await?.batch_execute("CHECKPOINT").await?)
    }

    pub(super) async fn rows(&self, statement: &str) -> Result<Vec<Row>, SenseError> {
        let asked = async { Ok(self.client().await?.query(statement, &[]).await?) };
        if let Ok(rows) = timeout(PATIENCE, asked).await {
            return rows;
        }
        // A connection that hangs is not asked again.
        *self.client.lock().await = None;
        Err(SenseError::Timeout)
    }

    /// Runs statements; they carry nothing secret.
    pub async fn run(&self, statements: &str) -> Result<(), SenseError> {
        let asked = async { Ok(self.client().await?.batch_execute(statements).await?) };
        timeout(PATIENCE, asked).await.map_err(|_| SenseError::Timeout)?
    }

    /// Runs statements in another database, whose owner's names of things don't count.
    pub async fn run_in(&self, database: &str, statements: &str) -> Result<(), SenseError> {
        let statements = format!("SET search_path = pg_catalog; {statements}");
        let asked = async { Ok(self.connect(database).await?.batch_execute(&statements).await?) };
        timeout(PATIENCE, asked).await.map_err(|_| SenseError::Timeout)?
    }

    /// How many connections the pooler has as itself; `None` where it has no role.
    pub async fn pooler(&self) -> Result<Option<i64>, SenseError> {
        let statement = format!(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE usesysid = oid) AS connections \
             FROM pg_roles WHERE rolname = '{ROLE}'"
        );
        let rows = self.rows(&statement).await?;
        Ok(rows.first().map(|row| row.try_get("connections")).transpose()?)
    }

    /// How far it is.
    pub async fn sense(&self) -> Result<Sensed, SenseError> {
        let rows = self.rows(QUESTION).await?;
        let mut sensed = read(rows.first().ok_or(SenseError::Unknown("position"))?)?;
        let history = self.data.join(format!("pg_wal/{:08X}.history", sensed.position.timeline));
        // The first timeline has none.
        sensed.history = fs::read_to_string(history).map(|text| History::parse(&text)).unwrap_or_default();
        Ok(sensed)
    }

    /// Who gets its log, and what is kept for them.
    pub async fn sense_replicas(&self, sensed: &mut Sensed) -> Result<(), SenseError> {
        for row in self.rows(REPLICAS).await? {
            let replica = Replica {
                streams: row.try_get("streams")?,
                flushed: lsn(&row, "flushed")?.unwrap_or_default(),
                replayed: lsn(&row, "replayed")?.unwrap_or_default(),
                counts: row.try_get("counts")?,
            };
            sensed.replicas.insert(row.try_get("name")?, replica);
        }
        for row in self.rows(SLOTS).await? {
            let slot = Slot { active: row.try_get("active")?, kept: row.try_get("kept")? };
            sensed.slots.insert(row.try_get("name")?, slot);
        }
        Ok(())
    }

    /// Parameters that have another value in the configuration than in force, and need a restart for it.
    /// Postgres goes on saying so of one that was never in force and is left out of the configuration again.
    pub async fn waiting_for_restart(&self) -> Result<Vec<String>, SenseError> {
        let statement = "SELECT name FROM pg_settings WHERE pending_restart AND (source = 'configuration file' \
             OR name IN (SELECT name FROM pg_file_settings WHERE error IS NOT NULL)) ORDER BY name";
        let rows = self.rows(statement).await?;
        Ok(rows.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?)
    }

    /// Roles that may be logins of the owner, and how far its log is on disk, which has them all.
    pub async fn logins(&self, owner: &str) -> Result<(Vec<Found>, Lsn), SenseError> {
        let (owner, beginning) = (sql_name(owner)?, logins::beginning(owner));
        let works = format!(
            "rolname = '{owner}' OR EXISTS (SELECT FROM pg_db_role_setting \
             WHERE setrole = a.oid AND setdatabase = 0 AND 'role={owner}' = ANY (setconfig))"
        );
        let rows = self
            .rows(&format!(
                "SELECT rolname::text AS name, rolcanlogin AND rolpassword IS NOT NULL AS accepted, {works} AS works \
                 FROM pg_authid a WHERE rolname = '{owner}' OR starts_with(rolname::text, '{beginning}')"
            ))
            .await?;
        let read = |row: &Row| -> Result<Found, SenseError> {
            let (name, accepted) = (row.try_get("name")?, row.try_get("accepted")?);
            Ok(Found { name, accepted, works: row.try_get("works")? })
        };
        let found = rows.iter().map(read).collect::<Result<_, _>>()?;
        let rows = self.rows("SELECT pg_current_wal_flush_lsn()::text AS flushed").await?;
        let flushed = lsn(rows.first().ok_or(SenseError::Unknown("log"))?, "flushed")?;
        Ok((found, flushed.ok_or(SenseError::Unknown("log"))?))
    }

    /// Ends connections of logins of the owner that are refused by now.
    pub async fn end_refused(&self, owner: &str) -> Result<(), SenseError> {
        let (owner, beginning) = (sql_name(owner)?, logins::beginning(owner));
        self.run(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_roles ON oid = usesysid \
             WHERE backend_type = 'client backend' AND NOT rolcanlogin \
             AND (rolname = '{owner}' OR starts_with(rolname::text, '{beginning}'))"
        ))
        .await
    }

    /// Ends connections without TLS that came in before they were refused. Who uses the socket is in the pod.
    pub async fn end_plain(&self) -> Result<(), SenseError> {
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
             WHERE NOT ssl AND client_addr IS NOT NULL",
        )
        .await
    }

    /// Its version, and the parameters that a restart would change.
    pub async fn settings(&self) -> Result<(String, Vec<String>), SenseError> {
        let rows = self.rows(SETTINGS).await?;
        let row = rows.first().ok_or(SenseError::Unknown("settings"))?;
        Ok((row.try_get("version")?, row.try_get("pending")?))
    }

    /// Bytes of all databases, which takes a while to find out.
    pub async fn size(&self) -> Result<i64, SenseError> {
        let rows = self
            .rows("SELECT coalesce(sum(pg_database_size(oid)), 0)::int8 AS size FROM pg_database")
            .await?;
        Ok(rows.first().ok_or(SenseError::Unknown("size"))?.try_get("size")?)
    }
}

/// A name that stands in a literal as it is.
fn sql_name(name: &str) -> Result<&str, SenseError> {
    config::plain("the owner", name).map_err(|_| SenseError::Unknown("owner"))
}

fn lsn(row: &Row, column: &'static str) -> Result<Option<Lsn>, SenseError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| SenseError::Unknown(column))).transpose()
}

fn hex(text: Option<&str>, what: &'static str) -> Result<u32, SenseError> {
    text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(SenseError::Unknown(what))
}

fn read(row: &Row) -> Result<Sensed, SenseError> {
    let text = |column: &str| row.try_get::<_, Option<String>>(column);
    let is_standby = row.try_get("standby")?;
    let (received, replayed) = (lsn(row, "received")?, lsn(row, "replayed")?.unwrap_or_default());
    let incoming: Option<i32> = row.try_get("incoming")?;
    let newest = hex(text("newest")?.as_deref(), "newest segment")?;
    let timeline = match text("file")? {
        Some(file) => hex(file.get(..8), "segment")?,
        // Segments of a timeline come with its first bytes.
        None => newest.max(incoming.and_then(|it| u32::try_from(it).ok()).unwrap_or_default()),
    };
    let oldest = text("oldest")?.unwrap_or_default();
    let segment: i64 = row.try_get("segment")?;
    let offset =
        u64::from(hex(oldest.get(8..), "oldest segment")?) * u64::try_from(segment).unwrap_or_default();
    let system: i64 = row.try_get("system")?;
    // What is being written now is on disk in a moment; nobody else has it.
    let own = lsn(row, "inserted")?.max(lsn(row, "flushed")?);
    Ok(Sensed {
        is_standby,
        system: system.cast_unsigned(),
        position: Position { timeline, lsn: own.or(received).unwrap_or_default().max(replayed) },
        replayed,
        settled: !is_standby || received.is_some(),
        receiving: incoming.is_some(),
        checkpoint_timeline: row.try_get::<_, i32>("checkpoint")?.cast_unsigned(),
        oldest: Lsn((u64::from(hex(oldest.get(..8), "oldest segment")?) << 32) + offset),
        replay_seconds: row.try_get("lag")?,
        connections: row.try_get("connections")?,
        max_connections: row.try_get("max_connections")?,
        ..Sensed::default()
    })
}
