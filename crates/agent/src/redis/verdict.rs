//! Verdict stage, pure: what a reply says about the server.

use thiserror::Error;

use super::resp::{self, Reply};

/// Why the server is not well. The text ends up in an event.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VerdictError {
    /// The password was not taken.
    #[error("AUTH was refused: {0}")]
    AuthRefused(&'static str),
    /// `PING` or `CLUSTER INFO` was answered with an error.
    #[error("{command} was refused: {reason}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// What Redis said.
        reason: String,
    },
    /// Something answered, but not as Redis would.
    #[error("{0} was not answered as Redis answers it")]
    NotRedis(&'static str),
    /// The node runs alone and waits to be joined with others.
    #[error("cluster is not formed yet")]
    NotFormed,
    /// The node sees the cluster down.
    #[error("cluster_state is {state} ({assigned} of 16384 slots assigned, {failing} of them failing)")]
    ClusterState {
        /// As Redis names it.
        state: String,
        /// `cluster_slots_assigned`
        assigned: String,
        /// `cluster_slots_fail`
        failing: String,
    },
}

/// Redis' refusals of a password, and how to say them.
///
/// Its own words are not passed on: where `AUTH` is renamed they repeat the password.
const AUTH_REFUSALS: [(&str, &str); 6] = [
    ("WRONGPASS", "the password of the Secret is not the server's password (WRONGPASS)"),
    ("ERR invalid password", "the password of the Secret is not the server's password"),
    ("ERR AUTH <password> called without any password configured", "the server has no password"),
    ("ERR Client sent AUTH, but no password is set", "the server has no password"),
    ("ERR max number of clients", "the server has reached maxclients"),
    ("ERR unknown command", "the server has no such command"),
];

/// An error reply to `PING` comes from a server that is loading, in a script, out of clients or
/// refusing writes: its event loop turns, and a restart would help none of these.
pub fn is_alive(pong: &Reply) -> Result<(), VerdictError> {
    match pong {
        Reply::Error(_) => Ok(()),
        reply => is_serving(reply),
    }
}

/// Only a plain `PONG` will do.
pub fn is_serving(pong: &Reply) -> Result<(), VerdictError> {
    match pong {
        Reply::Simple(word) if word == "PONG" => Ok(()),
        Reply::Error(reason) => Err(refused("PING", reason)),
        _ => Err(VerdictError::NotRedis("PING")),
    }
}

/// Whether the password was taken.
pub fn is_authenticated(reply: &Reply) -> Result<(), VerdictError> {
    match reply {
        Reply::Simple(word) if word == "OK" => Ok(()),
        Reply::Error(reason) => Err(VerdictError::AuthRefused(
            AUTH_REFUSALS
                .iter()
                .find(|(start, _)| reason.starts_with(start))
                .map_or("the server's reason may hold the password", |(_, say)| say),
        )),
        _ => Err(VerdictError::NotRedis("AUTH")),
    }
}

/// Whether the cluster serves, as this node sees it in `CLUSTER INFO`.
pub fn is_cluster_serving(reply: &Reply) -> Result<(), VerdictError> {
    let info = match reply {
        Reply::Bulk(info) => resp::text(info),
        Reply::Error(reason) => return Err(refused("CLUSTER INFO", reason)),
        Reply::Simple(_) | Reply::Integer(_) | Reply::List(_) | Reply::Nothing => {
            return Err(VerdictError::NotRedis("CLUSTER INFO"));
        }
    };
    let assigned = field(&info, "cluster_slots_assigned");
    if field(&info, "cluster_known_nodes") == Some("1") && assigned == Some("0") {
        return Err(VerdictError::NotFormed);
    }
    match field(&info, "cluster_state") {
        Some("ok") => Ok(()),
        Some(state) => Err(VerdictError::ClusterState {
            state: one_line(state),
            assigned: one_line(assigned.unwrap_or("?")),
            failing: one_line(field(&info, "cluster_slots_fail").unwrap_or("?")),
        }),
        None => Err(VerdictError::NotRedis("CLUSTER INFO")),
    }
}

/// A value of `INFO` or `CLUSTER INFO`.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn refused(command: &'static str, reason: &str) -> VerdictError {
    VerdictError::Refused { command, reason: one_line(reason) }
}

/// An event has little room, and a server's text may hold anything.
pub fn one_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMED: &str = "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\n\
        cluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
        cluster_known_nodes:6\r\ncluster_size:3\r\n";
    const ALONE: &str = "cluster_state:fail\r\ncluster_slots_assigned:0\r\ncluster_slots_ok:0\r\n\
        cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:0\r\n";

    fn simple(text: &str) -> Reply {
        Reply::Simple(text.to_owned())
    }

    fn error(text: &str) -> Reply {
        Reply::Error(text.to_owned())
    }

    fn cluster(info: &str) -> Result<(), VerdictError> {
        is_cluster_serving(&Reply::Bulk(info.into()))
    }

    #[test]
    fn pong_is_alive_and_serving() {
        assert_eq!(is_alive(&simple("PONG")), Ok(()));
        assert_eq!(is_serving(&simple("PONG")), Ok(()));
    }

    #[test]
    fn an_error_is_alive_but_not_serving() {
        for text in [
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script.",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "NOAUTH Authentication required.",
            "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
            "ERR max number of clients reached",
        ] {
            assert_eq!(is_alive(&error(text)), Ok(()));
            assert_eq!(
                is_serving(&error(text)).map_err(|it| it.to_string()),
                Err(format!("PING was refused: {text}"))
            );
        }
    }

    #[test]
    fn something_else_is_neither() {
        for reply in [simple("OK"), Reply::Bulk("PONG".into())] {
            assert_eq!(is_alive(&reply), Err(VerdictError::NotRedis("PING")));
            assert_eq!(is_serving(&reply), Err(VerdictError::NotRedis("PING")));
        }
    }

    #[test]
    fn a_refused_password_is_never_repeated() {
        assert_eq!(is_authenticated(&simple("OK")), Ok(()));
        for text in [
            "WRONGPASS invalid username-password pair or user is disabled. hunter2",
            "ERR unknown command 'AUTH', with args beginning with: 'hunter2' ",
            "hunter2",
        ] {
            let verdict = is_authenticated(&error(text)).expect_err("refused");
            assert!(matches!(verdict, VerdictError::AuthRefused(_)));
            assert!(!verdict.to_string().contains("hunter2"), "{verdict}");
        }
    }

    #[test]
    fn a_formed_cluster_serves() {
        assert_eq!(cluster(FORMED), Ok(()));
        let one_node = FORMED.replace("known_nodes:6", "known_nodes:1");
        assert_eq!(cluster(&one_node), Ok(()), "one node with every slot");
    }

    #[test]
    fn a_lone_node_is_not_formed() {
        assert_eq!(cluster(ALONE), Err(VerdictError::NotFormed));
        let looks_ok = ALONE.replace("state:fail", "state:ok");
        assert_eq!(cluster(&looks_ok), Err(VerdictError::NotFormed));
    }

    #[test]
    fn a_cluster_that_is_down_says_what_is_missing() {
        let down = FORMED.replace("state:ok", "state:fail").replace("slots_fail:0", "slots_fail:5461");
        assert_eq!(
            cluster(&down).map_err(|it| it.to_string()),
            Err("cluster_state is fail (16384 of 16384 slots assigned, 5461 of them failing)".to_owned())
        );
    }

    #[test]
    fn no_cluster_is_not_serving() {
        assert_eq!(
            is_cluster_serving(&error("ERR This instance has cluster support disabled"))
                .map_err(|it| it.to_string()),
            Err("CLUSTER INFO was refused: ERR This instance has cluster support disabled".to_owned())
        );
        for reply in [Reply::Bulk("nothing".into()), simple("OK")] {
            assert_eq!(is_cluster_serving(&reply), Err(VerdictError::NotRedis("CLUSTER INFO")));
        }
    }

    #[test]
    fn reasons_fit_one_line() {
        let long = format!("ERR a\nb{}", "x".repeat(1000));
        let text = is_serving(&error(&long)).expect_err("refused").to_string();
        assert!(text.contains("ERR a b") && text.len() < 250, "{text}");
    }
}
