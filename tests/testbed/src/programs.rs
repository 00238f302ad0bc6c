//! Finds the programs of the control plane and of nodes, and has the missing ones built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::go;
use crate::release::{Family, Release};

/// A program of the control plane or of a node, or one that talks to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The store behind the apiserver.
    Etcd,
    /// kube-apiserver.
    Apiserver,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// Plays the kubelet of nodes that do not exist.
    Kwok,
    /// kubectl.
    Kubectl,
    /// helm.
    Helm,
    /// Runs the pods of a real node.
    Kubelet,
    /// Makes Services lead to pods, on a real node.
    KubeProxy,
    /// The cluster's DNS.
    CoreDns,
}

impl Program {
    /// The name under which it is kept.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::CoreDns => "coredns",
        }
    }

    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Apiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Scheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kwok => "sigs.k8s.io/kwok/cmd/kwok",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::CoreDns => "platform.trading/tests/coredns",
        }
    }

    /// What `go build` calls it: the last element of the package's path that is not a major version.
    pub(crate) fn built_name(self) -> &'static str {
        match self {
            Self::Etcd => "server",
            other => other.file_name(),
        }
    }

    /// The part of the build time that it adds on two cores with nothing cached, in minutes.
    pub(crate) fn cold_minutes(self) -> f64 {
        match self {
            Self::Apiserver => 2.5,
            Self::Kubelet | Self::CoreDns => 1.5,
            Self::KubeProxy | Self::Kubectl | Self::ControllerManager => 1.0,
            Self::Etcd | Self::Scheduler | Self::Kwok | Self::Helm => 0.5,
        }
    }

    fn family(self) -> Family {
        match self {
            Self::CoreDns => Family::CoreDns,
            _ => Family::ControlPlane(Release::Current),
        }
    }

    /// Whether setup-envtest's assets hold it.
    fn in_kubebuilder_assets(self) -> bool {
        matches!(self, Self::Etcd | Self::Apiserver | Self::Kubectl)
    }
}

/// Where the programs are that a command asked for.
#[derive(Clone, Debug)]
pub struct Programs {
    paths: BTreeMap<Program, PathBuf>,
}

impl Programs {
    /// Finds the programs in `KUBEBUILDER_ASSETS` or in the cache, and builds those that are in neither.
    ///
    /// # Errors
    /// When one is missing and Go is not there to build it, or the build fails.
    pub fn new(wanted: &[Program]) -> Result<Self> {
        Self::find_or_build(wanted, from_assets)
    }

    /// Like [`Programs::new`], but takes what `PATH` has before it builds anything: for a person's own
    /// cluster, whose owner has chosen the versions.
    ///
    /// # Errors
    /// As for [`Programs::new`].
    pub fn preferring_path(wanted: &[Program]) -> Result<Self> {
        Self::find_or_build(wanted, |program| from_assets(program).or_else(|| in_path(program.file_name())))
    }

    fn find_or_build(wanted: &[Program], elsewhere: impl Fn(Program) -> Option<PathBuf>) -> Result<Self> {
        let mut paths = BTreeMap::new();
        let mut ours = Vec::new();
        for &program in wanted {
            match elsewhere(program) {
                Some(path) => _ = paths.insert(program, path),
                None => ours.push(program),
            }
        }
        for family in [Family::ControlPlane(Release::Current), Family::CoreDns] {
            let members: Vec<_> = ours.iter().copied().filter(|p| p.family() == family).collect();
            if !members.is_empty() {
                let dir = go::ensure(family, &members)?;
                paths.extend(members.into_iter().map(|program| (program, dir.join(program.file_name()))));
            }
        }
        Ok(Self { paths })
    }

    /// Whether all of them could be had without building; the release is that of the control plane.
    #[must_use]
    pub fn cached(release: Release, wanted: &[Program]) -> bool {
        wanted.iter().all(|&program| {
            let family = match program.family() {
                Family::ControlPlane(_) => Family::ControlPlane(release),
                Family::CoreDns => Family::CoreDns,
            };
            (release == Release::Current && from_assets(program).is_some())
                || family.cache_dir().is_ok_and(|dir| go::is_built(&dir, program))
        })
    }

    /// Whether [`Programs::new`] has a chance: they are there, or Go is there to build them.
    #[must_use]
    pub fn obtainable(wanted: &[Program]) -> bool {
        Self::cached(Release::Current, wanted) || in_path("go").is_some()
    }

    /// Replaces the apiserver by that of another release, building it if necessary.
    ///
    /// # Errors
    /// As for [`Programs::new`].
    pub fn with_apiserver(mut self, release: Release) -> Result<Self> {
        let path = match release {
            Release::Current => return Ok(self),
            Release::Oldest => go::ensure(Family::ControlPlane(release), &[Program::Apiserver])?
                .join(Program::Apiserver.file_name()),
        };
        self.paths.insert(Program::Apiserver, path);
        Ok(self)
    }

    /// Where a program is.
    ///
    /// # Errors
    /// When it was not among those asked for.
    pub fn path(&self, program: Program) -> Result<&Path> {
        self.paths
            .get(&program)
            .map(PathBuf::as_path)
            .with_context(|| format!("{} was not asked for", program.file_name()))
    }

    /// kwok's stages, which lie beside the program because kwok has none of its own.
    pub(crate) fn stages() -> Result<PathBuf> {
        Ok(Family::ControlPlane(Release::Current).cache_dir()?.join(go::STAGES))
    }
}

fn from_assets(program: Program) -> Option<PathBuf> {
    let dir = std::env::var_os("KUBEBUILDER_ASSETS")
        .filter(|dir| !dir.is_empty() && program.in_kubebuilder_assets())?;
    Some(Path::new(&dir).join(program.file_name())).filter(|path| path.is_file())
}

pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}
