//! `up`: a platform on a control plane, for a person to look at.

mod cluster;
mod example;
mod interrupt;
mod operator;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use trading_testbed::{real, workspace_binary};

use crate::repo;
use cluster::{Cluster, Nodes};
use example::Example;
use interrupt::Interrupt;
use operator::Running;
use view::View;

const DEFAULT_EXAMPLE: &str = "examples/tradewizard";
/// The default's Redis wants six nodes.
const FOR_REAL_NODES: &str = "examples/tradewise";

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `up`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to apply: a folder, with or without a kustomization, or a file [default: examples/tradewizard, on
    /// real nodes examples/tradewise].
    example: Option<PathBuf>,
    /// Exit when everything is Ready (0), or when it is not in time (1), and take all down.
    #[arg(long)]
    once: bool,
    /// With --once: how many seconds it may take.
    #[arg(long, default_value_t = 300, requires = "once")]
    timeout: u64,
    /// Real nodes run containers: three of them on this machine, which needs root and Linux. Images are
    /// stood in for and requests lowered.
    #[arg(long, value_enum, default_value_t = Nodes::Simulated)]
    nodes: Nodes,
    /// Use your own cluster instead. What is applied there stays there.
    #[arg(long, conflicts_with = "nodes")]
    kubeconfig: Option<PathBuf>,
}

/// Runs `up`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let default = match arguments.nodes {
        Nodes::Simulated => DEFAULT_EXAMPLE,
        Nodes::Real => FOR_REAL_NODES,
    };
    let example = arguments.example.clone().unwrap_or_else(|| repo::path(default));
    if !example.exists() {
        bail!("{} does not exist", example.display());
    }
    let programs = cluster::programs(arguments.kubeconfig.is_some(), arguments.nodes)?;
    let binaries = Binaries::build()?;
    let cluster = Cluster::start(arguments.kubeconfig.as_deref(), arguments.nodes, &programs)?;
    let interrupt = Interrupt::listen()?;

    let started = Instant::now();
    let mut operator = Running::start(&binaries, &cluster)?;
    let mut example = Example::load(&cluster.kubectl, &example)?;
    if let Some(nodes) = cluster.real_nodes() {
        example.change_platforms(real::lower_requests)?;
        nodes.stand_in_for(&example.images(&binaries.command_line)?)?;
    }
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
    operator.end();
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

/// Shows the platforms until all are Ready. False when that was interrupted or took too long.
fn wait_until_ready(
    binaries: &Binaries,
    cluster: &Cluster,
    operator: &mut Running,
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
            println!("\nnot Ready in time; the operator's last words:\n{}", operator.last_words(cluster)?);
            return Ok(false);
        }
        if interrupt.wait(POLL_INTERVAL) {
            return Ok(false);
        }
    }
}

/// Shows how far the platforms are, and tells whether they are Ready.
fn look(operator: &mut Running, cluster: &Cluster, example: &Example, view: &mut View) -> Result<bool> {
    operator.check()?;
    // Asked first, so that what is shown last is never older than the answer.
    let ready = example.is_ready(&cluster.kubectl)?;
    view.show(&example.platforms)?;
    Ok(ready)
}

fn stay(operator: &mut Running, interrupt: &Interrupt) -> Result<()> {
    while !interrupt.wait(POLL_INTERVAL) {
        operator.check()?;
    }
    Ok(())
}

fn tail(log: &str, count: usize) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
