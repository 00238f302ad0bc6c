//! Prepare stage, I/O: installs this program and writes redis.conf before Redis starts.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::PrepareArgs;
use super::config::{self, ConfigError};
use super::password::Password;
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
    /// The template, the password or the address is not fit for use.
    #[error("cannot compose redis.conf")]
    Config(#[from] ConfigError),
    /// One of the two files cannot be put in place.
    #[error(transparent)]
    Install(#[from] InstallError),
}

/// Puts the program and the configuration in place. Running it twice changes nothing.
pub fn run(
    args: &PrepareArgs,
    password: Option<&Password>,
    pod_ip: Option<&OsStr>,
) -> Result<(), PrepareError> {
    let template = fs::read_to_string(&args.template)
        .map_err(|source| PrepareError::Template { path: args.template.clone(), source })?;
    let config = config::compose(&template, password, pod_ip)?;
    install::own_program(&args.binary)?;
    install::replace(&args.output, 0o600, &mut config.as_bytes())?;

    println!("installed {} and wrote {}", args.binary.display(), args.output.display());
    Ok(())
}
