//! The power of a node is cut: how much is lost of what was acknowledged is what `appendfsync` says.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, eventually, has_redis, signal};
use crate::small_volume::{SmallVolume, make_disk};
use crate::support::free_port;

const PATIENCE: Duration = Duration::from_secs(30);
const WRITES: Duration = Duration::from_secs(5);
const LEAST: usize = 200;
const DISK: u32 = 32;
/// A second, and what a disk takes that others use meanwhile.
const EVERY_SECOND: Duration = Duration::from_secs(10);

/// Acknowledged writes, and how long before the cut the oldest one was acknowledged that is lost.
fn cut(fsync: &str) -> Option<(usize, usize, Duration)> {
    let template = format!("appendonly yes\nappendfsync {fsync}\n");
    let mut fleet = Fleet::new("shop-redis", free_port(), &template, &[]);
    let data = fleet.folder(0).join("data");
    std::fs::create_dir_all(&data).expect("made");
    let (disk, left) = (fleet.file("disk"), fleet.file("disk-left"));
    make_disk(&disk, DISK, None);
    fleet.keep_data_on(SmallVolume::on_disk(&data, &disk)?);
    fleet.start(0);
    eventually("the server answers", PATIENCE, || fleet.ask(0, &["PING"]) == "PONG");
    let (began, mut acknowledged) = (Instant::now(), Vec::new());
    while began.elapsed() < WRITES || acknowledged.len() < LEAST {
        let key = format!("key-{}", acknowledged.len());
        if fleet.ask(0, &["SET", &key, "1"]) == "OK" {
            acknowledged.push((key, Instant::now()));
        }
    }
    signal("-STOP", &format!("-{}", fleet.agent(0)));
    let at = Instant::now();
    std::fs::copy(&disk, &left).expect("copied");
    fleet.kill(0);
    fleet.keep_data_on(SmallVolume::on_disk(&data, &left)?);
    fleet.start(0);
    eventually("the server is back", PATIENCE, || fleet.ask(0, &["PING"]) == "PONG");
    let lost: Vec<Duration> = acknowledged
        .iter()
        .filter(|(key, _)| fleet.ask(0, &["EXISTS", key]) != "1")
        .map(|(_, acknowledged)| at.saturating_duration_since(*acknowledged))
        .collect();
    Some((acknowledged.len(), lost.len(), lost.into_iter().max().unwrap_or_default()))
}

#[test]
fn a_cut_of_power_loses_nothing_or_a_moment() {
    if !has_redis() {
        return;
    }
    let Some((acknowledged, lost, _)) = cut("always") else { return };
    assert_eq!(lost, 0, "of {acknowledged} writes");
    let Some((acknowledged, lost, oldest)) = cut("everysec") else { return };
    eprintln!(
        "appendfsync everysec: {lost} of {acknowledged} writes are lost, the oldest {oldest:?} before the cut"
    );
    assert!(oldest < EVERY_SECOND, "{lost} writes are lost, the oldest of {oldest:?} before");
}
