//! `test`: the levels of the test pyramid, cheapest first.

mod purity;
mod report;
mod side_by_side;
mod targets;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use trading_testbed::{Program, Programs, Release, real, workspace_binary};

use crate::repo;
use report::{Outcome, Report};
use side_by_side::Batch;
use targets::{Level, Targets, selecting};

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only this level: 1 needs cargo; 2 a real apiserver; 3 controllers and simulated nodes as well; 4 real
    /// nodes, which need root on Linux and packages of Debian. Those are installed only when this level is
    /// asked for, or with CI=true [default: all].
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    level: Option<u8>,
}

const APISERVER: &[Program] = &[Program::Etcd, Program::Apiserver, Program::Kubectl, Program::Helm];
const SIMULATED: &[Program] = &[
    Program::Etcd,
    Program::Apiserver,
    Program::ControllerManager,
    Program::Scheduler,
    Program::Kwok,
    Program::Kubectl,
    Program::Helm,
];

/// Binaries that tests of level 3 run.
const BINARIES: &[&str] = &["trading-operator", "kubectl-trading"];

/// Tests of level 1 that run real servers, for which they wait most of the time.
const SERVERS: [&str; 2] = [POSTGRES, REDIS];
const POSTGRES: &str = "postgres";
/// The longest of all.
const REDIS: &str = "redis";

/// Tests of level 3 that say what happens within seconds, which they can't while many others take the machine. The
/// last one waits most of the time.
const EXACT: [&[&str]; 2] = [&["sim_edits", "sim_leader"], &["sim_rest"]];

/// Tests of level 3 that wait for the clocks of Kubernetes, and leave the machine to others.
const IDLE: [&str; 1] = ["sim_metrics"];

/// Runs `test`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let targets = Targets::of_workspace()?;
    let wanted = |level: u8| arguments.level.is_none_or(|only| only == level);
    let mut report = Report::new();
    if wanted(1) {
        level_1(&mut report, &targets);
    }
    if wanted(2) {
        level_on_cluster(&mut report, &targets, Level::Api, APISERVER);
    }
    if wanted(3) {
        level_on_cluster(&mut report, &targets, Level::Simulated, SIMULATED);
    }
    if wanted(4) {
        match unasked(arguments.level.is_some() || in_ci()) {
            Some(reason) => report.add(4, "tests", Outcome::Skipped, &reason, 0.0),
            None => level_on_cluster(&mut report, &targets, Level::Real, real::PROGRAMS),
        }
    }
    report.print();
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn level_1(report: &mut Report, targets: &Targets) {
    let names = targets.of(Level::Pure);
    let others: Vec<&str> = names.iter().copied().filter(|name| !SERVERS.contains(name)).collect();
    measured(report, 1, "formatting", || repo::run(&mut repo::cargo(&["fmt", "--all", "--check"])));
    measured(report, 1, "purity of the core", purity::check);
    measured(report, 1, "lints", || {
        let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        repo::run(&mut repo::cargo(&arguments))
    });
    measured(report, 1, "build", || cargo_test(&["--no-run"]));
    measured(report, 1, "tests", || {
        let batches = [
            Batch::of(&[REDIS]).with("--test-threads=3"),
            Batch::of(&[POSTGRES]),
            Batch::of(&others),
            Batch::selected_by("units", &["--lib", "--bins"]),
            Batch::selected_by("examples in the documentation", &["--doc"]),
        ];
        side_by_side::lanes(batches.into_iter(), 1 + SERVERS.len())
    });
}

fn level_on_cluster(report: &mut Report, targets: &Targets, level: Level, programs: &[Program]) {
    let number = level.number();
    let names = targets.of(level);
    let selected = selecting(&names);
    if let Some(reason) = missing(level, &names, programs) {
        // On a person's machine that is a choice, in CI a level that silently does not run is a hole.
        let outcome = if in_ci() { Outcome::Failed } else { Outcome::Skipped };
        report.add(number, "tests", outcome, &reason, 0.0);
        return;
    }
    measured(report, number, "programs", || {
        Programs::new(programs)?;
        if level == Level::Api && in_ci() {
            Programs::new(&[])?.with_apiserver(Release::Oldest)?;
        }
        Ok(())
    });
    measured(report, number, "build", || {
        if level == Level::Simulated {
            BINARIES.iter().try_for_each(|name| workspace_binary(name).map(drop))?;
        }
        cargo_test(&[&selected[..], &["--no-run"]].concat())
    });
    if level == Level::Real {
        measured(report, number, "images", || real::Images::make().map(drop));
    }
    measured(report, number, "tests", || match level {
        Level::Api => side_by_side::run(&names),
        Level::Simulated => simulated(&names),
        // What it measured is told also when nothing fails.
        _ => cargo_test(&[&selected[..], &["--", "--nocapture"]].concat()),
    });
}

fn simulated(names: &[&str]) -> Result<()> {
    let (idle, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| IDLE.contains(name));
    let others: Vec<&str> = others.into_iter().filter(|name| !EXACT.concat().contains(name)).collect();
    let side_by_side = thread::scope(|scope| {
        let idle = scope.spawn(|| side_by_side::run(&idle));
        let others = side_by_side::run(&others);
        let idle = idle.join().unwrap_or_else(|_| bail!("the tests that wait could not be run"));
        others.and(idle)
    });
    let exact = EXACT.iter().map(|names| Batch::of(names));
    side_by_side::lanes(exact, EXACT.len()).and(side_by_side)
}

/// What level 4 would change on a person's machine that did not ask for it.
fn unasked(asked: bool) -> Option<String> {
    let packages = real::lacking();
    (!asked && real::obstacle().is_none() && !packages.is_empty()).then(|| {
        let names = packages.join(", ");
        format!(
            "not installed: {names}; `cargo xtask test --level 4` installs them, and then it runs every time"
        )
    })
}

/// Why the level cannot run here.
fn missing(level: Level, names: &[&str], programs: &[Program]) -> Option<String> {
    if names.is_empty() {
        return Some(format!("no test is named {}*", level.prefix()));
    }
    if !Programs::obtainable(programs) {
        return Some("Go is not installed, and it builds the control plane".to_owned());
    }
    if level == Level::Real { real::obstacle() } else { None }
}

/// `--workspace` gives every call the same features, so that nothing compiles twice.
fn cargo_test(arguments: &[&str]) -> Result<()> {
    repo::run(&mut repo::cargo(&[&["test", "--locked", "--workspace", "--no-fail-fast"], arguments].concat()))
}

fn measured(report: &mut Report, level: u8, name: &str, check: impl FnOnce() -> Result<()>) {
    let started = Instant::now();
    let result = check();
    let seconds = started.elapsed().as_secs_f64();
    match result {
        Ok(()) => report.add(level, name, Outcome::Passed, "", seconds),
        Err(error) => {
            eprintln!("error: {error:#}");
            report.add(level, name, Outcome::Failed, &format!("{error:#}"), seconds);
        }
    }
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
