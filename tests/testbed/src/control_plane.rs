//! A running control plane.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::background::Background;
use crate::certificates::AGGREGATED_SERVICE;
use crate::component::Component;
use crate::kubectl::Kubectl;
use crate::launch::{Layout, User};
use crate::options::Options;
use crate::programs::{Program, Programs};
use crate::release::Release;
use crate::storage::Backing;
use crate::workdir::Workdir;
use crate::{kubeconfig, nodes, storage};

/// Longer than anybody keeps a control plane running.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;

const PORT_RACES: u32 = 4;

/// What a test needs to serve an API behind the apiserver: a certificate for a Service of `kube-system`.
#[derive(Clone, Copy, Debug)]
pub struct Aggregated<'a> {
    /// The Service, which the test makes.
    pub service: &'a str,
    /// Who signed the certificate.
    pub authority: &'a Path,
    /// The certificate.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
}

/// A control plane on free ports of 127.0.0.1. Dropping it ends its processes and removes its files.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped from top to bottom: each user before what it uses.
    background: Background,
    others: Vec<(Program, Component)>,
    apiserver: Mutex<Option<Component>>,
    _etcd: Component,
    layout: Layout,
    programs: Programs,
    options: Options,
    written_kubeconfigs: AtomicU32,
    workdir: Workdir,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready for pods, if it has nodes, or else for requests.
    /// Builds the programs that it needs when they are not there yet.
    ///
    /// # Errors
    /// When a program is missing and cannot be built, or is not ready in time; the error ends with the
    /// program's log.
    pub fn start(options: Options) -> Result<Self> {
        let programs = Programs::new(&programs_for(options))?.with_apiserver(options.apiserver)?;
        for _ in 0..PORT_RACES {
            match Self::start_once(options, &programs) {
                // Somebody else took a port between our look and the program's; the next one will be another.
                Err(error) if format!("{error:#}").contains("address already in use") => {}
                result => return result,
            }
        }
        Self::start_once(options, &programs)
    }

    fn start_once(options: Options, programs: &Programs) -> Result<Self> {
        let workdir = Workdir::create()?;
        let layout = Layout::create(workdir.path(), options.address)?;
        let background = Background::start()?;

        let mut etcd = Component::start("etcd", layout.etcd(programs)?, &layout.log(Program::Etcd))?;
        etcd.wait_until_ready(|| listens(Ipv4Addr::LOCALHOST, layout.etcd_port))?;

        let this = Self {
            background,
            others: Vec::new(),
            apiserver: Mutex::new(None),
            _etcd: etcd,
            layout,
            programs: programs.clone(),
            options,
            written_kubeconfigs: AtomicU32::new(0),
            workdir,
        };
        this.start_apiserver()?;
        this.start_others()
    }

    /// The rest depends only on the apiserver, so all of it starts at once.
    fn start_others(mut self) -> Result<Self> {
        let Options { controller_manager, scheduler, nodes, .. } = self.options;
        // Whoever runs real nodes provides their volumes, too.
        let simulated = !self.options.has_real_nodes();
        if controller_manager {
            self.start_other(Program::ControllerManager, self.layout.controller_manager(&self.programs)?)?;
        }
        if scheduler {
            self.start_other(Program::Scheduler, self.layout.scheduler(&self.programs)?)?;
        }
        if nodes > 0 {
            self.start_other(Program::Kwok, self.layout.kwok(&self.programs)?)?;
        }

        let client = self.connect(&self.layout.kubeconfig(User::Testbed))?;
        let preparer = client.clone();
        self.background.run(async move {
            if simulated {
                futures::try_join!(
                    storage::create_classes(&preparer, &Backing::Nothing),
                    nodes::create(&preparer, nodes)
                )?;
            }
            Ok(())
        })?;
        if controller_manager && simulated {
            self.background.spawn(storage::provision(client.clone(), Backing::Nothing))?;
        }

        for (program, component) in &mut self.others {
            let client = client.clone();
            component.wait_until_ready(|| match program {
                Program::ControllerManager => {
                    self.background.run(default_service_account_exists(client.clone()))
                }
                Program::Kwok => self.background.run(nodes::check_ready(client.clone(), nodes)),
                _ => listens(Ipv4Addr::LOCALHOST, self.layout.scheduler_port),
            })?;
        }
        Ok(self)
    }

    fn start_other(&mut self, program: Program, command: Command) -> Result<()> {
        let component = Component::start(program.file_name(), command, &self.layout.log(program))?;
        self.others.push((program, component));
        Ok(())
    }

    /// The kubeconfig of a cluster administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig(User::Admin)
    }

    /// Writes a kubeconfig that presents this token, and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_for_token(&self, token: &str) -> Result<PathBuf> {
        let number = self.written_kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.layout.file(&format!("token-{number}.kubeconfig"));
        self.layout.write_kubeconfig(&path, token)?;
        Ok(path)
    }

    /// A token of a service account, which has to exist; good for a month.
    ///
    /// # Errors
    /// When the apiserver gives none.
    pub fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let client = self.connect(&self.layout.kubeconfig(User::Testbed))?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.background.run(async move {
            let spec =
                TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
            let request = TokenRequest { spec, ..TokenRequest::default() };
            let answer = Api::<ServiceAccount>::namespaced(client, &namespace)
                .create_token_request(&name, &PostParams::default(), &request)
                .await
                .with_context(|| format!("no token for service account {namespace}/{name}"))?;
            Ok(answer.status.context("the apiserver gave no token")?.token)
        })
    }

    /// The kubeconfig of a service account, which has to exist.
    ///
    /// # Errors
    /// When the apiserver gives no token for it.
    pub fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.kubeconfig_for_token(&self.service_account_token(namespace, name)?)
    }

    /// A client with the rights of a cluster administrator, for the runtime of the caller.
    ///
    /// # Errors
    /// When there is no connection to be had.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn client(&self) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig()).await
    }

    /// A client that acts as the user of a kubeconfig, for the runtime of the caller.
    ///
    /// # Errors
    /// When there is no connection to be had.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn client_for(&self, kubeconfig: &Path) -> Result<Client> {
        kubeconfig::client(kubeconfig).await
    }

    /// kubectl as cluster administrator.
    ///
    /// # Errors
    /// When kubectl is missing and cannot be built.
    pub fn kubectl(&self) -> Result<Kubectl> {
        let programs = Programs::new(&[Program::Kubectl])?;
        Ok(Kubectl::new(programs.path(Program::Kubectl)?, &self.kubeconfig())
            .with_cache(&self.layout.file("kubectl")))
    }

    /// What a test's own API behind the apiserver presents.
    #[must_use]
    pub fn aggregated(&self) -> Aggregated<'_> {
        let files = self.layout.certificates();
        Aggregated {
            service: AGGREGATED_SERVICE,
            authority: &files.ca,
            certificate: &files.server,
            key: &files.server_key,
        }
    }

    /// Where to put files that shall go when the control plane goes, such as logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.workdir.path()
    }

    /// The port of the apiserver. It stays the same over restarts.
    #[must_use]
    pub fn apiserver_port(&self) -> u16 {
        self.layout.apiserver_port
    }

    /// The audit log, for [`crate::audit::read`]; empty unless [`Options::audit`] was set.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// What a program has printed so far.
    #[must_use]
    pub fn log(&self, program: Program) -> String {
        let bytes = std::fs::read(self.layout.log(program)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills the apiserver as a crash would: open requests and watches break.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_apiserver(&self) -> Result<()> {
        let stopped = self.apiserver.lock().unwrap_or_else(PoisonError::into_inner).take();
        stopped.context("the apiserver does not run")?.kill()?;
        Ok(())
    }

    /// Starts the apiserver on the same port and data, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_apiserver(&self) -> Result<()> {
        let Options { audit, controller_manager, .. } = self.options;
        let command = self.layout.apiserver(&self.programs, audit, controller_manager)?;
        let mut apiserver =
            Component::start("kube-apiserver", command, &self.layout.log(Program::Apiserver))?;
        let client = self.connect(&self.layout.kubeconfig(User::Testbed))?;
        apiserver.wait_until_ready(|| {
            // Before anything listens, the client would spend seconds on its own retries.
            listens(self.layout.address, self.layout.apiserver_port)?;
            self.background.run(is_ready(client.clone()))
        })?;
        *self.apiserver.lock().unwrap_or_else(PoisonError::into_inner) = Some(apiserver);
        Ok(())
    }

    /// Kills the apiserver and starts it again on the same port and data.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver()?;
        self.start_apiserver()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Does something on our own runtime, as the testbed.
    pub(crate) fn run<T: Send + 'static, W: Future<Output = Result<T>> + Send + 'static>(
        &self,
        work: impl FnOnce(Client) -> W,
    ) -> Result<T> {
        let client = self.connect(&self.layout.kubeconfig(User::Testbed))?;
        self.background.run(work(client))
    }

    /// Does something on our own runtime, as the testbed, until the control plane ends.
    pub(crate) fn spawn<W: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl FnOnce(Client) -> W,
    ) -> Result<()> {
        let client = self.connect(&self.layout.kubeconfig(User::Testbed))?;
        self.background.spawn(work(client))
    }

    /// A client that lives on our own runtime.
    fn connect(&self, kubeconfig: &Path) -> Result<Client> {
        let kubeconfig = kubeconfig.to_owned();
        self.background.run(async move { kubeconfig::client(&kubeconfig).await })
    }
}

fn programs_for(options: Options) -> Vec<Program> {
    let mut programs = vec![Program::Etcd];
    let optional = [
        (options.apiserver == Release::Current, Program::Apiserver),
        (options.controller_manager, Program::ControllerManager),
        (options.scheduler, Program::Scheduler),
        (options.nodes > 0, Program::Kwok),
    ];
    programs.extend(optional.into_iter().filter_map(|(wanted, program)| wanted.then_some(program)));
    programs
}

pub(crate) fn listens(address: Ipv4Addr, port: u16) -> Result<()> {
    TcpStream::connect((address, port))?;
    Ok(())
}

async fn is_ready(client: Client) -> Result<()> {
    client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
    Ok(())
}

/// No pod can be created before the controllers have made it.
async fn default_service_account_exists(client: Client) -> Result<()> {
    Api::<ServiceAccount>::namespaced(client, "default").get("default").await?;
    Ok(())
}
