//! Names of servers → addresses, I/O: from a file such as `/etc/hosts`, and from DNS.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Where names are looked up.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Lines of an address and a name, which stand in for DNS.
    pub file: Option<PathBuf>,
}

impl Hosts {
    /// Address of a server; `None` while its pod has none.
    pub fn find(&self, host: &str) -> Option<IpAddr> {
        match &self.file {
            // Read anew each time: a pod that comes back has another address.
            Some(file) => in_text(&fs::read_to_string(file).ok()?, host),
            None => (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip()),
        }
    }
}

fn in_text(text: &str, host: &str) -> Option<IpAddr> {
    text.lines().find_map(|line| {
        let (address, name) = line.split_once(' ')?;
        (name.trim() == host).then(|| address.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_address_before_it() {
        let text = "127.0.1.1 redis-1\n127.0.1.10 redis-10\nnone redis-2\n";
        assert_eq!(in_text(text, "redis-10"), "127.0.1.10".parse().ok());
        assert_eq!(in_text(text, "redis-2"), None);
        assert_eq!(in_text(text, "redis"), None);
    }
}
