//! The command lines of the programs.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::json;

use crate::certificates::{Certificates, SERVICE_RANGE};
use crate::programs::{Program, Programs};
use crate::{kubeconfig, nodes, ports, spawn};

/// Everything that the command lines refer to.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    certificates: Certificates,
    /// Where the apiserver listens.
    pub(crate) address: Ipv4Addr,
    pub(crate) etcd_port: u16,
    etcd_peer_port: u16,
    pub(crate) apiserver_port: u16,
    pub(crate) scheduler_port: u16,
}

/// Users that the apiserver knows by token. The name of each is also that of its kubeconfig.
#[derive(Clone, Copy)]
pub(crate) enum User {
    /// Prepares and observes.
    Admin,
    /// The testbed itself, so that its requests can be told from those of a test.
    Testbed,
    ControllerManager,
    Scheduler,
    Kwok,
    /// The kubelet of the real node of this number.
    Kubelet(usize),
    KubeProxy,
    CoreDns,
}

/// No more real nodes than this have a login.
pub(crate) const MAX_REAL_NODES: usize = 9;

impl User {
    fn all() -> impl Iterator<Item = Self> {
        let others = [
            Self::Admin,
            Self::Testbed,
            Self::ControllerManager,
            Self::Scheduler,
            Self::Kwok,
            Self::KubeProxy,
            Self::CoreDns,
        ];
        others.into_iter().chain((0..MAX_REAL_NODES).map(Self::Kubelet))
    }

    fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Admin => "admin",
            Self::Testbed => "testbed",
            Self::ControllerManager => "system:kube-controller-manager",
            Self::Scheduler => "system:kube-scheduler",
            Self::Kwok => "kwok",
            Self::Kubelet(number) => return Cow::Owned(format!("system:node:{}", nodes::name(number))),
            Self::KubeProxy => "system:kube-proxy",
            Self::CoreDns => "coredns",
        })
    }

    fn group(self) -> &'static str {
        match self {
            Self::Admin | Self::Testbed | Self::Kwok | Self::CoreDns => "system:masters",
            // The apiserver's own authorizer knows what each node may.
            Self::Kubelet(_) => "system:nodes",
            // Roles that exist in every cluster are bound to these names.
            Self::ControllerManager | Self::Scheduler | Self::KubeProxy => "",
        }
    }
}

impl Layout {
    pub(crate) fn create(dir: &Path, address: Ipv4Addr) -> Result<Self> {
        let layout = Self {
            dir: dir.to_owned(),
            certificates: Certificates::create(dir, address)?,
            address,
            etcd_port: ports::free()?,
            etcd_peer_port: ports::free()?,
            apiserver_port: ports::free()?,
            scheduler_port: ports::free()?,
        };
        layout.write_users()?;
        fs::write(layout.file("audit-policy.yaml"), serde_json::to_vec(&audit_policy())?)?;
        Ok(layout)
    }

    fn write_users(&self) -> Result<()> {
        let mut lines = String::new();
        for user in User::all() {
            let token = Alphanumeric.sample_string(&mut rand::rng(), 32);
            let (name, group) = (user.name(), user.group());
            writeln!(lines, "{token},{name},{name},\"{group}\"")?;
            self.write_kubeconfig(&self.kubeconfig(user), &token)?;
        }
        Ok(fs::write(self.file("tokens.csv"), lines)?)
    }

    pub(crate) fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<()> {
        kubeconfig::write(
            path,
            SocketAddrV4::new(self.address, self.apiserver_port),
            &self.certificates.ca,
            token,
        )
    }

    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        self.file(&format!("{}.kubeconfig", user.name().replace(':', "-")))
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(crate) fn log(&self, program: Program) -> PathBuf {
        self.file(&format!("{}.log", program.file_name()))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn etcd(&self, programs: &Programs) -> Result<Command> {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        let mut command = spawn::command(programs.path(Program::Etcd)?);
        command.args([
            flag("data-dir", self.file("etcd")),
            flag("listen-client-urls", &client),
            flag("advertise-client-urls", &client),
            flag("listen-peer-urls", &peer),
            flag("initial-advertise-peer-urls", &peer),
            flag("initial-cluster", format!("default={peer}")),
            // What a crash of the machine would lose is of no use to anybody.
            "--unsafe-no-fsync".into(),
        ]);
        Ok(command)
    }

    pub(crate) fn apiserver(&self, programs: &Programs, audit: bool, controllers: bool) -> Result<Command> {
        let files = &self.certificates;
        let mut command = spawn::command(programs.path(Program::Apiserver)?);
        command.args([
            flag("etcd-servers", format!("http://127.0.0.1:{}", self.etcd_port)),
            flag("bind-address", self.address.to_string()),
            flag("advertise-address", self.address.to_string()),
            // The address that it would write into the endpoints of its own Service may not be loopback.
            flag("endpoint-reconciler-type", if self.address.is_loopback() { "none" } else { "lease" }),
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("secure-port", self.apiserver_port.to_string()),
            flag("tls-cert-file", &files.server),
            flag("tls-private-key-file", &files.server_key),
            flag("token-auth-file", self.file("tokens.csv")),
            // The first one limits each real node to its own pods, and costs memory for every pod.
            flag("authorization-mode", if self.address.is_loopback() { "RBAC" } else { "Node,RBAC" }),
            flag("service-cluster-ip-range", SERVICE_RANGE),
            flag("allow-privileged", "true"),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("service-account-key-file", &files.service_accounts),
            flag("service-account-signing-key-file", &files.service_accounts_key),
        ]);
        if audit {
            command.args([
                flag("audit-policy-file", self.file("audit-policy.yaml")),
                flag("audit-log-path", self.audit_log()),
                // In megabytes: never rotated, or the counts would be wrong.
                flag("audit-log-maxsize", "1000000"),
            ]);
        }
        if !controllers {
            // They wait for what only the controllers provide: service accounts, and nodes without taints.
            command.arg(flag("disable-admission-plugins", "ServiceAccount,TaintNodesByCondition"));
        }
        Ok(command)
    }

    pub(crate) fn controller_manager(&self, programs: &Programs) -> Result<Command> {
        let files = &self.certificates;
        let mut command = spawn::command(programs.path(Program::ControllerManager)?);
        command.args([
            flag("kubeconfig", self.kubeconfig(User::ControllerManager)),
            flag("leader-elect", "false"),
            flag("bind-address", "127.0.0.1"),
            flag("secure-port", ports::free()?.to_string()),
            flag("tls-cert-file", &files.server),
            flag("tls-private-key-file", &files.server_key),
            flag("service-account-private-key-file", &files.service_accounts_key),
            flag("root-ca-file", &files.ca),
            // As in real clusters, and the audit log then names the controller.
            flag("use-service-account-credentials", "true"),
            flag("horizontal-pod-autoscaler-sync-period", "2s"),
            // Where an autoscaler does not say how long it waits before it takes pods away: not five minutes.
            flag("horizontal-pod-autoscaler-downscale-stabilization", "5s"),
            // The defaults are meant to spare a shared apiserver, and make a test of many platforms wait.
            flag("kube-api-qps", "300"),
            flag("kube-api-burst", "600"),
        ]);
        Ok(command)
    }

    pub(crate) fn scheduler(&self, programs: &Programs) -> Result<Command> {
        let config = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": { "kubeconfig": self.kubeconfig(User::Scheduler), "qps": 300, "burst": 600 },
            "leaderElection": { "leaderElect": false },
        });
        let path = self.file("scheduler.yaml");
        fs::write(&path, serde_json::to_vec(&config)?)?;
        let mut command = spawn::command(programs.path(Program::Scheduler)?);
        command.args([
            flag("config", path),
            flag("bind-address", "127.0.0.1"),
            flag("secure-port", self.scheduler_port.to_string()),
            flag("tls-cert-file", &self.certificates.server),
            flag("tls-private-key-file", &self.certificates.server_key),
        ]);
        Ok(command)
    }

    pub(crate) fn kwok(&self, programs: &Programs) -> Result<Command> {
        let mut command = spawn::command(programs.path(Program::Kwok)?);
        command.args([
            flag("kubeconfig", self.kubeconfig(User::Kwok)),
            flag("config", Programs::stages()?),
            flag("manage-all-nodes", "false"),
            flag("manage-nodes-with-annotation-selector", nodes::FAKE_NODE),
            flag("node-lease-duration-seconds", "40"),
            // Room for the pods of a thousand platforms; its own default ends after 254.
            flag("cidr", "10.64.0.0/10"),
        ]);
        Ok(command)
    }
}

pub(crate) fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata" }],
    })
}
