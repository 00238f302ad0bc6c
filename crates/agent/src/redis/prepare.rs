//! Prepare stage, I/O: installs this program and writes redis.conf before Redis starts.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::config::{self, ConfigError};
use super::notes::Mastership;
use super::password::{Password, PasswordError, Passwords};
use super::replicated::{self, ReplicatedError};
use super::{ComposeArgs, PrepareArgs};
use crate::install::{self, InstallError};

/// Why the pod could not be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The template cannot be read.
    #[error("cannot read the template {}", path.display())]
    Template {
        /// The template.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The passwords can't be read.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The template, the password or the address is not fit for use.
    #[error("cannot compose redis.conf")]
    Config(#[from] ConfigError),
    /// The server's place among its replicas and Sentinels can't be told.
    #[error("cannot compose what Sentinels need")]
    Replicated(#[from] ReplicatedError),
    /// One of the two files cannot be put in place.
    #[error(transparent)]
    Install(#[from] InstallError),
}

/// Where the server is reached.
pub struct Own {
    /// Address of the pod.
    pub ip: Option<OsString>,
    /// Its name in DNS.
    pub host: Option<String>,
}

/// Puts the program and the configuration in place. Running it twice changes nothing.
pub fn run(args: &PrepareArgs, own: &Own) -> Result<(), PrepareError> {
    let passwords = Passwords::of(args.compose.passwords.as_ref())?.all();
    let config = compose(&args.compose, &template(&args.compose)?, &passwords, own, None)?;
    install::own_program(&args.binary)?;
    write(&args.compose, &config)?;

    println!("installed {} and wrote {}", args.binary.display(), args.compose.output.display());
    Ok(())
}

/// The configuration without secrets.
pub fn template(args: &ComposeArgs) -> Result<String, PrepareError> {
    fs::read_to_string(&args.template)
        .map_err(|source| PrepareError::Template { path: args.template.clone(), source })
}

/// The complete configuration of a server or a Sentinel. Without a known master it is the first one.
pub fn compose(
    args: &ComposeArgs,
    template: &str,
    passwords: &[Arc<Password>],
    own: &Own,
    master: Option<&Mastership>,
) -> Result<String, PrepareError> {
    let host = own.host.as_deref();
    Ok(match (&args.master_name, &args.first_master) {
        (None, _) => config::compose(template, passwords, own.ip.as_deref(), host)?,
        (Some(_), Some(first)) => {
            let mut config = config::compose(template, passwords, own.ip.as_deref(), host)?;
            let master = master.map_or(first, |master| &master.host);
            config.push_str(&replicated::of_server(master, args.port, host)?);
            config
        }
        (Some(name), None) => replicated::of_sentinel(template, name, passwords, host, master)?,
    })
}

/// Puts the configuration, which holds the password, where this user alone can read it.
pub fn write(args: &ComposeArgs, config: &str) -> Result<(), InstallError> {
    install::replace(&args.output, 0o600, &mut config.as_bytes())
}
