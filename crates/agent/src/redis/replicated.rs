//! Compose stage for servers that Sentinels watch, and for the Sentinels: pure, but for asking the
//! Sentinels who is master.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use thiserror::Error;

use super::config::{ConfigError, host_name as host, quote};
use super::link::Link;
use super::notes::Mastership;
use super::password::Password;

/// Time for the Sentinels to answer. With none there, as when the platform is new, the first
/// server is master.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the configuration can't be composed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReplicatedError {
    /// No password in the environment.
    #[error("REDIS_PASSWORD is absent or empty")]
    NoPassword,
    /// The pod does not say where it is reached.
    #[error("POD_HOST is absent or empty")]
    NoPodHost,
    /// A host or name is none.
    #[error(transparent)]
    Host(#[from] ConfigError),
}

/// What a server needs besides its template: whom it follows, and under which name it is known.
pub fn of_server(master: &str, port: u16, own: Option<&str>) -> Result<String, ReplicatedError> {
    let own = host(own.ok_or(ReplicatedError::NoPodHost)?)?;
    let announced = format!("replica-announce-ip {own}\n");
    if master == own {
        return Ok(announced);
    }
    Ok(format!("{announced}replicaof {} {port}\n", host(master)?))
}

/// A Sentinel's template with the password for itself, the servers and the other Sentinels.
///
/// Where a failover has made another server master than the template says, it is that one that is
/// watched, from the same failover on: a Sentinel without memory would go back to the first.
pub fn of_sentinel(
    template: &str,
    name: &str,
    password: Option<&Password>,
    own: Option<&str>,
    master: Option<&Mastership>,
) -> Result<String, ReplicatedError> {
    let own = host(own.ok_or(ReplicatedError::NoPodHost)?)?;
    let name = host(name)?;
    let password = quote(password.ok_or(ReplicatedError::NoPassword)?.bytes());
    let mut config = String::new();
    for line in template.lines() {
        config.push_str(&watching(line, name, master)?);
        config.push('\n');
    }
    let epochs = master.map_or_else(String::new, |master| {
        let epoch = master.epoch;
        format!("sentinel config-epoch {name} {epoch}\nsentinel current-epoch {epoch}\n")
    });
    Ok(format!(
        "{config}requirepass {password}\nsentinel sentinel-pass {password}\n\
         sentinel auth-pass {name} {password}\nsentinel announce-ip {own}\n{epochs}"
    ))
}

/// From `sentinel monitor NAME HOST PORT QUORUM`, with the master's host.
fn watching(line: &str, name: &str, master: Option<&Mastership>) -> Result<String, ReplicatedError> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    Ok(match (&words[..], master) {
        (["sentinel", "monitor", watched, _, port, quorum], Some(master)) if *watched == name => {
            format!("sentinel monitor {name} {} {port} {quorum}", host(&master.host)?)
        }
        _ => line.to_owned(),
    })
}

/// Who is master, and since which failover, as a Sentinel says; `None` where none answers,
/// or one that is just choosing another.
pub fn master(sentinels: &str, name: &str, password: Option<&Password>) -> Option<Mastership> {
    let address = address(sentinels)?;
    let mut link = Link::open(address.ip(), address.port(), password, PATIENCE).ok()?;
    let asked = ["SENTINEL", "MASTER", name];
    let values = link.values("SENTINEL MASTER", &asked, &["ip", "config-epoch", "flags"]).ok()?;
    let [host, epoch, flags] = &values[..] else { return None };
    // Until it has ended, the number is the new one and the host the old one.
    if flags.split(',').any(|flag| flag == "failover_in_progress") {
        return None;
    }
    Some(Mastership { epoch: epoch.parse().ok()?, host: host.clone() })
}

/// Address of one of the Sentinels.
pub fn address(sentinels: &str) -> Option<SocketAddr> {
    sentinels.to_socket_addrs().ok()?.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_follows_nobody() {
        let own = Some("shop-redis-0.h.ns.svc");
        let announced = "replica-announce-ip shop-redis-0.h.ns.svc\n";
        assert_eq!(of_server("shop-redis-0.h.ns.svc", 6379, own).as_deref(), Ok(announced));
        let follows = format!("{announced}replicaof shop-redis-1.h.ns.svc 6379\n");
        assert_eq!(of_server("shop-redis-1.h.ns.svc", 6379, own), Ok(follows));
    }

    #[test]
    fn hosts_are_one_argument() {
        for bad in ["", "a b", "a\nrequirepass x", "a\"b"] {
            assert_eq!(of_server(bad, 6379, Some("a")), Err(ConfigError::BadHost(bad.to_owned()).into()));
            assert_eq!(of_server("a", 6379, Some(bad)), Err(ConfigError::BadHost(bad.to_owned()).into()));
        }
        assert_eq!(of_server("a", 6379, None), Err(ReplicatedError::NoPodHost));
    }

    #[test]
    fn a_sentinel_has_the_password_for_all_three() {
        let password = Password::new("a\"b".into());
        let config =
            of_sentinel("port 26379", "shop", password.as_ref(), Some("s-0.h"), None).expect("valid");
        assert_eq!(
            config,
            "port 26379\nrequirepass \"a\\\"b\"\nsentinel sentinel-pass \"a\\\"b\"\n\
             sentinel auth-pass shop \"a\\\"b\"\nsentinel announce-ip s-0.h\n"
        );
        assert_eq!(of_sentinel("", "shop", None, Some("s"), None), Err(ReplicatedError::NoPassword));
    }

    #[test]
    fn a_sentinel_without_memory_is_told_who_is_master() {
        let password = Password::new("p".into());
        let master = Mastership { epoch: 3, host: "shop-redis-2.h".to_owned() };
        let template =
            "port 1\nsentinel monitor shop shop-redis-0.h 6379 2\nsentinel parallel-syncs shop 1\n";
        let config =
            of_sentinel(template, "shop", password.as_ref(), Some("s-0.h"), Some(&master)).expect("valid");
        assert!(config.starts_with(
            "port 1\nsentinel monitor shop shop-redis-2.h 6379 2\nsentinel parallel-syncs shop 1\n"
        ));
        assert!(config.ends_with("sentinel config-epoch shop 3\nsentinel current-epoch 3\n"), "{config}");
    }
}
