//! Level 2: what the tests with etcd and kube-apiserver share.

pub mod cases;
pub mod constraints;
pub mod helm;
pub mod mutate;
pub mod platforms;
pub mod request;
pub mod schema;
pub mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::Client;
use kube::api::PostParams;
use serde_json::json;
use trading_testbed::{ControlPlane, Kubectl};

use request::Objects;

/// A path in the repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// Installs the kind as `cargo xtask generate` would write it and waits until it is served. Done on the
/// client's side, so that it fails where the definition outgrows kubectl's annotation.
///
/// # Errors
/// When the apiserver refuses it.
pub fn install_kind(cluster: &ControlPlane) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let definition = serde_json::to_string(&trading_api::schema::crd())?;
    kubectl.run_with_input(&["apply", "-f", "-"], &definition)?;
    wait_for_kind(&kubectl)
}

/// Waits until platforms can be listed and applied, which the apiserver learns a moment later. `kubectl wait` fails on
/// a definition that has no conditions yet.
///
/// # Errors
/// When they cannot after half a minute.
pub fn wait_for_kind(kubectl: &Kubectl) -> Result<()> {
    let asked = Instant::now();
    loop {
        match is_served(kubectl) {
            Ok(()) => return Ok(()),
            Err(error) if asked.elapsed() > Duration::from_secs(30) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn is_served(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["get", "--raw", "/apis/platform.trading/v1alpha1/tradingplatforms?limit=1"])?;
    let platform = r#"{"apiVersion":"platform.trading/v1alpha1","kind":"TradingPlatform",
        "metadata":{"name":"a","namespace":"kube-system"},
        "spec":{"version":"1","backend":{"image":{"repository":"a"}}}}"#;
    let tried = kubectl.run_with_input(&["apply", "--server-side", "--dry-run=server", "-f", "-"], platform);
    match tried {
        // Whatever else it says, it knows the kind.
        Err(error) if format!("{error:#}").contains("There can be a delay") => Err(error),
        _ => Ok(()),
    }
}

/// Makes a namespace; that it is there already is fine.
///
/// # Errors
/// When it cannot be made.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    match Objects::new(client, "", "v1", "namespaces").create(&PostParams::default(), &body).await? {
        Ok(_) => Ok(()),
        Err(status) if status.code == 409 => Ok(()),
        Err(status) => bail!("cannot make namespace {name}: {}", status.message),
    }
}
