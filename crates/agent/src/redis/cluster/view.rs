//! What the servers of a cluster answered, pure: the input of every decision.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::nodes::{Node, NodeId, SLOTS};
use super::topology::Topology;

/// What one server answered.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it was asked.
    pub ip: IpAddr,
    /// How many keys it holds.
    pub keys: u64,
    /// How much of its master's stream it has, in bytes.
    pub offset: u64,
    /// Where it copies from, as it says: an address, where it knows one.
    pub source: Option<String>,
    /// Whether its copy of what is there is whole and the link to it stands.
    pub linked: bool,
    /// What names the history of its data: a replica has that of the server it copied.
    pub replication_id: Option<String>,
    /// The one that it had until it became master.
    pub former_replication_id: Option<String>,
    /// Its `CLUSTER NODES`.
    pub nodes: Vec<Node>,
}

impl Member {
    /// One of which nothing else is known.
    #[cfg(test)]
    pub fn of(ip: IpAddr, nodes: Vec<Node>) -> Self {
        Self {
            ip,
            keys: 0,
            offset: 0,
            source: None,
            linked: false,
            replication_id: None,
            former_replication_id: None,
            nodes,
        }
    }

    /// Its own line.
    pub fn me(&self) -> &Node {
        // `nodes::parse` lets no answer without it pass.
        self.nodes.iter().find(|node| node.myself).unwrap_or(&self.nodes[0])
    }

    /// Its name in the cluster.
    pub fn id(&self) -> &NodeId {
        &self.me().id
    }

    /// Its line of another node.
    pub fn line(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| &node.id == id)
    }

    /// Its line of its master.
    pub fn master(&self) -> Option<&Node> {
        self.me().master.as_ref().and_then(|id| self.line(id))
    }

    /// It copies from elsewhere than where its master is. Redis lets go of neither by itself: it goes on copying from
    /// an address that others have corrected, or at which another server answers by now (redis#14633).
    pub fn is_astray(&self) -> bool {
        let Some((source, master)) = self.source.as_ref().zip(self.master()) else { return false };
        source.parse().ok() != master.ip
    }

    /// Whether its copy of its master's data is whole and the link to it stands.
    pub fn is_in_step(&self) -> bool {
        self.linked && !self.is_astray()
    }

    /// Its link stands, and to a server that is not its master.
    pub fn copies_another(&self) -> bool {
        self.linked && self.is_astray()
    }

    /// It has met nobody.
    pub fn is_alone(&self) -> bool {
        self.nodes.len() == 1
    }

    /// How many slots it knows an owner of.
    pub fn assigned(&self) -> usize {
        self.nodes.iter().map(Node::slot_count).sum()
    }

    /// Every slot has an owner.
    pub fn sees_a_formed_cluster(&self) -> bool {
        self.assigned() == usize::from(SLOTS)
    }

    /// The masters that serve slots, by their first slot.
    pub fn shards(&self) -> Vec<&Node> {
        let mut shards: Vec<&Node> = self.nodes.iter().filter(|node| node.is_shard()).collect();
        shards.sort_by_key(|node| node.slots.first().map(|slots| *slots.start()));
        shards
    }

    /// Replicas of a master that the cluster has not given up.
    pub fn replicas<'a>(&'a self, master: &'a NodeId) -> impl Iterator<Item = &'a Node> {
        self.nodes
            .iter()
            .filter(move |node| node.replica && node.master.as_ref() == Some(master) && !node.failed)
    }
}

/// The servers that answered, by ordinal. Each proved with the name it announces that it is the one
/// that was looked for: an address alone may be another cluster's by now.
#[derive(Clone, Debug)]
pub struct View {
    /// Whose agent looks.
    pub own: usize,
    /// What they answered.
    pub members: BTreeMap<usize, Member>,
    /// Slots that nobody stands for, and how many keys of each the masters hold.
    pub disowned: BTreeMap<u16, BTreeMap<usize, u64>>,
}

impl View {
    /// The node will never come back: its volume is lost. The server of its DNS name has another id
    /// now; or all servers answer, and none is a node that was heard of but never from: but for
    /// those that come with a newer topology than is known here.
    pub fn is_gone(&self, node: &Node, topology: &Topology) -> bool {
        if node.host.is_empty() {
            let has_grown = self.members.values().flat_map(|member| &member.nodes).any(|node| {
                topology.ordinal(&node.host).is_some_and(|ordinal| ordinal >= topology.servers())
            });
            let all_answer = !has_grown && self.members.len() >= topology.servers();
            return all_answer && !node.connected && !node.handshake && !self.has(&node.id);
        }
        topology
            .ordinal(&node.host)
            .and_then(|ordinal| self.members.get(&ordinal))
            .is_some_and(|member| member.id() != &node.id)
    }

    /// What a replica has was copied from a server that is not its master: its link to it stands, or it has the data
    /// of another shard.
    pub fn has_anothers_data(&self, replica: &Member) -> bool {
        let is_its_master = |other: &Member| replica.me().master.as_ref() == Some(other.id());
        let is_source = |other: &Member| {
            !is_its_master(other)
                && replica.line(other.id()).is_some_and(Node::is_shard)
                && [&other.replication_id, &other.former_replication_id].contains(&&replica.replication_id)
        };
        let has_data = replica.me().replica && replica.replication_id.is_some();
        replica.copies_another() || (has_data && self.members.values().any(is_source))
    }

    /// Whether this id is one of the servers'.
    pub fn has(&self, id: &NodeId) -> bool {
        self.members.values().any(|member| member.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::*;

    #[test]
    fn a_copy_is_told_by_its_replication_id() {
        let lines = [
            "a 10.0.0.1:6379@16379,redis-0.h master - 0 0 1 connected 0-100",
            "b 10.0.0.2:6379@16379,redis-1.h master - 0 0 2 connected 101-16383",
            "c 10.0.0.3:6379@16379,redis-2.h slave a 0 0 1 connected",
        ];
        let member = |on: usize, data: &str| {
            let line = |(at, line): (usize, &&str)| {
                let flags = if at == on { " myself," } else { " " };
                line.replacen(" slave", &format!("{flags}slave"), 1).replacen(
                    " master",
                    &format!("{flags}master"),
                    1,
                )
            };
            let text: Vec<String> = lines.iter().enumerate().map(line).collect();
            let nodes = nodes::parse(&text.join("\n")).expect("valid");
            let ip = nodes[on].ip.expect("it has one");
            let replication_id = Some(data.to_owned());
            let former_replication_id = (on == 1).then(|| "w".to_owned());
            Member { replication_id, former_replication_id, ..Member::of(ip, nodes) }
        };
        for (copy, is_anothers) in [("x", false), ("y", true), ("w", true), ("z", false)] {
            let members = [member(0, "x"), member(1, "y"), member(2, copy)];
            let view = View {
                own: 2,
                members: members.into_iter().enumerate().collect(),
                disowned: BTreeMap::new(),
            };
            let found: Vec<bool> =
                view.members.values().map(|member| view.has_anothers_data(member)).collect();
            assert_eq!(found, [false, false, is_anothers], "{copy}");
        }
    }
}
