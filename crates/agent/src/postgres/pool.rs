//! Pool: PgBouncer as this program's child, I/O. Asked to stop, PgBouncer would end amid transactions (before its
//! version 1.23), or wait for clients to go; interrupted, it ends when no transaction is under way.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::Signal;

use crate::supervise::{self, SuperviseError, Supervised};
use crate::tls::Identity;
use crate::with_causes;

/// Between looks at the certificate.
const PAUSE: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Args)]
pub struct PoolArgs {
    /// Configuration of PgBouncer
    #[arg(long)]
    config: PathBuf,
    /// Folder with the certificate that the configuration names; a renewed one is taken up while it runs
    #[arg(long)]
    tls: Option<PathBuf>,
}

/// Runs it to its end; its exit status.
pub fn run(args: &PoolArgs) -> Result<u8, SuperviseError> {
    let program = supervise::find("pgbouncer")?;
    // Before it reads the same, so that nothing newer is missed.
    let known = args.tls.as_deref().and_then(|folder| Identity::read(folder).ok());
    let server = Supervised::start(&program, &[args.config.as_os_str()])?.stopped_by(Signal::SIGINT);
    if let Some(folder) = args.tls.clone() {
        let reload = server.signal(Signal::SIGHUP);
        thread::spawn(move || keep_certified(&folder, known, reload));
    }
    server.until_end(|| {})
}

/// Has it read its configuration again, and the files with it, whenever there is another certificate.
fn keep_certified(folder: &Path, mut known: Option<Identity>, reload: impl Fn()) {
    let mut said = crate::said::Said::default();
    loop {
        thread::sleep(PAUSE);
        match Identity::read(folder) {
            Ok(found) if known.as_ref() != Some(&found) => {
                println!("the certificate is another one");
                reload();
                known = Some(found);
            }
            Ok(_) => said.once("certificate", String::new()),
            Err(error) => said.once("certificate", format!("it stays as it was: {}", with_causes(&error))),
        }
    }
}
