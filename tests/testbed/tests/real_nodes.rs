//! Real nodes come, run pods of two clusters beside each other, and leave nothing behind, however they end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use trading_testbed::Kubectl;
use trading_testbed::real::{Images, RealCluster};

/// Kernel settings that kubelets change for the whole machine.
const TUNABLES: [&str; 4] =
    ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"];

const GONE: Duration = Duration::from_mins(2);

/// Time in which a node that is back starts its pods again.
const STARTED: Duration = Duration::from_mins(3);

/// Whoever changes the kernel's settings does so alone.
static TURN: Mutex<()> = Mutex::new(());

/// What another run changed is put back a moment after it has ended.
const EARLIER: Duration = Duration::from_mins(1);

/// How the child of the last test says what to look for.
const TAG: &str = "the tag is ";

fn tunables() -> Result<Vec<String>> {
    TUNABLES.iter().map(|name| Ok(fs::read_to_string(Path::new("/proc/sys").join(name))?)).collect()
}

/// Whatever carries the tag of a cluster: network namespaces, interfaces, control groups, files, mounts and
/// processes.
fn traces(tag: &str) -> Result<Vec<String>> {
    // The folder in /tmp has another beginning.
    let own = tag.trim_start_matches("tt");
    let mut found = Vec::new();
    let groups = fs::read_dir("/sys/fs/cgroup")?.map(|entry| entry.map(|entry| entry.path()));
    let groups = groups.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|path| path.is_dir());
    let folders = ["/run/netns", "/sys/class/net", "/sys/fs/cgroup", "/tmp"].map(Into::into);
    for folder in folders.into_iter().chain(groups) {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let paths = entries.flatten().map(|entry| entry.path().display().to_string());
        found.extend(paths.filter(|path| path.contains(own)));
    }
    found.extend(fs::read_to_string("/proc/mounts")?.lines().filter(|l| l.contains(own)).map(str::to_owned));
    for process in fs::read_dir("/proc")?.flatten() {
        // It may have ended meanwhile.
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        found.extend(Some(line).filter(|line| line.contains(own)));
    }
    Ok(found)
}

fn wait_until_gone(tag: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let left = traces(tag)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < GONE, "after {GONE:?} there are still\n{}", left.join("\n"));
        thread::sleep(Duration::from_millis(200));
    }
}

fn wait_for_earlier_runs() -> Result<()> {
    let began = Instant::now();
    while fs::read_dir("/run/netns").is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("tt"))
    }) {
        ensure!(began.elapsed() < EARLIER, "other nodes run on this machine: try again when they have ended");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Which container of the pod the kubelet speaks of. How often it was started, and how the last one ended,
/// the kubelet knows only as long as the runtime still has it.
fn container(kubectl: &Kubectl) -> Result<String> {
    let id = "jsonpath={.status.containerStatuses[0].containerID}";
    kubectl.run(&["get", "pod/waiter", "--output", id])
}

fn wait_for_another(cluster: &RealCluster, kubectl: &Kubectl, before: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let now = container(kubectl)?;
        if now != before && !now.is_empty() {
            return Ok(());
        }
        if began.elapsed() > STARTED {
            let log = fs::read_to_string(cluster.node_file(0, "kubelet.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            let pod = kubectl.run(&["describe", "pod/waiter"])?;
            bail!(
                "no new container after {STARTED:?}\n{pod}\nthe kubelet's log ends with\n{}",
                last.join("\n")
            );
        }
        thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn two_clusters_do_not_meet_and_leave_nothing() -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    wait_for_earlier_runs()?;
    let before = tunables()?;
    let images = Images::make()?;
    let clusters: Vec<RealCluster> = thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| RealCluster::start(1, &images)));
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<_>>()
    })?;
    ensure!(clusters[0].address() != clusters[1].address(), "both are at {}", clusters[0].address());
    for cluster in &clusters {
        ensure!(!traces(cluster.tag())?.is_empty(), "what is to be gone is not seen while it is there");
        let kubectl = cluster.control_plane().kubectl()?;
        kubectl.run(&[
            "run",
            "waiter",
            "--image=testbed.local/standin:1.0.0",
            "--image-pull-policy=Never",
        ])?;
        kubectl.run(&["wait", "pod/waiter", "--for=condition=Ready", "--timeout=180s"])?;
        // The way of logs and commands: apiserver to kubelet to container.
        let log = kubectl.run(&["logs", "waiter"])?;
        ensure!(log.contains("version 1.0.0"), "{log}");
        let before = container(&kubectl)?;
        cluster.kill_node(0)?;
        cluster.revive_node(0)?;
        wait_for_another(cluster, &kubectl, &before)?;
        kubectl.run(&["wait", "pod/waiter", "--for=condition=Ready", "--timeout=180s"])?;
    }
    let tags: Vec<String> = clusters.iter().map(|cluster| cluster.tag().to_owned()).collect();
    drop(clusters);
    for tag in tags {
        wait_until_gone(&tag)?;
    }
    ensure!(tunables()? == before, "kernel settings were {before:?} and are {:?}", tunables()?);
    Ok(())
}

#[test]
#[ignore = "the child of the next test, which kills it"]
fn waits_to_be_killed() -> Result<()> {
    let cluster = RealCluster::start(1, &Images::make()?)?;
    println!("\n{TAG}{}", cluster.tag());
    thread::sleep(Duration::from_mins(5));
    Ok(())
}

#[test]
fn a_killed_test_leaves_nothing() -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "waits_to_be_killed", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let tag = lines.map_while(Result::ok).find_map(|line| line.strip_prefix(TAG).map(str::to_owned));
    child.kill()?;
    child.wait()?;
    wait_until_gone(&tag.context("the child has not come up")?)
}
