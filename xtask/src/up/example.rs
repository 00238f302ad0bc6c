//! What to apply: manifests from a file or folder, with at least one platform among them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trading_testbed::{Kubectl, documents, real};

const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The name of a platform, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub namespace: String,
    pub name: String,
}

/// Manifests, read but not yet applied.
pub struct Example {
    manifests: String,
    namespaces: BTreeSet<String>,
    pub platforms: Vec<Platform>,
}

impl Example {
    /// Reads the file or folder.
    pub fn load(kubectl: &Kubectl, path: &Path) -> Result<Self> {
        let manifests = read(kubectl, path)?;
        let jsonpath = "jsonpath={.contexts[0].context.namespace}";
        let default = kubectl.run(&["config", "view", "--minify", "-o", jsonpath])?;
        let default = if default.is_empty() { "default" } else { &default };
        let example = Self::parse(manifests, default)?;
        ensure!(!example.platforms.is_empty(), "{} holds no TradingPlatform", path.display());
        Ok(example)
    }

    fn parse(manifests: String, default_namespace: &str) -> Result<Self> {
        let mut namespaces = BTreeSet::new();
        let mut platforms = Vec::new();
        let documents = documents(&manifests)?;
        for object in &documents {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let namespace = text("/metadata/namespace");
            namespaces.extend(namespace.map(str::to_owned));
            if text("/kind") == Some("TradingPlatform") {
                let name = text("/metadata/name").context("a TradingPlatform without a name")?.to_owned();
                platforms
                    .push(Platform { namespace: namespace.unwrap_or(default_namespace).to_owned(), name });
            }
        }
        for object in documents.iter().filter(|object| object["kind"] == "Namespace") {
            // Applied with the rest, with the labels that it has there.
            namespaces.remove(object["metadata"]["name"].as_str().unwrap_or_default());
        }
        Ok(Self { manifests, namespaces, platforms })
    }

    /// Applies it; namespaces that its objects name are made where they are missing.
    pub fn apply(&self, kubectl: &Kubectl) -> Result<()> {
        for namespace in &self.namespaces {
            if kubectl.run(&["get", "namespace", namespace]).is_err() {
                kubectl.run(&["create", "namespace", namespace])?;
            }
        }
        print!("{}", kubectl.apply(&self.manifests)?);
        Ok(())
    }

    /// Changes every platform before it is applied.
    pub fn change_platforms(&mut self, change: impl Fn(&mut Value)) -> Result<()> {
        let mut objects = documents(&self.manifests)?;
        for platform in objects.iter_mut().filter(|object| object["kind"] == "TradingPlatform") {
            change(platform);
        }
        self.manifests = objects
            .iter()
            .map(|object| Ok(serde_yaml::to_string(object)?))
            .collect::<Result<Vec<_>>>()?
            .join("---\n");
        Ok(())
    }

    /// The images of all containers that the operator will make of it.
    pub fn images(&self, command_line: &Path) -> Result<BTreeSet<String>> {
        let mut child = Command::new(command_line)
            .args(["render", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run kubectl-trading")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.manifests.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl-trading render: {}", output.status);
        Ok(real::images(&documents(&String::from_utf8(output.stdout)?)?))
    }

    /// Whether every platform is Ready in its present form.
    pub fn is_ready(&self, kubectl: &Kubectl) -> Result<bool> {
        for Platform { namespace, name } in &self.platforms {
            let object = kubectl.run(&[
                "get",
                "tradingplatforms.platform.trading",
                name,
                "-n",
                namespace,
                "-o",
                "json",
            ])?;
            if !ready(&serde_json::from_str(&object)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn read(kubectl: &Kubectl, path: &Path) -> Result<String> {
    if path.is_dir() {
        if KUSTOMIZATIONS.iter().any(|name| path.join(name).is_file()) {
            return kubectl.run(&["kustomize", &path.to_string_lossy()]);
        }
        let mut files = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|file| {
            file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
        });
        files.sort();
        let texts = files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
        return Ok(texts.join("\n---\n"));
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn ready(platform: &Value) -> bool {
    let conditions = platform["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| {
        condition["type"] == "Ready"
            && condition["status"] == "True"
            && condition["observedGeneration"] == platform["metadata"]["generation"]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn platforms_and_missing_namespaces_are_found() -> Result<()> {
        let manifests = "
# nothing
---
{kind: Namespace, metadata: {name: given}}
---
{kind: Secret, metadata: {name: s, namespace: given}}
---
{kind: TradingPlatform, metadata: {name: a, namespace: missing}}
---
{kind: TradingPlatform, metadata: {name: b}}
";
        let example = Example::parse(manifests.to_owned(), "here")?;
        let names: Vec<_> =
            example.platforms.iter().map(|p| (p.namespace.as_str(), p.name.as_str())).collect();
        assert_eq!(names, [("missing", "a"), ("here", "b")]);
        assert_eq!(example.namespaces, BTreeSet::from(["missing".to_owned()]));
        Ok(())
    }

    #[test]
    fn ready_counts_only_for_the_present_generation() {
        let platform = |generation: u32, status: &str| {
            json!({
                "metadata": { "generation": generation },
                "status": { "conditions": [{ "type": "Ready", "status": status, "observedGeneration": 2 }] },
            })
        };
        assert!(ready(&platform(2, "True")));
        assert!(!ready(&platform(3, "True")));
        assert!(!ready(&platform(2, "False")));
        assert!(!ready(&json!({})));
    }
}
