//! Control stage, I/O: looks, decides and carries out one step after the other. What to do is
//! decided in [`decide`]; here it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use trading_report::POSTGRES_CONFIG;

use super::clock;
use super::decide::{Action, Own, REPAIR, Role, Rules, STARTS, Status, Stop, View, decide};
use super::encryption::{self, Encryption, Sources};
use super::gate::Gate;
use super::keeper::{Keeper, KeeperError, Observed};
use super::lease::Name;
use super::local::{Local, Look, PROMOTING};
use super::login::Logins;
use super::members::{self, Hosts, MembersError};
use super::objects::{Keeping, Wanted};
use super::parameters::Parameters;
use super::peers::Peers;
use super::pooler::Pooler;
use super::position::Lsn;
use super::sense::SenseError;
use super::server::{Server, clear_stale_mark};
use super::volume::Volume;
use crate::install::{self, InstallError};
use crate::postgres::config::{self, ConfigError, Overrides, REPLICATION_ROLE};
use crate::postgres::data::DataError;
use crate::postgres::prepare::{Environment, New, PrepareError};
use crate::postgres::programs;
use crate::tls::TlsError;

/// Between looks where there is nothing to do.
const CALM: Duration = Duration::from_secs(1);
/// Between steps.
const BUSY: Duration = Duration::from_millis(100);
/// After a step that failed, and between starts of a server that does not stay.
const FAILED: Duration = Duration::from_secs(3);
/// Between looks at what the operator writes.
const FILES: Duration = Duration::from_secs(5);
/// How long a server may take to end before a copy or a rewind.
const SHUTDOWN: Duration = Duration::from_mins(1);

/// Why a step failed, or the agent ends.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The volume, or a program of the image.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The volume.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Who the servers are.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// A name.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The Lease.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The server.
    #[error(transparent)]
    Sense(#[from] SenseError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Who may connect.
    #[error("cannot read {}", path.display())]
    Access {
        /// Where that should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server's process.
    #[error("the server's process")]
    Process(#[source] io::Error),
    /// The server could not be ended.
    #[error("the server does not end")]
    StillRuns,
    /// The data must not be touched.
    #[error("{0}")]
    Refused(String),
}

/// What changes rarely while it runs, or not at all.
pub struct Settings {
    /// Who is who.
    pub rules: Rules,
    /// Where the others are reached by their servers; this one too.
    pub hosts: Hosts,
    /// From which file.
    pub members: PathBuf,
    /// Port at which agents let clients in.
    pub port: u16,
    /// Port at which agents tell their status.
    pub agent_port: u16,
    /// Port of the server on loopback.
    pub server_port: u16,
    /// The programs.
    pub folder: PathBuf,
    /// Configuration without secrets, as it is in use.
    pub template: String,
    /// Where the newest one is.
    pub template_file: PathBuf,
    /// Where the complete one goes.
    pub output: PathBuf,
    /// Which login of the owner is wanted.
    pub login: PathBuf,
    /// Where its password is.
    pub passwords: PathBuf,
    /// Which databases, extensions and roles are declared.
    pub objects: Wanted,
    /// Where the certificate is, and who may connect.
    pub tls: Option<Sources>,
    /// Role that is made with the data.
    pub owner: String,
    /// Database that is made with the data.
    pub database: String,
    /// Whether commits wait for a replica.
    pub synchronous: bool,
}

/// The agent of one server.
pub struct Agent {
    /// Settings.
    pub settings: Settings,
    /// Passwords.
    pub environment: Environment,
    /// The pod.
    pub local: Arc<Local>,
    /// The Lease.
    pub keeper: Arc<Keeper>,
    /// Lets clients' answers out.
    pub gate: Gate,
    /// The others.
    pub peers: Peers,
    /// Whether the process was told to end.
    pub stopping: watch::Receiver<bool>,
    /// What it remembers between steps.
    pub memory: Memory,
}

/// What is remembered between steps.
#[derive(Default)]
pub struct Memory {
    pub(super) server: Server,
    pub(super) upstream: Option<Name>,
    pub(super) started: Option<Duration>,
    /// How often in a row the server ended by itself before it took connections.
    pub(super) failed_starts: u32,
    /// Since when there is no server that takes writes, while this one should.
    pub(super) without_server: Option<Duration>,
    pub(super) kept_house: Option<Duration>,
    pub(super) read_files: Duration,
    pub(super) configured: BTreeSet<Name>,
    pub(super) configured_at: Duration,
    pub(super) in_force_since: Option<Lsn>,
    pub(super) streamed: BTreeMap<Name, Duration>,
    pub(super) said: String,
    pub(super) parameters: Parameters,
    pub(super) logins: Logins,
    pub(super) objects: Keeping,
    pub(super) pooler: Pooler,
    pub(super) encryption: Encryption,
}

impl Agent {
    /// Works until it is told to end, or must not go on.
    pub async fn run(mut self) -> Result<(), AgentError> {
        let mut stopping = self.stopping.clone();
        loop {
            self.local.beat();
            let pause = match self.step().await {
                Ok(Some(pause)) => pause,
                Ok(None) => return Ok(()),
                Err(AgentError::Refused(reason)) => {
                    self.end(Stop::Fast).await?;
                    return Err(AgentError::Refused(reason));
                }
                Err(error) => {
                    self.say(&crate::with_causes(&error));
                    FAILED
                }
            };
            let was_told = *stopping.borrow_and_update();
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = stopping.changed(), if !was_told => {}
            }
        }
    }

    /// One look and one step; how long to wait before the next, `None` at the end.
    async fn step(&mut self) -> Result<Option<Duration>, AgentError> {
        self.take_in_files().await?;
        // Before anybody is asked: a Lease that expires while they answer proves nothing of what they said,
        // for its holder may have led on and commits may have reached them since.
        let now = clock::now();
        let observed = self.keeper.observed();
        self.local.sees_lease.store(
            observed.as_ref().is_some_and(|it| now.saturating_sub(it.read) < super::lease::TRUSTED),
            Ordering::Relaxed,
        );
        // Unread, it lets nothing happen but a start without a primary to follow.
        let observed = observed.unwrap_or_else(|| Observed { seen: now, ..Observed::default() });
        self.local.runs.store(self.memory.server.runs(), Ordering::Relaxed);
        let look = self.local.look().await?;
        let holds = observed.trusted.is_some_and(|end| now < end)
            && observed.lease.holder.as_ref() == Some(&self.settings.rules.me);
        self.watch_server(&look, holds, now);
        let is_overdue = self.memory.without_server.is_some_and(|since| now.saturating_sub(since) >= REPAIR);
        let needs_peers = !holds || is_overdue;
        let peers = if needs_peers { self.peers.ask().await } else { BTreeMap::new() };
        let own = Own {
            status: look.status.clone(),
            unconfirmed: look.unconfirmed,
            broken: look.broken,
            upstream: self.memory.upstream.clone(),
            without_server: self.memory.without_server,
            failed_starts: self.memory.failed_starts,
        };
        let view = View {
            rules: &self.settings.rules,
            now,
            lease: &observed.lease,
            seen: observed.seen,
            trusted: observed.trusted,
            own: &own,
            peers: &peers,
            stopping: *self.stopping.borrow(),
        };
        let action = decide(&view);
        if view.may_serve_reads() {
            self.gate.open_for_standby();
        }
        self.carry_out(action, &observed, look, &peers).await
    }

    /// Who the servers are, and with what they are run.
    async fn take_in_files(&mut self) -> Result<(), AgentError> {
        let now = clock::now();
        if now.saturating_sub(self.memory.read_files) < FILES {
            return Ok(());
        }
        self.memory.read_files = now;
        self.take_in_members()?;
        self.take_in_encryption()?;
        self.take_in_parameters().await
    }

    /// What is of use and decides nothing: no failure of it keeps from what has to be done.
    async fn attend(&mut self, look: &Look, observed: &Observed) {
        if let Err(error) = self.note_parameters(look).await {
            tracing::warn!("how the server took its parameters is not known yet: {error}");
        }
        if let Err(error) = self.end_plain(look).await {
            tracing::warn!("connections without TLS are not ended yet: {}", crate::with_causes(&error));
        }
        let refused = self.memory.parameters.refused().map(str::to_owned);
        let lease = &observed.lease;
        if lease.holder.as_ref() == Some(&self.settings.rules.me) && lease.record.refused != refused {
            let told = self.keeper.change(&|lease| lease.refusing(refused.as_deref())).await;
            if let Err(error) = told {
                tracing::warn!("the Lease does not say yet what is refused: {error}");
            }
        }
    }

    /// Servers were added or removed. One that was removed goes on as before until it is told to end.
    fn take_in_members(&mut self) -> Result<(), AgentError> {
        let Settings { members, hosts, agent_port, rules, .. } = &mut self.settings;
        let found = match members::read(members, &rules.me.name) {
            Err(MembersError::NotAMember(_)) => return Ok(()),
            found => found?,
        };
        if found == *hosts {
            return Ok(());
        }
        tracing::info!(servers = ?found.keys(), "servers were added or removed");
        self.peers = Peers::new(members::addresses(&found, &rules.me.name, *agent_port)?);
        rules.members = found.keys().cloned().collect();
        self.keeper.set_alone(found.len() == 1);
        *hosts = found;
        Ok(())
    }

    fn watch_server(&mut self, look: &Look, holds: bool, now: Duration) {
        if look.sensed.is_some() {
            self.memory.failed_starts = 0;
        }
        let takes_writes = look.status.role == Role::Primary && look.sensed.is_some();
        self.memory.without_server = match (takes_writes || !holds, look.fails_since) {
            (true, _) => None,
            (false, since) => self.memory.without_server.or(since).or(Some(now)),
        };
    }

    /// Says something once, until there is something else to say.
    fn say(&mut self, what: &str) {
        if self.memory.said != what {
            tracing::info!("{what}");
            what.clone_into(&mut self.memory.said);
        }
    }

    async fn carry_out(
        &mut self,
        action: Action,
        observed: &Observed,
        look: Look,
        peers: &BTreeMap<Name, Status>,
    ) -> Result<Option<Duration>, AgentError> {
        let fails = matches!(action, Action::Start(_)) && self.memory.failed_starts >= STARTS;
        let fails = fails.then(|| "the server ends by itself again and again; its log says why".to_owned());
        self.local.works_on(fails.or_else(|| action.in_words()));
        match &action {
            Action::Wait(reason) => self.say(&format!("waits: {reason}")),
            Action::Lead => self.say("leads"),
            other => self.say(&format!("{other:?}")),
        }
        if matches!(action, Action::Wait(_) | Action::Lead) {
            self.attend(&look, observed).await;
        }
        if action == Action::Lead
            && let Err(error) = self.keep_logins(observed).await
        {
            tracing::warn!("a login is not as it should be yet: {error}");
        }
        if action == Action::Lead {
            self.keep_objects();
        }
        if action == Action::Lead
            && let Err(error) = self.keep_pooler(observed).await
        {
            tracing::warn!("the pooler's login is not as it should be yet: {error}");
        }
        let transitions = observed.lease.transitions;
        match action {
            Action::Wait(_) => {
                let standby = look.sensed.filter(|sensed| sensed.is_standby);
                self.keep_house(standby, &BTreeSet::new()).await?;
                return Ok(Some(CALM));
            }
            Action::Lead => {
                self.lead(observed, look).await?;
                return Ok(Some(CALM));
            }
            Action::Initialize => self.initialize()?,
            Action::Start(upstream) => self.start(upstream).await?,
            Action::Follow(upstream) => {
                self.memory.upstream = Some(upstream);
                self.configure()?;
                self.memory.server.reload().map_err(AgentError::Process)?;
            }
            Action::Acquire => {
                self.keeper.lower();
                self.keeper.acquire(observed.seen).await?;
            }
            Action::Promote => {
                self.keeper.lower();
                self.local.place().set_note(PROMOTING, Some(&transitions.to_string()))?;
                self.local.sensor.run("SELECT pg_promote(true, 60)").await?;
            }
            Action::Confirm => self.confirm(look).await?,
            Action::Release => self.keeper.release().await?,
            Action::Stop(how) => self.stop(how).await?,
            Action::Copy(from) => {
                self.end(Stop::Fast).await?;
                self.prepare_encryption()?;
                let connection = self.connection(&from, "copy")?;
                let slot = config::slot(&self.settings.rules.me.name);
                self.volume().copy(&connection, &slot).await?;
            }
            Action::Rewind(from) => {
                tracing::info!(from, status = ?peers.get(&from), own = ?look.status, "goes back to where the primary went on");
                self.end(Stop::Fast).await?;
                self.prepare_encryption()?;
                let connection = self.connection(&from, "rewind")? + " dbname=postgres";
                self.volume().rewind(&connection).await?;
                self.memory.failed_starts = 0;
            }
            Action::Refuse(reason) => return Err(AgentError::Refused(reason)),
            Action::Exit => return Ok(None),
        }
        Ok(Some(BUSY))
    }

    fn volume(&self) -> Volume<'_> {
        Volume { folder: &self.settings.folder, local: &self.local, stopping: self.stopping.clone() }
    }

    fn initialize(&self) -> Result<(), AgentError> {
        let Settings { folder, output, owner, database, template, .. } = &self.settings;
        let new = New { folder, scratch: output, owner, database, limits: &config::limits(template) };
        tokio::task::block_in_place(|| self.volume().initialize(&new, &self.environment))?;
        Ok(())
    }

    /// How a replica of this pod reaches a server.
    fn connection(&self, server: &Name, purpose: &str) -> Result<String, AgentError> {
        let host = self.settings.hosts.get(server).map_or(server.as_str(), String::as_str);
        let password_file = self.settings.output.with_file_name("pgpass");
        let connection = config::connection(host, self.settings.port, purpose, &password_file)?;
        if !self.memory.encryption.is_required() {
            return Ok(connection);
        }
        let authority = encryption::authority(&self.settings.output);
        Ok(format!("{connection} sslmode=verify-full sslrootcert={}", authority.display()))
    }

    /// Writes the server's configuration.
    pub(super) fn configure(&self) -> Result<(), AgentError> {
        let text = self.compose(&self.settings.template)?;
        install::replace(&self.settings.output, 0o600, &mut text.as_bytes())?;
        self.local.runs_by(POSTGRES_CONFIG, &self.settings.template);
        Ok(())
    }

    pub(super) fn compose(&self, template: &str) -> Result<String, AgentError> {
        let me = &self.settings.rules.me.name;
        let connection = match &self.memory.upstream {
            Some(upstream) => self.connection(upstream, me)?,
            // Nobody; but only a server that tries has looked through its own log.
            None => format!("host=127.0.0.1 port=1 user={REPLICATION_ROLE} connect_timeout=1"),
        };
        let overrides = Overrides {
            port: self.settings.server_port,
            socket: self.settings.output.parent().unwrap_or(&self.settings.output),
            connection: &connection,
            slot: &config::slot(me),
            synchronous: &self.memory.configured,
            floors: &self.local.floors(),
            certificate: self.settings.tls.as_ref().map(|_| {
                let output = &self.settings.output;
                (encryption::certificate(output), encryption::key(output))
            }),
        };
        Ok(config::compose(template, &overrides))
    }

    pub(super) fn others(&self) -> BTreeSet<Name> {
        let rules = &self.settings.rules;
        rules.members.iter().filter(|name| **name != rules.me.name).cloned().collect()
    }

    /// Every server starts as one that follows; promotions make primaries.
    async fn start(&mut self, upstream: Option<Name>) -> Result<(), AgentError> {
        let now = clock::now();
        if self.memory.started.is_some_and(|last| now.saturating_sub(last) < FAILED) {
            return Ok(());
        }
        self.memory.started = Some(now);
        self.prepare_encryption()?;
        self.choose_parameters().await?;
        // What answers, and what is stopped, takes it back.
        self.memory.failed_starts += 1;
        self.keeper.lower();
        self.local.forget();
        self.memory.upstream = upstream;
        self.memory.configured = if self.settings.synchronous { self.others() } else { BTreeSet::new() };
        self.memory.configured_at = now;
        self.memory.in_force_since = None;
        self.volume().take_note()?;
        self.configure()?;
        self.local.place().begin_as_standby()?;
        clear_stale_mark(&self.local.data).map_err(AgentError::Process)?;
        let mut command = programs::program(&self.settings.folder, "postgres");
        command.arg("-D").arg(&self.local.data);
        command.arg("-c").arg(format!("config_file={}", self.settings.output.display()));
        self.memory.server.start(command).map_err(AgentError::Process)?;
        self.tell_access();
        self.memory.parameters.begin();
        self.local.runs.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn stop(&mut self, how: Stop) -> Result<(), AgentError> {
        if how == Stop::Immediate {
            self.keeper.lower();
        }
        self.memory.server.stop(how).await.map_err(AgentError::Process)?;
        self.local.runs.store(self.memory.server.runs(), Ordering::Relaxed);
        if !self.memory.server.runs() {
            self.keeper.lower();
            self.local.forget();
            self.memory.failed_starts = 0;
        }
        Ok(())
    }

    /// Stops it and waits until it is gone.
    async fn end(&mut self, how: Stop) -> Result<(), AgentError> {
        let ended = timeout(SHUTDOWN, async {
            while self.memory.server.runs() {
                self.local.beat();
                self.stop(how).await?;
            }
            Ok(())
        });
        if let Ok(result) = ended.await {
            return result;
        }
        self.stop(Stop::Immediate).await?;
        if self.memory.server.runs() { Err(AgentError::StillRuns) } else { Ok(()) }
    }
}
