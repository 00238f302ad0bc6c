//! Redis: the command line and the environment; reads the environment, no other I/O.

mod accounts;
mod certified;
mod cluster;
mod config;
mod connections;
mod hosts;
mod leave;
mod link;
mod live;
mod log;
mod metrics;
mod notes;
mod password;
mod prepare;
mod probe;
mod program;
mod replicated;
mod report;
mod resp;
mod run;
mod settings;
mod start;
mod stream;
mod users;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use thiserror::Error;

/// What to do for Redis.
#[derive(Subcommand)]
pub enum Command {
    /// Install this program for the probes and write the server's configuration.
    ///
    /// Reads from the environment what the server is reached at: `POD_IP` for a cluster node,
    /// `POD_HOST` where Sentinels watch.
    Prepare(PrepareArgs),
    /// Run the server, and tend it: form a cluster and mend it, hand over before a stop, tell metrics.
    ///
    /// Composes the configuration anew, as `prepare` does and from the same environment, because a
    /// container restarts without its init containers. Ends with the server's status.
    Run(RunArgs),
    /// Ask the server in this pod how it is; exits with 1 and one line on stderr if not well.
    ///
    /// Authenticates with what is in `--passwords`, where that is given.
    Probe(ProbeArgs),
}

/// What `prepare` does.
#[derive(Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    compose: ComposeArgs,
    /// Where this program copies itself
    #[arg(long)]
    binary: PathBuf,
}

/// What a configuration is made from.
#[derive(Args)]
pub struct ComposeArgs {
    /// Configuration without secrets
    #[arg(long)]
    template: PathBuf,
    /// Where the complete configuration goes, readable by this user alone
    #[arg(long)]
    output: PathBuf,
    /// Folder with the password, and while it is replaced with the others that are good: the files
    /// `password`, `next` and `previous`
    #[arg(long)]
    passwords: Option<PathBuf>,
    /// Name under which Sentinels watch the servers; alone, the configuration is a Sentinel's
    #[arg(long)]
    master_name: Option<String>,
    /// Host of the server that is master until Sentinels say otherwise; for a server that they watch
    #[arg(long, requires = "sentinels", requires = "master_name")]
    first_master: Option<String>,
    /// Where Sentinels answer, as host:port
    #[arg(long, requires = "first_master")]
    sentinels: Option<String>,
    /// Port of the server, and of all that it copies or makes a cluster with
    #[arg(long, default_value_t = 6379, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    tls: TlsArgs,
}

/// How servers are talked to.
#[derive(Args)]
pub struct TlsArgs {
    /// Folder with the certificate, its key and the authority; no TLS without
    #[arg(long, requires = "tls_name")]
    tls: Option<PathBuf>,
    /// Name that is in the certificate of every server
    #[arg(long)]
    tls_name: Option<String>,
}

impl ComposeArgs {
    fn is_sentinel(&self) -> bool {
        self.master_name.is_some() && self.first_master.is_none()
    }
}

/// What `run` runs.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    compose: ComposeArgs,
    /// File with lines `shards N`, `replicas-per-shard N` and `host NAME-{}.DOMAIN`, where `{}` stands
    /// for a server's number; for a node of a Redis Cluster
    #[arg(long, conflicts_with = "master_name")]
    cluster: Option<PathBuf>,
    /// Hosts of all servers that Sentinels watch, separated by commas, or one name for all of them:
    /// their agents know who was master where the Sentinels have forgotten
    #[arg(long, value_delimiter = ',', requires = "servers", requires = "master_name")]
    agents: Vec<String>,
    /// How many servers the Sentinels watch
    #[arg(long, requires = "agents")]
    servers: Option<usize>,
    /// Where a server's agent writes down who is master, beside the data
    #[arg(long, requires = "agents")]
    note: Option<PathBuf>,
    /// File of lines `NAME RULES` with the further users, as access control lists have them; there are none
    /// where it is absent
    #[arg(long, requires = "user_passwords")]
    users: Option<PathBuf>,
    /// Folder with the password of each further user, in a file of its name
    #[arg(long, requires = "users")]
    user_passwords: Option<PathBuf>,
    /// Port for `/metrics` (Prometheus), `/report` (the operator), `/healthz` and `/master`; the same in all
    /// pods
    #[arg(long, default_value_t = 9121, value_parser = clap::value_parser!(u16).range(1..))]
    metrics_port: u16,
    /// Time that a replica has to take over before the server is stopped; shorter than the pod's
    /// grace period by what the server needs to stop
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=3600))]
    hand_over_seconds: u64,
    /// Time for which it tells at `/report` why there is no server, before it ends
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    tell_failure_seconds: u64,
    /// File of lines `ADDRESS NAME` to look servers up in, instead of DNS
    #[arg(long)]
    hosts: Option<PathBuf>,
}

/// What `probe` asks, and how long it may take.
#[derive(Args)]
pub struct ProbeArgs {
    /// The question to answer
    check: Check,
    /// Port of the server on 127.0.0.1
    #[arg(long, default_value_t = 6379, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Folder with the passwords, as for `run`
    #[arg(long)]
    passwords: Option<PathBuf>,
    /// Be ready only while the cluster, as this node sees it, serves; liveness does not ask
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    tls: TlsArgs,
    /// Time for the whole probe; shorter than the kubelet's, or its reason is lost
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

/// The two questions of the kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Would a restart help?
    Liveness,
    /// May clients be sent here?
    Readiness,
}

/// Why a Redis command failed.
#[derive(Debug, Error)]
pub enum RedisError {
    /// `prepare` failed.
    #[error(transparent)]
    Prepare(#[from] prepare::PrepareError),
    /// `run` failed.
    #[error(transparent)]
    Run(#[from] run::RunError),
    /// Servers can't be talked to.
    #[error(transparent)]
    Stream(#[from] stream::StreamError),
    /// `probe` failed, or found the server unwell.
    #[error(transparent)]
    Probe(#[from] probe::ProbeError),
}

/// Runs one command to its end.
pub fn run(command: Command) -> Result<ExitCode, RedisError> {
    let own = || prepare::Own {
        ip: std::env::var_os("POD_IP"),
        host: std::env::var("POD_HOST").ok().filter(|host| !host.is_empty()),
    };
    let tls = match &command {
        Command::Prepare(args) => &args.compose.tls,
        Command::Run(args) => &args.compose.tls,
        Command::Probe(args) => &args.tls,
    };
    if let (Some(folder), Some(name)) = (&tls.tls, &tls.tls_name) {
        stream::encrypt(folder, name, own().ip.as_deref())?;
    }
    match command {
        Command::Prepare(args) => prepare::run(&args, &own())?,
        Command::Run(args) => return Ok(ExitCode::from(run::run(&args, &own())?)),
        Command::Probe(args) => probe::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl ProbeArgs {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
