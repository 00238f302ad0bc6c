//! Connections that logged in with a password that is no longer good: Redis goes on serving them, and does not
//! say which password one came with. Those that are older than every good one came with another.

use std::time::Duration;

use super::link::{Link, LinkError};

/// Seconds by which an age may be wrong: Redis counts whole ones.
const COUNTED: u64 = 1;

/// Ends what clients opened as the default user longer than `since` ago, and says how many it were. Links that
/// copy data stay: servers show each other what is good, and an ended link would copy anew.
pub fn end_older(link: &mut Link, since: Duration) -> Result<usize, LinkError> {
    let old = older(&link.text("CLIENT LIST", &["CLIENT", "LIST"])?, since);
    for id in &old {
        // It counts none where the client has left meanwhile.
        link.count("CLIENT KILL", &["CLIENT", "KILL", "ID", id])?;
    }
    Ok(old.len())
}

fn older(list: &str, since: Duration) -> Vec<String> {
    let is_old = |line: &&str| {
        let age = field(line, "age").and_then(|digits| digits.parse::<u64>().ok());
        let copies = field(line, "flags").is_some_and(|flags| flags.contains(['M', 'S']));
        field(line, "user") == Some("default")
            && !copies
            && age.is_some_and(|age| age > since.as_secs() + COUNTED)
    };
    list.lines().filter(is_old).filter_map(|line| field(line, "id")).map(str::to_owned).collect()
}

/// The names of clients have no spaces.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_older_than_every_good_password_is_ended() {
        let line = |id, age, flags, user| {
            format!(
                "id={id} addr=10.0.0.1:5 laddr=10.0.0.2:6379 fd=8 name=age=99 age={age} idle=0 flags={flags} db=0 user={user} redir=-1"
            )
        };
        let list = [
            line(1, 100, "N", "default"),
            line(2, 11, "N", "default"),
            line(3, 12, "P", "default"),
            line(4, 100, "S", "default"),
            line(5, 100, "M", "default"),
            line(6, 100, "N", "reader"),
            line(7, 0, "N", "default"),
            line(8, 100, "N", "(superuser)"),
        ];
        assert_eq!(older(&list.join("\n"), Duration::from_millis(10_900)), ["1", "3"]);
        assert_eq!(older("", Duration::ZERO), Vec::<String>::new());
    }
}
