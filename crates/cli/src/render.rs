//! `render`: every object that platforms become, without a cluster.

use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use trading_api::TradingPlatform;
use trading_core::{
    inputs::Inputs,
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
            Ok(platform) => plans.push(plan(&platform, arguments.agent_image.as_deref())),
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
        validate::warn(source, plan);
        for object in render(plan) {
            text.push(document(&object)?);
        }
    }
    print(&text.join("---\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The platform with every value decided, as far as that is possible without a cluster.
pub(crate) fn plan(platform: &TradingPlatform, agent_image: Option<&str>) -> Plan {
    // No object depends on the time; with a fixed one it shows if that changes.
    let mut inputs = Inputs::offline(Timestamp::UNIX_EPOCH);
    if let Some(image) = agent_image {
        image.clone_into(&mut inputs.operator.agent_image);
    }
    resolve(platform, &inputs)
}

fn document(object: &Object) -> Result<String> {
    let body = yaml::print(&object.body)?;
    Ok(match &object.content {
        Content::Rendered => body,
        Content::GeneratedOnce(keys) => {
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(", ");
            format!("# The operator fills {keys} once, when it makes this Secret, and keeps it.\n{body}")
        }
    })
}
