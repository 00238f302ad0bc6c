//! `up`: a platform on a control plane, for a person to look at.

mod chart;
mod cluster;
mod example;
mod interrupt;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use trading_testbed::{Operator, OperatorConfig, workspace_binary};

use crate::repo;
use chart::Installed;
use cluster::Cluster;
use example::Example;
pub use example::documents;
use interrupt::Interrupt;
use view::View;

const DEFAULT_EXAMPLE: &str = "examples/tradewizard";

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Long enough for a hook or a slow machine, short enough for a person who waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `up`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to apply: a folder, with or without a kustomization, or a file [default: examples/tradewizard].
    example: Option<PathBuf>,
    /// Exit when everything is Ready (0), or when it is not in time (1), and take all down.
    #[arg(long)]
    once: bool,
    /// With --once: how many seconds it may take.
    #[arg(long, default_value_t = 300, requires = "once")]
    timeout: u64,
    /// Use your own cluster instead. What is applied there stays there.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

/// Runs `up`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let example = arguments.example.clone().unwrap_or_else(|| repo::path(DEFAULT_EXAMPLE));
    if !example.exists() {
        bail!("{} does not exist", example.display());
    }
    let programs = cluster::programs(arguments.kubeconfig.is_some())?;
    let binaries = Binaries::build()?;
    let cluster = Cluster::start(arguments.kubeconfig.as_deref(), &programs)?;
    let interrupt = Interrupt::listen()?;

    let started = Instant::now();
    let installed = chart::install(&cluster)?;
    let mut operator = Operator::start(operator_config(&binaries, &cluster, installed)?)?;
    let example = Example::load(&cluster.kubectl, &example)?;
    example.apply(&cluster.kubectl)?;

    let deadline = arguments.once.then(|| started + Duration::from_secs(arguments.timeout));
    let ready = wait_until_ready(&binaries, &cluster, &mut operator, &example, &interrupt, deadline)?;
    if ready {
        println!("\nReady after {:.1} s.", started.elapsed().as_secs_f64());
    }
    if !arguments.once && !interrupt.came() {
        cluster.explain(&binaries.dir);
        stay(&mut operator, &interrupt)?;
    }
    // It gives up its lease; whatever else it would do after that, the cluster's end makes pointless.
    operator.terminate(STOP_TIMEOUT).ok();
    Ok(if ready || !arguments.once { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Binaries {
    operator: PathBuf,
    command_line: PathBuf,
    dir: PathBuf,
}

impl Binaries {
    fn build() -> Result<Self> {
        if !repo::path("target/debug/trading-operator").exists() {
            eprintln!("building the operator and the kubectl plugin: about 3 min on 2 cores");
        }
        // With cargo's own progress; asking for the paths afterwards then takes no time.
        let binaries = ["--bin", "trading-operator", "--bin", "kubectl-trading"];
        repo::run(repo::cargo(&["build", "--locked", "--workspace"]).args(binaries))?;
        let command_line = workspace_binary("kubectl-trading")?;
        Ok(Self {
            operator: workspace_binary("trading-operator")?,
            dir: command_line.parent().context("a binary without folder")?.to_owned(),
            command_line,
        })
    }
}

/// The operator runs on this machine, with no more rights than the chart gives its service account.
fn operator_config(binaries: &Binaries, cluster: &Cluster, installed: Installed) -> Result<OperatorConfig> {
    Ok(OperatorConfig {
        binary: binaries.operator.clone(),
        kubeconfig: cluster.kubeconfig_for(chart::NAMESPACE, &installed.service_account)?,
        args: installed.arguments,
        env: vec![("POD_NAMESPACE".into(), chart::NAMESPACE.into())],
        log: cluster.dir().join("operator.log"),
    })
}

/// Shows the platforms until all are Ready. False when that was interrupted or took too long.
fn wait_until_ready(
    binaries: &Binaries,
    cluster: &Cluster,
    operator: &mut Operator,
    example: &Example,
    interrupt: &Interrupt,
    deadline: Option<Instant>,
) -> Result<bool> {
    let mut view = View::new(&binaries.command_line, &cluster.kubectl);
    loop {
        match look(operator, cluster, example, &mut view) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // Ctrl-C reaches the kubectl that we wait for as well, and its failure may come first.
            Err(_) if interrupt.wait(POLL_INTERVAL) => return Ok(false),
            Err(error) => return Err(error),
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            println!("\nnot Ready in time; the operator's last words:\n{}", tail(&operator.log()?));
            return Ok(false);
        }
        if interrupt.wait(POLL_INTERVAL) {
            return Ok(false);
        }
    }
}

/// Shows how far the platforms are, and tells whether they are Ready.
fn look(operator: &mut Operator, cluster: &Cluster, example: &Example, view: &mut View) -> Result<bool> {
    fail_if_ended(operator)?;
    // Asked first, so that what is shown last is never older than the answer.
    let ready = example.is_ready(&cluster.kubectl)?;
    view.show(&example.platforms)?;
    Ok(ready)
}

fn stay(operator: &mut Operator, interrupt: &Interrupt) -> Result<()> {
    while !interrupt.wait(POLL_INTERVAL) {
        fail_if_ended(operator)?;
    }
    Ok(())
}

fn fail_if_ended(operator: &mut Operator) -> Result<()> {
    if let Some(status) = operator.exited()? {
        bail!("the operator ended with {status}; its last words:\n{}", tail(&operator.log()?));
    }
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
