//! Pool: PgBouncer as this program's child, I/O. Asked to stop, PgBouncer would end amid transactions (before its
//! version 1.23), or wait for clients to go; interrupted, it ends when no transaction is under way.

use std::path::PathBuf;

use clap::Args;
use nix::sys::signal::Signal;

use crate::supervise::{self, SuperviseError, Supervised};

/// What is run.
#[derive(Args)]
pub struct PoolArgs {
    /// Configuration of PgBouncer
    #[arg(long)]
    config: PathBuf,
}

/// Runs it to its end; its exit status.
pub fn run(args: &PoolArgs) -> Result<u8, SuperviseError> {
    let program = supervise::find("pgbouncer")?;
    Supervised::start(&program, &[args.config.as_os_str()])?.stopped_by(Signal::SIGINT).until_end(|| {})
}
