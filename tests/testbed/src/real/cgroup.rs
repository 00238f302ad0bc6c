//! A control group for each real node, in which its kubelet makes those of the pods; and the processes of
//! their containers, which are found by it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// Of version 1: a new group may use no CPU and no memory node before it is told which.
const INHERITED: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Of version 2: what the groups below the root may limit.
const CONTROLLERS: &str = "+cpuset +cpu +io +memory +pids";

/// Makes the group in every hierarchy.
pub(crate) fn create(name: &str) -> Result<()> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").is_file() {
        write(&root.join("cgroup.subtree_control"), CONTROLLERS)?;
        return make(&root.join(name));
    }
    for hierarchy in hierarchies(root)? {
        let group = hierarchy.join(name);
        make(&group)?;
        for file in INHERITED.into_iter().filter(|file| hierarchy.join(file).is_file()) {
            let path = hierarchy.join(file);
            let inherited =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            write(&group.join(file), inherited.trim())?;
        }
    }
    Ok(())
}

/// Processes of a container below a node's group, as this machine numbers them.
pub(crate) fn processes(group: &str, container: &str) -> Result<Vec<i32>> {
    let root = Path::new(ROOT);
    let mut roots = vec![root.to_owned()];
    roots.extend(hierarchies(root)?);
    let found = roots.iter().find_map(|root| folder_below(&root.join(group), container));
    let path = found.with_context(|| format!("no container {container}"))?.join("cgroup.procs");
    let list = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(list.lines().map(str::parse).collect::<Result<_, _>>()?)
}

fn folder_below(dir: &Path, name: &str) -> Option<PathBuf> {
    let folders: Vec<PathBuf> =
        fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    let found = folders.iter().find(|path| path.ends_with(name)).cloned();
    found.or_else(|| folders.iter().find_map(|path| folder_below(path, name)))
}

/// The mounted ones of version 1; links are second names of the same.
fn hierarchies(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_v1 = entry.path().join("tasks").is_file();
        if entry.file_type()?.is_dir() && is_v1 {
            all.push(entry.path());
        }
    }
    Ok(all)
}

fn make(group: &Path) -> Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result.with_context(|| format!("cannot create {}", group.display())),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
