//! Settings stage, pure: what the environment says of the stores, under the names that
//! docs/environment.md lists.

use thiserror::Error;

/// A variable that does not make sense.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// It has to be there because another is.
    #[error("{0} is absent, though a variable of the same store is there")]
    Absent(&'static str),
    /// It has a value that we can't use.
    #[error("{name} is {value:?}, and this program knows {known} only")]
    Unknown {
        /// The variable.
        name: &'static str,
        /// As given.
        value: String,
        /// What it may be.
        known: &'static str,
    },
}

/// How to reach Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub name: String,
    pub user: String,
    pub password: String,
    /// Whether nothing may be said in the clear.
    pub encrypted: bool,
    /// File of the authority of the server's certificate, where that is checked.
    pub authority: Option<String>,
}

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub servers: Servers,
    /// File of the authority of the servers' certificates, where they speak TLS.
    pub authority: Option<String>,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    Standalone { host: String, port: u16, password: String },
    /// Servers that know who has which key; any of them is asked first.
    Cluster { host: String, port: u16, password: String },
    /// Sentinels, which know who the master of that name is.
    Sentinel { host: String, port: u16, master: String, password: String },
}

impl Database {
    /// What the variables say, if they speak of a database.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        let Some(host) = variable("PGHOST") else { return Ok(None) };
        let needed = |name| variable(name).ok_or(SettingsError::Absent(name));
        let mode = needed("PGSSLMODE")?;
        let encrypted = match mode.as_str() {
            "disable" | "allow" | "prefer" => false,
            "require" | "verify-ca" | "verify-full" => true,
            _ => {
                let known = "libpq's modes";
                return Err(SettingsError::Unknown { name: "PGSSLMODE", value: mode, known });
            }
        };
        Ok(Some(Self {
            host,
            port: number("PGPORT", needed("PGPORT")?)?,
            name: needed("PGDATABASE")?,
            user: needed("PGUSER")?,
            password: needed("PGPASSWORD")?,
            encrypted,
            authority: variable("PGSSLROOTCERT").filter(|_| encrypted),
        }))
    }
}

impl Redis {
    /// What the variables say, if they speak of Redis.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        let Some(mode) = variable("REDIS_MODE") else { return Ok(None) };
        let needed = |name| variable(name).ok_or(SettingsError::Absent(name));
        let password = variable("REDIS_PASSWORD").unwrap_or_default();
        let at = |host, port| Ok((needed(host)?, number(port, needed(port)?)?));
        let is_encrypted = variable("REDIS_TLS").is_some_and(|tls| tls == "true");
        let authority = is_encrypted.then(|| needed("REDIS_TLS_CA_FILE")).transpose()?;
        let servers = match mode.as_str() {
            "standalone" => {
                let (host, port) = at("REDIS_HOST", "REDIS_PORT")?;
                Servers::Standalone { host, port, password }
            }
            "cluster" => {
                let (host, port) = at("REDIS_HOST", "REDIS_PORT")?;
                Servers::Cluster { host, port, password }
            }
            "sentinel" => {
                let (host, port) = at("REDIS_SENTINEL_HOST", "REDIS_SENTINEL_PORT")?;
                Servers::Sentinel { host, port, master: needed("REDIS_SENTINEL_MASTER")?, password }
            }
            _ => {
                let known = "standalone, cluster and sentinel";
                return Err(SettingsError::Unknown { name: "REDIS_MODE", value: mode, known });
            }
        };
        Ok(Some(Self { servers, authority }))
    }
}

fn number(name: &'static str, value: String) -> Result<u16, SettingsError> {
    value.parse().map_err(|_| SettingsError::Unknown { name, value, known: "ports" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn no_store_is_no_error() {
        assert_eq!(Database::read(of(&[])), Ok(None));
        assert_eq!(Redis::read(of(&[])), Ok(None));
    }

    #[test]
    fn a_store_is_told_whole() {
        let mut all = vec![
            ("PGHOST", "p"),
            ("PGPORT", "5432"),
            ("PGDATABASE", "d"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "s"),
            ("PGSSLMODE", "prefer"),
        ];
        assert!(matches!(Database::read(of(&all)), Ok(Some(Database { port: 5432, encrypted: false, .. }))));
        all[5].1 = "verify-full";
        assert!(matches!(
            Database::read(of(&all)),
            Ok(Some(Database { encrypted: true, authority: None, .. }))
        ));
        all.push(("PGSSLROOTCERT", "/ca.crt"));
        assert!(matches!(Database::read(of(&all)), Ok(Some(Database { authority: Some(_), .. }))));
        all[5].1 = "sometimes";
        assert!(matches!(Database::read(of(&all)), Err(SettingsError::Unknown { name: "PGSSLMODE", .. })));
        assert_eq!(Database::read(of(&all[..4])), Err(SettingsError::Absent("PGSSLMODE")));
    }

    #[test]
    fn the_mode_of_redis_decides_whom_to_ask() {
        let all = [
            ("REDIS_MODE", "sentinel"),
            ("REDIS_SENTINEL_HOST", "s"),
            ("REDIS_SENTINEL_PORT", "26379"),
            ("REDIS_SENTINEL_MASTER", "shop"),
        ];
        let read = |all: &[(&str, &str)]| Redis::read(of(all));
        let found = read(&all).expect("they are whole").expect("there is one");
        assert!(matches!(found.servers, Servers::Sentinel { port: 26379, .. }) && found.authority.is_none());
        let tls = [&all[..], &[("REDIS_TLS", "true")]].concat();
        assert_eq!(read(&tls), Err(SettingsError::Absent("REDIS_TLS_CA_FILE")));
        let tls = [&tls[..], &[("REDIS_TLS_CA_FILE", "/ca.crt")]].concat();
        assert!(read(&tls).is_ok_and(|found| found.is_some_and(|found| found.authority.is_some())));
        assert_eq!(Redis::read(of(&[("REDIS_MODE", "cluster")])), Err(SettingsError::Absent("REDIS_HOST")));
        assert!(Redis::read(of(&[("REDIS_MODE", "other")])).is_err());
    }
}
