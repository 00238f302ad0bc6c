//! `cost`: what platforms cost in a month, from files or the cluster.

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgGroup, ValueEnum};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Deserialize;
use trading_api::TradingPlatform;
use trading_core::{
    cost::{Basis, PROVIDERS, PriceTable, estimate},
    render::render,
    resolve::resolve,
};

use crate::{
    cost_table,
    documents::{self, Source},
    print,
    render::inputs,
    status::Platforms,
    validate,
};

/// Arguments of `cost`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").args(["name", "files"]).required(true))]
pub struct Arguments {
    /// Name of a platform in the cluster
    name: Option<String>,
    /// File with platforms, or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<Source>,
    /// Namespace of NAME; by default that of the current context
    #[arg(short, long, requires = "name")]
    namespace: Option<String>,
    /// List prices of a cloud
    #[arg(long, value_parser = PROVIDERS, default_value = "AWS")]
    provider: String,
    /// File with the ConfigMap of a price table
    #[arg(long, value_name = "FILE", conflicts_with = "provider")]
    prices: Option<PathBuf>,
    /// ConfigMap of a price table in the cluster, such as the operator's
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["provider", "prices"])]
    price_table: Option<String>,
    /// Count what pods may use at most, and not what is set aside for them
    #[arg(long)]
    limits: bool,
    /// On how many nodes a pod runs of what has one on each, such as a container runtime
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Prints what each platform costs.
///
/// # Errors
/// Where platforms or prices can't be read.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (platforms, prices) = if arguments.name.is_some() || arguments.price_table.is_some() {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(Box::pin(asked(arguments)))?
    } else {
        (given(&arguments.files)?, prices(arguments)?)
    };
    let Some(platforms) = platforms else { return Ok(ExitCode::FAILURE) };
    let basis = if arguments.limits { Basis::Limits } else { Basis::Requests };
    let mut documents = Vec::new();
    for platform in &platforms {
        let plan = resolve(platform, &inputs());
        let estimate = estimate(&render(&plan), &prices, basis)?.on_nodes(arguments.nodes);
        documents.push(match arguments.output {
            Output::Table => cost_table::text(&plan.identity.name, &estimate, basis, arguments.nodes),
            Output::Json => format!("{}\n", cost_table::json(&plan.identity, &estimate, &prices, basis)),
        });
    }
    let between = if arguments.output == Output::Table { "\n" } else { "" };
    print(&documents.join(between))?;
    Ok(ExitCode::SUCCESS)
}

/// What the cluster has: the platform, the prices, or both.
async fn asked(arguments: &Arguments) -> Result<(Option<Vec<TradingPlatform>>, PriceTable)> {
    let prices = match &arguments.price_table {
        Some(table) => live_prices(table).await?,
        None => prices(arguments)?,
    };
    let Some(name) = &arguments.name else { return Ok((given(&arguments.files)?, prices)) };
    let platform = Platforms::connect(arguments.namespace.as_deref()).await?.get(name).await?;
    Ok((Some(vec![*platform]), prices))
}

/// The platforms of the files, or nothing where one is refused.
fn given(files: &[Source]) -> Result<Option<Vec<TradingPlatform>>> {
    let mut platforms = Some(Vec::new());
    for source in files {
        for document in documents::read(source).with_context(|| source.to_string())? {
            match validate::check(&document, None) {
                Ok(platform) => platforms.iter_mut().for_each(|all| all.push(platform.clone())),
                Err(violations) => {
                    validate::refuse(source, &document.name(), &violations);
                    platforms = None;
                }
            }
        }
    }
    Ok(platforms)
}

fn prices(arguments: &Arguments) -> Result<PriceTable> {
    let Some(path) = &arguments.prices else {
        let data = BTreeMap::from([("provider".to_owned(), arguments.provider.clone())]);
        return table(&data, &arguments.provider);
    };
    let place = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| place.clone())?;
    let found: Vec<ConfigMap> = serde_yaml::Deserializer::from_str(&text)
        .map(serde_json::Value::deserialize)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| place.clone())?
        .into_iter()
        .filter(|document| document["kind"] == "ConfigMap")
        .map(|document| serde_json::from_value(document).with_context(|| place.clone()))
        .collect::<Result<_>>()?;
    match found.as_slice() {
        [map] => table(&map.data.clone().unwrap_or_default(), &place),
        all => bail!("{place}: has {} ConfigMaps: it needs one, with the prices under data", all.len()),
    }
}

async fn live_prices(place: &str) -> Result<PriceTable> {
    let (namespace, name) =
        place.split_once('/').with_context(|| format!("--price-table {place}: use NAMESPACE/NAME"))?;
    let client =
        Client::try_default().await.map_err(|error| anyhow!("no cluster to ask, set KUBECONFIG: {error}"))?;
    let map: ConfigMap = Api::namespaced(client, namespace).get(name).await.map_err(|error| match error {
        kube::Error::Api(status) => anyhow!("ConfigMap {place}: {}", status.message),
        error => anyhow!("ConfigMap {place}: {error}"),
    })?;
    table(&map.data.unwrap_or_default(), &format!("ConfigMap {place}"))
}

fn table(data: &BTreeMap<String, String>, place: &str) -> Result<PriceTable> {
    PriceTable::read(data).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(|error| format!("{place}: {error}")).collect();
        anyhow!("{}", all.join("\n"))
    })
}
