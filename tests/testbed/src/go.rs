//! Builds programs from Go modules into the cache.

use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::programs::{Program, in_path};
use crate::{progress::Progress, release::Family};

/// The file with kwok's stages, beside the programs.
pub(crate) const STAGES: &str = "kwok-stages.yaml";

/// Ready ones from kwok's module: nodes become Ready and renew their lease, pods become Ready, those of
/// Jobs complete.
const STAGE_FILES: [&str; 5] = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
];

const BUILD_PREFIX: &str = "build-";

pub(crate) fn is_built(dir: &Path, program: Program) -> bool {
    dir.join(program.file_name()).is_file() && (program != Program::Kwok || dir.join(STAGES).is_file())
}

/// Builds what the cache lacks and returns its folder.
pub(crate) fn ensure(family: Family, wanted: &[Program]) -> Result<PathBuf> {
    let dir = family.cache_dir()?;
    let missing = |dir: &Path| wanted.iter().copied().filter(|&p| !is_built(dir, p)).collect::<Vec<_>>();
    if missing(&dir).is_empty() {
        return Ok(dir);
    }
    ensure!(
        in_path("go").is_some(),
        "Go is not installed, and these programs have to be built with it: {}. Install Go 1.26 or later \
         (https://go.dev/dl), or point KUBEBUILDER_ASSETS at etcd, kube-apiserver and kubectl.",
        names(&missing(&dir))
    );
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let _lock = lock(&dir)?;
    // Another run may have built them while we waited for the lock.
    let missing = missing(&dir);
    if !missing.is_empty() {
        remove_unfinished(&dir)?;
        build(family, &missing, &dir)?;
    }
    Ok(dir)
}

pub(crate) fn lock(dir: &Path) -> Result<File> {
    let file = File::create(dir.join(".lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("another run builds the same programs; waiting for it");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache"),
    }
    Ok(file)
}

/// Only the holder of the lock builds, so whatever is unfinished was left by a run that was killed.
fn remove_unfinished(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(BUILD_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn build(family: Family, missing: &[Program], dir: &Path) -> Result<()> {
    let version = family.version()?;
    let minutes: f64 = missing.iter().map(|program| program.cold_minutes()).sum();
    let mut progress = Progress::start(&format!(
        "building {} {version} (up to {:.0} min on 2 cores the first time)",
        names(missing),
        minutes.ceil()
    ));
    let unfinished = tempfile::Builder::new().prefix(BUILD_PREFIX).tempdir_in(dir)?;
    compile(family, &version, missing, unfinished.path(), &mut progress)?;
    if missing.contains(&Program::Kwok) {
        fs::write(dir.join(STAGES), stages(family)?)?;
    }
    for program in missing {
        fs::rename(unfinished.path().join(program.built_name()), dir.join(program.file_name()))
            .with_context(|| format!("go built no {}", program.built_name()))?;
    }
    progress.done();
    Ok(())
}

fn names(programs: &[Program]) -> String {
    programs.iter().map(|program| program.file_name()).collect::<Vec<_>>().join(", ")
}

fn go(family: Family, subcommand: &str) -> Command {
    let mut command = Command::new("go");
    command.args([subcommand, "-C"]).arg(family.module_dir()).arg("-mod=readonly");
    // A workspace of the person who runs this must not change what is built.
    command.env("GOWORK", "off").stdin(Stdio::null());
    command
}

fn compile(
    family: Family,
    version: &str,
    programs: &[Program],
    out: &Path,
    progress: &mut Progress,
) -> Result<()> {
    let mut command = go(family, "build");
    command
        .args(["-v", "-buildvcs=false", "-ldflags", &linker_flags(version)?, "-o"])
        .arg(out)
        .args(programs.iter().map(|program| program.package()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run go")?;
    let mut compiled = 0_u32;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            if let Some(module) = line.strip_prefix("go: downloading ") {
                progress.detail(&format!("downloading {module}"));
            } else if is_package(&line) {
                compiled += 1;
                progress.detail(&format!("{compiled} packages compiled"));
            } else {
                said.push(line);
            }
        }
    }
    if !child.wait()?.success() {
        bail!("go build failed:\n{}", said.join("\n"));
    }
    Ok(())
}

/// `go build -v` names each package that it compiles on a line of its own.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', '\t', ':']) && !line.starts_with('#')
}

/// Kubernetes reports a placeholder as its version unless the linker is told.
fn linker_flags(version: &str) -> Result<String> {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) =
        parts.next().zip(parts.next()).with_context(|| format!("{version} is no Kubernetes version"))?;
    let package = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    ))
}

fn stages(family: Family) -> Result<String> {
    let output = go(family, "list")
        .args(["-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"])
        .output()
        .context("cannot run go")?;
    ensure!(output.status.success(), "go list failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let module = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let mut documents = Vec::new();
    for name in STAGE_FILES {
        let path = module.join("kustomize/stage").join(name);
        documents.push(fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(documents.join("\n---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_is_told_the_version() {
        let flags = linker_flags("v1.36.3").unwrap_or_default();
        assert!(flags.contains("gitVersion=v1.36.3") && flags.contains("gitMinor=36"), "{flags}");
        assert!(linker_flags("v1").is_err());
    }

    #[test]
    fn packages_are_told_from_messages() {
        assert!(is_package("k8s.io/api/core/v1"));
        assert!(!is_package("# k8s.io/api/core/v1"));
        assert!(!is_package("go: downloading k8s.io/api v0.36.3"));
    }
}
