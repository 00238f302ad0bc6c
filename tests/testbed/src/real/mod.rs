//! Real nodes beside the control plane: on this one machine, each in namespaces of its own.

mod cgroup;
mod chart;
mod host;
mod images;
mod network;
mod node;
mod overlay;

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

pub use host::{lacking, obstacle, prepare};
pub use images::{
    Images, POSTGRES_ALPINE_IMAGE, POSTGRES_IMAGE, POSTGRES_NEXT_ALPINE_IMAGE, REDIS_ALPINE_IMAGE,
    REDIS_IMAGE, STANDIN_IMAGE,
};
pub use overlay::{images, lower_requests};

use crate::component::Component;
use crate::control_plane::{ControlPlane, listens};
use crate::launch::{MAX_REAL_NODES, User};
use crate::nodes::{self, check_ready};
use crate::options::Options;
use crate::programs::{Program, Programs};
use crate::spawn;
use crate::storage::{self, Backing};
use crate::workdir::Workdir;
use network::Network;
use node::{Node, Surroundings};

/// The programs of real nodes and of the control plane beside them.
pub const PROGRAMS: &[Program] = &[
    Program::Etcd,
    Program::Apiserver,
    Program::ControllerManager,
    Program::Scheduler,
    Program::Kubectl,
    Program::Helm,
    Program::Kubelet,
    Program::KubeProxy,
    Program::CoreDns,
];

const LEAVE_NOTHING: &str = include_str!("leave-nothing.sh");

const READY: Duration = Duration::from_mins(2);

/// A control plane with real nodes. Dropping it ends all of it; nothing stays on this machine, however the
/// process ends.
#[derive(Debug)]
pub struct RealCluster {
    // Dropped from top to bottom: each user before what it uses.
    nodes: Vec<Mutex<Node>>,
    around: Surroundings,
    _dns: Component,
    control_plane: ControlPlane,
    workdir: Workdir,
}

impl RealCluster {
    /// Starts so many nodes in three zones, gives each the images, and waits until all are Ready.
    ///
    /// # Errors
    /// When this machine can't, or something is not ready in time.
    pub fn start(count: usize, images: &Images) -> Result<Self> {
        ensure!((1..=MAX_REAL_NODES).contains(&count), "{count} nodes: 1 to {MAX_REAL_NODES} are possible");
        prepare()?;
        let programs = Programs::new(PROGRAMS)?;
        let workdir = Workdir::create_leaving_nothing(LEAVE_NOTHING)?;
        let tag = workdir.tag();
        let network = Network::create(&tag, count)?;
        let control_plane = ControlPlane::start(Options::for_real_nodes(network.host()))?;
        let dns = start_dns(&programs, &workdir, &control_plane, network.host())?;
        serve_volumes(&control_plane, &workdir.path().join("volumes"))?;

        let around =
            Surroundings::new(network, programs, workdir.path(), &tag, control_plane.layout(), count);
        let started: Vec<Node> = std::thread::scope(|scope| {
            let start = |number| {
                let around = &around;
                move || start_node(number, around, images)
            };
            let threads: Vec<_> = (0..count).map(|number| scope.spawn(start(number))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("panicked"))?)
                .collect::<Result<_>>()
        })?;
        let nodes = started.into_iter().map(Mutex::new).collect();
        let this = Self { nodes, around, _dns: dns, control_plane, workdir };
        this.wait_until_ready(count)?;
        Ok(this)
    }

    /// The control plane.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The address of the control plane's machine in the nodes' network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.around.network.host()
    }

    /// What the names of everything that the kernel knows of it begin with.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.around.tag
    }

    /// What a node is called.
    #[must_use]
    pub fn node_name(&self, node: usize) -> String {
        nodes::name(node)
    }

    /// Gives ours the names of these images, as far as they are not the operator's: stores for stores, and the
    /// stand-in for everything else. There is no registry, so it has to be done before pods want them.
    ///
    /// # Errors
    /// When a node is off.
    pub fn stand_in_for(&self, images: &BTreeSet<String>) -> Result<()> {
        for node in &self.nodes {
            let node = node.lock().unwrap_or_else(PoisonError::into_inner);
            for image in images {
                if let Some(ours) = overlay::stands_in_for(image) {
                    let name = overlay::full_name(image);
                    let arguments = ["-n", "k8s.io", "images", "tag", "--force", &ours, &name];
                    node.run("ctr", &arguments.map(AsRef::as_ref))?;
                }
            }
        }
        Ok(())
    }

    /// Kills a node's kubelet and starts it again. Its pods run on meanwhile.
    ///
    /// # Errors
    /// When it did not run.
    pub fn restart_kubelet(&self, node: usize) -> Result<()> {
        let mut node = self.node(node)?;
        node.stop_kubelet()?;
        node.start_kubelet(&self.around)
    }

    /// Stops every process of a container where it is, as a machine does that hangs. Its connections stay.
    ///
    /// # Errors
    /// When the node or the container is not there.
    pub fn freeze(&self, node: usize, container: &str) -> Result<()> {
        self.node(node)?.signal(&self.around, container, Signal::STOP)
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// When the node or the container is not there.
    pub fn thaw(&self, node: usize, container: &str) -> Result<()> {
        self.node(node)?.signal(&self.around, container, Signal::CONT)
    }

    /// Kills every process of a container; its kubelet starts another.
    ///
    /// # Errors
    /// When the node or the container is not there.
    pub fn kill_container(&self, node: usize, container: &str) -> Result<()> {
        self.node(node)?.signal(&self.around, container, Signal::KILL)
    }

    /// How much of each process of a container is in memory, in KiB, by the process's name.
    ///
    /// # Errors
    /// When the node or the container is not there.
    pub fn resident(&self, node: usize, container: &str) -> Result<Vec<(String, u64)>> {
        self.node(node)?.resident(&self.around, container)
    }

    /// Cuts a node's power: kubelet, containerd and every container die at once, and its address answers
    /// no more. Its disk stays.
    ///
    /// # Errors
    /// When it is off already.
    pub fn kill_node(&self, node: usize) -> Result<()> {
        self.node(node)?.power_off(&self.around)
    }

    /// Starts a killed node again with its disk.
    ///
    /// # Errors
    /// When it is on already, or does not start.
    pub fn revive_node(&self, node: usize) -> Result<()> {
        self.node(node)?.revive(&self.around)
    }

    /// Cuts a node off from everything but itself, or joins it again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn connect_node(&self, node: usize, connected: bool) -> Result<()> {
        self.around.network.connect(node, connected)
    }

    /// A file in a node's folder, such as `kubelet.log` or `containerd.log`.
    #[must_use]
    pub fn node_file(&self, node: usize, name: &str) -> PathBuf {
        self.workdir.path().join(nodes::name(node)).join(name)
    }

    /// Waits until so many nodes are Ready.
    ///
    /// # Errors
    /// When they are not within two minutes.
    pub fn wait_until_ready(&self, count: usize) -> Result<()> {
        let began = Instant::now();
        loop {
            let Err(error) = self.control_plane.run(|client| check_ready(client, count)) else {
                return Ok(());
            };
            if began.elapsed() > READY {
                let log = fs::read_to_string(self.node_file(0, "kubelet.log")).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(10).collect();
                let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(
                    error.context(format!("after {} s; a kubelet's log ends\n{tail}", READY.as_secs()))
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn node(&self, node: usize) -> Result<MutexGuard<'_, Node>> {
        let node = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        Ok(node.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn start_node(number: usize, around: &Surroundings, images: &Images) -> Result<Node> {
    let mut node = Node::start(number, around)?;
    for archive in images.archives() {
        let arguments = ["-n", "k8s.io", "images", "import"].map(AsRef::as_ref);
        node.run("ctr", &[&arguments[..], &[archive.as_os_str()]].concat())?;
    }
    node.start_kubelet(around)?;
    Ok(node)
}

fn start_dns(
    programs: &Programs,
    workdir: &Workdir,
    control_plane: &ControlPlane,
    address: Ipv4Addr,
) -> Result<Component> {
    let kubeconfig = control_plane.layout().kubeconfig(User::CoreDns);
    let config = format!(
        ".:53 {{\n  bind {address}\n  errors\n  kubernetes cluster.local {{\n    kubeconfig {}\n    ttl 5\n  }}\n  \
         cache 5\n}}\n",
        kubeconfig.display()
    );
    let file = workdir.path().join("Corefile");
    fs::write(&file, config)?;
    let mut command = spawn::command(programs.path(Program::CoreDns)?);
    command.arg("-conf").arg(&file);
    let mut dns = Component::start("CoreDNS", command, &workdir.path().join("coredns.log"))?;
    dns.wait_until_ready(|| listens(address, 53))?;
    Ok(dns)
}

fn serve_volumes(control_plane: &ControlPlane, dir: &Path) -> Result<()> {
    let backing = Backing::Folders(dir.to_owned());
    let classes = backing.clone();
    control_plane.run(|client| async move { storage::create_classes(&client, &classes).await })?;
    control_plane.spawn(|client| storage::provision(client, backing))
}
