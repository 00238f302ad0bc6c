//! Compose stage, pure: template + secrets + pod facts → redis.conf.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use super::password::{self, Password};

/// Why a template cannot become a configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// No password in the folder, or an empty one.
    #[error("the password is absent or empty")]
    NoPassword,
    /// The template sets what only this program may set, or would make it ineffective.
    #[error("line {line} of the template has `{directive}`: {reason}")]
    Reserved {
        /// Counted from 1.
        line: usize,
        /// The directive, never its value.
        directive: &'static str,
        /// Why it may not be there.
        reason: &'static str,
    },
    /// A cluster node has to announce an address.
    #[error("the template has `cluster-enabled yes`, but POD_IP is absent or empty")]
    NoPodIp,
    /// The address is none.
    #[error("POD_IP is not an IP address: {0:?}")]
    BadPodIp(String),
    /// A host or name has characters that could end the line or its argument.
    #[error("{0:?} is not a host name")]
    BadHost(String),
}

/// Directive, its first argument where that matters, and why it is refused.
///
/// Redis lets the last `requirepass` win, but an ACL file or a `user default` line beats it
/// wherever it stands, and with `nopass` would open the store without a word.
const RESERVED: [(&str, Option<&str>, &str); 4] = [
    ("requirepass", None, FROM_SECRET),
    ("masterauth", None, FROM_SECRET),
    ("aclfile", None, BEATS_PASSWORD),
    ("user", Some("default"), BEATS_PASSWORD),
];
const FROM_SECRET: &str = "the password comes from the Secret";
const BEATS_PASSWORD: &str = "it would override the password from the Secret";

/// The template with password and, for a cluster node, address appended.
///
/// A template without directives stands for a server without a password; Redis' protected mode
/// then keeps everybody outside the pod away.
pub fn compose(
    template: &str,
    passwords: &[Arc<Password>],
    pod_ip: Option<&OsStr>,
    pod_host: Option<&str>,
) -> Result<String, ConfigError> {
    refuse_reserved(template)?;

    let mut config = String::from(template);
    if !config.is_empty() && !config.ends_with('\n') {
        config.push('\n');
    }
    match passwords {
        [main, further @ ..] => {
            let quoted = quote(main.bytes());
            for directive in ["requirepass", "masterauth"] {
                config.push_str(directive);
                config.push(' ');
                config.push_str(&quoted);
                config.push('\n');
            }
            config.push_str(&further_passwords(main, further));
        }
        [] if directives(template).next().is_none() => {}
        [] => return Err(ConfigError::NoPassword),
    }
    if is_cluster_node(template) {
        config.push_str("cluster-announce-ip ");
        config.push_str(&address(pod_ip)?.to_string());
        config.push('\n');
        // By this name the others know which server it is, whatever its address.
        if let Some(host) = pod_host {
            config.push_str("cluster-announce-hostname ");
            config.push_str(host_name(host)?);
            config.push('\n');
        }
    }
    Ok(config)
}

/// The line that has a server take more than one password; nothing where there is one.
pub fn further_passwords(main: &Arc<Password>, further: &[Arc<Password>]) -> String {
    if further.is_empty() {
        return String::new();
    }
    let all: Vec<Arc<Password>> = [main].into_iter().chain(further).cloned().collect();
    format!("user default on sanitize-payload {} ~* &* +@all\n", password::hashes(&all).join(" "))
}

/// Letters, digits, dots, dashes and colons: one argument of one line.
pub fn host_name(text: &str) -> Result<&str, ConfigError> {
    let is_host = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'));
    is_host.then_some(text).ok_or_else(|| ConfigError::BadHost(text.to_owned()))
}

fn refuse_reserved(template: &str) -> Result<(), ConfigError> {
    for found in directives(template) {
        for (directive, argument, reason) in RESERVED {
            if found.name == directive && argument.is_none_or(|it| found.argument == it) {
                return Err(ConfigError::Reserved { line: found.line, directive, reason });
            }
        }
    }
    Ok(())
}

fn is_cluster_node(template: &str) -> bool {
    argument(template, "cluster-enabled").is_some_and(|it| it.eq_ignore_ascii_case("yes"))
}

/// The first argument of a directive; as in Redis, the last one wins.
pub fn argument<'a>(template: &'a str, directive: &str) -> Option<&'a str> {
    directives(template).filter(|it| it.name == directive).last().map(|it| it.argument)
}

fn address(pod_ip: Option<&OsStr>) -> Result<IpAddr, ConfigError> {
    let given = pod_ip.filter(|it| !it.is_empty()).ok_or(ConfigError::NoPodIp)?.to_string_lossy();
    given.parse().map_err(|_| ConfigError::BadPodIp(given.into_owned()))
}

struct Directive<'a> {
    line: usize,
    /// In lower case; Redis does not mind the case.
    name: String,
    /// The first one, or nothing.
    argument: &'a str,
}

fn directives(template: &str) -> impl Iterator<Item = Directive<'_>> {
    template.lines().enumerate().filter_map(|(index, line)| {
        let mut words = line
            .split_ascii_whitespace()
            // Redis takes `"requirepass" x` too.
            .map(|word| word.trim_matches(['"', '\'']));
        let name = words.next().filter(|name| !name.starts_with('#'))?;
        Some(Directive {
            line: index + 1,
            name: name.to_ascii_lowercase(),
            argument: words.next().unwrap_or_default(),
        })
    })
}

/// One argument in double quotes; always one line of ASCII.
///
/// Redis' `sdssplitargs` reads back every escape that Rust writes: `\xHH`, `\n`, `\r`, `\t`, and
/// a backslash before `"`, `'` or itself.
pub fn quote(value: &[u8]) -> String {
    format!("\"{}\"", value.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "port 6379\ncluster-enabled yes\n";

    fn passwords(text: &str) -> Vec<Arc<Password>> {
        text.split(',').filter_map(|it| Password::new(it.into())).map(Arc::new).collect()
    }

    fn composed(template: &str, secret: &str, pod_ip: Option<&str>) -> Result<String, ConfigError> {
        compose(template, &passwords(secret), pod_ip.map(OsStr::new), None)
    }

    fn refused(template: &str) -> Option<(usize, &'static str)> {
        match composed(template, "s", None) {
            Err(ConfigError::Reserved { line, directive, .. }) => Some((line, directive)),
            _ => None,
        }
    }

    #[test]
    fn appends_the_password() {
        let expected = "port 6379\nrequirepass \"s3cret\"\nmasterauth \"s3cret\"\n";
        for template in ["port 6379", "port 6379\n"] {
            assert_eq!(composed(template, "s3cret", Some("10.0.0.1")).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn several_passwords_are_good() {
        let config = composed("port 6379", "a,b", None).expect("valid");
        let [a, b] = [
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
        ];
        let last = format!("masterauth \"a\"\nuser default on sanitize-payload #{a} #{b} ~* &* +@all\n");
        assert!(config.ends_with(&last), "{config}");
    }

    #[test]
    fn needs_a_password() {
        for template in ["port 6379", CLUSTER] {
            assert_eq!(composed(template, "", Some("10.0.0.1")), Err(ConfigError::NoPassword));
        }
    }

    #[test]
    fn an_empty_template_may_go_without_password() {
        assert_eq!(composed("", "", None).as_deref(), Ok(""));
        assert_eq!(composed(" # none\n", "", None).as_deref(), Ok(" # none\n"));
        assert_eq!(composed("", "s", None).as_deref(), Ok("requirepass \"s\"\nmasterauth \"s\"\n"));
    }

    #[test]
    fn a_cluster_node_announces_its_address() {
        for ip in ["10.1.2.3", "fd00::7"] {
            let config = composed(CLUSTER, "s", Some(ip)).expect("valid");
            assert!(config.ends_with(&format!("\ncluster-announce-ip {ip}\n")));
        }
        for ip in [None, Some("")] {
            assert_eq!(composed(CLUSTER, "s", ip), Err(ConfigError::NoPodIp));
        }
        for ip in ["redis-0", "10.0.0.1\nrequirepass x", "10.0.0.1 ", "1.2.3"] {
            assert_eq!(composed(CLUSTER, "s", Some(ip)), Err(ConfigError::BadPodIp(ip.to_owned())));
        }
    }

    #[test]
    fn a_cluster_node_announces_its_name() {
        let composed = |host| compose(CLUSTER, &passwords("s"), Some(OsStr::new("10.0.0.1")), host);
        let config = composed(Some("shop-redis-0.h")).expect("valid");
        assert!(config.ends_with("\ncluster-announce-hostname shop-redis-0.h\n"), "{config}");
        let bad = "a\nrequirepass x";
        assert_eq!(composed(Some(bad)), Err(ConfigError::BadHost(bad.to_owned())));
    }

    #[test]
    fn cluster_mode_is_read_as_redis_reads_it() {
        for (template, expected) in [
            ("cluster-enabled yes", true),
            ("  Cluster-Enabled \t \"YES\"\r\n", true),
            ("cluster-enabled no", false),
            ("cluster-enabled", false),
            ("# cluster-enabled yes", false),
            ("cluster-enabled yes\ncluster-enabled no", false),
            ("cluster-enabled no\ncluster-enabled yes", true),
        ] {
            assert_eq!(is_cluster_node(template), expected, "{template}");
        }
    }

    #[test]
    fn refuses_passwords_in_the_template() {
        for (template, expected) in [
            ("requirepass x", Some((1, "requirepass"))),
            ("port 1\n\tMasterAuth x", Some((2, "masterauth"))),
            ("'requirepass' x", Some((1, "requirepass"))),
            ("aclfile /data/users.acl", Some((1, "aclfile"))),
            ("user default on nopass", Some((1, "user"))),
            ("user app on >x", None),
            ("# requirepass x", None),
            ("save requirepass", None),
        ] {
            assert_eq!(refused(template), expected, "{template}");
        }
    }

    #[test]
    fn errors_do_not_repeat_values() {
        let error = composed("requirepass swordfish", "hunter2", None).expect_err("reserved");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("swordfish") && !text.contains("hunter2"));
    }

    #[test]
    fn quotes_as_redis_unquotes() {
        for (value, expected) in [
            (&b"plain-123"[..], r#""plain-123""#),
            (b"a b#c'd$(e)", r#""a b#c\'d$(e)""#),
            (br#"say "hi""#, r#""say \"hi\"""#),
            (br"back\slash\n", r#""back\\slash\\n""#),
            (b"one\ntwo\r\t\x07", r#""one\ntwo\r\t\x07""#),
            ("é✓".as_bytes(), r#""\xc3\xa9\xe2\x9c\x93""#),
            (b"\xff\x7f~", r#""\xff\x7f~""#),
        ] {
            assert_eq!(quote(value), expected);
        }
    }
}
