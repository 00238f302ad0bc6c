//! `CLUSTER NODES`, pure: what one server knows of its cluster.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use thiserror::Error;

/// Hash slots of every Redis Cluster.
pub const SLOTS: u16 = 16384;

/// What Redis calls a node for as long as its `nodes.conf` lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub String);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One node, as one server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Redis flags nodes so, in any combination
pub struct Node {
    /// Its name in the cluster; a random one in a handshake.
    pub id: NodeId,
    /// Where it is believed to be; `None` once somebody else answered there.
    pub ip: Option<IpAddr>,
    /// The DNS name that it announces; empty while unheard of.
    pub host: String,
    /// The server that was asked.
    pub myself: bool,
    /// Met, but not known by its own name yet.
    pub handshake: bool,
    /// The majority agrees that it is lost.
    pub failed: bool,
    /// A link to it stands, and nobody suspects it. Always so of the server itself.
    pub connected: bool,
    /// `None` for a master, and for a replica that does not know of whom.
    pub master: Option<NodeId>,
    /// It is a replica.
    pub replica: bool,
    /// Which claim to a slot wins.
    pub epoch: u64,
    /// What it serves, ascending.
    pub slots: Vec<RangeInclusive<u16>>,
    /// Slots on their way to another node or from it, as in `[77->-…]`.
    pub moving: Vec<Moving>,
}

/// A slot that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The slot.
    pub slot: u16,
    /// Towards the other node, or from it.
    pub outward: bool,
    /// The other node.
    pub other: NodeId,
}

impl Node {
    /// How many slots it serves.
    pub fn slot_count(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }

    /// A master that serves slots.
    pub fn is_shard(&self) -> bool {
        !self.replica && !self.slots.is_empty()
    }
}

/// Why a text is not an answer to `CLUSTER NODES`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NodesError {
    /// A line lacks a field, or has one that can't be read.
    #[error("line {line} of CLUSTER NODES has no valid {field}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is missing.
        field: &'static str,
    },
    /// Not exactly one line is the server's own.
    #[error("CLUSTER NODES does not say which node was asked")]
    Myself,
}

/// All nodes in an answer; exactly one of them is the server's own.
pub fn parse(text: &str) -> Result<Vec<Node>, NodesError> {
    let nodes: Vec<Node> = text
        .lines()
        .enumerate()
        .map(|(index, line)| node(line).map_err(|field| NodesError::Line { line: index + 1, field }))
        .collect::<Result<_, _>>()?;
    if nodes.iter().filter(|node| node.myself).count() != 1 {
        return Err(NodesError::Myself);
    }
    Ok(nodes)
}

fn node(line: &str) -> Result<Node, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let mut next = |field| words.next().ok_or(field);
    let id = NodeId(next("id")?.to_owned());
    let (ip, host) = place(next("address")?);
    let flags: Vec<&str> = next("flags")?.split(',').collect();
    let has = |flag| flags.contains(&flag);
    let master = Some(next("master")?).filter(|it| *it != "-").map(|it| NodeId(it.to_owned()));
    next("ping time")?;
    next("pong time")?;
    let epoch = next("epoch")?.parse().map_err(|_| "epoch")?;
    let state = next("link state")?;
    let mut node = Node {
        id,
        ip: ip.filter(|_| !has("noaddr")),
        host: host.to_owned(),
        myself: has("myself"),
        handshake: has("handshake"),
        failed: has("fail"),
        connected: has("myself") || (state == "connected" && !has("fail") && !has("fail?")),
        master,
        replica: has("slave"),
        epoch,
        slots: Vec::new(),
        moving: Vec::new(),
    };
    for word in words {
        match word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            Some(word) => node.moving.push(moving(word).ok_or("moving slot")?),
            None => node.slots.push(range(word).ok_or("slots")?),
        }
    }
    Ok(node)
}

/// From `10.0.0.4:6379@16379,redis-0.shop`; before `@` an address of version 6 may hold colons.
fn place(word: &str) -> (Option<IpAddr>, &str) {
    let mut parts = word.split(',');
    let address = parts.next().unwrap_or_default();
    let client = address.split_once('@').map_or(address, |(client, _)| client);
    let ip = client.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok());
    // A host has no `=`; later versions append `shard-id=…`.
    (ip, parts.next().filter(|part| !part.contains('=')).unwrap_or_default())
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some(first..=last)
}

fn moving(word: &str) -> Option<Moving> {
    let (slot, rest) = word.split_once('-')?;
    let (outward, other) = match rest.strip_prefix(">-") {
        Some(other) => (true, other),
        None => (false, rest.strip_prefix("<-")?),
    };
    Some(Moving { slot: slot.parse().ok()?, outward, other: NodeId(other.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let text = "\
aa 10.0.0.1:6379@16379,shop-0.h myself,master - 0 0 3 connected 0-5460 7000 [77->-bb] [93-<-cc]
bb fd00::7:6379@16379,shop-1.h,shard-id=1 slave aa 0 1 3 connected
cc :0@0 master,noaddr,fail? - 0 1 2 disconnected 5461-6999
dd 10.0.0.4:6379@16379 handshake - 0 0 0 connected
ee 10.0.0.5:6379@16379, master,fail - 0 1 2 connected\n";
        let nodes = parse(text).expect("valid");
        let [aa, bb, cc, dd, ee] = &nodes[..] else { panic!("five lines") };
        assert_eq!((aa.ip, aa.host.as_str()), ("10.0.0.1".parse().ok(), "shop-0.h"));
        assert!(aa.myself && aa.connected && aa.is_shard() && !aa.replica);
        assert_eq!((aa.slots.clone(), aa.slot_count()), (vec![0..=5460, 7000..=7000], 5462));
        let other = |id: &str| NodeId(id.to_owned());
        assert_eq!(
            aa.moving,
            [
                Moving { slot: 77, outward: true, other: other("bb") },
                Moving { slot: 93, outward: false, other: other("cc") }
            ]
        );
        assert_eq!((bb.ip, bb.host.as_str()), ("fd00::7".parse().ok(), "shop-1.h"));
        assert!(bb.replica && bb.connected && bb.master == Some(other("aa")) && !bb.is_shard());
        assert!(cc.ip.is_none() && !cc.connected && !cc.failed && cc.host.is_empty());
        assert!(dd.handshake);
        assert!(ee.failed && !ee.connected && ee.host.is_empty());
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", NodesError::Myself),
            ("aa 10.0.0.1:6379@16379 master - 0 0 3 connected", NodesError::Myself),
            ("aa 10.0.0.1:6379@16379 master", NodesError::Line { line: 1, field: "master" }),
            ("aa h myself,master - 0 0 x connected", NodesError::Line { line: 1, field: "epoch" }),
            ("aa h myself,master - 0 0 1 connected 5-4", NodesError::Line { line: 1, field: "slots" }),
            ("aa h myself,master - 0 0 1 connected 16384", NodesError::Line { line: 1, field: "slots" }),
            ("aa h myself,master - 0 0 1 c [1-x]", NodesError::Line { line: 1, field: "moving slot" }),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
