//! The core does no I/O, and what it depends on proves it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::repo;

/// Crates with which it could wait, talk or listen.
const IMPURE: [&str; 5] = ["tokio", "hyper", "reqwest", "axum", "tower"];

/// With which the standard library and the time crate do.
const OUTWARD: [&str; 9] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "std::time::Instant",
    "SystemTime",
    "::now()",
];

/// Fails when the core depends on one of them, directly or not, or looks outside by itself.
pub fn check() -> Result<()> {
    for folder in ["crates/api/src", "crates/core/src"] {
        look_through(&repo::path(folder))?;
    }
    let arguments = [
        "tree",
        "--locked",
        "--package",
        "trading-core",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let found = impure(&repo::output(&mut repo::cargo(&arguments))?);
    ensure!(
        found.is_empty(),
        "trading-core does no I/O, but it depends on {0}; `cargo tree -p trading-core -e normal -i {1}` shows why",
        found.join(", "),
        found.first().copied().unwrap_or_default(),
    );
    Ok(())
}

fn look_through(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            look_through(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let found = outward(&fs::read_to_string(&path)?);
            ensure!(found.is_none(), "the core does no I/O, but {} has {found:?}", path.display());
        }
    }
    Ok(())
}

/// What code looks outside with; comments may speak of it.
fn outward(code: &str) -> Option<&'static str> {
    let lines = || code.lines().filter(|line| !line.trim_start().starts_with("//"));
    OUTWARD.into_iter().find(|name| lines().any(|line| line.contains(name)))
}

fn impure(tree: &str) -> Vec<&'static str> {
    let used: Vec<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    IMPURE.into_iter().filter(|name| used.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_count() {
        assert_eq!(
            impure("trading-core v0.1.0 (/x)\nserde v1.0.0\ntower-layer v0.3.3\ntokio v1.54.1\n"),
            ["tokio"]
        );
        assert!(impure("trading-core v0.1.0\njiff v0.2.43\n").is_empty());
    }

    #[test]
    fn code_that_looks_outside_is_found() {
        assert_eq!(outward("let text = std::fs::read_to_string(path)?;"), Some("std::fs"));
        assert_eq!(outward("let now = Timestamp::now();"), Some("::now()"));
        assert_eq!(outward("// as std::fs does\nlet version = env!(\"CARGO_PKG_VERSION\");"), None);
    }
}
