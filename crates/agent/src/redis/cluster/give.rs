//! Gives slots to another server, I/O: at any time a key is at one of both, and clients are told where.

use std::time::Duration;

use super::servers::{ServerError, Servers};
use super::view::Member;
use crate::redis::link::Link;

/// Time for one slot with all its keys.
const PATIENCE: Duration = Duration::from_mins(1);
/// Milliseconds that the servers may be silent to each other while keys move.
const SILENCE: &str = "10000";
/// Keys that move in one go: both servers stop for that long.
const AT_A_TIME: &str = "20";

impl Servers {
    /// Moves slots, one after the other. It can end anywhere and be begun again: who owns the slot has
    /// the last word on its keys.
    pub(super) fn give(&self, giver: &Member, taker: &Member, slots: &[u16]) -> Result<(), ServerError> {
        if taker.me().slots.is_empty() {
            self.teach(giver, taker)?;
        }
        slots.iter().try_for_each(|slot| self.give_one(giver, taker, *slot))
    }

    /// A new master has the functions of the others before it has keys.
    fn teach(&self, giver: &Member, taker: &Member) -> Result<(), ServerError> {
        let functions = self.link_for(giver, PATIENCE)?.bytes("FUNCTION DUMP", &["FUNCTION", "DUMP"])?;
        let words: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", &functions, b"REPLACE"];
        Ok(self.link_for(taker, PATIENCE)?.order_bytes("FUNCTION RESTORE", &words)?)
    }

    fn give_one(&self, giver: &Member, taker: &Member, slot: u16) -> Result<(), ServerError> {
        let (from, to, slot) = (&giver.id().0, &taker.id().0, slot.to_string());
        let (mut source, mut target) = (self.link_for(giver, PATIENCE)?, self.link_for(taker, PATIENCE)?);
        target.order("CLUSTER SETSLOT IMPORTING", &["CLUSTER", "SETSLOT", &slot, "IMPORTING", from])?;
        source.order("CLUSTER SETSLOT MIGRATING", &["CLUSTER", "SETSLOT", &slot, "MIGRATING", to])?;
        self.migrate(&mut source, taker, &slot)?;
        // The taker first: should this end in between, it has the younger claim.
        target.order("CLUSTER SETSLOT NODE", &["CLUSTER", "SETSLOT", &slot, "NODE", to])?;
        source.order("CLUSTER SETSLOT NODE", &["CLUSTER", "SETSLOT", &slot, "NODE", to])?;
        Ok(())
    }

    fn migrate(&self, source: &mut Link, taker: &Member, slot: &str) -> Result<(), ServerError> {
        let (ip, port) = (taker.ip.to_string(), self.port.to_string());
        loop {
            let keys =
                source.list("CLUSTER GETKEYSINSLOT", &["CLUSTER", "GETKEYSINSLOT", slot, AT_A_TIME])?;
            if keys.is_empty() {
                return Ok(());
            }
            // What an earlier attempt left at the taker is older.
            let mut words: Vec<&[u8]> =
                [b"MIGRATE", ip.as_bytes(), port.as_bytes(), b"", b"0", SILENCE.as_bytes(), b"REPLACE"]
                    .into();
            if let Some(password) = &self.password {
                words.extend([b"AUTH", password.bytes()]);
            }
            words.push(b"KEYS");
            words.extend(keys.iter().map(Vec::as_slice));
            source.order_bytes("MIGRATE", &words)?;
        }
    }

    fn link_for(&self, member: &Member, patience: Duration) -> Result<Link, ServerError> {
        Ok(Link::open(member.ip, self.port, self.password.as_deref(), patience)?)
    }
}
