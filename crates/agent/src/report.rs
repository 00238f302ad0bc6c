//! Report stage, I/O: what every data store's agent tells of its server, and how it tells why there is none.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use trading_report::{Failure, PATH, Report, Volume};

use crate::http::{self, Answer};

/// Between looks whether the process was told to end.
const PAUSE: Duration = Duration::from_millis(100);

/// The pod: the first part of its DNS name, or what the kubelet calls its machine.
pub fn own_name(host: Option<&str>) -> String {
    match host {
        Some(host) => trading_report::pod_of(host).to_owned(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

/// How full the file system of a folder is.
pub fn volume(name: &str, folder: &Path) -> Option<Volume> {
    let space = rustix::fs::fstatvfs(File::open(folder).ok()?).ok()?;
    Some(Volume {
        name: name.to_owned(),
        total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
    })
}

/// As JSON.
pub fn answer(report: &Report) -> Answer {
    match serde_json::to_string(report) {
        Ok(text) => Answer::json(text),
        Err(error) => Answer::failed(format!("{error}\n")),
    }
}

/// A server that can't run: tells why for a while before the container ends, to whoever asks. The kubelet
/// then starts it again, ever more rarely.
///
/// Where the port is taken, it is by the part of this process that tells already.
pub fn hold(at: (Option<IpAddr>, u16), name: String, failure: Failure, hold: Duration) {
    let told_to_end = Arc::new(AtomicBool::new(false));
    // As process 1 it would otherwise not end before its time.
    let handled = [SIGTERM, SIGINT].map(|signal| flag::register(signal, Arc::clone(&told_to_end)));
    if handled.iter().any(Result::is_err) {
        return;
    }
    if let Some(listener) = listen(at) {
        let report = Report { name, failure: Some(failure), ..Report::default() };
        http::serve(listener, move |path| (path == PATH).then(|| answer(&report)));
    }
    let begin = Instant::now();
    while begin.elapsed() < hold && !told_to_end.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
    }
}

fn listen((address, port): (Option<IpAddr>, u16)) -> Option<TcpListener> {
    match address {
        Some(address) => TcpListener::bind((address, port)).ok(),
        None => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .ok(),
    }
}
