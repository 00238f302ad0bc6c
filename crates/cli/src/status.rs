//! `status`: a platform as the cluster sees it. Asks the apiserver.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config, ResourceExt, api::ListParams};
use tokio::time::{sleep, timeout};
use trading_api::{TradingPlatform, labels};

use crate::{
    pods, print,
    tree::{is_ready, tree},
};

/// Exit code of a platform that is there and not Ready.
const NOT_READY: u8 = 3;
/// How long the apiserver may take for an answer, the client's own repetitions included.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// How often `--watch` looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// To the upper left corner, and clears from there on.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the platform
    name: String,
    /// Its namespace; by default that of the current context
    #[arg(short, long)]
    namespace: Option<String>,
    /// Show it anew whenever it changes, until it is Ready
    #[arg(short, long)]
    watch: bool,
}

/// Shows the platform.
///
/// # Errors
/// Where it is not there, or the cluster can't be asked.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let platforms = Platforms::connect(arguments.namespace.as_deref()).await?;
        if arguments.watch {
            watch(&platforms, &arguments.name).await
        } else {
            once(&platforms, &arguments.name).await
        }
    })
}

async fn once(platforms: &Platforms, name: &str) -> Result<ExitCode> {
    let platform = platforms.get(name).await?;
    print(&tree(&platform, &platforms.waiting(&platform).await, colour()))?;
    Ok(if is_ready(&platform) { ExitCode::SUCCESS } else { ExitCode::from(NOT_READY) })
}

/// Looks again and again: that outlives restarts of the apiserver, which end a watch.
async fn watch(platforms: &Platforms, name: &str) -> Result<ExitCode> {
    let mut last = platforms.get(name).await?;
    let mut shown = String::new();
    let mut trouble = String::new();
    loop {
        let text = tree(&last, &platforms.waiting(&last).await, colour()) + &trouble;
        if text != shown {
            print(&redraw(&text, shown.is_empty()))?;
            shown = text;
        }
        if is_ready(&last) && trouble.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        sleep(INTERVAL).await;
        trouble.clear();
        match platforms.find(name).await {
            Ok(Some(platform)) => last = platform,
            Ok(None) => return Err(platforms.absent(name).await),
            Err(error) => trouble = format!("{error:#}; trying again\n"),
        }
    }
}

fn redraw(text: &str, first: bool) -> String {
    match (io::stdout().is_terminal(), first) {
        (true, _) => format!("{CLEAR}{text}"),
        (false, true) => text.to_owned(),
        (false, false) => format!("\n{text}"),
    }
}

fn colour() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (io::stdout().is_terminal() || set("FORCE_COLOR"))
}

/// The platforms of a namespace.
pub(crate) struct Platforms {
    api: Api<TradingPlatform>,
    namespace: String,
    server: String,
}

impl Platforms {
    pub(crate) async fn connect(namespace: Option<&str>) -> Result<Self> {
        let config = Config::infer().await.map_err(|error| {
            // Its source is what is wrong with the kubeconfig; that this is no pod is no news.
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            anyhow!("no cluster to ask, set KUBECONFIG: {reason}")
        })?;
        let server = config.cluster_url.to_string();
        let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
        let api = Api::namespaced(Client::try_from(config)?, &namespace);
        Ok(Self { api, namespace, server })
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Box<TradingPlatform>> {
        match self.find(name).await? {
            Some(platform) => Ok(platform),
            None => Err(self.absent(name).await),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Box<TradingPlatform>>> {
        // A platform is a large type, and its future holds it several times.
        let platform = Box::pin(self.answer(self.api.get_opt(name))).await?;
        Ok(platform.map(Box::new))
    }

    /// What pods wait for, in the platform's namespace and those of its tiers, where it is not Ready.
    async fn waiting(&self, platform: &TradingPlatform) -> Vec<String> {
        if is_ready(platform) {
            return Vec::new();
        }
        let selector = format!("{}={}", labels::INSTANCE, platform.name_any());
        let tiers = platform.spec.placement.iter().flat_map(|placement| placement.namespaces.values());
        let namespaces: BTreeSet<&str> =
            tiers.map(|tier| tier.0.as_str()).chain([&*self.namespace]).collect();
        let (mut found, mut lines) = (Vec::new(), Vec::new());
        for namespace in namespaces {
            let api: Api<Pod> = Api::namespaced(self.api.clone().into_client(), namespace);
            match self.answer(api.list(&ListParams::default().labels(&selector))).await {
                Ok(pods) => found.extend(pods),
                Err(error) => lines.push(format!("of namespace {namespace} can't be looked at: {error}")),
            }
        }
        lines.extend(pods::waiting(&found));
        lines
    }

    /// Why there is no such platform.
    async fn absent(&self, name: &str) -> anyhow::Error {
        match self.answer(self.api.list_metadata(&ListParams::default())).await {
            Ok(there) => {
                let there: Vec<String> = there.iter().map(ResourceExt::name_any).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                anyhow!("no tradingplatform {name:?} in namespace {:?}; there: {there}", self.namespace)
            }
            Err(error) => error,
        }
    }

    async fn answer<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T> {
        match timeout(ANSWER_TIME, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.in_words(error)),
            Err(_) => Err(anyhow!("{} does not answer within {} s", self.server, ANSWER_TIME.as_secs())),
        }
    }

    fn in_words(&self, error: kube::Error) -> anyhow::Error {
        match error {
            kube::Error::Api(status) if status.code == 404 => anyhow!(
                "the cluster does not know tradingplatforms: install the operator's chart, or kubectl trading crd | kubectl apply -f -"
            ),
            kube::Error::Api(status) => anyhow!("{}", status.message),
            kube::Error::SerdeError(error) => {
                anyhow!("the platform can't be read, is it of another release than this plugin? {error}")
            }
            error => {
                let error = anyhow!(error);
                anyhow!("cannot reach {}: {}", self.server, error.root_cause())
            }
        }
    }
}
