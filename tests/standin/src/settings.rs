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
    /// The authority of the server's certificate, where nothing may be said but to that server.
    pub authority: Option<String>,
}

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redis {
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
        let authority = match mode.as_str() {
            "disable" | "allow" | "prefer" => None,
            "verify-full" => Some(needed("PGSSLROOTCERT")?),
            _ => {
                let known = "disable, allow, prefer and verify-full";
                return Err(SettingsError::Unknown { name: "PGSSLMODE", value: mode, known });
            }
        };
        Ok(Some(Self {
            host,
            port: number("PGPORT", needed("PGPORT")?)?,
            name: needed("PGDATABASE")?,
            user: needed("PGUSER")?,
            password: needed("PGPASSWORD")?,
            authority,
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
        Ok(Some(match mode.as_str() {
            "standalone" => {
                let (host, port) = at("REDIS_HOST", "REDIS_PORT")?;
                Self::Standalone { host, port, password }
            }
            "cluster" => {
                let (host, port) = at("REDIS_HOST", "REDIS_PORT")?;
                Self::Cluster { host, port, password }
            }
            "sentinel" => {
                let (host, port) = at("REDIS_SENTINEL_HOST", "REDIS_SENTINEL_PORT")?;
                Self::Sentinel { host, port, master: needed("REDIS_SENTINEL_MASTER")?, password }
            }
            _ => {
                let known = "standalone, cluster and sentinel";
                return Err(SettingsError::Unknown { name: "REDIS_MODE", value: mode, known });
            }
        }))
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
        assert!(matches!(Database::read(of(&all)), Ok(Some(Database { port: 5432, authority: None, .. }))));
        all[5].1 = "verify-full";
        assert_eq!(Database::read(of(&all)), Err(SettingsError::Absent("PGSSLROOTCERT")));
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
        assert!(matches!(Redis::read(of(&all)), Ok(Some(Redis::Sentinel { port: 26379, .. }))));
        assert_eq!(Redis::read(of(&[("REDIS_MODE", "cluster")])), Err(SettingsError::Absent("REDIS_HOST")));
        assert!(Redis::read(of(&[("REDIS_MODE", "other")])).is_err());
    }
}
