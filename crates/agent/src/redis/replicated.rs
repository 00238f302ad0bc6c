//! Compose stage for servers that Sentinels watch, and for the Sentinels: pure, but for asking the
//! Sentinels who is master.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::config::{ConfigError, further_passwords, host_name as host, quote};
use super::link::Link;
use super::notes::Mastership;
use super::password::{Password, Passwords};

/// Time for the Sentinels to answer. With none there, as when the platform is new, the first
/// server is master.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the configuration can't be composed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReplicatedError {
    /// No password in the folder, or an empty one.
    #[error("the password is absent or empty")]
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
    passwords: &[Arc<Password>],
    own: Option<&str>,
    master: Option<&Mastership>,
) -> Result<String, ReplicatedError> {
    let own = host(own.ok_or(ReplicatedError::NoPodHost)?)?;
    let name = host(name)?;
    let accounts = accounts(name, passwords)?;
    let mut config = String::new();
    for line in template.lines() {
        config.push_str(&watching(line, name, master)?);
        config.push('\n');
    }
    let epochs = master.map_or_else(String::new, |master| {
        let epoch = master.epoch;
        format!("sentinel config-epoch {name} {epoch}\nsentinel current-epoch {epoch}\n")
    });
    Ok(format!("{config}{accounts}sentinel announce-ip {own}\n{epochs}"))
}

fn accounts(name: &str, passwords: &[Arc<Password>]) -> Result<String, ReplicatedError> {
    let [main, further @ ..] = passwords else { return Err(ReplicatedError::NoPassword) };
    let quoted = quote(main.bytes());
    let further = further_passwords(main, further);
    Ok(format!(
        "requirepass {quoted}\n{further}sentinel sentinel-pass {quoted}\nsentinel auth-pass {name} {quoted}\n"
    ))
}

/// What a Sentinel has learned, with the passwords that are good now: those that it wrote down may not be
/// any more.
pub fn renewed(learned: &str, name: &str, passwords: &[Arc<Password>]) -> Result<String, ReplicatedError> {
    let accounts = accounts(host(name)?, passwords)?;
    let is_of_accounts = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        matches!(
            words[..],
            ["requirepass", ..] | ["user", "default"] | ["sentinel", "sentinel-pass" | "auth-pass"]
        )
    };
    let kept = learned.lines().filter(|line| !is_of_accounts(line));
    Ok(kept.fold(String::new(), |text, line| text + line + "\n") + &accounts)
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
pub fn master(sentinels: &str, name: &str, passwords: &Passwords) -> Option<Mastership> {
    let address = address(sentinels)?;
    let mut link = Link::open(address.ip(), address.port(), passwords, PATIENCE).ok()?;
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

    fn passwords(text: &str) -> Vec<Arc<Password>> {
        Password::new(text.into()).map(Arc::new).into_iter().collect()
    }

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
        let passwords = passwords("a\"b");
        let config = of_sentinel("port 26379", "shop", &passwords, Some("s-0.h"), None).expect("valid");
        assert_eq!(
            config,
            "port 26379\nrequirepass \"a\\\"b\"\nsentinel sentinel-pass \"a\\\"b\"\n\
             sentinel auth-pass shop \"a\\\"b\"\nsentinel announce-ip s-0.h\n"
        );
        assert_eq!(of_sentinel("", "shop", &[], Some("s"), None), Err(ReplicatedError::NoPassword));
    }

    #[test]
    fn a_sentinel_that_is_started_again_keeps_all_but_old_passwords() {
        let learned = "requirepass \"old\"\nport 1\nuser default on #aa ~* &* +@all\nsentinel myid 12\n\
            sentinel auth-pass shop \"old\"\nsentinel sentinel-pass \"old\"\nsentinel known-replica shop b 1\n";
        let config = renewed(learned, "shop", &passwords("new")).expect("valid");
        assert_eq!(
            config,
            "port 1\nsentinel myid 12\nsentinel known-replica shop b 1\nrequirepass \"new\"\n\
             sentinel sentinel-pass \"new\"\nsentinel auth-pass shop \"new\"\n"
        );
    }

    #[test]
    fn a_sentinel_without_memory_is_told_who_is_master() {
        let passwords = passwords("p");
        let master = Mastership { epoch: 3, host: "shop-redis-2.h".to_owned() };
        let template =
            "port 1\nsentinel monitor shop shop-redis-0.h 6379 2\nsentinel parallel-syncs shop 1\n";
        let config = of_sentinel(template, "shop", &passwords, Some("s-0.h"), Some(&master)).expect("valid");
        assert!(config.starts_with(
            "port 1\nsentinel monitor shop shop-redis-2.h 6379 2\nsentinel parallel-syncs shop 1\n"
        ));
        assert!(config.ends_with("sentinel config-epoch shop 3\nsentinel current-epoch 3\n"), "{config}");
    }
}
