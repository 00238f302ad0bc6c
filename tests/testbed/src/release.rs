//! Which Kubernetes release the programs come from, and where its build is cached.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A Kubernetes release that we can build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The one that tests run on, with every program.
    Current,
    /// The oldest that the operator supports: only its kube-apiserver, for the schema and CEL tests.
    Oldest,
}

impl Release {
    /// The version of Kubernetes, like `v1.36.3`, as pinned in `go.mod`.
    ///
    /// # Errors
    /// When `go.mod` cannot be read or does not require Kubernetes.
    pub fn version(self) -> Result<String> {
        Family::ControlPlane(self).version()
    }
}

/// Programs that are built from one `go.mod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The control plane's and those of real nodes, of a release.
    ControlPlane(Release),
    /// The cluster's DNS, which must not decide about the control plane's libraries.
    CoreDns,
}

impl Family {
    /// The folder with the `go.mod` that lists the programs.
    pub(crate) fn module_dir(self) -> &'static Path {
        Path::new(match self {
            Self::ControlPlane(Release::Current) => concat!(env!("CARGO_MANIFEST_DIR"), "/../controlplane"),
            Self::ControlPlane(Release::Oldest) => {
                concat!(env!("CARGO_MANIFEST_DIR"), "/../controlplane/oldest")
            }
            Self::CoreDns => concat!(env!("CARGO_MANIFEST_DIR"), "/../coredns"),
        })
    }

    /// The module that gives the family its version.
    fn module(self) -> &'static str {
        match self {
            Self::ControlPlane(_) => "k8s.io/kubernetes",
            Self::CoreDns => "github.com/coredns/coredns",
        }
    }

    /// The version, as pinned in `go.mod`.
    pub(crate) fn version(self) -> Result<String> {
        let path = self.module_dir().join("go.mod");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        required_version(&text, self.module())
            .map(str::to_owned)
            .with_context(|| format!("{} does not require {}", path.display(), self.module()))
    }

    /// The folder for these programs. Its name changes with every pinned version, so a stale
    /// build is never used.
    pub(crate) fn cache_dir(self) -> Result<PathBuf> {
        let mut hash = Sha256::new();
        let own: &[&str] = if self == Self::CoreDns { &["main.go"] } else { &[] };
        for name in ["go.mod", "go.sum"].iter().chain(own) {
            let path = self.module_dir().join(name);
            hash.update(std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
        let mut key = String::new();
        for byte in hash.finalize().iter().take(8) {
            write!(key, "{byte:02x}")?;
        }
        let name = match self {
            Self::ControlPlane(_) => "controlplane",
            Self::CoreDns => "coredns",
        };
        Ok(cache_root()?.join(name).join(key))
    }
}

/// Where everything that is built is kept.
pub(crate) fn cache_root() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for built programs")?;
    Ok(cache.join("trading-platform-operator"))
}

fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let line = line.trim();
        let mut words = line.strip_prefix("require ").unwrap_or(line).split_whitespace();
        (words.next() == Some(module)).then(|| words.next())?.filter(|word| word.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_require_line_not_from_tools_or_replacements() {
        let go_mod = "tool (\n\tk8s.io/kubernetes/cmd/kubectl\n)\nreplace (\n\tk8s.io/api => k8s.io/api v0.36.3\n)\n\
                      require (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        assert_eq!(required_version(go_mod, "k8s.io/kubernetes"), Some("v1.36.3"));
        assert_eq!(required_version(go_mod, "k8s.io/api"), None);
    }

    #[test]
    fn every_family_is_pinned() {
        let families = [Release::Current, Release::Oldest].map(Family::ControlPlane);
        for family in families.into_iter().chain([Family::CoreDns]) {
            assert!(family.version().is_ok_and(|version| version.starts_with("v1.")));
            assert!(family.cache_dir().is_ok());
        }
    }
}
