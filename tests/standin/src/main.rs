//! `trading-standin`: stands in for a platform's application. Answers every path, so that every probe
//! finds its own, says its version, and keeps keys in the stores that its environment tells of.
//!
//! Command line and listening only; I/O.

mod counted;
mod database;
mod key;
mod routes;
mod settings;
mod store;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use routes::Application;

/// Where the platforms' applications listen.
const PORTS: [u16; 9] = [80, 3000, 5000, 5001, 5002, 8000, 8001, 8080, 9090];

/// The argument that makes it the process that holds a pod's namespaces, which only waits.
const PAUSE: &str = "pause";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = if std::env::args().nth(1).as_deref() == Some(PAUSE) { Ok(()) } else { serve().await };
    if let Err(error) = result {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match wait_for_the_end().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As the first process of its container it is not ended by signals that it does not ask for.
async fn wait_for_the_end() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Begins to listen on every port that it may.
async fn serve() -> Result<(), String> {
    // Both stores' libraries ask for it; it is the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let application = Arc::new(Application::from_environment().map_err(|error| error.to_string())?);
    let mut servers = JoinSet::new();
    for port in PORTS {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(listener) => {
                servers.spawn(axum::serve(listener, routes::router(Arc::clone(&application))).into_future());
            }
            // A port below 1024 without the sysctl that opens it to every user.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(format!("cannot listen on port {port}: {error}")),
        }
    }
    println!("version {} listens on {} ports", application.version(), servers.len());
    servers.detach_all();
    Ok(())
}
