//! The handling of the operator's process, with a shell in its place.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use trading_testbed::{Operator, OperatorConfig};

fn shell(script: &str, dir: &tempfile::TempDir) -> Result<Operator> {
    Operator::start(OperatorConfig {
        binary: "/bin/sh".into(),
        kubeconfig: "/nowhere".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello".into())],
        log: dir.path().join("log"),
    })
}

fn wait_for(what: &str, check: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !check()? {
        ensure!(started.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn it_is_frozen_thawed_and_measured() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut busy = shell("while :; do :; done", &dir)?;
    wait_for("CPU time is counted", || Ok(busy.cpu_seconds()? > 0.05))?;
    ensure!(busy.peak_memory()? > 100_000, "memory is counted");

    busy.pause()?;
    std::thread::sleep(Duration::from_millis(50));
    let frozen = busy.cpu_seconds()?;
    std::thread::sleep(Duration::from_millis(200));
    ensure!((busy.cpu_seconds()? - frozen).abs() < f64::EPSILON, "it runs though frozen");

    busy.resume()?;
    wait_for("it goes on", || Ok(busy.cpu_seconds()? > frozen))?;
    busy.kill()?;
    ensure!(busy.exited()?.is_some() && busy.pause().is_err(), "it is gone");
    Ok(())
}

#[test]
fn it_ends_on_request_and_starts_again_with_the_same_log() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut polite =
        shell("trap 'exit 7' TERM; echo $GREETING $KUBECONFIG; while :; do sleep 0.01; done", &dir)?;
    wait_for("it greets", || Ok(polite.log()? == "hello /nowhere\n"))?;
    ensure!(polite.terminate(Duration::from_secs(10))?.code() == Some(7), "it ends by itself");

    polite.restart()?;
    wait_for("it greets again", || Ok(polite.log()?.lines().count() == 2))?;
    let mut deaf = shell("trap '' TERM; echo deaf; while :; do sleep 0.01; done", &dir)?;
    wait_for("the deaf one listens", || Ok(deaf.log()?.contains("deaf")))?;
    ensure!(deaf.terminate(Duration::from_millis(200)).is_err(), "a timeout is an error");
    Ok(())
}
