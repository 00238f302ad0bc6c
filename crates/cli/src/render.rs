//! `render`: every object that platforms become, without a cluster.

use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use trading_api::TradingPlatform;
use trading_core::{
    add_ons::{self, Capabilities},
    inputs::{Inputs, Reference},
    kinds::AddOn,
    object::{Content, Object},
    plan::Plan,
    render::render,
    resolve::resolve,
};

use crate::{
    documents::{self, Source},
    print, validate, yaml,
};

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File with platforms, or - for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: Source,
    /// Image that holds the agent for data store pods; by default that of this release
    #[arg(long, value_name = "IMAGE")]
    agent_image: Option<String>,
    /// Add-ons that the cluster has, such as prometheus-operator,keda; none where it is empty, all
    /// by default. What the others would serve is left out with a warning
    #[arg(long, value_name = "ADD-ONS", value_parser = capabilities)]
    capabilities: Option<Capabilities>,
}

fn capabilities(list: &str) -> Result<Capabilities, String> {
    let known = || AddOn::ALL.map(AddOn::id).join(", ");
    let ids = list.split(',').map(str::trim).filter(|id| !id.is_empty());
    let add_ons = ids
        .map(|id| AddOn::from_id(id).ok_or_else(|| format!("{id} is none of {}", known())))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Capabilities::of(&add_ons))
}

/// Prints the objects of every platform in the file, or refuses them all.
///
/// # Errors
/// Where the file can't be read or standard output can't be written.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = &arguments.file;
    let documents = documents::read(source).with_context(|| source.to_string())?;
    let mut plans = Vec::new();
    let mut refused = false;
    for document in &documents {
        match validate::check(document, None) {
            Ok(platform) => plans.push(plan(&platform, arguments)),
            Err(violations) => {
                validate::refuse(source, &document.name(), &violations);
                refused = true;
            }
        }
    }
    if refused {
        return Ok(ExitCode::FAILURE);
    }
    let mut text = Vec::new();
    for plan in &plans {
        let (served, left_out): (Vec<Object>, Vec<Object>) =
            render(plan).into_iter().partition(|object| plan.capabilities.serves(object.kind));
        validate::warn(source, plan, &add_ons::missing(&left_out));
        for object in &served {
            text.push(document(object)?);
        }
    }
    print(&text.join("---\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn plan(platform: &TradingPlatform, arguments: &Arguments) -> Plan {
    let mut inputs = inputs();
    if let Some(image) = &arguments.agent_image {
        image.clone_into(&mut inputs.operator.agent_image);
    }
    inputs.capabilities = arguments.capabilities.clone().unwrap_or_default();
    resolve(platform, &inputs)
}

/// What is known without a cluster.
pub(crate) fn inputs() -> Inputs {
    // No object depends on the time; with a fixed one it shows if that changes.
    Inputs::offline(Timestamp::UNIX_EPOCH)
}

fn document(object: &Object) -> Result<String> {
    let body = yaml::print(&object.body)?;
    Ok(match &object.content {
        Content::Rendered => body,
        Content::CopiedFrom { original: Reference { namespace, name, .. }, .. } => {
            format!("# The operator copies the values from Secret {name} of namespace {namespace}.\n{body}")
        }
        Content::GeneratedOnce(texts) => {
            let keys: Vec<String> = texts.keys().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(", ");
            format!("# The operator fills {keys} once, when it makes this Secret, and keeps it.\n{body}")
        }
    })
}
