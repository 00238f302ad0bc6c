//! The testbed itself: what it starts works, and nothing of it stays.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use trading_testbed::{ControlPlane, Kubectl, Options, Release, audit};

const WORKLOADS: &str = include_str!("workloads.yaml");

#[test]
fn workloads_become_ready_and_nothing_is_left_behind() -> Result<()> {
    let started = Instant::now();
    let cluster = ControlPlane::start(Options::simulated(3).with_audit())?;
    eprintln!("control plane ready after {:.1} s", started.elapsed().as_secs_f64());
    let kubectl = cluster.kubectl()?;

    kubectl.apply(WORKLOADS)?;
    kubectl.run(&["rollout", "status", "deployment/web", "statefulset/store", "--timeout=60s"])?;
    kubectl.run(&["wait", "job/once", "--for=condition=Complete", "--timeout=60s"])?;
    eprintln!("workloads ready after {:.1} s", started.elapsed().as_secs_f64());

    volumes_grow_and_go(&kubectl)?;
    service_accounts_have_only_their_rights(&cluster, &kubectl)?;
    cluster.restart_apiserver()?;
    kubectl.run(&["scale", "deployment/web", "--replicas=4"])?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=60s"])?;
    requests_are_counted(&cluster)?;

    let dir = cluster.dir().to_owned();
    ensure!(!processes_with(&dir)?.is_empty(), "the programs are recognized by their folder");
    drop(cluster);
    ensure!(!dir.exists(), "{} is still there", dir.display());
    ensure!(processes_with(&dir)?.is_empty(), "processes are still there");
    Ok(())
}

fn volumes_grow_and_go(kubectl: &Kubectl) -> Result<()> {
    let claim = "persistentvolumeclaim/data-store-0";
    kubectl.run(&["patch", claim, "-p", r#"{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}"#])?;
    kubectl.run(&["wait", claim, "--for=jsonpath={.status.capacity.storage}=2Gi", "--timeout=30s"])?;

    let volume = kubectl.run(&["get", claim, "-o", "jsonpath={.spec.volumeName}"])?;
    kubectl.run(&["delete", "statefulset/store", claim, "--wait=true", "--timeout=30s"])?;
    kubectl.run(&["wait", &format!("persistentvolume/{volume}"), "--for=delete", "--timeout=30s"])?;
    Ok(())
}

fn service_accounts_have_only_their_rights(cluster: &ControlPlane, kubectl: &Kubectl) -> Result<()> {
    let kubeconfig = cluster.kubeconfig_for_service_account("default", "default")?;
    let restricted = kubectl.clone().with_kubeconfig(&kubeconfig);
    let Err(error) = restricted.run(&["get", "secrets"]) else {
        bail!("a service account without roles reads secrets")
    };
    ensure!(error.to_string().contains("system:serviceaccount:default:default"), "{error}");
    Ok(())
}

fn requests_are_counted(cluster: &ControlPlane) -> Result<()> {
    let entries = audit::read(&cluster.audit_log())?;
    let applied = |entry: &&audit::Entry| entry.user == "admin" && entry.is_write() && entry.name == "web";
    let deployments =
        entries.iter().filter(applied).filter(|e| e.resource == "deployments" && e.subresource.is_empty());
    ensure!(deployments.count() == 1, "one apply of the deployment");
    ensure!(entries.iter().any(|entry| entry.code == 403), "the refusal is in the log");
    Ok(())
}

#[tokio::test]
async fn it_can_be_used_and_dropped_inside_a_runtime() -> Result<()> {
    let cluster = ControlPlane::start(Options::api())?;
    let version = cluster.client().await?.apiserver_version().await?;
    ensure!(version.git_version == Release::Current.version()?, "{version:?}");
    Ok(())
}

/// Run by the next test in a process of its own.
#[test]
#[ignore = "holds a control plane until it is killed"]
fn hold() -> Result<()> {
    let cluster = ControlPlane::start(Options::api())?;
    println!("\nholding {}", cluster.dir().display());
    std::thread::sleep(Duration::from_mins(10));
    Ok(())
}

#[test]
fn nothing_is_left_behind_when_the_test_is_killed() -> Result<()> {
    let mut holder = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "hold", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(holder.stdout.take().context("no output")?);
    let dir = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("holding ").map(PathBuf::from))
        .context("the holder did not start")?;
    ensure!(dir.is_dir(), "{} is not there", dir.display());

    holder.kill()?;
    holder.wait()?;
    let killed = Instant::now();
    while dir.exists() || !processes_with(&dir)?.is_empty() {
        ensure!(killed.elapsed() < Duration::from_secs(10), "files or processes are still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn processes_with(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.to_string_lossy();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // Processes come and go while we look.
        let Ok(command) = std::fs::read(entry?.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains(&*dir) {
            found.push(command);
        }
    }
    Ok(found)
}
