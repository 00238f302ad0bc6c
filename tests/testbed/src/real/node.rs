//! One real node: containerd, kubelet and kube-proxy in namespaces of their own, which end with the node's
//! first process.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::cgroup;
use super::network::{Network, succeed};
use crate::component::Component;
use crate::launch::{Layout, User, flag};
use crate::nodes::{self, REGION, ZONES};
use crate::programs::{Program, Programs};
use crate::spawn;

const INIT: &str = include_str!("node-init.sh");

/// The image of the process that holds a pod's namespaces.
pub(super) const PAUSE_IMAGE: &str = "testbed.local/pause:1";

/// A kubelet that finds its node not ready for it yet ends, and is started again, as by systemd.
const SUPERVISED: &str = r#"while :; do setpriv --pdeathsig KILL -- "$@" || sleep 1; done"#;

/// On a machine that may be compiling.
const START: Duration = Duration::from_mins(2);

/// What all nodes share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) network: Network,
    pub(super) programs: Programs,
    /// Where the nodes' folders are.
    pub(super) dir: PathBuf,
    /// What the names of control groups begin with.
    pub(super) tag: String,
    pub(super) kubelet_kubeconfigs: Vec<PathBuf>,
    pub(super) proxy_kubeconfig: PathBuf,
}

impl Surroundings {
    pub(super) fn new(
        network: Network,
        programs: Programs,
        dir: &Path,
        tag: &str,
        layout: &Layout,
        nodes: usize,
    ) -> Self {
        Self {
            network,
            programs,
            dir: dir.to_owned(),
            tag: tag.to_owned(),
            kubelet_kubeconfigs: (0..nodes).map(|node| layout.kubeconfig(User::Kubelet(node))).collect(),
            proxy_kubeconfig: layout.kubeconfig(User::KubeProxy),
        }
    }
}

/// A node; it dies when dropped.
#[derive(Debug)]
pub(super) struct Node {
    number: usize,
    /// All are there while the node has power.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    // Dropped from top to bottom.
    kubelet: Option<Component>,
    _proxy: Component,
    machine: Component,
    /// The first process, as this machine numbers it.
    init: u32,
}

impl Node {
    /// Prepares the node's folder and starts it.
    pub(super) fn start(number: usize, around: &Surroundings) -> Result<Self> {
        let mut node = Self { number, running: None };
        node.write_files(around)?;
        cgroup::create(&node.group(around))?;
        node.running = Some(node.power_on(around)?);
        Ok(node)
    }

    /// Runs a program on the node, to its end.
    pub(super) fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<()> {
        succeed(enter(self.running()?.init, Path::new(program)).args(arguments))
    }

    /// Starts the kubelet. The node must have the images by then.
    pub(super) fn start_kubelet(&mut self, around: &Surroundings) -> Result<()> {
        let dir = self.dir(around);
        let init = self.running()?.init;
        let mut command = enter(init, Path::new("sh"));
        command.args(["-c", SUPERVISED, "sh"]).arg(around.programs.path(Program::Kubelet)?);
        let zone = ZONES[self.number % ZONES.len()];
        command.args([
            flag("config", dir.join("kubelet.json")),
            flag("kubeconfig", &around.kubelet_kubeconfigs[self.number]),
            flag("hostname-override", nodes::name(self.number)),
            flag("node-ip", around.network.node(self.number).to_string()),
            flag(
                "node-labels",
                format!(
                    "topology.kubernetes.io/region={REGION},topology.kubernetes.io/zone={zone},storage=ssd"
                ),
            ),
        ]);
        let kubelet = Component::start("kubelet", command, &dir.join("kubelet.log"))?;
        self.running.as_mut().context("the node is off")?.kubelet = Some(kubelet);
        Ok(())
    }

    /// Sends a signal to every process of a container, also to those that it starts meanwhile.
    pub(super) fn signal(&self, around: &Surroundings, container: &str, signal: Signal) -> Result<()> {
        let mut reached = BTreeSet::new();
        loop {
            let processes = match cgroup::processes(&self.group(around), container) {
                // Those that were reached have ended, and their group with them.
                Err(_) if !reached.is_empty() => return Ok(()),
                found => found?,
            };
            let new: Vec<i32> = processes.into_iter().filter(|process| reached.insert(*process)).collect();
            if new.is_empty() {
                return Ok(());
            }
            for process in new.into_iter().filter_map(Pid::from_raw) {
                match kill_process(process, signal) {
                    // It has ended meanwhile.
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(error) => return Err(error).context("cannot send a signal"),
                }
            }
        }
    }

    /// How much of each process of a container is in memory, in KiB, by the process's name.
    pub(super) fn resident(&self, around: &Surroundings, container: &str) -> Result<Vec<(String, u64)>> {
        let processes = cgroup::processes(&self.group(around), container)?;
        // One that ends meanwhile is not missed.
        let status =
            processes.iter().flat_map(|process| fs::read_to_string(format!("/proc/{process}/status")));
        Ok(status
            .filter_map(|status| Some((field(&status, "Name")?.to_owned(), kibibytes(&status)?)))
            .collect())
    }

    /// Kills the kubelet. Its pods run on.
    pub(super) fn stop_kubelet(&mut self) -> Result<()> {
        let running = self.running.as_mut().context("the node is off")?;
        running.kubelet.take().context("the kubelet does not run")?.kill()?;
        Ok(())
    }

    /// Cuts the power: everything on the node is gone but its disk.
    pub(super) fn power_off(&mut self, around: &Surroundings) -> Result<()> {
        let mut running = self.running.take().context("the node is off already")?;
        around.network.connect(self.number, false)?;
        running.machine.kill()?;
        Ok(())
    }

    /// Starts it again with its old disk.
    pub(super) fn revive(&mut self, around: &Surroundings) -> Result<()> {
        if self.running.is_some() {
            bail!("the node is on already");
        }
        around.network.connect(self.number, true)?;
        self.running = Some(self.power_on(around)?);
        self.start_kubelet(around)
    }

    fn running(&self) -> Result<&Running> {
        self.running.as_ref().with_context(|| format!("{} is off", nodes::name(self.number)))
    }

    fn group(&self, around: &Surroundings) -> String {
        format!("{}-{}", around.tag, self.number)
    }

    fn dir(&self, around: &Surroundings) -> PathBuf {
        around.dir.join(nodes::name(self.number))
    }

    fn power_on(&self, around: &Surroundings) -> Result<Running> {
        let dir = self.dir(around);
        let mut command = spawn::command(Path::new("nsenter"));
        command
            .arg(flag("net", around.network.namespace(self.number)))
            .args(["--", "unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"])
            .args(["--", "sh"])
            .arg(dir.join("init.sh"))
            .arg(&dir);
        let machine = Component::start("a node", command, &dir.join("node.log"))?;
        let init = wait_for("the first process of a node", || first_child(machine.id()))?;
        wait_for("containerd", || {
            succeed(enter(init, Path::new("ctr")).arg("version")).map_err(|error| log(&dir, &error))
        })?;
        let proxy = self.start_proxy(init, around)?;
        Ok(Running { kubelet: None, _proxy: proxy, machine, init })
    }

    fn start_proxy(&self, init: u32, around: &Surroundings) -> Result<Component> {
        let dir = self.dir(around);
        let mut command = enter(init, around.programs.path(Program::KubeProxy)?);
        command.arg(flag("config", dir.join("kube-proxy.json")));
        Component::start("kube-proxy", command, &dir.join("kube-proxy.log"))
    }

    fn write_files(&self, around: &Surroundings) -> Result<()> {
        let dir = self.dir(around);
        for folder in ["lib", "log", "cni"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let network = &around.network;
        let kubelet = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.node(self.number),
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.group(around)),
            "clusterDNS": [network.host()],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "enforceNodeAllocatable": [],
            // The disk and the memory are the machine's, and what else runs there is no reason to evict.
            "evictionHard": {
                "imagefs.available": "0%",
                "memory.available": "0%",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
            },
            "failCgroupV1": false,
            "failSwapOn": false,
            // There is no registry to fetch an image from again.
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "4s",
            "resolvConf": "",
            // So often it looks after changed ConfigMaps; tests would wait for a minute and a half otherwise.
            "syncFrequency": "10s",
        });
        let proxy = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": { "kubeconfig": around.proxy_kubeconfig },
            "clusterCIDR": network.block(),
            "conntrack": { "maxPerCore": 0, "min": 0 },
            "hostnameOverride": nodes::name(self.number),
            "mode": "iptables",
        });
        fs::write(dir.join("init.sh"), INIT)?;
        fs::write(dir.join("containerd.toml"), containerd(&dir.join("cni")))?;
        fs::write(dir.join("cni/pods.conflist"), serde_json::to_vec(&network.plugins(self.number))?)?;
        fs::write(dir.join("kubelet.json"), serde_json::to_vec(&kubelet)?)?;
        fs::write(dir.join("kube-proxy.json"), serde_json::to_vec(&proxy)?)?;
        Ok(())
    }
}

/// A program inside a node's namespaces, which dies when we do.
fn enter(init: u32, program: &Path) -> Command {
    let mut command = spawn::command(Path::new("nsenter"));
    command.arg(flag("target", init.to_string())).args(["--mount", "--net", "--pid", "--"]);
    // To enter a process namespace takes a further process, which has to die as well.
    command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn containerd(plugins: &Path) -> String {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "/run/containerd/containerd.sock"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Inside another container no process may be made less likely to be killed.
restrict_oom_score_adj = true
disable_apparmor = true

[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{}"
"#,
        plugins.display()
    )
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn kibibytes(status: &str) -> Option<u64> {
    field(status, "VmRSS")?.split_whitespace().next()?.parse().ok()
}

fn first_child(parent: u32) -> Result<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let first = children.split_whitespace().next().context("it has not started")?;
    Ok(first.parse()?)
}

fn wait_for<T>(what: &str, check: impl Fn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() > START => {
                return Err(error.context(format!("{what} is not there after {} s", START.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn log(dir: &Path, error: &anyhow::Error) -> anyhow::Error {
    let text = fs::read_to_string(dir.join("containerd.log")).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(10).collect();
    anyhow::anyhow!("{error:#}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
}
