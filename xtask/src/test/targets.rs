//! Which integration tests belong to which level: the names of their files say it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::repo;

/// What a test needs beside cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Pure,
    Api,
    Simulated,
    Real,
}

impl Level {
    pub fn number(self) -> u8 {
        match self {
            Self::Pure => 1,
            Self::Api => 2,
            Self::Simulated => 3,
            Self::Real => 4,
        }
    }

    /// How the names of its tests begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Pure => "",
            Self::Api => "api_",
            Self::Simulated => "sim_",
            Self::Real => "real_",
        }
    }

    fn of(name: &str) -> Self {
        [Self::Api, Self::Simulated, Self::Real]
            .into_iter()
            .find(|level| name.starts_with(level.prefix()))
            .unwrap_or(Self::Pure)
    }
}

/// The names of all integration tests.
pub struct Targets(BTreeSet<String>);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Targets {
    pub fn of_workspace() -> Result<Self> {
        let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
        Self::parse(&repo::output(&mut repo::cargo(&arguments))?)
    }

    fn parse(metadata: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(metadata).context("cannot read cargo's metadata")?;
        let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
        let tests = targets.filter(|target| target.kind.iter().any(|kind| kind == "test"));
        Ok(Self(tests.map(|target| target.name).collect()))
    }

    /// The names of the level's integration tests.
    pub fn of(&self, level: Level) -> Vec<&str> {
        self.0.iter().map(String::as_str).filter(|name| Level::of(name) == level).collect()
    }
}

/// What selects these integration tests on cargo's command line.
pub fn selecting<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().flat_map(|name| ["--test", name]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_the_level() -> Result<()> {
        let metadata = r#"{"packages":[{"targets":[
            {"name":"golden","kind":["test"]},
            {"name":"api_rules","kind":["test"]},
            {"name":"sim_create","kind":["test"]},
            {"name":"real_loss","kind":["test"]},
            {"name":"api_helper","kind":["bin"]}
        ]}]}"#;
        let targets = Targets::parse(metadata)?;
        assert_eq!(targets.of(Level::Pure), ["golden"]);
        assert_eq!(targets.of(Level::Api), ["api_rules"]);
        assert_eq!(targets.of(Level::Simulated), ["sim_create"]);
        assert_eq!(targets.of(Level::Real), ["real_loss"]);
        Ok(())
    }
}
