//! Connections that logged in with a password that is no longer good: Redis goes on serving them, and does not
//! say which password one came with. Those that came before every good one came with another. Redis numbers
//! connections as they come.

use std::time::Duration;

use super::link::{Link, LinkError};

/// Bytes of a list of all connections: some 400 for each of more than 65,000.
pub const ROOM: usize = 32 * 1024 * 1024;
/// Time for the list, and for each that is ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of this connection; later ones have greater numbers.
pub fn number(link: &mut Link) -> Result<u64, LinkError> {
    link.count("CLIENT ID", &["CLIENT", "ID"])
}

/// Ends what clients opened as the default user before connection `first`, and says how many it were. Links that
/// copy data stay: servers show each other what is good, and an ended link would copy anew.
pub fn end_before(link: &mut Link, first: u64) -> Result<usize, LinkError> {
    link.go_on(PATIENCE);
    let old = before(first, &link.text("CLIENT LIST", &["CLIENT", "LIST"])?);
    for number in &old {
        link.go_on(PATIENCE);
        // It counts none where the client has left meanwhile.
        link.count("CLIENT KILL", &["CLIENT", "KILL", "ID", &number.to_string()])?;
    }
    Ok(old.len())
}

fn before(first: u64, list: &str) -> Vec<u64> {
    let old = |line: &str| {
        let number = field(line, "id")?.parse().ok().filter(|number| *number < first)?;
        let copies = field(line, "flags")?.contains(['M', 'S']);
        (field(line, "user")? == "default" && !copies).then_some(number)
    };
    list.lines().filter_map(old).collect()
}

/// The names of clients have no spaces.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_before_every_good_password_is_ended() {
        let line = |id, flags, user| {
            format!(
                "id={id} addr=10.0.0.1:5 laddr=10.0.0.2:6379 fd=8 name=id=1 age=9 idle=0 flags={flags} db=0 user={user} redir=-1"
            )
        };
        let list = [
            line(3, "N", "default"),
            line(5, "P", "default"),
            line(7, "S", "default"),
            line(8, "M", "default"),
            line(9, "N", "reader"),
            line(10, "N", "(superuser)"),
            line(11, "N", "default"),
            line(12, "N", "default"),
        ];
        assert_eq!(before(11, &list.join("\n")), [3, 5]);
        assert_eq!(before(0, &list.join("\n")), [0; 0]);
    }
}
