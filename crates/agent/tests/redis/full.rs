//! A volume fills up under a server that writes each request down before it answers.

use std::time::Duration;

use serde_json::Value;

use crate::fleet::{Fleet, eventually, has_redis};
use crate::small_volume::SmallVolume;
use crate::support::free_port;

const PATIENCE: Duration = Duration::from_secs(30);
/// Percent from which the operator tells of it.
const TOLD: u64 = 85;
const SMALL: u32 = 24;
const LARGE: u32 = 64;

/// How many percent are used, as the agent tells.
fn percent(fleet: &Fleet) -> Option<u64> {
    let volume = fleet.report(0)["volumes"][0].clone();
    let (all, free) = (volume["totalBytes"].as_u64()?, volume["freeBytes"].as_u64()?);
    Some((all - free) * 100 / all.max(1))
}

#[test]
fn a_full_volume_is_told_of_before_and_a_larger_one_goes_on() {
    if !has_redis() {
        return;
    }
    let tells = ["--tell-failure-seconds", "5"];
    let mut fleet = Fleet::new("shop-redis", free_port(), "appendonly yes\nappendfsync always\n", &tells);
    let data = fleet.folder(0).join("data");
    std::fs::create_dir_all(&data).expect("made");
    let Some(volume) = SmallVolume::new(&data, SMALL, None) else { return };
    fleet.keep_data_on(volume);
    fleet.start(0);
    eventually("the server answers", PATIENCE, || fleet.ask(0, &["PING"]) == "PONG");

    let value = "x".repeat(256 * 1024);
    let (mut acknowledged, mut before) = (0, 0);
    loop {
        before = percent(&fleet).unwrap_or(before);
        if fleet.ask(0, &["SET", &format!("key-{acknowledged}"), &value]) != "OK" {
            break;
        }
        acknowledged += 1;
        assert!(acknowledged < 1000, "it is never full");
    }
    assert!(before >= TOLD, "only {before} % were told of before");
    // Redis ends rather than acknowledge what it can't write down.
    assert!(!fleet.wait(0).success());
    fleet.start(0);
    eventually("it is told why it can't go on", PATIENCE, || {
        let failure = fleet.report(0)["failure"].clone();
        failure == Value::Null && fleet.ask(0, &["PING"]) == "PONG" || failure["reason"] == "ServerEnded"
    });
    fleet.volume().grow(LARGE);
    eventually("it goes on", PATIENCE, || {
        fleet.start_again_if_ended(0);
        fleet.ask(0, &["SET", "after", "it"]) == "OK"
    });
    for number in 0..acknowledged {
        assert_eq!(fleet.ask(0, &["STRLEN", &format!("key-{number}")]), value.len().to_string(), "{number}");
    }
    assert!(percent(&fleet).is_some_and(|percent| percent < TOLD), "it is told that it grew");
}
