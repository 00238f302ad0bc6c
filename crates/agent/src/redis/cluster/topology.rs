//! The cluster as it should be, pure: how many shards, which server is which.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::nodes::{Node, SLOTS};

/// What is wrong with the file that says how the cluster should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TopologyError {
    /// A line is not one of the known ones.
    #[error("line {line} is not `shards N`, `replicas-per-shard N` or `host NAME-{{}}.DOMAIN`: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A line is missing.
    #[error("there is no line `{0}`")]
    Missing(&'static str),
}

/// The cluster as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Masters with slots, 1 to 16384.
    pub shards: usize,
    /// Replicas of each.
    pub replicas: usize,
    /// What is before and after a server's ordinal in its DNS name.
    host: (String, String),
}

impl Topology {
    /// From lines of a name and a value.
    pub fn parse(text: &str) -> Result<Self, TopologyError> {
        let (mut shards, mut replicas, mut host) = (None, None, None);
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = || TopologyError::Line { line: index + 1, text: line.to_owned() };
            let (name, value) = line.split_once(' ').ok_or_else(bad)?;
            match name {
                "shards" => {
                    shards = Some(value.parse().ok().filter(|it| (1..=100).contains(it)).ok_or_else(bad)?);
                }
                "replicas-per-shard" => {
                    replicas = Some(value.parse().ok().filter(|it| *it <= 5).ok_or_else(bad)?);
                }
                "host" => {
                    let (before, after) = value.split_once("{}").ok_or_else(bad)?;
                    host = Some((before.to_owned(), after.to_owned()));
                }
                _ => return Err(bad()),
            }
        }
        Ok(Self {
            shards: shards.ok_or(TopologyError::Missing("shards"))?,
            replicas: replicas.ok_or(TopologyError::Missing("replicas-per-shard"))?,
            host: host.ok_or(TopologyError::Missing("host"))?,
        })
    }

    /// Servers that the cluster has. Those that come after them are to go.
    pub fn servers(&self) -> usize {
        self.shards * (1 + self.replicas)
    }

    /// Whether a node is one of them.
    pub fn keeps(&self, node: &Node) -> bool {
        self.ordinal(&node.host).is_some_and(|ordinal| ordinal < self.servers())
    }

    /// DNS name of a server.
    pub fn host(&self, ordinal: usize) -> String {
        format!("{}{ordinal}{}", self.host.0, self.host.1)
    }

    /// Whose DNS name this is.
    pub fn ordinal(&self, host: &str) -> Option<usize> {
        let digits = host.strip_prefix(self.host.0.as_str())?.strip_suffix(self.host.1.as_str())?;
        digits.parse().ok().filter(|ordinal: &usize| ordinal.to_string() == digits)
    }

    /// The slots with which a new cluster's shard starts: as even as whole slots allow.
    pub fn first_slots(&self, shard: usize) -> RangeInclusive<u16> {
        let bound = |shard: usize| shard * usize::from(SLOTS) / self.shards;
        slot(bound(shard))..=slot(bound(shard + 1) - 1)
    }

    /// The shard that a new cluster's server has: masters come first, and a shard's replicas are
    /// shifted, so that where pods are dealt out to zones in turn none shares its master's.
    pub fn first_shard(&self, ordinal: usize) -> usize {
        let (round, place) = (ordinal / self.shards, ordinal % self.shards);
        (place + round) % self.shards
    }
}

#[allow(clippy::cast_possible_truncation)] // below 16384
fn slot(number: usize) -> u16 {
    number as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(shards: usize, replicas: usize) -> Topology {
        let text = format!("shards {shards}\nreplicas-per-shard {replicas}\nhost shop-redis-{{}}.h.ns.svc\n");
        Topology::parse(&text).expect("valid")
    }

    #[test]
    fn servers_are_told_by_their_names() {
        let topology = topology(3, 1);
        assert_eq!(topology.servers(), 6);
        assert_eq!(topology.host(4), "shop-redis-4.h.ns.svc");
        assert_eq!(topology.ordinal("shop-redis-4.h.ns.svc"), Some(4));
        for other in ["shop-redis-04.h.ns.svc", "shop-redis-4.h.other.svc", "4", "", "shop-redis-x.h.ns.svc"]
        {
            assert_eq!(topology.ordinal(other), None, "{other}");
        }
    }

    #[test]
    fn slots_are_split_evenly_and_all_of_them() {
        for shards in 1..=100 {
            let topology = topology(shards, 0);
            let all: Vec<u16> = (0..shards).flat_map(|shard| topology.first_slots(shard)).collect();
            assert_eq!(all, (0..SLOTS).collect::<Vec<_>>(), "{shards} shards");
            let lengths = (0..shards).map(|shard| topology.first_slots(shard).len());
            assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1, "{shards} shards");
        }
        assert_eq!(topology(3, 1).first_slots(1), 5461..=10921);
    }

    #[test]
    fn every_shard_has_its_replicas_in_other_places() {
        for (shards, replicas) in [(3, 1), (3, 2), (5, 4), (4, 0), (100, 5)] {
            let topology = topology(shards, replicas);
            for shard in 0..shards {
                let members: Vec<usize> =
                    (0..topology.servers()).filter(|it| topology.first_shard(*it) == shard).collect();
                assert_eq!(members.len(), 1 + replicas);
                assert_eq!(members[0], shard, "masters come first");
            }
        }
        // Dealt to three zones in turn, no two of a shard share one.
        let three = topology(3, 2);
        for shard in 0..3 {
            let mut zones: Vec<usize> =
                (0..9).filter(|it| three.first_shard(*it) == shard).map(|it| it % 3).collect();
            zones.sort_unstable();
            assert_eq!(zones, [0, 1, 2]);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let line = |text: &str| TopologyError::Line { line: 1, text: text.to_owned() };
        for (text, error) in [
            ("", TopologyError::Missing("shards")),
            ("shards 3", TopologyError::Missing("replicas-per-shard")),
            ("shards 0", line("shards 0")),
            ("shards 101", line("shards 101")),
            ("shards", line("shards")),
            ("replicas-per-shard 6", line("replicas-per-shard 6")),
            ("host redis", line("host redis")),
            ("masters 3", line("masters 3")),
        ] {
            assert_eq!(Topology::parse(text), Err(error), "{text}");
        }
    }
}
