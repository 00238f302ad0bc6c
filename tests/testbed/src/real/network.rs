//! The network between real nodes: each node has a network namespace of its own, one bridge in a further
//! one joins them, and this machine has a leg in it. It all ends with the namespaces.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use serde_json::{Value, json};

/// Of all real networks, the second number of the addresses: 10.N.0.0/16. Services are in 10.96.0.0/16.
const BLOCKS: std::ops::Range<u8> = 100..250;
const ATTEMPTS: u32 = 40;

/// What everything that the kernel knows of is called, and which addresses it has.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Unique on this machine, and short: names of interfaces end after 15 characters.
    tag: String,
    block: u8,
    nodes: usize,
}

impl Network {
    /// Makes the network. Whoever removes what begins with the tag removes it.
    pub(crate) fn create(tag: &str, nodes: usize) -> Result<Self> {
        let block = free_block()?;
        let network = Self { tag: tag.to_owned(), block, nodes };
        network.join_this_machine()?;
        for node in 0..nodes {
            network.join(node)?;
        }
        Ok(network)
    }

    /// Every address of nodes and pods.
    pub(crate) fn block(&self) -> String {
        format!("10.{}.0.0/16", self.block)
    }

    /// This machine's own address, for the apiserver and DNS.
    pub(crate) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.block, 0, 1)
    }

    /// A node's address.
    pub(crate) fn node(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, self.block, 0, 10 + last(node))
    }

    /// The addresses of a node's pods.
    fn pods(&self, node: usize) -> String {
        format!("10.{}.{}.0/24", self.block, 1 + last(node))
    }

    /// The file by which programs enter a node's network.
    pub(crate) fn namespace(&self, node: usize) -> PathBuf {
        Path::new("/run/netns").join(self.name(node))
    }

    /// Pulls a node's cable, or plugs it in again.
    pub(crate) fn connect(&self, node: usize, connected: bool) -> Result<()> {
        let state = if connected { "up" } else { "down" };
        ip(&["-n", &self.hub(), "link", "set", &format!("node{node}"), state])
    }

    /// How containerd puts a pod into the node's network.
    pub(crate) fn plugins(&self, node: usize) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": self.tag,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "pods",
                    "isGateway": true,
                    "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        // Gone after a power cut, as the pods are.
                        "dataDir": "/run/cni",
                        "ranges": [[{ "subnet": self.pods(node) }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        })
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    fn name(&self, node: usize) -> String {
        format!("{}-{node}", self.tag)
    }

    fn join_this_machine(&self) -> Result<()> {
        let (hub, leg, host) = (self.hub(), self.tag.as_str(), format!("{}/24", self.host()));
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "nodes", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "nodes", "up"])?;
        ip(&["link", "add", leg, "type", "veth", "peer", "name", "host", "netns", &hub])?;
        ip(&["-n", &hub, "link", "set", "host", "master", "nodes", "up"])?;
        ip(&["address", "add", &host, "dev", leg])?;
        ip(&["link", "set", leg, "up"])
    }

    fn join(&self, node: usize) -> Result<()> {
        let (hub, name, cable) = (self.hub(), self.name(node), format!("node{node}"));
        ip(&["netns", "add", &name])?;
        ip(&["-n", &hub, "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["-n", &hub, "link", "set", &cable, "master", "nodes", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "address", "add", &format!("{}/24", self.node(node)), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &name, "route", "add", "default", "via", &self.host().to_string()])?;
        for other in (0..self.nodes).filter(|other| *other != node) {
            let via = self.node(other).to_string();
            ip(&["-n", &name, "route", "add", &self.pods(other), "via", &via])?;
        }
        ip(&["route", "add", &self.pods(node), "via", &self.node(node).to_string()])?;
        // The second one: what goes from pod to pod of one node over a Service has to come back that way.
        let settings = "echo 1 > /proc/sys/net/ipv4/ip_forward; \
                        echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables";
        let mut shell = self.command(node, Path::new("sh"));
        succeed(shell.args(["-ec", settings]))
    }

    /// A program in a node's network, but otherwise on this machine.
    fn command(&self, node: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace(node).display())).arg("--").arg(program);
        command
    }
}

fn last(node: usize) -> u8 {
    // There are never so many that they don't fit; see `MAX_REAL_NODES`.
    u8::try_from(node).unwrap_or(u8::MAX - 10)
}

/// A second number of addresses that nobody on this machine uses.
fn free_block() -> Result<u8> {
    let routes = fs::read_to_string("/proc/net/route").context("cannot read the machine's routes")?;
    (0..ATTEMPTS)
        .map(|_| rand::rng().random_range(BLOCKS))
        .find(|block| !is_routed(&routes, *block))
        .context("found no free addresses in 10.100.0.0 to 10.249.0.0")
}

/// The kernel writes addresses as hexadecimal numbers of this machine's byte order.
fn is_routed(routes: &str, block: u8) -> bool {
    let destinations = routes.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    let mut numbers = destinations.filter_map(|text| u32::from_str_radix(text, 16).ok());
    numbers.any(|number| number.to_ne_bytes()[..2] == [10, block])
}

fn ip(arguments: &[&str]) -> Result<()> {
    succeed(Command::new("ip").args(arguments))
}

/// Runs a program that says something only when it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {line}"))?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_addresses_are_seen() {
        let number = u32::from_ne_bytes([10, 120, 0, 0]);
        let routes = format!("Iface\tDestination\tGateway\nx\t{number:08X}\t00000000\n");
        assert!(is_routed(&routes, 120));
        assert!(!is_routed(&routes, 121));
    }

    #[test]
    fn every_node_has_addresses_of_its_own() {
        let network = Network { tag: "t".to_owned(), block: 100, nodes: 2 };
        assert_eq!(network.node(1), Ipv4Addr::new(10, 100, 0, 11));
        assert_eq!((network.pods(0), network.pods(1)), ("10.100.1.0/24".into(), "10.100.2.0/24".into()));
    }
}
