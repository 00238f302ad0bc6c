//! Runs kubectl.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The apiserver serves a new kind within about a second.
const SERVED: Duration = Duration::from_secs(30);

/// kubectl as one user of one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Where it may keep what it discovers; otherwise that is in the person's home.
    cache: Option<PathBuf>,
}

impl Kubectl {
    /// kubectl with this kubeconfig.
    #[must_use]
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned(), cache: None }
    }

    /// Keeps what kubectl discovers in this folder.
    #[must_use]
    pub fn with_cache(self, dir: &Path) -> Self {
        Self { cache: Some(dir.to_owned()), ..self }
    }

    /// The same kubectl as another user.
    #[must_use]
    pub fn with_kubeconfig(self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self }
    }

    /// Where the program is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Whose rights it has, on which cluster.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubectl command, ready to run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        if let Some(cache) = &self.cache {
            command.env("KUBECACHEDIR", cache);
        }
        command
    }

    /// Runs kubectl and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the error holds what it said.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output =
            self.command(args).output().with_context(|| format!("cannot run {}", self.program.display()))?;
        printed(args, output)
    }

    /// Runs kubectl with text on its standard input, for `-f -`.
    ///
    /// # Errors
    /// When it fails; the error holds what it said.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // When kubectl stops reading, its own message is the better error.
            let _ = stdin.write_all(input.as_bytes());
        }
        printed(args, child.wait_with_output()?)
    }

    /// `kubectl apply --server-side` of these manifests.
    ///
    /// # Errors
    /// When one of them is refused.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.run_with_input(&["apply", "--server-side", "-f", "-"], manifests)
    }

    /// Waits until a kind is served. kubectl fails at once while the definition has no conditions yet.
    ///
    /// # Errors
    /// When it is not served within half a minute.
    pub fn wait_until_served(&self, definition: &str) -> Result<()> {
        let conditions = "-o=jsonpath={.status.conditions[?(@.type==\"Established\")].status}";
        let began = Instant::now();
        loop {
            let established = self.run(&["get", "customresourcedefinition", definition, conditions]);
            if matches!(&established, Ok(status) if status == "True") {
                return Ok(());
            }
            if began.elapsed() > SERVED {
                bail!("{definition} is not served after {} s: {established:?}", SERVED.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn printed(args: &[&str], output: Output) -> Result<String> {
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
