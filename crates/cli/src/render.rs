//! `render`: every object that platforms become, without a cluster.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context, Result};
use jiff::Timestamp;
use trading_api::TradingPlatform;
use trading_core::{
    add_ons::Capabilities,
    inputs::{Inputs, Reference},
    kinds::AddOn,
    object::{Content, Object},
    plan::Plan,
    render::render,
    resolve::resolve,
    step::{Observed, Steps, steps},
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
    /// What the cluster has, such as prometheus-operator,keda; nothing where it is empty, all by
    /// default. Beside add-ons: container-runtime, where the operator allows container runtimes, and
    /// consent, where other namespaces admit the platform's tiers. What the rest would serve is left
    /// out with a warning
    #[arg(long, value_name = "LIST", value_parser = assumptions)]
    capabilities: Option<Assumptions>,
}

/// The operator's `--allow-container-runtime`.
const CONTAINER_RUNTIME: &str = "container-runtime";
/// The label `platform.trading/allows` of other namespaces.
const CONSENT: &str = "consent";

/// What is taken for given of a cluster.
#[derive(Clone, Debug)]
struct Assumptions {
    add_ons: Capabilities,
    allow_container_runtime: bool,
    consent: bool,
}

fn assumptions(list: &str) -> Result<Assumptions, String> {
    let names: BTreeSet<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let (beside, add_ons): (BTreeSet<&str>, BTreeSet<&str>) =
        names.into_iter().partition(|name| [CONTAINER_RUNTIME, CONSENT].contains(name));
    let known = || AddOn::ALL.map(AddOn::id).join(", ");
    let add_ons = add_ons
        .into_iter()
        .map(|name| {
            AddOn::from_id(name)
                .ok_or_else(|| format!("{name} is none of {}, {CONTAINER_RUNTIME}, {CONSENT}", known()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Assumptions {
        add_ons: Capabilities::of(&add_ons),
        allow_container_runtime: beside.contains(CONTAINER_RUNTIME),
        consent: beside.contains(CONSENT),
    })
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
        let first = first_steps(plan);
        validate::warn(source, plan, &first.problems);
        for apply in &first.apply {
            text.push(document(&apply.object)?);
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
    if let Some(assumed) = &arguments.capabilities {
        inputs.capabilities = assumed.add_ons.clone();
        inputs.operator.allow_container_runtime = assumed.allow_container_runtime;
        inputs.allowing = (!assumed.consent).then(BTreeSet::new);
    }
    resolve(platform, &inputs)
}

/// What is done in a cluster that has nothing of the platform yet.
pub(crate) fn first_steps(plan: &Plan) -> Steps {
    steps(plan, &render(plan), &Observed::new())
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
        Content::CollectedFrom { originals, .. } => {
            let names: Vec<&str> = originals.values().map(|(original, _)| original.name.as_str()).collect();
            format!("# The operator copies the values from the Secrets {}.\n{body}", names.join(", "))
        }
        Content::GeneratedOnce(texts) => {
            let keys: Vec<String> = texts.keys().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(", ");
            format!("# The operator fills {keys} once, when it makes this Secret, and keeps it.\n{body}")
        }
        Content::AddedOnce(keys) => {
            let keys: Vec<String> = keys.keys().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(" and ");
            format!(
                "# The operator adds a password under {keys} once, and keeps those that are there.\n{body}"
            )
        }
        Content::Certified { .. } => {
            format!("# The operator makes the certificate in this Secret, and renews it.\n{body}")
        }
        Content::FilledFrom { original, key, .. } => {
            let Reference { namespace, name, .. } = original;
            format!(
                "# The operator fills in the password under `{key}` of Secret {name} of namespace {namespace}.\n{body}"
            )
        }
    })
}
