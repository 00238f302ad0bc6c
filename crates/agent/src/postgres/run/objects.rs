//! Objects stage, I/O: the primary makes the databases, extensions and roles that are declared, one thing after the
//! other beside its control loop, and tells what can't be made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io, mem};

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::agent::Agent;
use super::clock;
use super::sense::{SenseError, Sensor};
use crate::postgres::objects::{self, Declared, FoundDatabase, FoundRole, MARK, NotUnderstood, Plan, Step};
use crate::postgres::scram;
use crate::postgres::secret::Password;

/// Between looks.
const LOOK: Duration = Duration::from_secs(5);
/// Between looks into databases for what somebody took away.
const THOROUGH: Duration = Duration::from_mins(5);
/// The same where something there can't be made.
const AGAIN: Duration = Duration::from_secs(20);

/// Why the objects could not be compared.
#[derive(Debug, Error)]
pub enum ObjectsError {
    /// A file of the operator's.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the operator's.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The server.
    #[error(transparent)]
    Sense(#[from] SenseError),
}

/// Where it is said what is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// File with what is declared.
    pub declared: PathBuf,
    /// Folder with the passwords of roles, each in a file of its name.
    pub passwords: PathBuf,
    /// The platform's own role.
    pub owner: String,
}

/// What is known of the objects.
#[derive(Default)]
pub struct Objects(Mutex<Known>);

#[derive(Default)]
struct Known {
    refused: BTreeSet<String>,
    said: String,
    /// The last look into databases.
    inside: Option<Inside>,
    /// Digests of what roles were found to have: to find out takes thousands of steps.
    verified: BTreeMap<String, [u8; 32]>,
}

impl Known {
    fn holds(&mut self, role: &str, verifier: &str, password: &Password) -> bool {
        let mut digest = Sha256::new();
        digest.update(verifier.as_bytes());
        digest.update(password.bytes());
        let digest = digest.finalize().into();
        if self.verified.get(role) == Some(&digest) {
            return true;
        }
        let is_of = scram::is_of(verifier, password);
        if is_of {
            self.verified.insert(role.to_owned(), digest);
        }
        is_of
    }
}

/// A look into databases.
struct Inside {
    /// What was declared then.
    declared: String,
    at: Duration,
    refused: BTreeSet<String>,
}

impl Inside {
    fn is_enough(&self, declared: &str, now: Duration) -> bool {
        let pause = if self.refused.is_empty() { THOROUGH } else { AGAIN };
        self.declared == declared && now.saturating_sub(self.at) < pause
    }
}

/// What the control loop remembers of it.
#[derive(Default)]
pub struct Keeping {
    task: Option<JoinHandle<()>>,
    looked: Option<Duration>,
}

impl Agent {
    /// Begins to look, unless that goes on or was done a moment ago.
    pub(super) fn keep_objects(&mut self) {
        let (now, keeping) = (clock::now(), &mut self.memory.objects);
        let is_early = keeping.looked.is_some_and(|last| now.saturating_sub(last) < LOOK);
        if is_early || keeping.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        keeping.looked = Some(now);
        let (local, wanted) = (self.local.clone(), self.settings.objects.clone());
        keeping.task = Some(tokio::spawn(async move { local.objects.keep(&local.sensor, &wanted).await }));
    }
}

impl Objects {
    /// What is declared and can't be made.
    pub fn refused(&self) -> BTreeSet<String> {
        self.known(|known| known.refused.clone())
    }

    fn known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn keep(&self, sensor: &Sensor, wanted: &Wanted) {
        let said = match self.look(sensor, wanted).await {
            Ok(refused) => {
                let said = refused.iter().cloned().collect::<Vec<_>>().join("; ");
                self.known(|known| known.refused = refused);
                said
            }
            Err(error) => crate::with_causes(&error),
        };
        // Each thing once.
        if self.known(|known| mem::replace(&mut known.said, said.clone()) != said) && !said.is_empty() {
            tracing::warn!("not everything that is declared is there yet: {said}");
        }
    }

    /// All of it once; what can't be made.
    async fn look(&self, sensor: &Sensor, wanted: &Wanted) -> Result<BTreeSet<String>, ObjectsError> {
        // An operator of before says nothing, and then nothing is wanted away either.
        let Some(text) = read(&wanted.declared)? else { return Ok(BTreeSet::new()) };
        let declared = Declared::parse(&text)?;
        let mut work = Work { sensor, refused: BTreeSet::new(), changed: false };
        let (passwords, bad) = passwords(&declared, &wanted.passwords)?;
        work.refused.extend(bad);
        let found = sensor.roles().await?;
        let plan = self.known(|known| {
            let mut holds = |role: &str, verifier: &str, password: &_| known.holds(role, verifier, password);
            objects::roles(&declared, &found, &passwords, &mut holds)
        });
        work.roles(plan).await?;
        let at = clock::now();
        let before = self.known(|known| {
            let enough = known.inside.as_ref().filter(|inside| inside.is_enough(&text, at));
            enough.map(|inside| inside.refused.clone())
        });
        if let Some(refused) = before.filter(|_| !work.changed) {
            return Ok(&work.refused | &refused);
        }
        let of_roles = mem::take(&mut work.refused);
        let roles = sensor.roles().await?;
        let plan = objects::databases(&declared, &wanted.owner, &roles, &sensor.databases().await?);
        work.databases(plan).await?;
        let there = sensor.databases().await?;
        for (name, database) in declared.databases.iter().filter(|(_, it)| !it.extensions.is_empty()) {
            if there.contains_key(name) {
                work.extensions(name, &database.extensions).await;
            }
        }
        let told = &of_roles | &work.refused;
        self.known(|known| known.inside = Some(Inside { declared: text, at, refused: work.refused }));
        Ok(told)
    }
}

/// One look's work.
struct Work<'a> {
    sensor: &'a Sensor,
    refused: BTreeSet<String>,
    changed: bool,
}

impl Work<'_> {
    async fn roles(&mut self, plan: Plan) -> Result<(), SenseError> {
        self.refused.extend(plan.refused);
        for step in plan.steps {
            let result = self.sensor.run(&step.statements).await;
            self.note(&step, result)?;
        }
        // Who was let in by a role that is refused by now.
        if self.changed { self.sensor.end_removed_roles().await } else { Ok(()) }
    }

    async fn databases(&mut self, plan: Plan) -> Result<(), SenseError> {
        self.refused.extend(plan.refused);
        if plan.steps.is_empty() {
            return Ok(());
        }
        let session = self.sensor.session("postgres").await?;
        let mut failed = None;
        for step in plan.steps {
            // What can't be made can't be marked either.
            if failed.as_ref() == Some(&step.what) {
                continue;
            }
            let result = run(&session, &step.statements).await;
            failed = (!self.note(&step, result)?).then_some(step.what);
        }
        Ok(())
    }

    async fn extensions(&mut self, database: &str, declared: &BTreeSet<String>) {
        if let Err(error) = self.try_extensions(database, declared).await {
            self.refused.insert(format!("extensions of database {database}: {error}"));
        }
    }

    async fn try_extensions(
        &mut self,
        database: &str,
        declared: &BTreeSet<String>,
    ) -> Result<(), SenseError> {
        let mut session = self.sensor.session(database).await?;
        let found = names(&session, "SELECT extname::text AS name FROM pg_extension").await?;
        let available = names(&session, "SELECT name::text AS name FROM pg_available_extensions").await?;
        let plan = objects::extensions(database, declared, &found, &available);
        self.refused.extend(plan.refused);
        for step in plan.steps {
            // Some end the connection when they are refused.
            if session.is_closed() {
                session = self.sensor.session(database).await?;
            }
            // They go where ordinary tables do; nothing else is found there before Postgres' own.
            let statements = format!("SET search_path = public; {}", step.statements);
            let result = run(&session, &statements).await;
            self.note(&step, result)?;
        }
        Ok(())
    }

    /// Whether it is done. What the server refuses is told; where it does not answer, the look ends.
    fn note(&mut self, step: &Step, result: Result<(), SenseError>) -> Result<bool, SenseError> {
        match result {
            Ok(()) => {
                tracing::info!("{} is as declared now", step.what);
                self.changed = true;
                Ok(true)
            }
            Err(SenseError::Postgres(error)) if error.as_db_error().is_some() => {
                self.refused.insert(format!("{}: {}", step.what, super::sense::plain(&error)));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

async fn run(session: &Client, statements: &str) -> Result<(), SenseError> {
    Ok(session.batch_execute(statements).await?)
}

async fn names(session: &Client, statement: &str) -> Result<BTreeSet<String>, SenseError> {
    let rows = session.query(statement, &[]).await?;
    Ok(rows.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?)
}

/// Passwords that are there, and what is wrong with others.
fn passwords(
    declared: &Declared,
    folder: &Path,
) -> Result<(BTreeMap<String, Password>, Vec<String>), ObjectsError> {
    let (mut found, mut bad) = (BTreeMap::new(), Vec::new());
    for name in declared.roles.keys() {
        let Some(text) = read(&folder.join(name))? else { continue };
        match Password::new(text) {
            Some(password) => drop(found.insert(name.clone(), password)),
            None => bad.push(format!(
                "{}: its password is empty or has control characters, such as a line's end: mend its Secret",
                objects::of_role(name)
            )),
        }
    }
    Ok((found, bad))
}

/// `None` where there is none.
fn read(path: &Path) -> Result<Option<String>, ObjectsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ObjectsError::File { path: path.to_owned(), source }),
    }
}

impl Sensor {
    /// All roles but Postgres' own.
    async fn roles(&self) -> Result<BTreeMap<String, FoundRole>, SenseError> {
        let statement = format!(
            "SELECT rolname::text AS name, rolcanlogin, rolpassword, rolconnlimit, \
             coalesce(shobj_description(a.oid, 'pg_authid') = '{MARK}', false) AS ours, rolinherit AND NOT \
             (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls) AS plain, \
             ARRAY(SELECT rolname::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
             WHERE m.member = a.oid AND starts_with(rolname::text, 'pg_')) AS member_of \
             FROM pg_authid a WHERE NOT starts_with(rolname::text, 'pg_')"
        );
        let rows = self.rows(&statement).await?;
        rows.iter()
            .map(|row| {
                let member_of: Vec<String> = row.try_get("member_of")?;
                let role = FoundRole {
                    ours: row.try_get("ours")?,
                    logs_in: row.try_get("rolcanlogin")?,
                    verifier: row.try_get("rolpassword")?,
                    plain: row.try_get("plain")?,
                    limit: row.try_get("rolconnlimit")?,
                    member_of: member_of.into_iter().collect(),
                };
                Ok((row.try_get("name")?, role))
            })
            .collect()
    }

    async fn databases(&self) -> Result<BTreeMap<String, FoundDatabase>, SenseError> {
        let rows = self
            .rows(
                "SELECT datname::text AS name, pg_get_userbyid(datdba)::text AS owner, \
                 shobj_description(oid, 'pg_database') AS comment FROM pg_database",
            )
            .await?;
        rows.iter()
            .map(|row| {
                let (owner, comment) = (row.try_get("owner")?, row.try_get("comment")?);
                Ok((row.try_get("name")?, FoundDatabase { owner, comment }))
            })
            .collect()
    }

    /// Ends connections of roles that were removed, on a replica too.
    pub(super) async fn end_removed_roles(&self) -> Result<(), SenseError> {
        self.run(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_roles r ON r.oid = usesysid \
             WHERE backend_type = 'client backend' AND NOT rolcanlogin \
             AND shobj_description(r.oid, 'pg_authid') = '{MARK}'"
        ))
        .await
    }
}
