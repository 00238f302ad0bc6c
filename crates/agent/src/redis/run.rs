//! Run stage, I/O: the server as this program's child, and beside it what tends it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use thiserror::Error;

use super::RunArgs;
use super::cluster::{Cluster, ClusterError};
use super::hosts::Hosts;
use super::leave::Watched;
use super::link::{Link, LinkError};
use super::metrics::{self, Facts};
use super::notes::{self, Mastership, Sources};
use super::password::Password;
use super::prepare::{self, Own, PrepareError};
use super::replicated;
use crate::http::{self, Answer};
use crate::install::InstallError;
use crate::supervise::{self, SuperviseError, Supervised};
use crate::{termination, with_causes};

/// Time for the server to answer a scrape.
const PATIENCE: Duration = Duration::from_secs(2);

/// Exit status of a program that SIGTERM ended, as a shell tells it.
const STOPPED: i32 = 128 + SIGTERM;

/// Why the server could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its configuration can't be composed.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Its configuration can't be put in place.
    #[error(transparent)]
    Install(#[from] InstallError),
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
            Self::Supervise(SuperviseError::NoProgram(_)) => "ImageWithoutServer",
            Self::Supervise(_) => "ServerNotStarted",
            Self::Listen { .. } => "PortTaken",
            Self::Note(_) => "VolumeUnreadable",
            Self::Prepare(_) | Self::Install(_) | Self::Cluster(_) | Self::BadPodIp(_) | Self::NoPodHost => {
                "BadConfiguration"
            }
        }
    }
}

/// Runs the server to its end; its exit status.
pub fn run(args: &RunArgs, password: Option<Password>, own: &Own) -> Result<u8, RunError> {
    let ended = run_to_end(args, password.map(Arc::new).as_ref(), own);
    match &ended {
        Ok(0) => {}
        Ok(status) => termination::tell(
            "ServerEnded",
            &format!("redis-server ended with status {status}; its log says why"),
        ),
        Err(error) => termination::tell(error.reason(), &with_causes(error)),
    }
    ended
}

fn run_to_end(args: &RunArgs, password: Option<&Arc<Password>>, own: &Own) -> Result<u8, RunError> {
    let ip = address(own)?;
    let keeper = keeper(args, password.cloned(), own, ip)?;
    let program = supervise::find("redis-server")?;
    let at = SocketAddr::from((ip, args.metrics_port));
    let listener = TcpListener::bind(at).map_err(|source| RunError::Listen { address: at, source })?;
    let scraped = Scraped {
        ip,
        port: args.compose.port,
        password: password.cloned(),
        keeper: keeper.clone(),
        note: args.note.clone(),
    };
    // Before the server starts, because others may need this pod's note to start theirs.
    http::serve(listener, move |path| scraped.answer(path));

    let is_sentinel = args.compose.is_sentinel();
    // A Sentinel keeps in its file what it has learned, who is master first of all.
    if !(is_sentinel && has_learned(&args.compose.output)) {
        // As process 1 this program would not end on a request to stop while it waits.
        let waits = Arc::new(AtomicBool::new(true));
        flag::register_conditional_shutdown(SIGTERM, STOPPED, Arc::clone(&waits))
            .map_err(SuperviseError::Signals)?;
        let master = master(args, password.map(AsRef::as_ref))?;
        let config = prepare::compose(&args.compose, password.map(AsRef::as_ref), own, master.as_ref())?;
        prepare::write(&args.compose, &config)?;
        waits.store(false, Ordering::SeqCst);
    }
    let mut arguments = vec![args.compose.output.as_os_str()];
    if is_sentinel {
        arguments.push(OsStr::new("--sentinel"));
    }
    let server = Supervised::start(&program, &arguments)?;
    match keeper.clone() {
        Keeper::Cluster(cluster) => {
            thread::spawn(move || cluster.tend());
        }
        Keeper::Watched(watched) => {
            if let Some(note) = args.note.clone() {
                let password = password.cloned();
                thread::spawn(move || {
                    notes::keep(&note, &watched.sentinels, &watched.name, password.as_deref());
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

/// Whether a Sentinel has run on this file: it writes its own name into it at once.
fn has_learned(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.contains("\nsentinel myid "))
}

/// Who is master now of the servers that Sentinels watch.
fn master(args: &RunArgs, password: Option<&Password>) -> Result<Option<Mastership>, RunError> {
    let sentinel = || {
        let (name, sentinels) = (args.compose.master_name.as_ref()?, args.compose.sentinels.as_ref()?);
        replicated::master(sentinels, name, password)
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

fn keeper(
    args: &RunArgs,
    password: Option<Arc<Password>>,
    own: &Own,
    ip: IpAddr,
) -> Result<Keeper, RunError> {
    let host = || own.host.clone().ok_or(RunError::NoPodHost);
    if let Some(file) = &args.cluster {
        let hosts = Hosts { file: args.hosts.clone() };
        return Ok(Keeper::Cluster(Cluster::new(file, &host()?, ip, args.compose.port, password, hosts)?));
    }
    Ok(match (&args.compose.master_name, &args.compose.sentinels) {
        (Some(name), Some(sentinels)) => Keeper::Watched(Watched {
            ip,
            port: args.compose.port,
            host: host()?,
            sentinels: sentinels.clone(),
            name: name.clone(),
            password,
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
    password: Option<Arc<Password>>,
    keeper: Keeper,
    note: Option<PathBuf>,
}

impl Scraped {
    fn answer(&self, path: &str) -> Option<Answer> {
        match path {
            // Answered for as long as the server runs: this program ends with it.
            "/healthz" => Some(Answer { status: "200 OK", body: "ok\n".to_owned() }),
            notes::PATH => self.note.as_deref().map(|file| match notes::read(file) {
                Ok(note) => Answer { status: "200 OK", body: note.map_or_else(String::new, |it| it.line()) },
                Err(error) => Answer { status: "500 Internal Server Error", body: format!("{error}\n") },
            }),
            "/metrics" => Some(Answer { status: "200 OK", body: self.metrics() }),
            _ => None,
        }
    }

    fn metrics(&self) -> String {
        let cluster = match &self.keeper {
            Keeper::Cluster(cluster) => Some(cluster),
            _ => None,
        };
        let settled = cluster.map(Cluster::is_settled);
        // A server that does not answer is told of as such.
        let (info, state) = self.ask(cluster.is_some()).unwrap_or_default();
        metrics::exposition(&Facts { info: info.as_deref(), cluster: state.as_deref(), settled })
    }

    fn ask(&self, is_cluster: bool) -> Result<(Option<String>, Option<String>), LinkError> {
        let mut link = Link::open(self.ip, self.port, self.password.as_deref(), PATIENCE)?;
        let info = link.text("INFO", &["INFO"])?;
        let state = if is_cluster { Some(link.text("CLUSTER INFO", &["CLUSTER", "INFO"])?) } else { None };
        Ok((Some(info), state))
    }
}
