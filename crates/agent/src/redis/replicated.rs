//! Compose stage for servers that Sentinels watch, and for the Sentinels: pure, but for asking the
//! Sentinels who is master.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use thiserror::Error;

use super::config::{ConfigError, host_name as host, quote};
use super::password::Password;
use super::probe::{Deadline, Server};
use super::resp::Reply;

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
pub fn of_sentinel(
    template: &str,
    name: &str,
    password: Option<&Password>,
    own: Option<&str>,
) -> Result<String, ReplicatedError> {
    let own = host(own.ok_or(ReplicatedError::NoPodHost)?)?;
    let name = host(name)?;
    let password = quote(password.ok_or(ReplicatedError::NoPassword)?.bytes());
    let end = if template.ends_with('\n') { "" } else { "\n" };
    Ok(format!(
        "{template}{end}requirepass {password}\nsentinel sentinel-pass {password}\n\
         sentinel auth-pass {name} {password}\nsentinel announce-ip {own}\n"
    ))
}

/// Host of the master, as a Sentinel says; `None` where none answers.
pub fn master(sentinels: &str, name: &str, password: Option<&Password>) -> Option<String> {
    let deadline = Deadline::after(PATIENCE);
    let address = address(sentinels)?;
    let mut server = Server::connect(address, deadline).ok()?;
    if let Some(password) = password {
        server.ask("AUTH", &[b"AUTH", password.bytes()]).ok()?;
    }
    match server.ask("INFO", &[b"INFO", b"sentinel"]).ok()? {
        Reply::Bulk(info) => master_in(&info, name),
        Reply::Simple(_) | Reply::Error(_) | Reply::Integer(_) => None,
    }
}

/// Address of one of the Sentinels.
pub fn address(sentinels: &str) -> Option<SocketAddr> {
    sentinels.to_socket_addrs().ok()?.next()
}

/// From a line such as `master0:name=shop,status=ok,address=shop-redis-0.x:6379,slaves=2,sentinels=3`.
fn master_in(info: &str, name: &str) -> Option<String> {
    let fields = |line: &str| line.split_once(':').map(|(_, fields)| fields.to_owned());
    info.lines()
        .filter(|line| line.starts_with("master"))
        .filter_map(fields)
        .find(|fields| fields.split(',').any(|field| field.strip_prefix("name=") == Some(name)))
        .and_then(|fields| {
            let address = fields.split(',').find_map(|field| field.strip_prefix("address="))?;
            Some(address.rsplit_once(':')?.0.to_owned())
        })
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
        let config = of_sentinel("port 26379", "shop", password.as_ref(), Some("s-0.h")).expect("valid");
        assert_eq!(
            config,
            "port 26379\nrequirepass \"a\\\"b\"\nsentinel sentinel-pass \"a\\\"b\"\n\
             sentinel auth-pass shop \"a\\\"b\"\nsentinel announce-ip s-0.h\n"
        );
        assert_eq!(of_sentinel("", "shop", None, Some("s")), Err(ReplicatedError::NoPassword));
    }

    #[test]
    fn the_master_is_found_by_its_name() {
        let info = "# Sentinel\r\nsentinel_masters:2\r\n\
            master0:name=other,status=ok,address=o:6379,slaves=0,sentinels=1\r\n\
            master1:name=shop,status=ok,address=shop-redis-2.h.ns.svc:6379,slaves=2,sentinels=3\r\n";
        assert_eq!(master_in(info, "shop").as_deref(), Some("shop-redis-2.h.ns.svc"));
        assert_eq!(master_in(info, "none"), None);
        assert_eq!(master_in("", "shop"), None);
    }
}
