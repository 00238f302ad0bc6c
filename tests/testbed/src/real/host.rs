//! What this machine has to have for real nodes, and putting it there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::programs::in_path;
use crate::progress::Progress;

/// Debian's packages, and a file or program by which each is found.
const PACKAGES: [(&str, &str); 8] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("conntrack", "conntrack"),
    ("iptables", "iptables"),
    ("iproute2", "ip"),
    ("util-linux", "nsenter"),
    ("debootstrap", "debootstrap"),
];

/// Why real nodes can't run here, if so.
#[must_use]
pub fn obstacle() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("real nodes need Linux".to_owned());
    }
    if !rustix::process::getuid().is_root() {
        return Some("real nodes need root: namespaces, mounts and cgroups are made for them".to_owned());
    }
    let missing = lacking();
    (!missing.is_empty() && !installs_itself()).then(|| {
        let names = missing.join(", ");
        format!("not installed: {names}; on Debian they are installed by themselves, here install them first")
    })
}

/// Installs what is missing where that is possible.
///
/// # Errors
/// When real nodes can't run here.
pub fn prepare() -> Result<()> {
    if let Some(obstacle) = obstacle() {
        anyhow::bail!("{obstacle}");
    }
    let missing = lacking();
    if missing.is_empty() {
        return Ok(());
    }
    let progress = Progress::start(&format!(
        "installing Debian's {} for real nodes (less than a minute; they stay installed)",
        missing.join(", ")
    ));
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], &missing[..]].concat())?;
    progress.done();
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "apt-get {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// The packages that are not installed.
#[must_use]
pub fn lacking() -> Vec<&'static str> {
    let is_there =
        |what: &str| if what.starts_with('/') { Path::new(what).is_file() } else { installed(what) };
    PACKAGES.into_iter().filter(|(_, what)| !is_there(what)).map(|(package, _)| package).collect()
}

/// Some of them are where only root's `PATH` leads.
fn installed(program: &str) -> bool {
    in_path(program).is_some() || Path::new("/usr/sbin").join(program).is_file()
}

fn installs_itself() -> bool {
    Path::new("/etc/debian_version").is_file() && in_path("apt-get").is_some()
}
