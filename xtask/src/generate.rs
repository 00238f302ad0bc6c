//! `generate`: makes the files that are made from code, or tells which of them are stale.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::{adapter, cost, reference, repo};

/// Arguments of `generate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Change nothing; fail and list the files that would change.
    #[arg(long)]
    check: bool,
}

/// One generated file, or a folder of them.
struct Step {
    what: &'static str,
    make: Make,
    output: &'static str,
}

enum Make {
    /// What the code returns is the file.
    Code(fn() -> Result<String>),
    /// The file is a copy of what an earlier step made.
    CopyOf(&'static str),
    /// A test writes the files of the folder itself when this variable is set.
    WrittenByTest { arguments: &'static [&'static str], variable: &'static str },
}

const CRD: &str = "crds/platform.trading_tradingplatforms.yaml";

/// In this order; a copy comes after its original.
const STEPS: &[Step] = &[
    Step { what: "the kind", make: Make::Code(kind), output: CRD },
    Step {
        what: "the chart's copy of the kind",
        make: Make::CopyOf(CRD),
        output: "charts/trading-platform-operator/files/crds/platform.trading_tradingplatforms.yaml",
    },
    Step {
        what: "the chart's rules for the operator",
        make: Make::Code(chart_rules),
        output: "charts/trading-platform-operator/files/rbac/rules.yaml",
    },
    Step {
        what: "the reference of every field",
        make: Make::Code(|| Ok(reference::page(&trading_api::schema::open_api_schema()))),
        output: "docs/reference.md",
    },
    Step { what: "what the examples cost", make: Make::Code(cost::page), output: "docs/cost.md" },
    Step {
        what: "rules of prometheus-adapter for the examples",
        make: Make::Code(adapter::values),
        output: "docs/prometheus-adapter.yaml",
    },
    Step {
        what: "the chart's rules for the whole cluster",
        make: Make::Code(chart_cluster_rules),
        output: "charts/trading-platform-operator/files/rbac/cluster.yaml",
    },
    Step {
        what: "the chart's rules for the definitions of add-ons",
        make: Make::Code(|| in_chart(&trading_core::rbac::definition_rules())),
        output: "charts/trading-platform-operator/files/rbac/definitions.yaml",
    },
    Step {
        what: "the chart's policy that adds the finalizer",
        make: Make::Code(finalizer_policy),
        output: "charts/trading-platform-operator/files/finalizer-policy.yaml",
    },
    Step {
        what: "golden files",
        make: Make::WrittenByTest {
            // `--workspace` for the features of the tests' own build, so that nothing compiles twice.
            arguments: &["test", "--locked", "--quiet", "--workspace", "--test", "golden"],
            variable: "UPDATE_GOLDEN",
        },
        output: "tests/golden",
    },
];

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Runs `generate`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut made = Files::new();
    let mut changed = Vec::new();
    for step in STEPS {
        eprintln!("{} ({})", step.what, step.output);
        let output = repo::path(step.output);
        let before = read(&output)?;
        let after = make(step, &made, &before).with_context(|| format!("cannot make {}", step.what))?;
        changed.extend(differences(&before, &after));
        if !arguments.check {
            write(&output, &before, &after)?;
        }
        made.extend(after);
    }
    Ok(report(&changed, arguments.check))
}

fn report(changed: &[PathBuf], check: bool) -> ExitCode {
    let names = changed.iter().map(|path| path.strip_prefix(repo::root()).unwrap_or(path).display());
    for name in names {
        println!("{} {name}", if check { "stale:" } else { "changed:" });
    }
    if check && !changed.is_empty() {
        println!("run `cargo xtask generate` and commit what it changes");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What the step's files should hold. Leaves them as they were.
fn make(step: &Step, made: &Files, before: &Files) -> Result<Files> {
    let output = repo::path(step.output);
    match step.make {
        Make::Code(text) => Ok(Files::from([(output, text()?.into_bytes())])),
        Make::CopyOf(original) => {
            let content = made.get(&repo::path(original)).context("its original is not made before it")?;
            Ok(Files::from([(output, content.clone())]))
        }
        Make::WrittenByTest { arguments, variable } => {
            let result = repo::output(repo::cargo(arguments).env(variable, "1"));
            let after = read(&output)?;
            write(&output, &after, before)?;
            result.map(|_| after)
        }
    }
}

/// The same that `kubectl trading crd` prints.
fn kind() -> Result<String> {
    Ok(serde_yaml::to_string(&trading_api::schema::crd())?)
}

fn chart_rules() -> Result<String> {
    in_chart(&trading_core::rbac::rules())
}

fn chart_cluster_rules() -> Result<String> {
    in_chart(&trading_core::rbac::cluster_rules())
}

fn finalizer_policy() -> Result<String> {
    let spec = serde_yaml::to_string(&trading_core::finalizer_policy::spec())?;
    Ok(format!("# Made by `cargo xtask generate`.\n{spec}"))
}

fn in_chart(rules: &[PolicyRule]) -> Result<String> {
    let rules = serde_yaml::to_string(rules)?;
    Ok(format!("# Made by `cargo xtask generate` from the table of kinds.\n{rules}"))
}

fn differences(before: &Files, after: &Files) -> Vec<PathBuf> {
    let mut paths: Vec<_> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// The file, or all files below the folder, or nothing when neither is there.
fn read(path: &Path) -> Result<Files> {
    let mut files = Files::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            files.extend(read(&entry?.path())?);
        }
    } else if path.exists() {
        files.insert(
            path.to_owned(),
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    Ok(files)
}

/// Turns what is there into what should be there; files that are right keep their times.
fn write(output: &Path, there: &Files, wanted: &Files) -> Result<()> {
    for path in differences(there, wanted) {
        match wanted.get(&path) {
            Some(content) => {
                fs::create_dir_all(path.parent().unwrap_or(output))?;
                fs::write(&path, content)
            }
            None => fs::remove_file(&path),
        }
        .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_new_and_removed_files_differ() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = |name: &str| dir.path().join(name);
        let before =
            Files::from([(file("same"), vec![1]), (file("changed"), vec![1]), (file("gone"), vec![1])]);
        let after =
            Files::from([(file("same"), vec![1]), (file("changed"), vec![2]), (file("sub/new"), vec![1])]);
        assert_eq!(differences(&before, &after), [file("changed"), file("gone"), file("sub/new")]);

        write(dir.path(), &Files::new(), &before)?;
        write(dir.path(), &before, &after)?;
        assert_eq!(read(dir.path())?, after);
        Ok(())
    }
}
