//! Members stage, I/O: who the servers of the database are. The file changes when servers are added
//! or removed, and nobody starts again for that.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http::Uri;
use thiserror::Error;

use super::lease::Name;
use crate::postgres::config::{self, ConfigError};

/// Hosts of the servers, by their names.
pub type Hosts = BTreeMap<Name, String>;

/// Why it is not known who they are.
#[derive(Debug, Error)]
pub enum MembersError {
    /// The file.
    #[error("cannot read who the servers are from {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name or a host.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// This pod is none of them.
    #[error("POD_NAME {0:?} is none of the servers")]
    NotAMember(Name),
    /// A host makes no address.
    #[error("the host of the server {0:?} makes no address")]
    Host(Name),
}

/// Those in the file, of which `me` has to be one.
pub fn read(path: &Path, me: &Name) -> Result<Hosts, MembersError> {
    let text =
        fs::read_to_string(path).map_err(|source| MembersError::Read { path: path.to_owned(), source })?;
    let hosts = parse(&text)?;
    if hosts.contains_key(me) { Ok(hosts) } else { Err(MembersError::NotAMember(me.clone())) }
}

fn parse(text: &str) -> Result<Hosts, ConfigError> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, host) = line.split_once('=').unwrap_or((line, ""));
            let name = config::plain("the server", name)?;
            Ok((name.to_owned(), config::plain("the server's host", host)?.to_owned()))
        })
        .collect()
}

/// Where the agents of the others tell their status.
pub fn addresses(hosts: &Hosts, me: &Name, port: u16) -> Result<BTreeMap<Name, Uri>, MembersError> {
    let others = hosts.iter().filter(|(name, _)| *name != me);
    others
        .map(|(name, host)| {
            let address = format!("http://{host}:{port}/status").parse();
            Ok((name.clone(), address.map_err(|_| MembersError::Host(name.clone()))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_line() {
        let hosts = parse("p-0=p-0.h.ns.svc\np-1=p-1.h.ns.svc\n").expect("valid");
        assert_eq!(hosts.keys().collect::<Vec<_>>(), ["p-0", "p-1"]);
        let addresses = addresses(&hosts, &"p-0".to_owned(), 8008).expect("valid");
        let addresses: Vec<_> = addresses.iter().map(|(name, to)| (name.as_str(), to.to_string())).collect();
        assert_eq!(addresses, [("p-1", "http://p-1.h.ns.svc:8008/status".to_owned())]);
        for bad in ["p-0", "p-0=", "=h", "p-0=a b", "p 0=h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
