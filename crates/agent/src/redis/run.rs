//! Run stage, I/O: the server as this program's child, and beside it what tends it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use thiserror::Error;
use trading_report::{Failure, REDIS_TOPOLOGY, Report};

use super::RunArgs;
use super::accounts::Accounts;
use super::certified::Certified;
use super::cluster::{Cluster, ClusterError};
use super::hosts::Hosts;
use super::leave::Watched;
use super::link::{Link, LinkError};
use super::live::{Live, Shared};
use super::metrics::{self, Facts};
use super::notes::{self, Mastership, Sources};
use super::password::{PasswordError, Passwords};
use super::prepare::{self, Own, PrepareError};
use super::program::Program;
use super::report as told;
use super::settings::{self, Settings};
use super::start::{Start, StartError};
use super::users::{self, Users};
use super::{cluster, config, live, replicated};
use crate::http::{self, Answer};
use crate::install::InstallError;
use crate::supervise::{self, SuperviseError, Supervised};
use crate::tls::{Identity, TlsError};
use crate::{report, termination, with_causes};

/// Time for the server to answer a scrape.
const PATIENCE: Duration = Duration::from_secs(2);

/// Within which a server ends that can't start.
const START: Duration = Duration::from_secs(10);

/// Exit status of a program that SIGTERM ended, as a shell tells it.
const STOPPED: i32 = 128 + SIGTERM;

/// Why the server could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its configuration can't be composed.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Its passwords can't be read.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// Who may use it can't be read.
    #[error("cannot read the further users")]
    Users(#[source] io::Error),
    /// What it starts with can't be told.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its configuration can't be put in place.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Its certificate is none.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its place in the cluster can't be told.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// `POD_IP` is no address, or a cluster's server lacks it.
    #[error("POD_IP is not an IP address: {0:?}")]
    BadPodIp(String),
    /// A cluster's server has to announce its name.
    #[error("POD_HOST is absent or empty")]
    NoPodHost,
    /// Somebody else has the port for metrics.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// What was written down beside the data can't be read.
    #[error("cannot read who was master")]
    Note(#[source] io::Error),
    /// The server can't be started or waited for.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

impl RunError {
    /// One word for programs.
    fn reason(&self) -> &'static str {
        match self {
            Self::Supervise(SuperviseError::NoProgram(_)) | Self::Start(StartError::Program(_)) => {
                "ImageWithoutServer"
            }
            Self::Supervise(_) => "ServerNotStarted",
            Self::Listen { .. } => "PortTaken",
            Self::Note(_) | Self::Start(StartError::Volume(_)) => "VolumeUnreadable",
            Self::Users(_)
            | Self::Passwords(_)
            | Self::Prepare(_)
            | Self::Install(_)
            | Self::Tls(_)
            | Self::Cluster(_)
            | Self::BadPodIp(_)
            | Self::NoPodHost => "BadConfiguration",
        }
    }
}

/// Runs the server to its end; its exit status.
pub fn run(args: &RunArgs, own: &Own) -> Result<u8, RunError> {
    let known = Known::default();
    let begin = Instant::now();
    let ended = run_to_end(args, own, &known);
    let (failure, would_recur) = match &ended {
        Ok(0) => return ended,
        Ok(status) => {
            let message = format!("redis-server ended with status {status}; its log says why");
            // Whoever is killed, or ends later, had better start again at once.
            (Failure { reason: "ServerEnded".to_owned(), message }, *status < 128 && begin.elapsed() < START)
        }
        Err(error) => (Failure { reason: error.reason().to_owned(), message: with_causes(error) }, true),
    };
    termination::tell(&failure.reason, &failure.message);
    let patience = Duration::from_secs(args.tell_failure_seconds);
    if would_recur && !patience.is_zero() {
        eprintln!("{}: {}", failure.reason, failure.message);
        *known.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        let at = (address(own).ok(), args.metrics_port);
        report::hold(at, report::own_name(own.host.as_deref()), failure, patience);
    }
    ended
}

/// What the agent tells of besides its server.
#[derive(Clone, Default)]
struct Known {
    /// Digests of the files that the server runs by.
    in_force: Shared,
    /// Folder of the data.
    folder: Arc<OnceLock<PathBuf>>,
    /// Why there is no server any more.
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Known {
    /// The server starts by this.
    fn starts_by(&self, template: &str, is_whole: bool) {
        if is_whole {
            live::tell(&self.in_force, template);
        }
        if let Some(folder) = config::argument(template, "dir") {
            // Nothing moves it while this process runs.
            let _ = self.folder.set(PathBuf::from(folder));
        }
    }
}

fn run_to_end(args: &RunArgs, own: &Own, known: &Known) -> Result<u8, RunError> {
    let ip = address(own)?;
    let passwords = Passwords::of(args.compose.passwords.as_ref())?;
    let keeper = keeper(args, passwords.clone(), own, ip)?;
    let program = supervise::find("redis-server")?;
    let at = SocketAddr::from((ip, args.metrics_port));
    let listener = TcpListener::bind(at).map_err(|source| RunError::Listen { address: at, source })?;
    let (pending, users_pending) = (Shared::default(), Shared::default());
    let scraped = Scraped {
        ip,
        port: args.compose.port,
        passwords: passwords.clone(),
        keeper: keeper.clone(),
        note: args.note.clone(),
        template: args.compose.template.clone(),
        pending: Arc::clone(&pending),
        users_pending: Arc::clone(&users_pending),
        name: report::own_name(own.host.as_deref()),
        known: known.clone(),
    };
    // Before the server starts, because others may need this pod's note to start theirs.
    http::serve(listener, move |path| scraped.answer(path));

    let is_sentinel = args.compose.is_sentinel();
    let oracle = Program(program.clone());
    let (mut in_force, mut users) = (None, Users::new());
    // A Sentinel keeps in its file what it has learned, who is master first of all.
    let begins_with = passwords.all();
    if is_sentinel && let Some(learned) = learned(&args.compose.output) {
        let name = args.compose.master_name.as_deref().unwrap_or_default();
        let config = replicated::renewed(&learned, name, &begins_with).map_err(PrepareError::from)?;
        prepare::write(&args.compose, &config)?;
    } else {
        // As process 1 this program would not end on a request to stop while it waits.
        let waits = Arc::new(AtomicBool::new(true));
        flag::register_conditional_shutdown(SIGTERM, STOPPED, Arc::clone(&waits))
            .map_err(SuperviseError::Signals)?;
        let master = master(args, &passwords)?;
        let mut template = prepare::template(&args.compose)?;
        if !is_sentinel {
            let further = user_files(args).map(|files| files.read(&Users::new())).transpose();
            let further = further.map_err(RunError::Users)?.unwrap_or_default();
            let whole = template.clone();
            let start = Start::of(&template, further, &oracle, folder(args))?;
            *pending.lock().unwrap_or_else(PoisonError::into_inner) = start.left_out;
            known.starts_by(&whole, pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
            *users_pending.lock().unwrap_or_else(PoisonError::into_inner) = start.users_left_out;
            (template, in_force, users) = (start.template, Some(start.settings), start.users);
        }
        let config = prepare::compose(&args.compose, &template, &begins_with, own, master.as_ref())?;
        let candidacy = if let Keeper::Cluster(_) = keeper { Cluster::first_lines() } else { String::new() };
        prepare::write(&args.compose, &(config + &candidacy + &users::lines(&users)))?;
        waits.store(false, Ordering::SeqCst);
    }
    let mut arguments = vec![args.compose.output.as_os_str()];
    if is_sentinel {
        arguments.push(OsStr::new("--sentinel"));
    }
    let certificate = args.compose.tls.tls.as_deref().map(Identity::read).transpose()?;
    let server = Supervised::start(&program, &arguments)?;
    if let Some(folder) = args.compose.tls.tls.clone() {
        let certified = Certified { folder, ip, port: args.compose.port, passwords: passwords.clone() };
        keep_certified(
            certified,
            certificate,
            is_sentinel.then(|| report::own_name(own.host.as_deref())),
            &server,
        );
    }
    if let Some(in_force) = in_force {
        let told = Arc::clone(&known.in_force);
        let live = live(args, ip, passwords.clone(), oracle, in_force, pending, told);
        thread::spawn(move || live.tend());
    }
    let accounts = Accounts {
        ip,
        port: args.compose.port,
        passwords: passwords.clone(),
        watches: args.compose.master_name.clone().filter(|_| is_sentinel),
        users: user_files(args).filter(|_| !is_sentinel),
        pending: users_pending,
        told: Arc::clone(&known.in_force),
    };
    thread::spawn(move || accounts.tend(begins_with, users));
    match keeper.clone() {
        Keeper::Cluster(cluster) => {
            thread::spawn(move || cluster.tend());
        }
        Keeper::Watched(watched) => {
            if let Some(note) = args.note.clone() {
                let passwords = passwords.clone();
                thread::spawn(move || {
                    notes::keep(&note, &watched.sentinels, &watched.name, &passwords);
                });
            }
        }
        Keeper::Nobody => {}
    }
    let patience = Duration::from_secs(args.hand_over_seconds);
    Ok(server.until_end(move || match keeper {
        Keeper::Cluster(cluster) => cluster.leave(patience),
        Keeper::Watched(watched) => watched.leave(patience),
        Keeper::Nobody => {}
    })?)
}

/// Has the server, or the Sentinel of this pod, take up other certificates.
fn keep_certified(
    certified: Certified,
    known: Option<Identity>,
    sentinel: Option<String>,
    server: &Supervised,
) {
    let stop = server.signal(Signal::SIGTERM);
    thread::spawn(move || match sentinel {
        Some(pod) => {
            certified.outlive(known.as_ref(), &pod);
            stop();
        }
        None => certified.tend_server(known),
    });
}

/// What changes the server while it runs.
fn live(
    args: &RunArgs,
    ip: IpAddr,
    passwords: Passwords,
    program: Program,
    in_force: Settings,
    pending: Shared,
    told: Shared,
) -> Live {
    let folder = folder(args).to_owned();
    let (template, port) = (args.compose.template.clone(), args.compose.port);
    Live { template, ip, port, passwords, program, folder, in_force, pending, told }
}

/// Of this user alone, and in memory.
fn folder(args: &RunArgs) -> &Path {
    args.compose.output.parent().unwrap_or(Path::new("."))
}

fn user_files(args: &RunArgs) -> Option<users::Files> {
    Some(users::Files { rules: args.users.clone()?, passwords: args.user_passwords.clone()? })
}

/// What a Sentinel that has run on this file wrote into it: its own name at once.
fn learned(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().filter(|text| text.contains("\nsentinel myid "))
}

/// Who is master now of the servers that Sentinels watch.
fn master(args: &RunArgs, passwords: &Passwords) -> Result<Option<Mastership>, RunError> {
    let sentinel = || {
        let (name, sentinels) = (args.compose.master_name.as_ref()?, args.compose.sentinels.as_ref()?);
        replicated::master(sentinels, name, passwords)
    };
    let Some(servers) = args.servers else { return Ok(sentinel()) };
    let sources =
        Sources { note: args.note.clone(), agents: args.agents.clone(), port: args.metrics_port, servers };
    sources.master(sentinel).map_err(RunError::Note)
}

/// Who sees to it that there is a master.
#[derive(Clone)]
enum Keeper {
    Cluster(Cluster),
    Watched(Watched),
    Nobody,
}

fn keeper(args: &RunArgs, passwords: Passwords, own: &Own, ip: IpAddr) -> Result<Keeper, RunError> {
    let host = || own.host.clone().ok_or(RunError::NoPodHost);
    if let Some(file) = &args.cluster {
        let hosts = Hosts { file: args.hosts.clone() };
        return Ok(Keeper::Cluster(Cluster::new(file, &host()?, ip, args.compose.port, passwords, hosts)?));
    }
    Ok(match (&args.compose.master_name, &args.compose.sentinels) {
        (Some(name), Some(sentinels)) => Keeper::Watched(Watched {
            ip,
            port: args.compose.port,
            host: host()?,
            sentinels: sentinels.clone(),
            name: name.clone(),
            passwords,
        }),
        _ => Keeper::Nobody,
    })
}

/// Where the server is reached from this pod.
fn address(own: &Own) -> Result<IpAddr, RunError> {
    match own.ip.as_deref().filter(|ip| !ip.is_empty()) {
        None => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(ip) => {
            let text = ip.to_string_lossy();
            text.parse().map_err(|_| RunError::BadPodIp(text.into_owned()))
        }
    }
}

/// What a scraper is told of.
struct Scraped {
    ip: IpAddr,
    port: u16,
    passwords: Passwords,
    keeper: Keeper,
    note: Option<PathBuf>,
    template: PathBuf,
    pending: Shared,
    users_pending: Shared,
    name: String,
    known: Known,
}

impl Scraped {
    fn answer(&self, path: &str) -> Option<Answer> {
        match path {
            // Answered for as long as the server runs: this program ends with it.
            "/healthz" => Some(Answer::text("ok\n")),
            notes::PATH => self.note.as_deref().map(|file| match notes::read(file) {
                Ok(note) => Answer::text(note.map_or_else(String::new, |it| it.line())),
                Err(error) => Answer::failed(format!("{error}\n")),
            }),
            "/metrics" => Some(Answer::text(self.metrics())),
            trading_report::PATH => Some(report::answer(&self.report())),
            _ => None,
        }
    }

    fn cluster(&self) -> Option<&Cluster> {
        match &self.keeper {
            Keeper::Cluster(cluster) => Some(cluster),
            Keeper::Watched(_) | Keeper::Nobody => None,
        }
    }

    fn report(&self) -> Report {
        let mut in_force = self.known.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let looked = self.cluster().map(|cluster| (cluster.is_settled(), cluster.looked()));
        let topology = looked.as_ref().and_then(|(_, looked)| looked.topology.clone());
        in_force.extend(topology.map(|digest| (REDIS_TOPOLOGY.to_owned(), digest)));
        // A server that does not answer is told of as such.
        let (info, nodes) = self.ask("CLUSTER NODES", &["CLUSTER", "NODES"]).unwrap_or_default();
        let nodes = nodes.and_then(|text| cluster::nodes::parse(&text).ok());
        told::of(told::Facts {
            name: &self.name,
            info: info.as_deref(),
            nodes: nodes.as_deref(),
            cluster: looked.as_ref().map(|(settled, looked)| (*settled, looked.work.as_deref())),
            in_force,
            pending: self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            users_pending: self.users_pending.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            wished: fs::read_to_string(&self.template).map(|it| settings::parse(&it)).ok(),
            volume: self.known.folder.get().and_then(|folder| report::volume("data", folder)),
            failure: self.known.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    fn metrics(&self) -> String {
        let cluster = self.cluster();
        let settled = cluster.map(Cluster::is_settled);
        // A server that does not answer is told of as such.
        let (info, state) = self.ask("CLUSTER INFO", &["CLUSTER", "INFO"]).unwrap_or_default();
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let users_pending = self.users_pending.lock().unwrap_or_else(PoisonError::into_inner);
        metrics::exposition(&Facts {
            info: info.as_deref(),
            cluster: state.as_deref(),
            settled,
            pending: pending.keys().map(String::as_str).collect(),
            users_pending: users_pending.keys().map(String::as_str).collect(),
        })
    }

    /// `INFO`, and of a cluster's server something more.
    fn ask(
        &self,
        step: &'static str,
        of_cluster: &[&str],
    ) -> Result<(Option<String>, Option<String>), LinkError> {
        let mut link = Link::open(self.ip, self.port, &self.passwords, PATIENCE)?;
        let info = link.text("INFO", &["INFO"])?;
        let more = self.cluster().map(|_| link.text(step, of_cluster)).transpose()?;
        Ok((Some(info), more))
    }
}
