//! Encryption stage, I/O: the server has the newest certificate that is one, and goes by what the operator says of
//! who may connect, without a restart.

use std::fs;
use std::path::{Path, PathBuf};

use trading_report::POSTGRES_ACCESS;

use super::agent::{Agent, AgentError};
use super::local::Look;
use crate::install;
use crate::said::Said;
use crate::tls::Identity;
use crate::with_causes;

/// Where TLS comes from.
pub struct Sources {
    /// Folder with the certificate.
    pub folder: PathBuf,
    /// `pg_hba.conf`.
    pub access: PathBuf,
}

/// What is remembered of it.
#[derive(Default)]
pub struct Encryption {
    identity: Option<Identity>,
    access: Option<String>,
    /// Connections without TLS are refused by now, and those that are there are to end.
    ends_plain: bool,
    /// The server was told who may connect, and the operator not yet.
    is_new: bool,
    said: Said,
}

impl Encryption {
    /// Whether every connection has to use it.
    pub fn is_required(&self) -> bool {
        self.access.as_ref().is_some_and(|access| requires(access))
    }
}

/// Whether no line lets anybody in without TLS but by the socket.
fn requires(access: &str) -> bool {
    !access.lines().any(|line| matches!(line.split_whitespace().next(), Some("host" | "hostnossl")))
}

/// Where the server has it: in memory, for its own user alone.
pub fn certificate(output: &Path) -> PathBuf {
    output.with_file_name("server.crt")
}

/// The key, see [`certificate`].
pub fn key(output: &Path) -> PathBuf {
    output.with_file_name("server.key")
}

/// Whom the server trusts as a client of another, see [`certificate`].
pub fn authority(output: &Path) -> PathBuf {
    output.with_file_name("authority.crt")
}

impl Agent {
    /// Before a start: it does not start without, for clients insist on it.
    pub(super) fn prepare_encryption(&mut self) -> Result<(), AgentError> {
        let Some(sources) = &self.settings.tls else { return Ok(()) };
        let found = Identity::read(&sources.folder).inspect_err(|error| {
            self.local.works_on(Some(with_causes(error)));
        })?;
        let access = read(sources)?;
        self.put_certificate(&found)?;
        self.memory.encryption.identity = Some(found);
        self.memory.encryption.access = Some(access);
        Ok(())
    }

    /// The server goes by what was prepared, or taken up.
    pub(super) fn tell_access(&self) {
        if let Some(access) = &self.memory.encryption.access {
            self.local.runs_by(POSTGRES_ACCESS, access);
        }
    }

    /// The certificate may have been renewed, and others may be let in.
    pub(super) fn take_in_encryption(&mut self) -> Result<(), AgentError> {
        let Some(sources) = self.settings.tls.as_ref().filter(|_| self.memory.server.runs()) else {
            return Ok(());
        };
        let access = read(sources)?;
        let known = self.memory.encryption.identity.as_ref();
        let renewed = match Identity::read(&sources.folder) {
            Ok(found) => {
                self.memory.encryption.said.once("certificate", String::new());
                Some(found).filter(|found| known != Some(found))
            }
            // The server goes on with the one that it has.
            Err(error) => {
                let words = format!("the certificate stays as it was: {}", with_causes(&error));
                self.memory.encryption.said.once("certificate", words);
                None
            }
        };
        let is_other = self.memory.encryption.access.as_ref() != Some(&access);
        if renewed.is_none() && !is_other {
            return Ok(());
        }
        if let Some(renewed) = &renewed {
            self.put_certificate(renewed)?;
        }
        let before = self.memory.encryption.access.replace(access);
        let is_required = self.memory.encryption.is_required();
        let taken = self.take_up(before.as_deref().is_some_and(requires) != is_required);
        if taken.is_err() {
            // Once more, from the beginning.
            self.memory.encryption.access = before;
        } else if let Some(renewed) = renewed {
            self.memory.encryption.identity = Some(renewed);
            tracing::info!("the certificate is another one");
        }
        if taken.is_ok() && is_other {
            self.memory.encryption.ends_plain = is_required;
            self.memory.encryption.is_new = true;
            tracing::info!(is_required, "who may connect is another matter");
        }
        taken
    }

    fn take_up(&self, changes_whom_it_trusts: bool) -> Result<(), AgentError> {
        if changes_whom_it_trusts {
            // It checks whom it follows, or does so no more.
            self.configure()?;
        }
        self.memory.server.reload().map_err(AgentError::Process)
    }

    fn put_certificate(&self, identity: &Identity) -> Result<(), AgentError> {
        let output = &self.settings.output;
        install::replace(&certificate(output), 0o600, &mut identity.certificate.as_slice())?;
        install::replace(&key(output), 0o600, &mut identity.key.as_slice())?;
        install::replace(&authority(output), 0o600, &mut identity.authority.as_slice())?;
        Ok(())
    }

    /// Ends the connections that would be refused by now, and then tells that it is so.
    pub(super) async fn end_plain(&mut self, look: &Look) -> Result<(), AgentError> {
        if !self.memory.encryption.is_new || look.sensed.is_none() {
            return Ok(());
        }
        if self.memory.encryption.ends_plain {
            self.local.sensor.end_plain().await?;
        }
        (self.memory.encryption.ends_plain, self.memory.encryption.is_new) = (false, false);
        self.tell_access();
        Ok(())
    }
}

fn read(sources: &Sources) -> Result<String, AgentError> {
    let path = &sources.access;
    fs::read_to_string(path).map_err(|source| AgentError::Access { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::requires;

    #[test]
    fn one_line_for_plain_connections_is_enough() {
        let strict = "local all all trust\nhostssl replication r all scram-sha-256\nhostssl all all all scram-sha-256\n";
        assert!(requires(strict));
        assert!(!requires(&strict.replace("hostssl all", "host all")));
        assert!(!requires(&format!("{strict}hostnossl all all all scram-sha-256\n")));
    }
}
