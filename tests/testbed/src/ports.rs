//! Free ports on 127.0.0.1.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rand::RngExt;

/// Below the range from which systems take the ports of outgoing connections: those could take the port of an
/// apiserver that is being restarted.
const RANGE: Range<u16> = 10_000..30_000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on and that was not given before in this process. Another process may
/// still be quicker.
pub(crate) fn free() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = (0..1000)
        .map(|_| rand::rng().random_range(RANGE))
        .find(|port| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("found no free port on 127.0.0.1")?;
    given.insert(port);
    Ok(port)
}
