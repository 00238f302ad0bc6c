//! Command line and environment of the operator.

use std::{io::IsTerminal, net::SocketAddr};

use clap::{Parser, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::ParseError};
use trading_core::{inputs::API_SERVER_PORTS, members::Scope};

/// Runs trading platforms on Kubernetes.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// Form of the log lines.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged, as a tracing filter such as `info` or `info,trading_operator=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_parser = filter)]
    pub log_level: String,
    /// Address for /healthz, /readyz and /metrics.
    #[arg(long, env = "HTTP_ADDR", default_value = "0.0.0.0:8080")]
    pub http_addr: SocketAddr,
    /// Image that holds the agent for data store pods; the operator's own image.
    #[arg(long, env = "AGENT_IMAGE")]
    pub agent_image: Option<String>,
    /// Port of the Kubernetes API, which policies open for databases; may be repeated.
    #[arg(long = "api-server-port", env = "API_SERVER_PORTS", value_delimiter = ',', default_values_t = API_SERVER_PORTS)]
    pub api_server_ports: Vec<u16>,
    /// Watch only this namespace; may be repeated. All where it is left out.
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Allow `spec.containerRuntime`, whose pods are privileged.
    #[arg(long, env = "ALLOW_CONTAINER_RUNTIME")]
    pub allow_container_runtime: bool,
    /// Let one of several operators write at a time.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Name of the Lease.
    #[arg(long, env = "LEASE_NAME", default_value = "trading-operator")]
    pub lease_name: String,
    /// Namespace of the operator's pod, which policies of data stores admit to their agents.
    #[arg(long, env = "POD_NAMESPACE")]
    pub pod_namespace: Option<String>,
    /// Ask the servers of data stores how they are. By default where the operator runs in the cluster: elsewhere
    /// their names are not known.
    #[arg(long, env = "ASK_STORES", action = clap::ArgAction::Set)]
    pub ask_stores: Option<bool>,
    /// Port of Postgres or Redis outside, which are tried where a platform's resource names one at that port; may be
    /// repeated. Nobody is tried where it is left out.
    #[arg(long = "external-store-port", env = "EXTERNAL_STORE_PORTS", value_delimiter = ',')]
    pub external_store_ports: Vec<u16>,
    /// Namespace of the Lease: that of the operator's pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,
    /// Who holds the Lease: the operator's pod.
    #[arg(long, env = "POD_NAME", default_value_t = format!("trading-operator-{}", std::process::id()))]
    pub lease_identity: String,
    /// ConfigMap with prices in the operator's namespace; list prices of AWS where there is none.
    #[arg(long, env = "PRICES", default_value = "trading-prices")]
    pub prices: String,
    /// How many platforms are worked on at a time. More is slower on a small apiserver.
    #[arg(long, env = "CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
}

impl Settings {
    /// Which data stores are asked how they are.
    pub fn scope(&self) -> Scope {
        // The kubelet tells every pod where the apiserver is.
        let is_inside = || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Scope {
            agents: self.ask_stores.unwrap_or_else(is_inside),
            outside_ports: self.external_store_ports.clone(),
        }
    }
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The text itself where it is a filter: a parsed one can't be copied, as arguments are.
fn filter(text: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

/// Starts logging to standard error.
pub fn init_logging(settings: &Settings) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.log_level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.init(),
    }
}
