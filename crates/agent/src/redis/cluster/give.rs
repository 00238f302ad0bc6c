//! Gives slots to another server, I/O: at any time a key is at one of both, and clients are told where.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::nodes;
use super::servers::{ServerError, Servers};
use super::view::Member;
use crate::redis::link::{Link, LinkError};

/// Time for one slot with all its keys.
const PATIENCE: Duration = Duration::from_mins(1);
/// Milliseconds that the servers may be silent to each other while keys move. Both serve nobody else
/// meanwhile: less than the node timeout, or the others would take them for lost.
const SILENCE: &str = "3000";
/// Keys that move in one go.
const AT_A_TIME: usize = 20;
/// Bytes of all function libraries together, and of the names of keys that move in one go.
const ROOM: usize = 32 * 1024 * 1024;
/// Bytes that move in one go, but for a key that is larger.
const SIZE: u64 = 4 * 1024 * 1024;

impl Servers {
    /// Moves slots, one after the other. It can end anywhere and be begun again: who owns the slot has
    /// the last word on its keys.
    pub(super) fn give(
        &self,
        giver: &Member,
        taker: &Member,
        slots: &[u16],
        begun: bool,
    ) -> Result<(), ServerError> {
        let mut slots = slots.to_vec();
        if taker.me().slots.is_empty() {
            self.teach(giver, taker)?;
            // With a slot of its own its replica can take over, and only then it has keys to lose.
            let mut link = self.link_for(giver)?;
            let counts: Result<Vec<_>, _> = slots.iter().map(|slot| keys_in(&mut link, *slot)).collect();
            let mut counted: Vec<_> = counts?.into_iter().zip(slots).collect();
            counted.sort_unstable();
            slots = counted.into_iter().map(|(_, slot)| slot).collect();
        }
        // One conversation for all of them: with TLS each one that begins costs more than an empty slot.
        let mut links = (self.link_for(giver)?, self.link_for(taker)?);
        if !begun {
            let unfinished = outward(&mut links.1)?;
            slots.retain(|slot| !unfinished.contains(slot));
        }
        for slot in slots {
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            links.0.go_on(PATIENCE);
            links.1.go_on(PATIENCE);
            self.give_one(giver, taker, &mut links, slot, begun)?;
        }
        Ok(())
    }

    /// A new master has the functions of the others before it has keys.
    fn teach(&self, giver: &Member, taker: &Member) -> Result<(), ServerError> {
        let functions = self.link_for(giver)?.bytes("FUNCTION DUMP", &["FUNCTION", "DUMP"])?;
        let words: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", &functions, b"REPLACE"];
        Ok(self.link_for(taker)?.order_bytes("FUNCTION RESTORE", &words)?)
    }

    fn give_one(
        &self,
        giver: &Member,
        taker: &Member,
        (source, target): &mut (Link, Link),
        slot: u16,
        begun: bool,
    ) -> Result<(), ServerError> {
        let keys = keys_in(target, slot)?;
        if keys > 0 && !begun {
            // From before it lost the slot: what was deleted since then would be there again.
            return Err(ServerError::Leftover { host: taker.me().host.clone(), slot, keys });
        }
        let (from, to, slot) = (&giver.id().0, &taker.id().0, slot.to_string());
        target.order("CLUSTER SETSLOT IMPORTING", &["CLUSTER", "SETSLOT", &slot, "IMPORTING", from])?;
        source.order("CLUSTER SETSLOT MIGRATING", &["CLUSTER", "SETSLOT", &slot, "MIGRATING", to])?;
        self.migrate(source, taker, &slot)?;
        // The taker first: should this end in between, it has the younger claim.
        target.order("CLUSTER SETSLOT NODE", &["CLUSTER", "SETSLOT", &slot, "NODE", to])?;
        source.order("CLUSTER SETSLOT NODE", &["CLUSTER", "SETSLOT", &slot, "NODE", to])?;
        Ok(())
    }

    fn migrate(&self, source: &mut Link, taker: &Member, slot: &str) -> Result<(), ServerError> {
        let (ip, port) = (taker.ip.to_string(), self.port.to_string());
        let at_a_time = AT_A_TIME.to_string();
        let password = self.passwords.main();
        loop {
            let keys =
                source.list("CLUSTER GETKEYSINSLOT", &["CLUSTER", "GETKEYSINSLOT", slot, &at_a_time])?;
            if keys.is_empty() {
                return Ok(());
            }
            let keys = few(source, keys)?;
            // What an earlier attempt left at the taker is older.
            let mut words: Vec<&[u8]> =
                [b"MIGRATE", ip.as_bytes(), port.as_bytes(), b"", b"0", SILENCE.as_bytes(), b"REPLACE"]
                    .into();
            if let Some(password) = &password {
                words.extend([b"AUTH", password.bytes()]);
            }
            words.push(b"KEYS");
            words.extend(keys.iter().map(Vec::as_slice));
            source.order_bytes("MIGRATE", &words)?;
        }
    }

    fn link_for(&self, member: &Member) -> Result<Link, LinkError> {
        Ok(Link::open(member.ip, self.port, &self.passwords, PATIENCE)?.with_room(ROOM))
    }
}

/// Slots that the agent of the server has yet to give away, as far as its server says. One that was given to this
/// server, of which it has yet to say so there, may not come back before: that word would come after it, and each
/// would take the other for its owner.
fn outward(link: &mut Link) -> Result<BTreeSet<u16>, ServerError> {
    let nodes = nodes::parse(&link.text("CLUSTER NODES", &["CLUSTER", "NODES"])?)?;
    let moving = nodes.iter().filter(|node| node.myself).flat_map(|node| &node.moving);
    Ok(moving.filter(|moving| moving.outward).map(|moving| moving.slot).collect())
}

/// How many keys of a slot the server holds, whoever owns it.
pub(super) fn keys_in(link: &mut Link, slot: u16) -> Result<u64, LinkError> {
    link.count("CLUSTER COUNTKEYSINSLOT", &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])
}

/// The first keys, together no larger than moves in one go.
fn few(source: &mut Link, keys: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, LinkError> {
    let mut few = Vec::new();
    let mut size = 0_u64;
    for key in keys {
        // One that ended meanwhile has none.
        let bytes = source.count_bytes("MEMORY USAGE", &[b"MEMORY", b"USAGE", &key])?.unwrap_or(0);
        size = size.saturating_add(bytes);
        if size > SIZE && !few.is_empty() {
            break;
        }
        few.push(key);
    }
    Ok(few)
}
