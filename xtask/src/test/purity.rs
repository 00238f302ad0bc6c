//! The core does no I/O, and what it depends on proves it.

use anyhow::{Result, ensure};

use crate::repo;

/// Crates with which it could wait, talk or listen.
const IMPURE: [&str; 5] = ["tokio", "hyper", "reqwest", "axum", "tower"];

/// Fails when the core depends on one of them, directly or not.
pub fn check() -> Result<()> {
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
}
