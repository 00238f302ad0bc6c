//! Files of Go modules, such as the definitions that add-ons install.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::programs::in_path;

/// A Go module of which files are needed.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    path: &'static str,
    version: &'static str,
    /// What `go.sum` would say of it: another content under the same version is refused.
    sum: &'static str,
}

/// prometheus-operator: `example/prometheus-operator-crd`.
pub const PROMETHEUS_OPERATOR: Module = Module {
    path: "github.com/prometheus-operator/prometheus-operator",
    version: "v0.85.0",
    sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
};
/// External Secrets: `config/crds/bases`.
pub const EXTERNAL_SECRETS: Module = Module {
    path: "github.com/external-secrets/external-secrets",
    version: "v1.3.2",
    sum: "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=",
};
/// Gateway API: `config/crd/standard`.
pub const GATEWAY_API: Module = Module {
    path: "sigs.k8s.io/gateway-api",
    version: "v1.6.3",
    sum: "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
};
/// cert-manager: `deploy/crds`.
pub const CERT_MANAGER: Module = Module {
    path: "github.com/cert-manager/cert-manager",
    version: "v1.21.2",
    sum: "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
};
/// KEDA: `config/crd/bases`.
pub const KEDA: Module = Module {
    path: "github.com/kedacore/keda/v2",
    version: "v2.21.0",
    sum: "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
};
/// The Vertical Pod Autoscaler: `deploy`.
pub const VERTICAL_POD_AUTOSCALER: Module = Module {
    path: "k8s.io/autoscaler/vertical-pod-autoscaler",
    version: "v1.8.1",
    sum: "h1:Pe8bV1wozN4gOKO1rleiIY5alIyAXN+DnXDbXQcL4fI=",
};
/// CloudNativePG: `config/crd/bases`.
pub const CLOUDNATIVE_PG: Module = Module {
    path: "github.com/cloudnative-pg/cloudnative-pg",
    version: "v1.30.0",
    sum: "h1:fnhVq44xXx97MNiuvJsPrX1vSjYbgdyBK5MSGfdHdp0=",
};
/// CloudNativePG's Barman Cloud plugin: `config/crd/bases`.
pub const BARMAN_CLOUD: Module = Module {
    path: "github.com/cloudnative-pg/plugin-barman-cloud",
    version: "v0.15.0",
    sum: "h1:gNVytrzzYUE08wxLDrjfJqy1FPPSFkMe1OEr4s4pVI0=",
};
/// Istio: `kubernetes`.
pub const ISTIO: Module = Module {
    path: "istio.io/api",
    version: "v1.31.1",
    sum: "h1:5Yb5ihcz4YQsCkciusK7DnFpBMwRB6EFWeUKH1Atuyk=",
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
    sum: String,
}

impl Module {
    /// A file of the module, which is downloaded where it is not in Go's cache.
    ///
    /// # Errors
    /// When Go is missing, the module can't be had, or has no such file.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.dir()?.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn dir(&self) -> Result<PathBuf> {
        ensure!(in_path("go").is_some(), "Go is not installed, and it fetches {}", self.path);
        let what = format!("{}@{}", self.path, self.version);
        let output = Command::new("go")
            .args(["mod", "download", "-json", &what])
            // Outside any module: none may be changed.
            .current_dir(Path::new("/"))
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=mod")
            .stdin(Stdio::null())
            .output()
            .context("cannot run go")?;
        ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout).trim());
        let downloaded: Downloaded = serde_json::from_slice(&output.stdout)?;
        ensure!(downloaded.sum == self.sum, "{what} is {}, not {}", downloaded.sum, self.sum);
        Ok(downloaded.dir)
    }
}
