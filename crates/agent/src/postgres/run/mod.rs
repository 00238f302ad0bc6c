//! Run: the agent as the first process of a server's pod. Reads the environment and puts the parts
//! together; the work is in [`agent`], what to do next in [`decide`].

mod agent;
mod clock;
mod decide;
mod encryption;
mod gate;
mod http;
mod keeper;
mod leading;
mod lease;
mod local;
mod login;
mod members;
mod objects;
mod parameters;
mod peers;
mod pooler;
mod position;
mod proxy;
mod report;
mod sense;
mod server;
mod synchronous;
mod volume;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use trading_report::Failure;

use agent::{Agent, AgentError, Memory, Settings};
use decide::Rules;
use gate::Gate;
use keeper::{Keeper, KeeperError};
use lease::Holder;
use local::Local;
use members::MembersError;
use peers::Peers;
use proxy::Proxy;
use sense::Sensor;

use super::data::DataError;
use super::prepare::{self, Environment, PrepareError};
use super::programs;
use crate::install::InstallError;

/// What is run, and with whom.
#[derive(Args)]
pub struct RunArgs {
    /// Major version that the data must have
    #[arg(long)]
    major: u32,
    /// The data; made or copied where it is not there
    #[arg(long)]
    data: PathBuf,
    /// The write-ahead log, where it is not with the data
    #[arg(long)]
    wal: Option<PathBuf>,
    /// Configuration without secrets; read again while it runs
    #[arg(long)]
    template: PathBuf,
    /// Where the complete configuration goes; the socket and secrets are put beside it
    #[arg(long)]
    output: PathBuf,
    /// Database that is made with the data
    #[arg(long)]
    database: String,
    /// Role that is made with the data and owns the database
    #[arg(long)]
    owner: String,
    /// Servers and their hosts, one name=host a line, this one too; read again while it runs
    #[arg(long)]
    members: PathBuf,
    /// Which generation of the owner's logins is accepted, and whether all others are refused; read again while
    /// it runs
    #[arg(long)]
    login: PathBuf,
    /// Folder with the passwords of later generations, each in a file of its number
    #[arg(long)]
    passwords: PathBuf,
    /// Databases, extensions and roles that are declared; read again while it runs
    #[arg(long)]
    objects: PathBuf,
    /// Folder with the passwords of these roles, each in a file of its name
    #[arg(long)]
    roles: PathBuf,
    /// Folder with the certificate, its key and the authority; no TLS without
    #[arg(long, requires = "access")]
    tls: Option<PathBuf>,
    /// Who may connect, as `pg_hba.conf`; read again while it runs, as the certificate is
    #[arg(long)]
    access: Option<PathBuf>,
    /// Lease whose holder is the primary, in the pod's namespace
    #[arg(long)]
    lease: String,
    /// Commits wait until one replica has them; then no failover loses one
    #[arg(long)]
    synchronous: bool,
    /// Most bytes of log that a replica may lack to become primary, where commits wait for nobody
    #[arg(long, default_value_t = 16 << 20)]
    max_lag: u64,
    /// Bytes of log that a replica may lack and still serve reads
    #[arg(long, default_value_t = 64 << 20)]
    max_replica_lag: u64,
    /// Address to listen at; every one where it is left out
    #[arg(long)]
    address: Option<IpAddr>,
    /// Port for clients
    #[arg(long, default_value_t = 5432)]
    port: u16,
    /// Port of the server, on loopback alone
    #[arg(long, default_value_t = 5433)]
    server_port: u16,
    /// Port of health, metrics and status
    #[arg(long, default_value_t = 8008)]
    agent_port: u16,
    /// Where the reason goes when it ends
    #[arg(long, default_value = "/dev/termination-log")]
    termination_log: PathBuf,
    /// Time for which it tells at `/report` why there is no server, before it ends
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    tell_failure_seconds: u64,
}

/// Why it ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// The environment or the volume.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A variable is absent.
    #[error("{0} is absent")]
    Variable(&'static str),
    /// Who the servers are.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The system gives no runtime, port or signal.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// No way to the Lease.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// A file.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The agent ended.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::System { what, source }
}

/// Runs until it is told to end.
pub fn run(args: &RunArgs) -> Result<(), RunError> {
    tracing_subscriber::fmt().json().with_writer(io::stderr).with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(system("start"))?;
    let failed = Failed::default();
    let result = runtime.block_on(start(args, &failed));
    if let Err(error) = &result {
        let failure = failure(error);
        explain(&args.termination_log, &failure);
        if args.tell_failure_seconds > 0 {
            tracing::error!(reason = failure.reason, "{}", failure.message);
            // Whoever asks is answered by what serves already, or else by what is begun here.
            let _ = failed.set(failure.clone());
            let name = std::env::var("POD_NAME").unwrap_or_else(|_| crate::report::own_name(None));
            let patience = Duration::from_secs(args.tell_failure_seconds);
            crate::report::hold((args.address, args.agent_port), name, failure, patience);
        }
    }
    result
}

/// Why there is no server, once that is so.
type Failed = Arc<OnceLock<Failure>>;

fn failure(error: &RunError) -> Failure {
    let reason = match error {
        RunError::Agent(AgentError::Refused(_)) => "WrongDatabase",
        RunError::Prepare(
            PrepareError::Data(DataError::Version { .. }) | PrepareError::OtherPrograms { .. },
        ) => "WrongMajorVersion",
        RunError::Prepare(PrepareError::Data(_)) => "UnusableVolume",
        RunError::Prepare(PrepareError::NoPrograms(_)) => "ImageWithoutServer",
        RunError::Prepare(PrepareError::Variable(_)) | RunError::Variable(_) => "BadConfiguration",
        _ => "Failed",
    };
    Failure { reason: reason.to_owned(), message: crate::with_causes(error) }
}

/// The kubelet shows it in the pod's status.
fn explain(path: &Path, failure: &Failure) {
    let text = serde_json::json!(failure).to_string();
    if let Err(error) = fs::write(path, text) {
        tracing::warn!(%error, "the reason can't be left at {}", path.display());
    }
}

async fn start(args: &RunArgs, failed: &Failed) -> Result<(), RunError> {
    let environment = Environment::read()?;
    let text = |name| std::env::var(name).map_err(|_| RunError::Variable(name));
    let me = Holder { name: environment.pod.clone(), life: text("POD_UID")? };
    let namespace = text("POD_NAMESPACE")?;
    let hosts = members::read(&args.members, &me.name)?;
    let wanted = args.major;
    let folder = programs::folder(wanted).ok_or(PrepareError::NoPrograms(wanted))?;
    if let Some(found) = programs::major(&folder).filter(|found| *found != wanted) {
        return Err(PrepareError::OtherPrograms { found, wanted }.into());
    }
    let template = fs::read_to_string(&args.template)
        .map_err(|source| PrepareError::Template { path: args.template.clone(), source })?;
    prepare::write_password_file(&args.output.with_file_name("pgpass"), &environment.replication)?;

    let socket = args.output.parent().unwrap_or(Path::new("/")).to_owned();
    let sensor = Sensor::new(socket, args.server_port, args.data.clone());
    let local = Arc::new(Local::new(me.name.clone(), args.data.clone(), args.wal.clone(), sensor));
    volume::inspect(&local, &folder, args.major)?;

    let gate = Gate::closed();
    let keeper = Keeper::new(&namespace, &args.lease, me.clone(), hosts.len() == 1, gate.clone()).await?;
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, args.server_port));
    let proxy = Proxy { server, gate: gate.clone(), connections: Arc::default() };
    let shared = http::Shared {
        local: local.clone(),
        keeper: keeper.clone(),
        gate: gate.clone(),
        connections: proxy.connections.clone(),
        max_replica_lag: args.max_replica_lag,
        failed: failed.clone(),
    };
    local.beat();
    tokio::spawn(proxy.serve(listen(args.address, args.port).await?));
    tokio::spawn(http::serve(listen(args.address, args.agent_port).await?, Arc::new(shared)));
    tokio::spawn(keeper.clone().keep());

    let agent = Agent {
        peers: Peers::new(members::addresses(&hosts, &me.name, args.agent_port)?),
        settings: Settings {
            rules: Rules { me, members: hosts.keys().cloned().collect(), max_lag: args.max_lag },
            hosts,
            members: args.members.clone(),
            port: args.port,
            agent_port: args.agent_port,
            server_port: args.server_port,
            folder,
            template,
            template_file: args.template.clone(),
            output: args.output.clone(),
            login: args.login.clone(),
            passwords: args.passwords.clone(),
            objects: objects::Wanted {
                declared: args.objects.clone(),
                passwords: args.roles.clone(),
                owner: args.owner.clone(),
            },
            tls: args
                .tls
                .clone()
                .zip(args.access.clone())
                .map(|(folder, access)| encryption::Sources { folder, access }),
            owner: args.owner.clone(),
            database: args.database.clone(),
            synchronous: args.synchronous,
        },
        environment,
        local,
        keeper,
        gate,
        stopping: told_to_end()?,
        memory: Memory::default(),
    };
    Ok(agent.run().await?)
}

/// Every address of both families, where the node has both.
async fn listen(address: Option<IpAddr>, port: u16) -> Result<TcpListener, RunError> {
    let listening = match address {
        Some(address) => TcpListener::bind((address, port)).await,
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        },
    };
    listening.map_err(system(format!("listen at port {port}")))
}

fn told_to_end() -> Result<watch::Receiver<bool>, RunError> {
    let mut signals = Vec::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        signals.push(signal(kind).map_err(system("wait for signals"))?);
    }
    let (sender, receiver) = watch::channel(false);
    for mut signal in signals {
        let sender = sender.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                sender.send_replace(true);
            }
        });
    }
    Ok(receiver)
}
