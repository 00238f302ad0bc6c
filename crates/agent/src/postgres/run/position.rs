//! Positions in the write-ahead log, pure: how far a server's data goes, and whether it belongs to
//! the history of another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A byte of the write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lsn(pub u64);

/// Text that is no position.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no position in a log, such as 16/B374D848")]
pub struct NoLsn(String);

impl FromStr for Lsn {
    type Err = NoLsn;

    fn from_str(text: &str) -> Result<Self, NoLsn> {
        let halves = text.split_once('/').and_then(|(high, low)| {
            Some((u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?))
        });
        let (high, low) = halves.ok_or_else(|| NoLsn(text.to_owned()))?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

impl Lsn {
    /// Bytes from `other` to here; 0 where `other` is further.
    pub fn since(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

/// How far a server's data goes. A higher timeline is further, whatever the byte: a promotion
/// begins one at a point that its ancestors have passed or not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Counts promotions.
    pub timeline: u32,
    /// Last byte that is on disk.
    pub lsn: Lsn,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on timeline {}", self.lsn, self.timeline)
    }
}

/// Where the timelines before a server's own ended, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(pub Vec<Position>);

/// How data relates to that of a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The primary went on from here: it can be followed.
    Behind,
    /// It went another way before: what came after has to be undone.
    Diverged,
    /// Nothing is known of where they parted.
    Unrelated,
}

impl History {
    /// Reads a `.history` file: a timeline, the position at which it ended, and a reason on each line.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        Self(
            lines
                .filter_map(|line| {
                    let mut words = line.split_whitespace();
                    let timeline = words.next()?.parse().ok()?;
                    Some(Position { timeline, lsn: words.next()?.parse().ok()? })
                })
                .collect(),
        )
    }

    /// How `data` relates to a primary with this history that is at `primary`.
    pub fn relation(&self, primary: Position, data: Position) -> Relation {
        if data.timeline == primary.timeline {
            return Relation::Behind;
        }
        match self.0.iter().find(|end| end.timeline == data.timeline) {
            Some(end) if data.lsn <= end.lsn => Relation::Behind,
            Some(_) => Relation::Diverged,
            None => Relation::Unrelated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: u32, lsn: u64) -> Position {
        Position { timeline, lsn: Lsn(lsn) }
    }

    #[test]
    fn positions_are_read_as_postgres_writes_them() {
        let lsn: Lsn = "16/B374D848".parse().expect("valid");
        assert_eq!(lsn.0, 0x16_B374_D848);
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!("0/0".parse(), Ok(Lsn(0)));
        for bad in ["", "1", "1/", "g/0", "1/100000000"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_promotion_is_further_than_any_byte_before() {
        assert!(at(2, 5) > at(1, 9) && at(2, 5) < at(2, 6));
    }

    #[test]
    fn data_that_went_another_way_is_told_apart() {
        let history = History::parse(
            "1\t0/5000\tno recovery target specified\n\n2\t0/7000\tno recovery target specified\n",
        );
        assert_eq!(history, History(vec![at(1, 0x5000), at(2, 0x7000)]));
        let primary = at(3, 0x9000);
        for (data, relation) in [
            (at(3, 0x8000), Relation::Behind),
            (at(2, 0x7000), Relation::Behind),
            (at(2, 0x7001), Relation::Diverged),
            (at(1, 0x4000), Relation::Behind),
            (at(1, 0x6000), Relation::Diverged),
            (at(4, 0x1000), Relation::Unrelated),
        ] {
            assert_eq!(history.relation(primary, data), relation, "{data}");
        }
    }
}
